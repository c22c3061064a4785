//! `/api/v1/databases/{id}/sources` and `…/changes`.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use dbfw_core::{
    misleads,
    source::{GrammarError, TrustedSource},
    toml::parse_duration,
};
use dbfw_wire::api::{
    ChangeDocument, Changes, EditedSource, RevertRequest, Reverted, SourceDocument, SourceList,
    SourcePatch, SourceRequest, SourcesRequest,
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    super::{
        answer::{json, ok},
        app::App,
        auth::Caller,
        body::document,
        enforced::{enforced, tell},
        error::{ApiError, ErrorId},
        query::query_value,
        v2::{if_match, setting, tagged},
    },
    resolved::resolved,
};
use crate::{
    fleet::Enforcement,
    list::{Edit, Edited, List, Rule, Setting, Wanted, read, read_description, read_expiry},
    model::{By, Change, Database, Scope},
    service::{Changed, ETag, Request, ServiceError},
};

/// Bytes of a reason.
const MAX_REASON: usize = 256;

/// Changes that one answer has at most.
const MAX_CHANGES: usize = 100;

type Answer = Result<Response, ApiError>;

pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer {
    let database = caller.database(&app, &id, Scope::DatabaseRead).await?;
    let stored = app.service.list(database.id).await?;
    listed(&app, &database, &stored.list, &stored.tag)
}

/// 201, or 200 if the source was there.
pub(super) async fn add(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let database = caller.database(&app, &id, Scope::DatabaseUpdate).await?;
    let request: SourceRequest = document(body).await?;
    let reason = reason(request.reason.clone())?;
    let wanted = wanted(request)?;
    let key = wanted.key.clone();
    let edit = Edit::Add(wanted);
    let (changed, enforcement) = make(&app, &caller, &database, &headers, edit, reason).await?;
    let rule = changed.list.rules.iter().find(|rule| rule.key == key);
    let rule = rule.ok_or_else(ApiError::unavailable)?;
    let is_new = changed.difference.added.iter().any(|placed| placed.rule.uuid == rule.uuid);
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = json(status, &source(rule))?;
    tagged(&mut response, &changed.tag);
    tell(&mut response, &enforcement);
    Ok(response)
}

pub(super) async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let database = caller.database(&app, &id, Scope::DatabaseUpdate).await?;
    let condition = if_match(&headers).ok_or_else(|| {
        let message = "replacing the list needs If-Match with the ETag that was read";
        ApiError::new(ErrorId::PreconditionRequired, message)
    })?;
    let SourcesRequest { sources, reason: why } = document(body).await?;
    let author = caller.author(reason(why)?);
    let wanted = sources.into_iter().map(wanted).collect::<Result<_, _>>()?;
    let request = Request::Replace { wanted, base: None };
    let changed = app.service.change(database.id, &request, Some(&condition), &author).await?;
    let enforcement = enforced(&app, &database, &changed).await;
    let mut response = listed(&app, &database, &changed.list, &changed.tag)?;
    tell(&mut response, &enforcement);
    Ok(response)
}

pub(super) async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((id, uuid)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let database = caller.database(&app, &id, Scope::DatabaseUpdate).await?;
    let uuid = rule_id(&uuid)?;
    let patch: SourcePatch = document(body).await?;
    let why = reason(patch.reason.clone())?;
    let change = described(uuid, patch)?;
    let (changed, enforcement) = make(&app, &caller, &database, &headers, change, why).await?;
    let rule = changed.list.rules.iter().find(|rule| rule.uuid == uuid);
    let mut response = ok(&source(rule.ok_or_else(ApiError::unavailable)?))?;
    tagged(&mut response, &changed.tag);
    tell(&mut response, &enforcement);
    Ok(response)
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((id, uuid)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let database = caller.database(&app, &id, Scope::DatabaseUpdate).await?;
    let change = Edit::Remove(rule_id(&uuid)?);
    let why = reason(query_value(query.as_deref(), "reason"))?;
    let (changed, enforcement) = make(&app, &caller, &database, &headers, change, why).await?;
    removed(&changed, &enforcement)
}

/// `?source=ip_addr:192.0.2.1`.
pub(super) async fn remove_by_value(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let database = caller.database(&app, &id, Scope::DatabaseUpdate).await?;
    let Some(named) = query_value(query.as_deref(), "source") else {
        let message = "source: is missing; add ?source=ip_addr:192.0.2.1";
        return Err(ApiError::unprocessable(message));
    };
    let named: TrustedSource = named.parse().map_err(|error: GrammarError| {
        ServiceError::field("source", error.to_string(), error.fix())
    })?;
    let change = Edit::RemoveSource(named.key().clone());
    let why = reason(query_value(query.as_deref(), "reason"))?;
    let (changed, enforcement) = make(&app, &caller, &database, &headers, change, why).await?;
    removed(&changed, &enforcement)
}

/// `?before=VERSION&limit=N`.
pub(super) async fn changes(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let database = caller.database(&app, &id, Scope::AuditRead).await?;
    let number = |name: &'static str| match query_value(query.as_deref(), name) {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| {
            ApiError::unprocessable(format!("{name}: is no number; write ?{name}=20"))
        }),
    };
    let limit = number("limit")?.and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.unwrap_or(MAX_CHANGES).min(MAX_CHANGES);
    let found = app.service.changes(database.id, number("before")?, limit).await?;
    ok(&Changes { changes: found.into_iter().map(shown).collect() })
}

pub(super) async fn revert(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((id, version)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let database = caller.database(&app, &id, Scope::DatabaseUpdate).await?;
    let no_version = || ApiError::new(ErrorId::NotFound, "the history has no such version");
    let version: u64 = version.parse().map_err(|_| no_version())?;
    let RevertRequest { reason: why } = document(body).await?;
    let (condition, author) = (if_match(&headers), caller.author(reason(why)?));
    let request = Request::Revert(version);
    let changed = app.service.change(database.id, &request, condition.as_ref(), &author).await?;
    let enforcement = enforced(&app, &database, &changed).await;
    let mut response = ok(&Reverted { version: changed.list.version })?;
    tagged(&mut response, &changed.tag);
    tell(&mut response, &enforcement);
    Ok(response)
}

/// Makes a change of single sources, and waits for the hosts.
async fn make(
    app: &App,
    caller: &Caller,
    database: &Database,
    headers: &HeaderMap,
    edit: Edit,
    reason: Option<String>,
) -> Result<(Changed, Enforcement), ApiError> {
    let (condition, author) = (if_match(headers), caller.author(reason));
    let request = Request::Edit(edit);
    let changed = app.service.change(database.id, &request, condition.as_ref(), &author).await?;
    let enforcement = enforced(app, database, &changed).await;
    Ok((changed, enforcement))
}

fn listed(app: &App, database: &Database, list: &List, tag: &ETag) -> Answer {
    let uses = app.fleet.uses(database.id);
    let used = |rule: &Rule| {
        let used = uses.get(&rule.uuid).copied().unwrap_or_default();
        SourceDocument {
            hits: Some(used.packets),
            last_hit: used.last_hit,
            resolved: resolved(app, &rule.key),
            ..source(rule)
        }
    };
    let sources = list.rules.iter().map(used).collect();
    let mut response = ok(&SourceList { version: list.version, sources })?;
    tagged(&mut response, tag);
    Ok(response)
}

fn removed(changed: &Changed, enforcement: &Enforcement) -> Answer {
    let mut response = StatusCode::NO_CONTENT.into_response();
    tagged(&mut response, &changed.tag);
    tell(&mut response, enforcement);
    Ok(response)
}

/// The source that a request adds.
pub(crate) fn wanted(request: SourceRequest) -> Result<Wanted, ServiceError> {
    let SourceRequest { kind, value, description, expires_at, lifetime, reason: _ } = request;
    let end = lifetime_end(lifetime.as_deref(), expires_at.is_some())?;
    let read = read(&kind, &value, setting(description), &setting(expires_at));
    let mut wanted = read.map_err(|violation| ServiceError::Invalid(vec![violation]))?;
    if let Some(end) = end {
        wanted.expires_at = Setting::Set(end);
    }
    Ok(wanted)
}

/// The change of a rule that a request is.
pub(crate) fn described(uuid: Uuid, patch: SourcePatch) -> Result<Edit, ServiceError> {
    let SourcePatch { description, expires_at, lifetime, reason: _ } = patch;
    let invalid = |violation| ServiceError::Invalid(vec![violation]);
    let description = read_description(setting(description)).map_err(invalid)?;
    let expires_at = match lifetime_end(lifetime.as_deref(), expires_at.is_some())? {
        Some(end) => Setting::Set(end),
        None => read_expiry(&setting(expires_at)).map_err(invalid)?,
    };
    Ok(Edit::Describe { uuid, description, expires_at })
}

/// The end of a lifetime that begins now.
fn lifetime_end(lifetime: Option<&str>, has_end: bool) -> Result<Option<Timestamp>, ServiceError> {
    let Some(text) = lifetime else { return Ok(None) };
    if has_end {
        let fix = "leave one of them out";
        return Err(ServiceError::field("for", "does not go with expires_at", fix));
    }
    let bad = |reason: String| ServiceError::field("for", reason, "write it like 1h or 7d");
    let lifetime = parse_duration(text).map_err(|error| bad(error.to_string()))?;
    let end = Timestamp::now().checked_add(lifetime).ok().filter(|_| lifetime.is_positive());
    end.map(Some).ok_or_else(|| bad("is no time to come".to_owned()))
}

/// The reason for a change, for the history.
pub(crate) fn reason(text: Option<String>) -> Result<Option<String>, ServiceError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.len() > MAX_REASON || text.chars().any(|c| c.is_control() || misleads(c)) {
        let fix = format!("use at most {MAX_REASON} bytes on one line");
        return Err(ServiceError::field("reason", "cannot be shown", fix));
    }
    Ok(Some(text))
}

fn rule_id(text: &str) -> Result<Uuid, ApiError> {
    let no_rule = || ApiError::new(ErrorId::NotFound, "the list has no such trusted source");
    text.parse().map_err(|_| no_rule())
}

fn source(rule: &Rule) -> SourceDocument {
    SourceDocument {
        uuid: rule.uuid,
        kind: rule.key.kind().to_string(),
        value: rule.key.value().to_owned(),
        description: rule.details.description.clone(),
        expires_at: rule.details.expires_at,
        created_at: rule.created_at,
        created_by: rule.created_by.clone(),
        hits: None,
        last_hit: None,
        resolved: None,
    }
}

fn shown(change: Change) -> ChangeDocument {
    let token = match &change.by {
        By::Token { id, .. } => Some(*id),
        By::User { .. } | By::Expiry => None,
    };
    let edited = |Edited { uuid, before, after }: Edited| EditedSource {
        uuid,
        description_before: before.description,
        description: after.description,
        expires_at_before: before.expires_at,
        expires_at: after.expires_at,
    };
    ChangeDocument {
        version: change.version,
        at: change.at,
        by: change.by.name(),
        token,
        via: change.via.to_string(),
        agent: change.agent,
        from: change.from,
        reason: change.reason,
        reverts_to: change.reverts_to,
        merged: change.merged.map_or(0, |kept| kept.added + kept.removed),
        added: change.difference.added.iter().map(|placed| source(&placed.rule)).collect(),
        removed: change.difference.removed.iter().map(|placed| source(&placed.rule)).collect(),
        edited: change.difference.edited.into_iter().map(edited).collect(),
        previous_sha256: change.previous_sha256,
    }
}
