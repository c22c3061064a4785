//! Joining: a join token for a host's own.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Extension, State},
    http::StatusCode,
    response::Response,
};
use dbfw_wire::agent::{JoinRequest, JoinToken, JoinTokenError, Joined};
use jiff::Timestamp;

use super::super::{
    answer::json,
    app::App,
    auth::too_many,
    body::document,
    connection::{Connection, Peer},
    error::{ApiError, ErrorId},
    tally::Login,
};
use crate::{
    model::{AuditAction, Via},
    service::ServiceError,
};

pub(super) async fn join(
    State(app): State<Arc<App>>,
    Extension(connection): Extension<Arc<Connection>>,
    body: Body,
) -> Result<Response, ApiError> {
    let address = match connection.peer() {
        Peer::Network(address) => Some(address),
        Peer::Local { .. } => None,
    };
    let request: JoinRequest = document(body).await?;
    let refused = |error: ApiError| {
        app.tally.refused(Login::Join);
        let (Some(address), now) = (address, Timestamp::now().as_second()) else { return error };
        app.service.record_refusal(AuditAction::JoinRefused, Via::Api, address);
        let counted = app.rates.count_refused(address, now);
        counted.map_or_else(|exhausted| too_many(exhausted, now), |()| error)
    };
    let token: JoinToken = request.token.parse().map_err(|error: JoinTokenError| {
        refused(ApiError::new(ErrorId::Unauthorized, error.to_string()))
    })?;
    let joined = app.service.join(&token, &request.hostname, address).await;
    let (host, token, databases) = joined.map_err(|error| match error {
        ServiceError::NotLetIn => refused(error.into()),
        error => error.into(),
    })?;
    let authority = app.settings.authority.as_ref();
    json(
        StatusCode::CREATED,
        &Joined {
            host: host.id,
            token: token.reveal(),
            ca: authority.map(|authority| authority.pem.clone()).unwrap_or_default(),
            server: app.settings.name.clone(),
            databases: databases.iter().map(|database| database.name.to_string()).collect(),
        },
    )
}
