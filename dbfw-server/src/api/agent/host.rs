//! [`HostCaller`]: the host that a request comes from.

use std::sync::Arc;

use axum::{extract::FromRequestParts, http::request::Parts};
use dbfw_wire::agent::HostToken;
use jiff::Timestamp;

use super::super::{
    app::App,
    auth::{bearer, too_many, unauthorized},
    connection::{Connection, Peer},
    error::ApiError,
    finish::RateSlot,
    tally::Login,
};
use crate::{
    model::{AuditAction, Host, Via},
    service::ServiceError,
};

/// A host, by its token. There is no other way: not even on the admin socket.
#[derive(Clone, Debug)]
pub(super) struct HostCaller(pub(super) Host);

impl FromRequestParts<Arc<App>> for HostCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let now = Timestamp::now().as_second();
        let token = bearer(&parts.headers).and_then(|text| text.parse::<HostToken>().ok());
        let host = match token {
            Some(token) => match app.service.authenticate_host(&token).await {
                // Agents go on without the store: what was last known of the host counts.
                Err(error @ ServiceError::Store(_)) => {
                    let known = app.fleet.host(token.host).filter(|host| host.has(&token));
                    Some(known.ok_or(error)?)
                }
                found => found?,
            },
            None => None,
        };
        let Some(host) = host else {
            app.tally.refused(Login::Host);
            let connection = parts.extensions.get::<Arc<Connection>>();
            let address = match connection.map(|connection| connection.peer()) {
                Some(Peer::Network(address)) => address,
                _ => return Err(unauthorized()),
            };
            app.service.record_refusal(AuditAction::HostRefused, Via::Api, address);
            let counted = app.rates.count_refused(address, now);
            return Err(
                counted.map_or_else(|exhausted| too_many(exhausted, now), |()| unauthorized())
            );
        };
        let slot = parts.extensions.get::<RateSlot>().cloned().unwrap_or_default();
        match app.rates.count(host.id, now) {
            Ok(rate) => slot.set(rate),
            Err(exhausted) => {
                slot.set(exhausted.0);
                return Err(too_many(exhausted, now));
            }
        }
        Ok(Self(host))
    }
}
