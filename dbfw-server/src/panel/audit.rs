//! The history of the fleet: who logged in, and who changed tokens, hosts and databases.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use jiff::Timestamp;
use maud::{Markup, html};

use super::{
    page::{self, Place},
    state::Panel,
    text::shown,
    time::{exact, when},
    visitor::Visitor,
};
use crate::{
    api::{ApiError, query_value},
    model::{AuditAction, AuditEntry, Scope},
};

/// Entries on a page.
const ON_A_PAGE: usize = 50;

pub(super) async fn list(
    State(panel): State<Arc<Panel>>,
    RawQuery(query): RawQuery,
    visitor: Visitor,
) -> Result<Response, ApiError> {
    visitor.caller.needs(Scope::AuditRead)?;
    visitor.caller.needs_all_databases()?;
    let before = query_value(query.as_deref(), "before");
    let before = before.and_then(|text| text.parse::<Timestamp>().ok());
    let entries = panel.service().audit(before, ON_A_PAGE).await?;
    let oldest = entries.last().map(|entry| entry.at).filter(|_| entries.len() == ON_A_PAGE);
    let content = html! {
        h1 { "Audit" }
        p { "Logins, and changes of tokens, hosts and databases. Changes of a list are in its history." }
        section id="audit" data-live="audit" {
            @if entries.is_empty() {
                div.empty { p { "Nothing has happened" @if before.is_some() { " before" } "." } }
            } @else { (table(&entries)) }
            nav.pages aria-label="Pages of the audit" {
                @if before.is_some() { a href="/audit" { "Newest" } }
                @if let Some(oldest) = oldest {
                    a href={ "/audit?before=" (oldest) } rel="next" { "Older" }
                }
            }
        }
    };
    Ok(page::page(&panel, &visitor, Place::Audit, "Audit", content))
}

fn table(entries: &[AuditEntry]) -> Markup {
    html! {
        table role="table" {
            caption.hidden { "What happened, the newest first" }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { "Time" }
                    th.left role="columnheader" scope="col" { "What" }
                    th.left role="columnheader" scope="col" { "By" }
                    th.left role="columnheader" scope="col" { "From" }
                }
            }
            tbody role="rowgroup" {
                @for entry in entries {
                    tr role="row" {
                        td role="cell" data-label="Time" {
                            (when(entry.at)) br; span.faint.whole { (exact(entry.at)) }
                        }
                        td.text role="cell" data-label="What" {
                            (words(entry.action))
                            @if !entry.subject.is_empty() { " " strong { (shown(&entry.subject)) } }
                        }
                        td.text role="cell" data-label="By" {
                            @match &entry.by {
                                Some(by) => { (shown(&by.name())) ", by " (entry.via.as_str()) },
                                None => span.faint { "-" },
                            }
                        }
                        td role="cell" data-label="From" {
                            @match entry.from {
                                Some(from) => code { (from) },
                                None => span.faint { "this machine" },
                            }
                        }
                    }
                }
            }
        }
    }
}

/// An action in words, in front of what it is about.
const fn words(action: AuditAction) -> &'static str {
    match action {
        AuditAction::LoggedIn => "Logged in with the token",
        AuditAction::LoginRefused => "A login with a wrong token was refused",
        AuditAction::TokenRefused => "A request with a wrong token was refused",
        AuditAction::HostRefused => "A request of a host with a wrong token was refused",
        AuditAction::JoinRefused => "A host with a wrong join token was refused",
        AuditAction::TokenAdded => "Made the token",
        AuditAction::TokenRemoved => "Revoked the token",
        AuditAction::JoinTokenAdded => "Made the join token",
        AuditAction::JoinTokenRemoved => "Took back the join token",
        AuditAction::HostJoined => "A host joined:",
        AuditAction::HostRemoved => "Removed the host",
        AuditAction::DatabaseAdded => "Added the database",
        AuditAction::DatabaseChanged => "Changed settings of the database",
        AuditAction::DatabaseRemoved => "Removed the database",
        AuditAction::LossConfirmed => "Confirmed the loss of addresses of",
    }
}
