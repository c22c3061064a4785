//! Bodies of requests: bounded in size and time, and read with the place of what is wrong.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::error::{ApiError, ErrorId};

/// Bytes of a body.
const MAX_BODY: usize = 1 << 20;

/// Time for a body to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The fields of documents that are objects.
const OBJECTS: [&str; 2] = ["settings", "min_prefix"];

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
    if let Some(place) = list_for_object(&serde_json::from_slice(&bytes).unwrap_or_default()) {
        let message = format!("{place} is a list, and must be an object: name its fields");
        return Err(ApiError::unprocessable(message));
    }
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

/// The place of a list where the documents have an object: serde takes one for the other, field by
/// field.
fn list_for_object(document: &Value) -> Option<String> {
    let fields = match document {
        Value::Array(_) => return Some("the document".to_owned()),
        Value::Object(fields) => fields,
        _ => return None,
    };
    fields.iter().find_map(|(name, value)| match value {
        Value::Array(_) if OBJECTS.contains(&&**name) => Some(name.clone()),
        Value::Array(items) => {
            let at = items.iter().position(Value::is_array)?;
            Some(format!("{name}[{at}]"))
        }
        Value::Object(_) => list_for_object(value).map(|place| format!("{name}.{place}")),
        _ => None,
    })
}

fn not_json(error: &serde_json::Error) -> ApiError {
    ApiError::new(ErrorId::BadRequest, format!("error parsing request body: {error}"))
}
