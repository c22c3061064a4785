//! Rate limits in a server's response headers.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use reqwest::header::HeaderMap;

/// More than anybody has reason to ask for; times to come stay within what clocks can hold.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The headers `ratelimit-remaining`, `ratelimit-reset` and `retry-after`; one that is missing or
/// makes no sense is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Requests left in the server's window.
    pub remaining: Option<u32>,
    /// Time until the oldest request leaves it; a day at most, zero if it has.
    pub reset: Option<Duration>,
    /// Time that the server asks to be left alone; a day at most.
    pub retry_after: Option<Duration>,
}

impl Rate {
    /// Time to leave the server alone, by `retry-after`, or by the reset once nothing is
    /// left, a day at most; `None` if it does not ask for it.
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after.or(self.reset.filter(|_| self.remaining == Some(0)))
    }

    /// From an answer that came `now`.
    pub(super) fn read(headers: &HeaderMap, now: Timestamp) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let number = |name| text(name).and_then(|value| value.parse().ok());
        Self {
            remaining: number("ratelimit-remaining"),
            reset: text("ratelimit-reset")
                .and_then(|value| value.parse().ok())
                .and_then(|seconds| Timestamp::from_second(seconds).ok())
                .map(|reset| until(now, reset)),
            retry_after: text("retry-after").and_then(|value| retry_after(value, now)),
        }
    }
}

/// Seconds, or a date (RFC 9110 10.2.3).
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = value.parse().ok()?;
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    Some(until(now, DateTimeParser::new().parse_timestamp(value).ok()?))
}

/// None at all if the time has passed.
fn until(now: Timestamp, time: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(now)).unwrap_or_default().min(LONGEST)
}
