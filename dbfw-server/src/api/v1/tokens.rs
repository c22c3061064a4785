//! `/api/v1/tokens`.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use dbfw_core::source::{Expiry, ParseError};
use dbfw_wire::api::{IssuedToken, TokenDocument, TokenList, TokenRequest};
use jiff::Timestamp;
use uuid::Uuid;

use super::super::{
    answer::{json, ok},
    app::App,
    auth::Caller,
    body::document,
    error::{ApiError, ErrorId},
};
use crate::{
    model::{Databases, Preset, Scope, Secret, Token, UnknownScope},
    service::{NewToken, ServiceError},
};

type Answer = Result<Response, ApiError>;

/// Every token, for a caller who may see them.
pub(crate) async fn tokens(app: &App, caller: &Caller) -> Result<Vec<Token>, ApiError> {
    caller.needs(Scope::TokenRead)?;
    caller.needs_all_databases()?;
    Ok(app.service.tokens().await?)
}

pub(super) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    let tokens = tokens(&app, &caller).await?;
    ok(&TokenList { tokens: tokens.iter().map(shown).collect() })
}

pub(super) async fn add(State(app): State<Arc<App>>, caller: Caller, body: Body) -> Answer {
    caller.needs(Scope::TokenCreate)?;
    let request: TokenRequest = document(body).await?;
    let (token, secret) = issue(&app, &caller, request).await?;
    let issued = IssuedToken { token: shown(&token), secret: secret.expose().to_owned() };
    json(StatusCode::CREATED, &issued)
}

/// Makes a token that may do no more than the caller, and ends no later.
pub(crate) async fn issue(
    app: &App,
    caller: &Caller,
    request: TokenRequest,
) -> Result<(Token, Secret), ApiError> {
    caller.needs(Scope::TokenCreate)?;
    let scopes = scopes(&request)?;
    let databases = match &request.databases {
        None => Databases::All,
        Some(named) => Databases::Only(caller.named_databases(app, named).await?),
    };
    caller.may_pass_on(scopes.iter(), &databases)?;
    let expires_at = expiry(request.expires_at.as_deref())?;
    let expires_at = match caller.token().and_then(|own| own.expires_at) {
        Some(own) if request.expires_at.is_none() => Some(own),
        Some(own) if expires_at.is_none_or(|at| at > own) => {
            let reason = "is after the end of the token that you make it with";
            let fix = format!("use {own} or before");
            return Err(ServiceError::field("expires_at", reason, fix).into());
        }
        _ => expires_at,
    };
    let new = NewToken { name: request.name, scopes, databases, expires_at };
    Ok(app.service.add_token(&new, &caller.author(None)).await?)
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer {
    revoke(&app, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Revokes a token.
pub(crate) async fn revoke(app: &App, caller: &Caller, id: &str) -> Result<(), ApiError> {
    caller.needs(Scope::TokenDelete)?;
    caller.needs_all_databases()?;
    let no_token = || ApiError::new(ErrorId::NotFound, ServiceError::NoToken.to_string());
    let id: Uuid = id.parse().map_err(|_| no_token())?;
    Ok(app.service.remove_token(id, &caller.author(None)).await?)
}

fn scopes(request: &TokenRequest) -> Result<BTreeSet<Scope>, ServiceError> {
    let mut scopes = BTreeSet::new();
    if let Some(preset) = &request.preset {
        let preset: Preset = preset.parse().map_err(|_| {
            let reason = format!("{:?} is no preset", cut(preset));
            ServiceError::field("preset", reason, "use viewer, editor or admin")
        })?;
        scopes.extend(preset.scopes());
    }
    for scope in &request.scopes {
        let scope = scope.parse().map_err(|error: UnknownScope| {
            ServiceError::field("scopes", error.to_string(), "use some of these")
        })?;
        scopes.insert(scope);
    }
    Ok(scopes)
}

fn expiry(text: Option<&str>) -> Result<Option<Timestamp>, ServiceError> {
    let Some(text) = text else { return Ok(None) };
    let expiry: Expiry = text.parse().map_err(|error: ParseError| {
        ServiceError::field("expires_at", error.to_string(), error.fix())
    })?;
    Ok(expiry.moment())
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

fn shown(token: &Token) -> TokenDocument {
    TokenDocument {
        id: token.id,
        name: token.name.clone(),
        begins_with: token.begins_with.clone(),
        scopes: token.scopes.iter().map(ToString::to_string).collect(),
        databases: match &token.databases {
            Databases::All => None,
            Databases::Only(ids) => Some(ids.iter().copied().collect()),
        },
        expires_at: token.expires_at,
        created_at: token.created_at,
        created_by: token.created_by.clone(),
        last_used: token.last_used,
    }
}
