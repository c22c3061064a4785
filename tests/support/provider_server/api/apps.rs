//! Apps: which addresses they connect from, where that is known.

use dbfw_wire::digitalocean::{AppPage, OneApp};

use super::{
    super::{account::Account, answer::Answer, request::Request},
    dress,
    page::{self, NoLinks, Page},
};

/// GET of a list.
pub(super) fn list(request: &Request, account: &Account) -> Answer {
    page::list(request, &account.apps, NoLinks::NoPages, |Page { items, links, meta }| {
        let page = AppPage { apps: Some(items), links, meta };
        dress::each(page, "apps", |app| dress::app(app, true))
    })
}

/// GET of one.
pub(super) fn one(account: &Account, id: &str) -> Answer {
    match account.apps.iter().find(|app| app.id == id) {
        Some(app) => {
            let app = OneApp { app: app.clone() };
            Answer::json(dress::one(app, "app", |app| dress::app(app, false)))
        }
        None => Answer::not_found(),
    }
}
