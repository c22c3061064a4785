//! Going back to a version of a list, behind a page that says what that changes.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect, Response},
};
use maud::{Markup, html};

use super::{
    access,
    changes::{self, Names},
    fields,
    form::Form,
    message::Done,
    page::{self, Place},
    state::Panel,
    tabs,
    visitor::Visitor,
};
use crate::{
    api::{ApiError, ErrorId, v1},
    list::{Difference, Rule},
    model::{Database, Scope},
    service::{IfMatch, Request, ServiceError},
};

type Answer = Result<Response, ApiError>;

pub(super) async fn form(
    State(panel): State<Arc<Panel>>,
    Path((name, version)): Path<(String, String)>,
    visitor: Visitor,
) -> Answer {
    let database = visitor.caller.database(&panel.app, &name, Scope::DatabaseUpdate).await?;
    let version = number(&version)?;
    whole(&panel, &visitor, &database, version, &html! {}, &Form::default()).await
}

pub(super) async fn revert(
    State(panel): State<Arc<Panel>>,
    Path((name, version)): Path<(String, String)>,
    visitor: Visitor,
    form: Form,
) -> Answer {
    let database = visitor.caller.database(&panel.app, &name, Scope::DatabaseUpdate).await?;
    let version = number(&version)?;
    let (status, problem) = match reverted(&panel, &visitor, &database, version, &form).await {
        Ok(done) => return Ok(Redirect::to(&done.at(&tabs::path(&database))).into_response()),
        Err(error) => changes::refused(&panel, &visitor, &database, &form, error).await?,
    };
    let response = whole(&panel, &visitor, &database, version, &problem, &form).await?;
    Ok(page::with_status(response, status))
}

fn number(version: &str) -> Result<u64, ApiError> {
    let no_version = || ApiError::new(ErrorId::NotFound, "the history has no such version");
    version.parse().map_err(|_| no_version())
}

async fn reverted(
    panel: &Panel,
    visitor: &Visitor,
    database: &Database,
    version: u64,
    form: &Form,
) -> Result<Done, ApiError> {
    let author = visitor.caller.author(v1::sources::reason(form.text("reason"))?);
    let condition = IfMatch::parse(form.get("list"));
    let request = Request::Revert(version);
    let changed = panel.service().change(database.id, &request, Some(&condition), &author).await?;
    Ok(if changed.difference.is_empty() { Done::Unchanged } else { Done::Reverted })
}

async fn whole(
    panel: &Panel,
    visitor: &Visitor,
    database: &Database,
    version: u64,
    message: &Markup,
    form: &Form,
) -> Answer {
    let (stored, rules) = panel.service().as_of(database.id, version).await.map_err(|error| {
        // It names the version, which the title has.
        match error {
            ServiceError::NoVersion(_) => {
                ApiError::new(ErrorId::NotFound, "the history does not reach back to that version")
            }
            error => error.into(),
        }
    })?;
    let current = &stored.list.rules;
    let difference = Difference::between(current, &rules);
    let names = Names::of(current, std::iter::once(&difference));
    let path = tabs::path(database);
    let title = format!("Go back to version {version}?");
    let content = html! {
        p.crumbs {
            a href="/" { "Databases" } " / " a href=(path) { (database.name) } " / "
            a href={ (path) "/history" } { "History" }
        }
        h1 { (title) }
        (message)
        @if difference.is_empty() {
            p.note { "The list is the same as at that version. There is nothing to go back to." }
            p { a.button href={ (path) "/history" } { "To the history" } }
        } @else {
            p { "This makes a new version, which differs from the list as it is now:" }
            (changes::difference(&difference, &names))
            (access::of_removal(current, &rules.iter().collect::<Vec<&Rule>>(), visitor.address))
            @if rules.is_empty() {
                p.warning {
                    strong { "The list is empty then. " } "Nobody can connect to " (database.name)
                    " afterwards."
                }
            }
            (send(&stored.tag, &path, form))
        }
    };
    Ok(page::page(panel, visitor, Place::Databases, &title, content))
}

fn send(tag: &crate::service::ETag, path: &str, form: &Form) -> Markup {
    html! {
        form.panel method="post" {
            (fields::tag(tag))
            div.fields { (fields::reason(form)) }
            div.choice {
                button type="submit" { "Go back" }
                a.button.quiet href={ (path) "/history" } { "Leave it as it is" }
            }
        }
    }
}
