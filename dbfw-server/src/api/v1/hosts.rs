//! `/api/v1/hosts` and `/api/v1/join-tokens`.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use dbfw_core::toml::parse_duration;
use dbfw_wire::api::{
    HostDocument, HostList, IssuedJoinToken, JoinTokenDocument, JoinTokenList, JoinTokenRequest,
    LiveHost,
};
use jiff::SignedDuration;
use uuid::Uuid;

use super::super::{
    answer::{json, ok},
    app::App,
    auth::Caller,
    body::document,
    error::{ApiError, ErrorId},
};
use crate::{
    model::{Host, JoinGrant, Scope},
    service::{NewJoinToken, ServiceError},
};

/// Lifetime of a join token that names none.
const USUAL_LIFETIME: SignedDuration = SignedDuration::from_hours(1);

type Answer = Result<Response, ApiError>;

pub(super) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    caller.needs(Scope::HostRead)?;
    let hosts = app.service.hosts().await?;
    let mut live = app.fleet.live_hosts();
    let shown = |host: &Host| {
        let live = live.remove(&host.id).unwrap_or_default();
        shown(&caller, host, live)
    };
    ok(&HostList { hosts: hosts.iter().filter_map(shown).collect() })
}

/// Removes a host. A token for some databases removes only hosts that read no other.
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer {
    caller.needs(Scope::HostDelete)?;
    let no_host = || ServiceError::NoHost;
    let id: Uuid = id.parse().map_err(|_| no_host())?;
    let host = app
        .service
        .host(id)
        .await?
        .filter(|host| caller.sees_any(&host.databases))
        .ok_or_else(no_host)?;
    caller.needs_databases(&host.databases)?;
    app.service.remove_host(id, &caller.author(None)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn join_tokens(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    caller.needs(Scope::HostRead)?;
    let grants = app.service.join_tokens().await?.into_iter();
    let seen = grants.filter(|grant| caller.sees_any(&grant.databases));
    ok(&JoinTokenList { join_tokens: seen.map(|grant| granted(&caller, &grant)).collect() })
}

pub(super) async fn add_join_token(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body,
) -> Answer {
    caller.needs(Scope::HostCreate)?;
    let JoinTokenRequest { databases, uses, lifetime } = document(body).await?;
    let databases = caller.named_databases(&app, &databases).await?;
    let lifetime = match lifetime {
        None => USUAL_LIFETIME,
        Some(text) => parse_duration(&text).map_err(|error| {
            ServiceError::field("for", error.to_string(), "write it like 1h or 7d")
        })?,
    };
    let new = NewJoinToken { databases, uses: uses.unwrap_or(1), lifetime };
    let pin = app.settings.authority.as_ref().map(|authority| authority.pin);
    let (grant, token) = app.service.add_join_token(&new, pin, &caller.author(None)).await?;
    let issued = IssuedJoinToken {
        join_token: granted(&caller, &grant),
        secret: token.reveal(),
        url: app.settings.url.clone(),
    };
    json(StatusCode::CREATED, &issued)
}

pub(super) async fn remove_join_token(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer {
    caller.needs(Scope::HostDelete)?;
    let no_token = || ApiError::new(ErrorId::NotFound, ServiceError::NoToken.to_string());
    let id: Uuid = id.parse().map_err(|_| no_token())?;
    let found = app.service.join_tokens().await?.into_iter().find(|grant| grant.id == id);
    let grant = found.filter(|grant| caller.sees_any(&grant.databases)).ok_or_else(no_token)?;
    caller.needs_databases(&grant.databases)?;
    app.service.remove_join_token(id, &caller.author(None)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A host as the caller sees it: with those of its databases that the caller's token is for.
fn shown(caller: &Caller, host: &Host, mut live: LiveHost) -> Option<HostDocument> {
    live.retain_databases(|id| caller.sees(id));
    let databases = host.databases.iter().copied();
    let databases: Vec<Uuid> = databases.filter(|id| caller.sees(*id)).collect();
    (!databases.is_empty()).then(|| HostDocument {
        id: host.id,
        name: host.name.clone(),
        databases,
        joined_at: host.joined_at,
        joined_by: host.joined_by.clone(),
        last_seen: host.last_seen,
        live,
    })
}

fn granted(caller: &Caller, grant: &JoinGrant) -> JoinTokenDocument {
    JoinTokenDocument {
        id: grant.id,
        databases: grant.databases.iter().copied().filter(|id| caller.sees(*id)).collect(),
        uses: grant.uses,
        expires_at: grant.expires_at,
        created_at: grant.created_at,
        created_by: grant.created_by.clone(),
    }
}
