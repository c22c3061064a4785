//! Forms: bounded in size, time and number of fields.

use std::time::Duration;

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use tokio::time::timeout;
use url::form_urlencoded;

use crate::api::{ApiError, ErrorId};

/// Bytes of a form.
const MAX_FORM: usize = 256 << 10;

/// Fields of a form: those of a token, one for each of many databases.
const MAX_FIELDS: usize = 5_100;

/// Time for a form to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The fields that somebody filled in.
#[derive(Clone, Debug, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// A field, without white space around it; empty if it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        let field = self.0.iter().find(|(field, _)| field == name);
        field.map_or("", |(_, value)| value.trim())
    }

    /// A field that is not empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        Some(self.get(name)).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// Every field of a name.
    pub(super) fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The same with a field of another value.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.retain(|(field, _)| field != name);
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        if !is_form(&parts.headers) {
            let message = "a form is sent as application/x-www-form-urlencoded";
            return Err(ApiError::new(ErrorId::BadRequest, message));
        }
        read(body).await
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

async fn read(body: Body) -> Result<Form, ApiError> {
    let bytes = match timeout(PATIENCE, to_bytes(body, MAX_FORM)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let message = "the form is larger than 256 KiB, or was cut short";
            return Err(ApiError::new(ErrorId::PayloadTooLarge, message));
        }
        Err(_) => {
            let message = "the form did not arrive within 10 seconds";
            return Err(ApiError::new(ErrorId::RequestTimeout, message));
        }
    };
    let mut fields = form_urlencoded::parse(&bytes).into_owned();
    let form = Form(fields.by_ref().take(MAX_FIELDS).collect());
    match fields.next() {
        None => Ok(form),
        Some(_) => {
            let message = format!("a form has at most {MAX_FIELDS} fields");
            Err(ApiError::new(ErrorId::PayloadTooLarge, message))
        }
    }
}
