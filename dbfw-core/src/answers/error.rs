//! Errors of requests to providers.

use std::{fmt, time::Duration};

use strum::{IntoStaticStr, VariantArray};

/// A failed request, or an answer that cannot be used.
///
/// As text, the reason comes first: what is long, and may be cut, is what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchError {
    /// The kind of failure.
    pub cause: Cause,
    /// The reason and the fix. Never a secret.
    pub reason: String,
    /// The failed thing: provider, request, file. Empty if the reason names it.
    pub about: String,
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
    pub fn new(cause: Cause, reason: impl Into<String>) -> Self {
        Self { cause, reason: reason.into(), about: String::new(), retry_after: None }
    }

    /// The same failure, of this thing.
    #[must_use]
    pub fn about(self, about: impl Into<String>) -> Self {
        Self { about: about.into(), ..self }
    }

    /// The failure of a request for `what` that was not made because of this one.
    #[must_use]
    pub fn not_asked(self, what: &str) -> Self {
        let about = match self.about.as_str() {
            "" => what.to_owned(),
            of => format!("{what}, not asked because of {of}"),
        };
        self.about(about)
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&reason_first(&self.reason, &self.about))
    }
}

impl std::error::Error for FetchError {}

/// The text of a problem: its reason, and in brackets what it is about.
pub fn reason_first(reason: &str, about: &str) -> String {
    if about.is_empty() { reason.to_owned() } else { format!("{reason} ({about})") }
}
