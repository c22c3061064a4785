//! An answer before it is bytes, so that faults can still change what it says.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use dbfw_wire::digitalocean::ErrorBody;
use serde::Serialize;
use serde_json::{Value, json};

/// What a body holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Nothing,
    Json(Value),
    Bytes { content_type: String, bytes: Vec<u8> },
}

/// Status, headers and content.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) content: Content,
}

impl Answer {
    /// 200 with JSON.
    pub(super) fn json(value: impl Serialize) -> Self {
        Self::with_status(StatusCode::OK, value)
    }

    /// JSON with another status.
    pub(super) fn with_status(status: StatusCode, value: impl Serialize) -> Self {
        Self { status, headers: Vec::new(), content: Content::Json(json!(value)) }
    }

    /// A status and nothing else: 204, 304.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), content: Content::Nothing }
    }

    /// An error as DigitalOcean writes it: `id`, `message`, and a `request_id` where the API's
    /// examples have one.
    pub(super) fn error(status: StatusCode) -> Self {
        let message = match status.as_u16() {
            400 => "error parsing request body",
            401 => "Unable to authenticate you.",
            403 => "You do not have permission to perform this action.",
            404 => "The resource you requested could not be found.",
            409 => "The request could not be completed due to a conflict.",
            422 => "request payload validation failed",
            429 => "API rate limit exceeded.",
            _ => "Unexpected server-side error",
        };
        Self::error_with(status, message)
    }

    fn error_with(status: StatusCode, message: &str) -> Self {
        let id = match status.as_u16() {
            400 => "bad_request",
            401 => "unauthorized",
            403 => "forbidden",
            404 => "not_found",
            409 => "conflict",
            422 => "unprocessable_entity",
            429 => "too_many_requests",
            _ => "server_error",
        };
        let request_id = matches!(status.as_u16(), 400 | 422)
            .then(|| "4851a473-1621-42ea-b2f9-5071c0ea8414".to_owned());
        let (id, message) = (id.to_owned(), message.to_owned());
        Self::with_status(status, ErrorBody { id, message, request_id })
    }

    /// An error as Aptible writes it.
    pub(super) fn error_of_aptible(code: u16) -> Self {
        let (status, id, message) = match code {
            401 => (StatusCode::UNAUTHORIZED, "unauthorized", "Invalid token"),
            _ => (StatusCode::NOT_FOUND, "not_found", "Resource not found"),
        };
        let code = status.as_u16();
        Self::with_status(status, json!({ "code": code, "error": id, "message": message }))
    }

    /// 422 that says what is wrong.
    pub(super) fn unprocessable(message: &str) -> Self {
        Self::error_with(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// 404.
    pub(super) fn not_found() -> Self {
        Self::error(StatusCode::NOT_FOUND)
    }

    /// Adds a header whose value is plain text.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The JSON of a successful answer.
    pub(super) fn json_mut(&mut self) -> Option<&mut Value> {
        match &mut self.content {
            Content::Json(value) if self.status.is_success() => Some(value),
            _ => None,
        }
    }

    /// Adds the ETag of what it holds, or turns it into a 304 for who has that already.
    pub(super) fn validate(self, if_none_match: Option<&str>) -> Self {
        let Content::Json(value) = &self.content else { return self };
        let etag = format!("\"{:016x}\"", fingerprint(value.to_string().as_bytes()));
        let answer = match if_none_match == Some(etag.as_str()) {
            true => Self::empty(StatusCode::NOT_MODIFIED),
            false => self,
        };
        answer.header(header::ETAG, &etag)
    }
}

/// FNV-1a: the same in every run, unlike the standard library's hasher.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}
