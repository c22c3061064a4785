//! Options of a request, and the headers that carry them.

use dbfw_core::answers::{Cause, FetchError};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};

/// Bytes of an ETag or a date worth sending back.
pub(super) const MAX_VALIDATOR: usize = 1024;

/// Options of a request.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Sent as `Authorization: Bearer`; an error together with [`Redirects::Follow`](super::Redirects::Follow).
    pub bearer: Option<&'a SecretString>,
    /// The media type, "application/json".
    pub accept: &'a str,
    /// Bytes the body may have.
    pub max_bytes: u64,
    /// Of the last answer: a server that has nothing newer answers 304.
    pub validators: Option<&'a Validators>,
}

/// By what a server tells whether something changed, as it sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

/// The headers of a request.
///
/// # Errors
/// [`Cause::Unauthorized`]: the token has characters that no header can carry.
pub(super) fn headers(options: &Options<'_>) -> Result<HeaderMap, FetchError> {
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(header::ACCEPT, options.accept);
    set(header::ACCEPT_ENCODING, "identity");
    if let Some(Validators { etag, last_modified }) = options.validators {
        let sendable = |value: &Option<String>| value.clone().filter(|v| v.len() <= MAX_VALIDATOR);
        if let Some(etag) = sendable(etag) {
            set(header::IF_NONE_MATCH, &etag);
        }
        if let Some(date) = sendable(last_modified) {
            set(header::IF_MODIFIED_SINCE, &date);
        }
    }
    if let Some(token) = options.bearer {
        let text = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            FetchError::new(
                Cause::Unauthorized,
                "the token has characters that cannot be sent: check the token file",
            )
        })?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Ok(headers)
}

/// Whether 304 can be the answer.
pub(super) fn is_conditional(headers: &HeaderMap) -> bool {
    headers.contains_key(header::IF_NONE_MATCH) || headers.contains_key(header::IF_MODIFIED_SINCE)
}
