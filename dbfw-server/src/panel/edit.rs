//! Editing a trusted source: its description and its end.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect, Response},
};
use dbfw_wire::api::SourcePatch;
use maud::{Markup, html};

use super::{
    changes,
    fields::{self, End},
    form::Form,
    message::Done,
    page::{self, Place},
    sources,
    state::Panel,
    tabs,
    time::{field, when},
    visitor::Visitor,
};
use crate::{
    api::{ApiError, v1},
    list::{NoSuchRule, Rule},
    model::{Database, Scope},
    service::{IfMatch, Request, ServiceError, Stored},
};

type Answer = Result<Response, ApiError>;

/// Ends that the form offers.
const ENDS: [(&str, &str); 6] = [
    ("keep", "as long as now"),
    ("never", "for good"),
    ("1h", "for 1 hour from now"),
    ("1d", "for 1 day from now"),
    ("7d", "for 7 days from now"),
    ("30d", "for 30 days from now"),
];

pub(super) async fn form(
    State(panel): State<Arc<Panel>>,
    Path((name, source)): Path<(String, String)>,
    visitor: Visitor,
) -> Answer {
    let database = visitor.caller.database(&panel.app, &name, Scope::DatabaseUpdate).await?;
    let (stored, rule) = find(&panel, &database, &source).await?;
    let mut form = Form::default()
        .with("description", rule.details.description.as_deref().unwrap_or_default());
    if let Some(at) = rule.details.expires_at {
        form = form.with("until", &field(at));
    }
    Ok(whole(&panel, &visitor, &database, &stored, &rule, &html! {}, &form))
}

pub(super) async fn change(
    State(panel): State<Arc<Panel>>,
    Path((name, source)): Path<(String, String)>,
    visitor: Visitor,
    form: Form,
) -> Answer {
    let database = visitor.caller.database(&panel.app, &name, Scope::DatabaseUpdate).await?;
    let (stored, rule) = find(&panel, &database, &source).await?;
    let (status, problem) = match changed(&panel, &visitor, &database, &rule, &form).await {
        Ok(done) => return Ok(Redirect::to(&done.at(&tabs::path(&database))).into_response()),
        Err(error) => changes::refused(&panel, &visitor, &database, &form, error).await?,
    };
    let response = whole(&panel, &visitor, &database, &stored, &rule, &problem, &form);
    Ok(page::with_status(response, status))
}

async fn changed(
    panel: &Panel,
    visitor: &Visitor,
    database: &Database,
    rule: &Rule,
    form: &Form,
) -> Result<Done, ApiError> {
    let (lifetime, expires_at) = End::of(form)?.said();
    let description = Some(form.text("description"));
    let patch = SourcePatch { description, expires_at, lifetime, reason: None };
    let author = visitor.caller.author(v1::sources::reason(form.text("reason"))?);
    let change = Request::Edit(v1::sources::described(rule.uuid, patch)?);
    let condition = IfMatch::parse(form.get("list"));
    let changed = panel.service().change(database.id, &change, Some(&condition), &author).await?;
    Ok(if changed.difference.is_empty() { Done::Unchanged } else { Done::Edited })
}

/// The list, and the source in it that a path names.
///
/// # Errors
/// It is not there, or not any more.
pub(super) async fn find(
    panel: &Panel,
    database: &Database,
    source: &str,
) -> Result<(Stored, Rule), ApiError> {
    let stored = panel.service().list(database.id).await?;
    let uuid = source.parse().ok();
    let rule = stored.list.rules.iter().find(|rule| Some(rule.uuid) == uuid).cloned();
    let rule = rule.ok_or(ServiceError::NoRule(NoSuchRule)).map_err(ApiError::from)?;
    Ok((stored, rule))
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
    let content = html! {
        p.crumbs { a href="/" { "Databases" } " / " a href=(path) { (database.name) } }
        h1 { "Edit a trusted source" }
        (message)
        dl.facts {
            dt { "Source" } dd { (sources::source(&rule.key)) }
            dt { "Stands for" } dd { (sources::stands_for(panel, &rule.key)) }
            dt { "Expires" } dd {
                @match rule.details.expires_at { Some(at) => (when(at)), None => "never" }
            }
            dt { "Added" } dd { (super::text::shown(&rule.created_by)) ", " (when(rule.created_at)) }
        }
        form.panel method="post" {
            (fields::tag(&stored.tag))
            div.fields {
                (fields::description(form))
                (fields::end("Trusted", form, &ENDS, "keep"))
                (fields::reason(form))
            }
            div.choice {
                button type="submit" { "Save" }
                a.button.quiet href=(path) { "Cancel" }
            }
        }
        p.hint {
            "Type and value stay: a source with another value is another source. Add that one, and "
            "remove this."
        }
    };
    page::page(panel, visitor, Place::Databases, "Edit a trusted source", content)
}
