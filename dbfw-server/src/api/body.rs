//! Bodies of requests: bounded in size and time, and read with the place of what is wrong.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::error::{ApiError, ErrorId};

/// Bytes of a body.
const MAX_BODY: usize = 1 << 20;

/// Time for a body to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The document that a body is.
///
/// # Errors
/// It is too large or too slow, no JSON, or another document: the message names the field.
pub(super) async fn document<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    let bytes = match timeout(PATIENCE, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let message = "the body is larger than 1 MiB, or was cut short";
            return Err(ApiError::new(ErrorId::PayloadTooLarge, message));
        }
        Err(_) => {
            let message = "the body did not arrive within 10 seconds";
            return Err(ApiError::new(ErrorId::RequestTimeout, message));
        }
    };
    let mut reader = serde_json::Deserializer::from_slice(&bytes);
    let document = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.inner();
        match inner.is_data() {
            true => {
                let place = if path == "." { String::new() } else { format!("{path}: ") };
                ApiError::unprocessable(format!("{place}{inner}"))
            }
            false => not_json(inner),
        }
    })?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(document)
}

fn not_json(error: &serde_json::Error) -> ApiError {
    ApiError::new(ErrorId::BadRequest, format!("error parsing request body: {error}"))
}
