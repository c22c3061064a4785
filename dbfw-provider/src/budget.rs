//! A budget of requests: how many may be made, and when the next one.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::http::Rate;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// Added to both windows: requests made an hour apart may reach the server closer together.
const SLACK: Duration = Duration::from_secs(1);

/// Interval of single requests once the server says that nothing is left, or answers 429 without a
/// time: each finds out whether that still holds. Where others use the token as well, the resets
/// that the server names are a second apart, so they cannot be the interval.
const PROBE: Duration = Duration::from_secs(10);

/// Time for which a `ratelimit-remaining` counts that comes without a reset.
const UNSAID: Duration = MINUTE;

/// Limits of the number of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// In any hour.
    pub per_hour: u32,
    /// In any minute.
    pub per_minute: u32,
}

/// The requests of a token over the last hour, and what the server says about them.
#[derive(Clone, Debug)]
pub struct Budget {
    limits: RequestLimits,
    /// Times of the last hour's requests, oldest first.
    made: VecDeque<Instant>,
    reported: Option<Reported>,
}

/// The server's last word; the limits hold beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reported {
    /// So many are left, others than dbfw included, until the oldest one expires.
    Remaining { left: u32, until: Instant },
    /// None at this moment (429).
    Refused { until: Instant },
    /// That time is over, and one request is on its way to find out.
    Probing { until: Instant },
}

/// Requests that may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remaining {
    /// Of the hour's.
    pub(crate) hour: u32,
    /// Of the minute's.
    pub(crate) minute: u32,
}

impl Budget {
    /// A budget of which nothing is spent. A limit of 0 counts as 1.
    pub fn new(limits: RequestLimits) -> Self {
        let mut budget = Self { limits, made: VecDeque::new(), reported: None };
        budget.set_limits(limits);
        budget
    }

    /// Other limits; what was spent stays spent.
    pub fn set_limits(&mut self, limits: RequestLimits) {
        self.limits = RequestLimits {
            per_hour: limits.per_hour.max(1),
            per_minute: limits.per_minute.max(1),
        };
    }

    /// The limits it keeps.
    pub(crate) const fn limits(&self) -> RequestLimits {
        self.limits
    }

    /// Takes one request.
    ///
    /// # Errors
    /// The time until it is worth asking again.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        while self.made.front().is_some_and(|made| remains(now, *made, HOUR).is_none()) {
            self.made.pop_front();
        }
        let hour = self.until_free(now, self.limits.per_hour, HOUR);
        let minute = self.until_free(now, self.limits.per_minute, MINUTE);
        let reported = match self.reported {
            Some(Reported::Remaining { left: 0, until } | Reported::Refused { until }) => {
                between(now, until)
            }
            // Its answer may come any moment.
            Some(Reported::Probing { until }) => between(now, until).map(|wait| wait.min(SLACK)),
            Some(Reported::Remaining { .. }) | None => None,
        };
        if let Some(wait) = hour.max(minute).max(reported) {
            return Err(wait);
        }
        self.reported = match self.reported {
            Some(
                Reported::Remaining { left: 0, .. }
                | Reported::Refused { .. }
                | Reported::Probing { .. },
            ) => Some(Reported::Probing { until: now + PROBE }),
            Some(Reported::Remaining { left, until }) if until > now => {
                Some(Reported::Remaining { left: left - 1, until })
            }
            Some(Reported::Remaining { .. }) | None => None,
        };
        self.made.push_back(now);
        Ok(())
    }

    /// Updates the budget from the rate limit that came with an answer of this status.
    pub(crate) fn update(&mut self, now: Instant, status: u16, rate: &Rate) {
        let reset = rate.reset.filter(|wait| !wait.is_zero());
        let refused = (status == 429).then(|| {
            // With requests left, the reset is not what it waits for.
            let reset = reset.filter(|_| rate.remaining.is_none_or(|left| left == 0));
            let wait = reset.unwrap_or_default().max(PROBE);
            let wait = rate.retry_after.map_or(wait, |wait| wait.max(SLACK));
            now + wait.min(HOUR)
        });
        self.reported = match (self.reported, refused) {
            (Some(Reported::Refused { until: before }), Some(until)) => {
                Some(Reported::Refused { until: until.max(before) })
            }
            (_, Some(until)) => Some(Reported::Refused { until }),
            // An answer to a request from before the refusal.
            (Some(reported @ Reported::Refused { until }), None) if until > now => Some(reported),
            (reported, None) => match rate.remaining {
                Some(left) => {
                    let least = if left == 0 { PROBE } else { Duration::ZERO };
                    let reset = reset.unwrap_or(UNSAID).clamp(least, HOUR);
                    Some(Reported::Remaining { left, until: now + reset })
                }
                None => reported.filter(|reported| matches!(reported, Reported::Remaining { .. })),
            },
        };
    }

    /// The requests that may still be spent.
    pub(crate) fn left(&self, now: Instant) -> Remaining {
        let reported = match self.reported {
            Some(Reported::Remaining { left, until }) if until > now => left,
            Some(Reported::Refused { until } | Reported::Probing { until }) if until > now => 0,
            Some(
                Reported::Remaining { left: 0, .. }
                | Reported::Refused { .. }
                | Reported::Probing { .. },
            ) => 1,
            Some(Reported::Remaining { .. }) | None => u32::MAX,
        };
        let left = |limit: u32, window| {
            let expired = self.made.partition_point(|made| remains(now, *made, window).is_none());
            let spent = u32::try_from(self.made.len() - expired).unwrap_or(u32::MAX);
            limit.saturating_sub(spent).min(reported)
        };
        let hour = left(self.limits.per_hour, HOUR);
        Remaining { hour, minute: left(self.limits.per_minute, MINUTE).min(hour) }
    }

    /// Interval between rounds of `cost` requests that spends at most four fifths of
    /// the limits; never less than `poll`.
    pub(crate) fn interval(&self, poll: Duration, cost: u32) -> Duration {
        let pace = |window: Duration, limit: u32| {
            let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
            let spread = u64::from(cost).saturating_mul(window).saturating_mul(5);
            Duration::from_millis(spread.div_ceil(4 * u64::from(limit)))
        };
        poll.max(pace(HOUR, self.limits.per_hour)).max(pace(MINUTE, self.limits.per_minute))
    }

    /// Time until a window has room; `None`: it has.
    fn until_free(&self, now: Instant, limit: u32, window: Duration) -> Option<Duration> {
        let full = self.made.len().checked_sub(usize::try_from(limit).unwrap_or(usize::MAX))?;
        remains(now, *self.made.get(full)?, window)
    }
}

/// Time that a request stays in a window; `None`: it has left it.
fn remains(now: Instant, made: Instant, window: Duration) -> Option<Duration> {
    between(now, made + window + SLACK)
}

/// The time to `later`; `None` if it has come.
fn between(now: Instant, later: Instant) -> Option<Duration> {
    Some(later.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests;
