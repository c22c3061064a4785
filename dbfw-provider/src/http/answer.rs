//! An answer: reading it within its limits, and what its status means.

use std::fmt;

use dbfw_core::answers::{Cause, FetchError};
use jiff::Timestamp;
use reqwest::header::{self, HeaderMap, HeaderName};
use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

use super::{
    json,
    rate::Rate,
    reason::{about, clean, failure, host_of, without},
    request::{MAX_VALIDATOR, Options, Validators},
};

/// Characters of a server's own words that go into an error.
const MAX_WORDS: usize = 200;

/// Bytes set aside before any arrived, whatever the server announces.
const FIRST_BYTES: u64 = 64 << 10;

/// An answer of any status.
#[derive(Clone, Default)]
pub struct Response {
    /// 200, 304, 404, …
    pub status: u16,
    /// All of it; empty for 304.
    pub body: Vec<u8>,
    /// To ask for it next time only if it changed.
    pub validators: Validators,
    /// The rate limit that the server states.
    pub rate: Rate,
    /// The media type as sent, "application/json; charset=utf-8".
    pub content_type: Option<String>,
    /// The token it was asked with, to keep it out of errors should the server repeat it.
    pub hide: Option<SecretString>,
}

impl Response {
    /// The answer, unless its status is an error. 404 is left to the caller, who knows what it
    /// means that the thing is gone.
    ///
    /// # Errors
    /// 401, 403, 429, 5xx and what else is neither 2xx, 304 nor 404, with the server's own
    /// words and its wish when to come again.
    pub fn success(self, what: &str) -> Result<Self, FetchError> {
        let (cause, advice) = match self.status {
            206 => (Cause::Invalid, "a part that was not requested: it is not used"),
            200..=299 | 304 | 404 => return Ok(self),
            401 => (Cause::Unauthorized, "the token is refused: check the token file"),
            403 => (Cause::Permission, "the token may not do this: check its scopes"),
            429 => (Cause::RateLimited, "too many requests: dbfw will retry later"),
            500..=599 => (Cause::Server, "the server failed: dbfw will retry"),
            _ => (Cause::Invalid, "not an answer that dbfw knows: check the address"),
        };
        let said = match self.words() {
            Some(words) => format!(", {words:?}"),
            None => String::new(),
        };
        let text = format!("answered {}{said}: {advice}", self.status);
        let error = FetchError { retry_after: self.rate.wait(), ..FetchError::new(cause, text) };
        Err(about(error, what, self.hide.as_ref()))
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    /// [`Cause::Invalid`], naming the field and the place in the body.
    pub fn json<T: DeserializeOwned>(&self, what: &str) -> Result<T, FetchError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let text = match self.is_html() {
                true => "HTML instead of JSON: something else answers there, a proxy or a login \
                         page; check the address"
                    .to_owned(),
                false => json::describe::<T>(&self.body, &error, self.hide.as_ref()),
            };
            about(FetchError::new(Cause::Invalid, text), what, self.hide.as_ref())
        })
    }

    /// Whether it is a page for people, by its type or its first byte.
    fn is_html(&self) -> bool {
        let html = |kind: &String| {
            let kind = kind.trim_start().to_ascii_lowercase();
            kind.starts_with("text/html") || kind.starts_with("application/xhtml")
        };
        self.content_type.as_ref().is_some_and(html)
            || self.body.trim_ascii_start().first() == Some(&b'<')
    }

    /// The `message` of a body like `{"id":"unauthorized","message":"…"}`.
    fn words(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Body {
            message: String,
        }
        let body: Body = serde_json::from_slice(&self.body).ok()?;
        let words = clean(without(&body.message, self.hide.as_ref()).trim(), MAX_WORDS);
        (!words.is_empty()).then_some(words)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body may repeat the token, and is long.
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

/// Reads an answer to its end, or to the first byte too many.
///
/// # Errors
/// It is too large, it is compressed, or the connection broke.
pub(super) async fn read(
    mut response: reqwest::Response,
    url: &Url,
    options: &Options<'_>,
) -> Result<Response, FetchError> {
    let headers = response.headers();
    let status = response.status().as_u16();
    let rate = Rate::read(headers, Timestamp::now());
    let too_large = || {
        let (host, most) = (host_of(url), options.max_bytes);
        let text = format!("{host} answered {status} with more than {most} bytes: it is not used");
        FetchError { retry_after: rate.wait(), ..FetchError::new(Cause::TooLarge, text) }
    };
    let announced = response.content_length().unwrap_or(0);
    if announced > options.max_bytes {
        return Err(too_large());
    }
    if let Some(encoding) = text(headers, &header::CONTENT_ENCODING)
        && !encoding.eq_ignore_ascii_case("identity")
    {
        return Err(FetchError::new(
            Cause::Invalid,
            format!(
                "{} sends {} though compression was not requested: it is not used",
                host_of(url),
                clean(&encoding, 20)
            ),
        ));
    }
    let validators = Validators {
        etag: text(headers, &header::ETAG),
        last_modified: text(headers, &header::LAST_MODIFIED),
    };
    let content_type = text(headers, &header::CONTENT_TYPE);
    let mut body = Vec::with_capacity(usize::try_from(announced.min(FIRST_BYTES)).unwrap_or(0));
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(error, url))? {
        if (body.len() + chunk.len()) as u64 > options.max_bytes {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    let hide = options.bearer.cloned();
    Ok(Response { status, body, validators, rate, content_type, hide })
}

/// A header without control characters, if it is not overlong.
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    let usable = !value.is_empty() && value.len() <= MAX_VALIDATOR && !value.contains('\t');
    usable.then(|| value.to_owned())
}
