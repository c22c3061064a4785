//! Errors of requests to providers.

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};

/// A failed request, or an answer that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FetchError {
    /// The kind of failure.
    pub cause: Cause,
    /// The failed thing (provider, resource, field), the reason and the fix. Never a secret.
    pub message: String,
    /// Time that the provider asks to wait before the next request.
    pub retry_after: Option<Duration>,
}

/// Kinds of failure, as metrics count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Cause {
    /// The list or resource does not exist.
    NotFound,
    /// It may not be read: file permissions, or 403.
    Permission,
    /// The provider does not take the token, or there is none (401).
    Unauthorized,
    /// The provider or the agent's own budget allows no more requests (429).
    RateLimited,
    /// The provider failed (5xx).
    Server,
    /// No answer, or no whole answer, in time.
    Timeout,
    /// No connection, or it broke: DNS, refused, reset.
    Connect,
    /// The certificate is not to be trusted, or TLS failed otherwise.
    Tls,
    /// The answer sends dbfw elsewhere.
    Redirect,
    /// It was read and is wrong: not JSON, a field of another type, a page missing.
    Invalid,
    /// It is larger than the limits.
    TooLarge,
    /// Reading it failed otherwise.
    Io,
}

impl Cause {
    /// Every cause.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// Value of the label `cause`.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

impl FetchError {
    /// A failure without `retry_after`.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), retry_after: None }
    }
}
