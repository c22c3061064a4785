//! Removing a trusted source, behind a page that says what that does.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect, Response},
};
use maud::{Markup, html};

use super::{
    access, changes,
    edit::find,
    fields,
    form::Form,
    message::Done,
    page::{self, Place},
    sources,
    state::Panel,
    tabs,
    text::shown,
    time::when,
    visitor::Visitor,
};
use crate::{
    api::{ApiError, v1},
    list::{Edit, Rule},
    model::{Database, Scope},
    service::{IfMatch, Request, Stored},
};

type Answer = Result<Response, ApiError>;

pub(super) async fn form(
    State(panel): State<Arc<Panel>>,
    Path((name, source)): Path<(String, String)>,
    visitor: Visitor,
) -> Answer {
    let database = visitor.caller.database(&panel.app, &name, Scope::DatabaseUpdate).await?;
    let (stored, rule) = find(&panel, &database, &source).await?;
    Ok(whole(&panel, &visitor, &database, &stored, &rule, &html! {}, &Form::default()))
}

pub(super) async fn remove(
    State(panel): State<Arc<Panel>>,
    Path((name, source)): Path<(String, String)>,
    visitor: Visitor,
    form: Form,
) -> Answer {
    let database = visitor.caller.database(&panel.app, &name, Scope::DatabaseUpdate).await?;
    let (stored, rule) = find(&panel, &database, &source).await?;
    let (status, problem) = match removed(&panel, &visitor, &database, &rule, &form).await {
        Ok(()) => {
            return Ok(Redirect::to(&Done::Removed.at(&tabs::path(&database))).into_response());
        }
        Err(error) => changes::refused(&panel, &visitor, &database, &form, error).await?,
    };
    let response = whole(&panel, &visitor, &database, &stored, &rule, &problem, &form);
    Ok(page::with_status(response, status))
}

async fn removed(
    panel: &Panel,
    visitor: &Visitor,
    database: &Database,
    rule: &Rule,
    form: &Form,
) -> Result<(), ApiError> {
    let author = visitor.caller.author(v1::sources::reason(form.text("reason"))?);
    let change = Request::Edit(Edit::Remove(rule.uuid));
    let condition = IfMatch::parse(form.get("list"));
    panel.service().change(database.id, &change, Some(&condition), &author).await?;
    Ok(())
}

fn whole(
    panel: &Panel,
    visitor: &Visitor,
    database: &Database,
    stored: &Stored,
    rule: &Rule,
    message: &Markup,
    form: &Form,
) -> Response {
    let path = tabs::path(database);
    let rules = &stored.list.rules;
    let rest: Vec<&Rule> = rules.iter().filter(|other| other.uuid != rule.uuid).collect();
    let content = html! {
        p.crumbs { a href="/" { "Databases" } " / " a href=(path) { (database.name) } }
        h1 { "Remove a trusted source?" }
        (message)
        dl.facts {
            dt { "Source" } dd { (sources::source(&rule.key)) }
            dt { "Stands for" } dd { (sources::stands_for(panel, &rule.key)) }
            dt { "Description" } dd {
                @match &rule.details.description {
                    Some(text) => (shown(text)),
                    None => span.faint { "none" },
                }
            }
            dt { "Expires" } dd {
                @match rule.details.expires_at { Some(at) => (when(at)), None => "never" }
            }
            dt { "Last used" } dd {
                (sources::last_used(panel.app.fleet.uses(database.id).get(&rule.uuid)))
            }
            dt { "Added" } dd { (shown(&rule.created_by)) ", " (when(rule.created_at)) }
        }
        (access::of_removal(rules, &rest, visitor.address))
        @if rest.is_empty() {
            p.warning {
                strong { "It is the last one. " } "Nobody can connect to " (database.name)
                " afterwards."
            }
        }
        form.panel method="post" {
            (fields::tag(&stored.tag))
            div.fields { (fields::reason(form)) }
            div.choice {
                button.danger type="submit" { "Remove it" }
                a.button.quiet href=(path) { "Keep it" }
            }
        }
    };
    page::page(panel, visitor, Place::Databases, "Remove a trusted source", content)
}
