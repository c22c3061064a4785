//! Apps: which addresses they connect from, where that is known.

use dbfw_provider::digitalocean::wire::App;
use serde_json::json;

use super::{
    super::{account::Account, answer::Answer, request::Request},
    dress,
    page::{self, NoLinks},
};

/// GET of a list.
pub(super) fn list(request: &Request, account: &Account) -> Answer {
    let show = |app: &App| dress::app(app, true);
    page::list(request, "apps", &account.apps, NoLinks::NoPages, show)
}

/// GET of one.
pub(super) fn one(account: &Account, id: &str) -> Answer {
    match account.apps.iter().find(|app| app.id == id) {
        Some(app) => Answer::json(json!({ "app": dress::app(app, false) })),
        None => Answer::not_found(),
    }
}
