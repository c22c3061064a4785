//! Streams of lists.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use dbfw_wire::agent::Hello;

use super::{
    super::{
        app::App,
        body::foreign_document,
        connection::Streaming,
        error::{ApiError, ErrorId},
    },
    host::HostCaller,
};
use crate::fleet::StreamError;

/// Seconds after which an agent that found no room comes back.
const NO_ROOM: u64 = 30;

/// Tells a proxy to hand on what it gets.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(super) async fn watch(
    State(app): State<Arc<App>>,
    HostCaller(host): HostCaller,
    body: Body,
) -> Result<Response, ApiError> {
    let hello: Hello = foreign_document(body).await?;
    let stream = app.fleet.open(&host, &hello).await.map_err(|error| {
        let message = error.to_string();
        match error {
            StreamError::Full => {
                ApiError::new(ErrorId::ServiceUnavailable, message).retry_after(NO_ROOM)
            }
            StreamError::Stopping => {
                ApiError::new(ErrorId::ServiceUnavailable, message).retry_after(1)
            }
            StreamError::Removed => ApiError::new(ErrorId::Unauthorized, message),
            StreamError::Hello(_) => ApiError::unprocessable(message),
        }
    })?;
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (ACCEL_BUFFERING, "no")];
    let mut response = (StatusCode::OK, headers, Body::new(stream.start())).into_response();
    response.extensions_mut().insert(Streaming);
    Ok(response)
}
