//! `/api/v1/resolved`: the resolution of trusted sources.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use dbfw_core::{answers::reason_first, source::SourceKey};
use dbfw_wire::api::{HeldLoss, Resolution, ResolvedList, ResolvedSource};

use super::super::{
    answer::ok,
    app::App,
    auth::Caller,
    error::{ApiError, ErrorId},
};
use crate::{model::Scope, resolve::SourceStatus};

/// Parts of a source that an answer names.
const MAX_PARTS: usize = 20;

type Answer = Result<Response, ApiError>;

/// The sources of all lists. Only for tokens for all databases.
pub(super) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    caller.needs(Scope::DatabaseRead)?;
    caller.needs_all_databases()?;
    let all = app.resolver.all().ok_or_else(not_leading)?;
    ok(&ResolvedList { sources: all.into_iter().map(document).collect() })
}

/// Lets a loss count that is held. It is a loss of every database that has the source.
pub(super) async fn confirm(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer {
    caller.needs(Scope::DatabaseUpdate)?;
    caller.needs_all_databases()?;
    if app.resolver.all().is_none() {
        return Err(not_leading());
    }
    let source = app.resolver.held(&id);
    let source = source.ok_or_else(|| ApiError::new(ErrorId::NotFound, NOT_HELD))?;
    app.service.record_confirmed(&source, &caller.author(None)).await?;
    let confirmed = app.resolver.confirm(&id);
    let status = confirmed.ok_or_else(|| ApiError::new(ErrorId::NotFound, NOT_HELD))?;
    ok(&document(status))
}

/// The error of a server that does not ask.
fn not_leading() -> ApiError {
    let text = "this server does not resolve sources: another one of the store does (dbfw_server_leader \
                is 1 there), or it has just started";
    ApiError::new(ErrorId::ServiceUnavailable, text)
}

const NOT_HELD: &str = "no loss with this id is held: it was confirmed, or is another by now";

fn document(status: SourceStatus) -> ResolvedSource {
    ResolvedSource {
        kind: status.source.kind().to_string(),
        value: status.source.value().to_owned(),
        resolved: resolution(status),
    }
}

/// The resolution of a source; `None`: the server does not resolve it.
pub(crate) fn resolved(app: &App, source: &SourceKey) -> Option<Resolution> {
    app.resolver.status(source).map(resolution)
}

fn resolution(status: SourceStatus) -> Resolution {
    let SourceStatus { prefixes, report, held, .. } = status;
    let part = |(part, why): (String, String)| reason_first(&why, &part);
    Resolution {
        state: report.state.into(),
        prefixes,
        at: report.answered_at,
        error: report.error.map(|error| error.to_string()),
        unresolved: report.unresolved.into_iter().take(MAX_PARTS).map(part).collect(),
        notes: report.notes,
        held: held.map(|(loss, since)| HeldLoss {
            id: loss.id,
            lost: loss.lost,
            of: loss.of,
            since,
        }),
    }
}
