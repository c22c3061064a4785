//! Changes of a list, as the history and forms show them.

use std::collections::HashMap;

use axum::http::StatusCode;
use maud::{Markup, html};
use uuid::Uuid;

use super::{
    form::Form,
    message,
    sources::source,
    state::Panel,
    text::{count, shown},
    time::when,
    visitor::Visitor,
};
use crate::{
    api::{ApiError, ErrorId},
    list::{Details, Difference, Rule},
    model::{Change, Database, Scope},
};

/// Sources of one change that are shown.
const SHOWN: usize = 20;

/// Changes that a form tells of.
const SINCE: usize = 10;

/// The names of sources, by their ids.
pub(super) struct Names<'r>(HashMap<Uuid, &'r Rule>);

impl<'r> Names<'r> {
    /// Those of a list, and of what changes added and removed.
    pub(super) fn of(rules: &'r [Rule], changes: impl Iterator<Item = &'r Difference>) -> Self {
        let moved = |difference: &'r Difference| difference.added.iter().chain(&difference.removed);
        let moved = changes.flat_map(moved).map(|placed| &placed.rule);
        Self(rules.iter().chain(moved).map(|rule| (rule.uuid, rule)).collect())
    }

    fn shown(&self, uuid: Uuid) -> Markup {
        match self.0.get(&uuid) {
            Some(rule) => source(&rule.key),
            None => html! { code { (uuid) } },
        }
    }
}

/// A difference: what came, what went, and what was edited.
pub(super) fn difference(difference: &Difference, names: &Names<'_>) -> Markup {
    let Difference { added, removed, edited, order } = difference;
    let more = |all: usize| {
        let more = all.saturating_sub(SHOWN);
        html! { @if more > 0 { li.faint { "and " (more) " more" } } }
    };
    html! {
        ul.changes {
            @for placed in added.iter().take(SHOWN) {
                li.added {
                    span.mark { "added" } " " (source(&placed.rule.key))
                    (details(&placed.rule.details))
                }
            }
            (more(added.len()))
            @for placed in removed.iter().take(SHOWN) {
                li.removed {
                    span.mark { "removed" } " " (source(&placed.rule.key))
                    (details(&placed.rule.details))
                }
            }
            (more(removed.len()))
            @for edit in edited.iter().take(SHOWN) {
                li.edited {
                    span.mark { "changed" } " " (names.shown(edit.uuid))
                    (details(&edit.before)) " →" (details(&edit.after))
                    @if edit.after.is_empty() { " no description, no end" }
                }
            }
            (more(edited.len()))
            @if order.is_some() { li.edited { span.mark { "changed" } " the order" } }
        }
    }
}

fn details(details: &Details) -> Markup {
    html! {
        @if let Some(text) = &details.description { " “" (shown(text)) "”" }
        @if let Some(at) = details.expires_at { ", ends " (when(at)) }
    }
}

/// The author of a change, and its way and reason.
pub(super) fn author(change: &Change) -> Markup {
    html! {
        strong { (shown(&change.by.name())) }
        " via " (change.via)
        @if let Some(from) = change.from { " from " code { (from) } }
        @if let Some(version) = change.reverts_to { ", back to version " (version) }
        @if let Some(kept) = change.merged {
            ", kept " (count(kept.added + kept.removed, "change", "changes")) " of others"
        }
        @if let Some(reason) = &change.reason { ": “" (shown(reason)) "”" }
    }
}

/// The notice and the status for a change that a form asked for and that was refused, where the form
/// can be sent again.
///
/// # Errors
/// It cannot: the error itself. Or the store does not answer.
pub(super) async fn refused(
    panel: &Panel,
    visitor: &Visitor,
    database: &Database,
    form: &Form,
    error: ApiError,
) -> Result<(StatusCode, Markup), ApiError> {
    let notice = match error.id {
        ErrorId::PreconditionFailed => since(panel, visitor, database, form.get("list")).await?,
        ErrorId::UnprocessableEntity => message::problem(&error.message),
        _ => return Err(error),
    };
    Ok((error.id.status(), notice))
}

/// A notice that a list has changed since a form was made, and how.
async fn since(
    panel: &Panel,
    visitor: &Visitor,
    database: &Database,
    tag: &str,
) -> Result<Markup, ApiError> {
    let version = tag.trim_matches('"').split('-').next().and_then(|number| number.parse().ok());
    let version: u64 = version.unwrap_or_default();
    let list = panel.service().list(database.id).await?.list;
    let mut changes = match visitor.may(Scope::AuditRead, database) {
        true => panel.service().changes(database.id, None, SINCE).await?,
        false => Vec::new(),
    };
    changes.retain(|change| change.version > version);
    let names = Names::of(&list.rules, changes.iter().map(|change| &change.difference));
    Ok(html! {
        (message::problem(
            "The list has changed since this page was opened. Look at what is below, which is as \
             the list is now, and send it again if you still mean it."
        ))
        @if !changes.is_empty() {
            section.since aria-label="Changes meanwhile" {
                @for change in &changes {
                    p { "Version " (change.version) ", " (when(change.at)) ", " (author(change)) }
                    (difference(&change.difference, &names))
                }
            }
        }
    })
}
