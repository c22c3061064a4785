//! The history of a database's list.

use std::sync::Arc;

use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use maud::{Markup, html};

use super::{
    changes::{self, Names},
    page::{self, Place},
    state::Panel,
    tabs::{self, Tab},
    time::{exact, when},
    visitor::Visitor,
};
use crate::{
    api::{ApiError, query_value},
    model::{Change, Database, Scope},
};

/// Changes on a page.
const ON_A_PAGE: usize = 50;

pub(super) async fn list(
    State(panel): State<Arc<Panel>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    visitor: Visitor,
) -> Result<Response, ApiError> {
    let database = visitor.caller.database(&panel.app, &name, Scope::AuditRead).await?;
    let before = query_value(query.as_deref(), "before").and_then(|text| text.parse().ok());
    let list = panel.service().list(database.id).await?.list;
    let changes = panel.service().changes(database.id, before, ON_A_PAGE).await?;
    let names = Names::of(&list.rules, changes.iter().map(|change| &change.difference));
    let may_revert = visitor.may(Scope::DatabaseUpdate, &database);
    let path = tabs::path(&database);
    let oldest = changes.last().map(|change| change.version).filter(|version| *version > 1);
    let content = html! {
        (tabs::head(&visitor, &database, Tab::History))
        section id="history" data-live={ "list:" (database.id) } {
            @if changes.is_empty() {
                div.empty { p { "Nobody has changed the list" @if before.is_some() { " before" } "." } }
            } @else {
                (table(&database, &changes, &names, list.version, may_revert))
            }
            nav.pages aria-label="Pages of the history" {
                @if before.is_some() { a href={ (path) "/history" } { "Newest" } }
                @if let Some(oldest) = oldest.filter(|_| changes.len() == ON_A_PAGE) {
                    a href={ (path) "/history?before=" (oldest) } rel="next" { "Older" }
                }
            }
        }
    };
    let title = format!("History of {}", database.name);
    Ok(page::page(&panel, &visitor, Place::Databases, &title, content))
}

fn table(
    database: &Database,
    changes: &[Change],
    names: &Names<'_>,
    newest: u64,
    may_revert: bool,
) -> Markup {
    html! {
        table role="table" {
            caption.hidden { "Changes of the list, the newest first" }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { "Version" }
                    th role="columnheader" scope="col" { "Time" }
                    th role="columnheader" scope="col" { "Change" }
                    th.left role="columnheader" scope="col" { "By" }
                    @if may_revert { th role="columnheader" scope="col" { "Go back" } }
                }
            }
            tbody role="rowgroup" {
                @for change in changes {
                    tr role="row" {
                        th role="rowheader" scope="row" { span.hidden { "Version " } (change.version) }
                        td role="cell" data-label="Time" {
                            (when(change.at)) br; span.faint.whole { (exact(change.at)) }
                        }
                        td.text role="cell" data-label="Change" {
                            (changes::difference(&change.difference, names))
                        }
                        td.text role="cell" data-label="By" { (changes::author(change)) }
                        @if may_revert {
                            td.actions role="cell" {
                                @if change.version == newest {
                                    span.faint { "as it is now" }
                                } @else {
                                    a.button href={
                                        (tabs::path(database)) "/revert/" (change.version)
                                    } { "Go back" span.hidden { " to version " (change.version) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
