//! `/api/v1/audit`: the history of the fleet.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use dbfw_wire::api::{AuditDocument, AuditList};
use jiff::Timestamp;

use super::super::{answer::ok, app::App, auth::Caller, error::ApiError, query::query_value};
use crate::model::{AuditEntry, By, Scope};

/// Entries of an answer.
const MAX_ENTRIES: usize = 100;

pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    caller.needs(Scope::AuditRead)?;
    // Entries are about the fleet as a whole.
    caller.needs_all_databases()?;
    let before = match query_value(query.as_deref(), "before") {
        None => None,
        Some(text) => Some(text.parse::<Timestamp>().map_err(|_| {
            ApiError::unprocessable("before: is no time; write ?before=2026-01-31T00:00:00Z")
        })?),
    };
    let limit = match query_value(query.as_deref(), "limit") {
        None => MAX_ENTRIES,
        Some(text) => text
            .parse::<usize>()
            .map_err(|_| ApiError::unprocessable("limit: is no number; write ?limit=20"))?,
    };
    let entries = app.service.audit(before, limit.min(MAX_ENTRIES)).await?;
    ok(&AuditList { entries: entries.into_iter().map(shown).collect() })
}

fn shown(entry: AuditEntry) -> AuditDocument {
    let AuditEntry { at, action, by, via, from, subject } = entry;
    let token = match &by {
        Some(By::Token { id, .. }) => Some(*id),
        _ => None,
    };
    AuditDocument {
        at,
        action: action.as_str().to_owned(),
        by: by.map(|by| by.name()),
        token,
        via: via.as_str().to_owned(),
        from,
        subject,
    }
}
