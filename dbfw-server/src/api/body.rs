//! Bodies of requests: bounded in size and time, and read with the place of what is wrong.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use hyper::body::{Frame, SizeHint};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::error::{ApiError, ErrorId};

/// Bytes of a body.
const MAX_BODY: usize = 1 << 20;

/// Time for a body to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that are read of a body for no other reason than that its client hears the answer.
const MAX_DISCARDED: usize = 8 << 20;

/// Time for these to arrive.
const DISCARDING: Duration = Duration::from_secs(2);

/// The body of a request, and what is left of it once the request is answered.
#[derive(Clone, Debug)]
pub(crate) struct Rest(Arc<Mutex<Body>>);

impl Rest {
    /// All of a body.
    pub(crate) fn of(body: Body) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }

    /// Reads what is left, and forgets it. Returns whether that was all.
    pub(crate) async fn discard(mut self) -> bool {
        let all = async {
            let mut left = MAX_DISCARDED;
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
                let length = frame.ok()?.data_ref().map_or(0, Bytes::len);
                left = left.checked_sub(length)?;
            }
            Some(())
        };
        timeout(DISCARDING, all).await.is_ok_and(|all| all.is_some())
    }
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

/// The fields of documents that are objects.
const OBJECTS: [&str; 2] = ["settings", "min_prefix"];

/// The document that a body is.
///
/// # Errors
/// It is too large or too slow, no JSON, or another document: the message names the field.
pub(super) async fn document<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    let bytes = whole(body).await?;
    // Read twice: a `Value` keeps the last of two fields of one name, which the document refuses.
    if let Some(place) = list_for_object(&serde_json::from_slice(&bytes).unwrap_or_default()) {
        let message = format!("{place} is a list, and must be an object: name its fields");
        return Err(ApiError::unprocessable(message));
    }
    parse(&bytes)
}

/// The document that an agent's body is, whose version may be another: it has fields that are not
/// known here, and lists of what it likes.
///
/// # Errors
/// As [`document`].
pub(super) async fn foreign_document<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    parse(&whole(body).await?)
}

/// All of a body.
async fn whole(body: Body) -> Result<Bytes, ApiError> {
    match timeout(PATIENCE, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => {
            let message = "the body is larger than 1 MiB, or was cut short";
            Err(ApiError::new(ErrorId::PayloadTooLarge, message))
        }
        Err(_) => {
            let message = "the body did not arrive within 10 seconds";
            Err(ApiError::new(ErrorId::RequestTimeout, message))
        }
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
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
