//! [`Visitor`]: somebody who is logged in.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Method, header, request::Parts},
    response::{IntoResponse as _, Redirect, Response},
};
use jiff::Timestamp;
use url::form_urlencoded;

use super::{
    frame,
    guard::{Known, is_cross_site},
    state::Panel,
};
use crate::{
    api::{ApiError, Caller, Connection, ErrorId, Peer, too_many},
    model::{Database, Scope, SessionSecret},
};

/// The name of the cookie. Browsers keep one with this prefix for the host alone, and only if it is
/// sent over TLS.
pub(super) const COOKIE: &str = "__Host-dbfw";

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) caller: Caller,
    /// The name of the token.
    pub(super) name: String,
    /// The address that the browser, or a proxy, comes from.
    pub(super) address: IpAddr,
    pub(super) session: SessionSecret,
}

impl Visitor {
    /// Whether the visitor may do this with a database.
    pub(super) fn may(&self, scope: Scope, database: &Database) -> bool {
        self.caller.may(scope) && self.caller.sees(database.id)
    }

    /// Whether the visitor may do what concerns all databases.
    pub(super) fn may_with_all(&self, scope: Scope) -> bool {
        self.caller.may(scope) && self.caller.needs_all_databases().is_ok()
    }
}

impl FromRequestParts<Arc<Panel>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, panel: &Arc<Panel>) -> Result<Self, Response> {
        let (connection, address) = peer(parts).map_err(ApiError::into_response)?;
        let Some(session) = session(&parts.headers) else { return Err(stranger(panel, parts)) };
        let found = panel.service().session(&session).await;
        let Some(token) = found.map_err(|error| ApiError::from(error).into_response())? else {
            return Err(stranger(panel, parts));
        };
        let now = Timestamp::now().as_second();
        if let Err(exhausted) = panel.app.rates.count(token.id, now) {
            return Err(too_many(exhausted, now).into_response());
        }
        if let Some(known) = parts.extensions.get::<Known>() {
            known.set();
        }
        let name = token.name.clone();
        let caller = Caller::of_session(token, address, connection, &parts.headers);
        Ok(Self { caller, name, address, session })
    }
}

/// The connection of a request from the network, and its address.
///
/// # Errors
/// It came by the admin socket, which has no panel.
pub(super) fn peer(parts: &Parts) -> Result<(Arc<Connection>, IpAddr), ApiError> {
    let connection = parts.extensions.get::<Arc<Connection>>().cloned();
    let connection = connection.ok_or_else(ApiError::unavailable)?;
    match connection.peer() {
        Peer::Network(address) => Ok((connection, address)),
        Peer::Local { .. } => Err(ApiError::new(ErrorId::NotFound, "there is no such page")),
    }
}

/// The secret of the session that a browser sends.
fn session(headers: &HeaderMap) -> Option<SessionSecret> {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    let cookies = cookies.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';'));
    let mut own = cookies.filter_map(|cookie| cookie.trim().split_once('='));
    own.find(|(name, _)| *name == COOKIE).and_then(|(_, value)| SessionSecret::parse(value))
}

/// The answer for somebody who is not logged in, or not any more.
fn stranger(panel: &Panel, parts: &Parts) -> Response {
    let is_read = [Method::GET, Method::HEAD].contains(&parts.method);
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    if !is_read {
        let message = "your session has ended: log in, and do it again";
        return ApiError::new(ErrorId::Forbidden, message).into_response();
    }
    if is_cross_site(&parts.headers) && !parts.headers.contains_key(header::COOKIE) {
        // The browser may have a cookie and keep it from links of other sites. A page of the panel
        // that leads to the same place gets it.
        return frame::of_link(panel, path);
    }
    let next: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
    let login = if path == "/" { "/login".to_owned() } else { format!("/login?next={next}") };
    Redirect::to(&login).into_response()
}
