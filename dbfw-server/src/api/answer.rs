//! Answers: JSON, and none.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use super::error::ApiError;

/// A document.
pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Result<Response, ApiError> {
    let bytes = serde_json::to_vec(document).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written");
        ApiError::unavailable()
    })?;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

/// A document that was asked for.
pub(super) fn ok(document: &impl Serialize) -> Result<Response, ApiError> {
    json(StatusCode::OK, document)
}
