//! The API's limits: so many requests in a sliding hour, and so many in a minute.

use std::{collections::VecDeque, time::Duration};

use axum::http::{HeaderName, HeaderValue};
use jiff::Timestamp;

/// When the oldest request stops to count, in seconds since 1970.
pub(super) const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// What an account may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests in any hour; DigitalOcean's is 5,000.
    pub hour: u32,
    /// Requests in any minute, if that is enforced; DigitalOcean's is 250.
    pub minute: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { hour: 5_000, minute: None }
    }
}

/// The requests that count.
#[derive(Debug, Default)]
pub(super) struct Window {
    taken: VecDeque<Timestamp>,
}

impl Window {
    /// Takes a request at `now`; if there is none left, how long to wait where the API says
    /// so (it does for the minute, not for the hour).
    pub(super) fn take(&mut self, limits: Limits, now: Timestamp) -> Result<(), Option<Duration>> {
        while self.taken.front().is_some_and(|at| elapsed(*at, now) >= HOUR) {
            self.taken.pop_front();
        }
        if self.taken.len() >= limits.hour as usize {
            return Err(None);
        }
        let recent = self.taken.iter().rev().take_while(|at| elapsed(**at, now) < MINUTE).count();
        if let Some(limit) = limits.minute
            && recent >= limit as usize
        {
            let oldest = self.taken[self.taken.len() - recent];
            return Err(Some(MINUTE.saturating_sub(elapsed(oldest, now))));
        }
        self.taken.push_back(now);
        Ok(())
    }

    /// The headers every answer has. `ratelimit-reset` is when the oldest request stops to
    /// count, in seconds since 1970.
    pub(super) fn headers(
        &self,
        limits: Limits,
        refused: bool,
        now: Timestamp,
    ) -> [(HeaderName, HeaderValue); 3] {
        let left = limits.hour.saturating_sub(u32::try_from(self.taken.len()).unwrap_or(u32::MAX));
        let left = if refused { 0 } else { left };
        let oldest = self.taken.front().copied().unwrap_or(now);
        let reset = oldest.as_second() + i64::try_from(HOUR.as_secs()).unwrap_or(i64::MAX);
        [
            (HeaderName::from_static("ratelimit-limit"), limits.hour.into()),
            (HeaderName::from_static("ratelimit-remaining"), left.into()),
            (RATELIMIT_RESET, reset.into()),
        ]
    }
}

fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
