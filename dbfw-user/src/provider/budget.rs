//! How many requests may be made, and when the next one. Pure: times are handed in.

use std::{collections::VecDeque, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::http::Rate;
use crate::config::RequestLimits;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// Added to both windows: requests made an hour apart may reach the server closer together.
/// Also how far times may go backwards before it counts as a clock that was set.
const SLACK: Duration = Duration::from_secs(1);

/// Once the server leaves nothing, one request in so long finds out how things are, also after
/// a 429 that names no wait. Resets are a second apart where others use the token as well.
const PROBE: Duration = Duration::from_secs(10);

/// How long a `remaining` without a reset counts.
const UNSAID: Duration = MINUTE;

/// The requests of a token over the last hour, and what the server says about them.
///
/// When the clock is set back, the requests keep the age they had. A clock set forward cannot
/// be told from time that passed; what the server says is left still holds then.
#[derive(Clone, Debug)]
pub struct Budget {
    limits: RequestLimits,
    /// When each request of the last hour was made, oldest first.
    made: VecDeque<Timestamp>,
    /// The latest time that was handed in.
    latest: Timestamp,
    told: Option<Told>,
}

/// What the server said last; the limits hold beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// So many are left, others than dbfw included, until the oldest one expires.
    Left { left: u32, until: Timestamp },
    /// None at this moment (429).
    Refused { until: Timestamp },
    /// That time is over, and one request is on its way to find out.
    Probing { until: Timestamp },
}

/// Requests that may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Of the hour's.
    pub hour: u32,
    /// Of the minute's.
    pub minute: u32,
}

impl Budget {
    /// A budget of which nothing is spent. A limit of 0 counts as 1.
    pub fn new(limits: RequestLimits) -> Self {
        let made = VecDeque::new();
        let mut budget = Self { limits, made, latest: Timestamp::MIN, told: None };
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
    pub const fn limits(&self) -> RequestLimits {
        self.limits
    }

    /// Takes one request, or says how long until it is worth asking again.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Duration> {
        let now = self.advance(now);
        let hour = self.until_free(now, self.limits.per_hour, HOUR);
        let minute = self.until_free(now, self.limits.per_minute, MINUTE);
        let told = match self.told {
            Some(Told::Left { left: 0, until } | Told::Refused { until }) => between(now, until),
            // Its answer may come any moment.
            Some(Told::Probing { until }) => between(now, until).map(|wait| wait.min(SLACK)),
            Some(Told::Left { .. }) | None => None,
        };
        if let Some(wait) = hour.max(minute).max(told) {
            return Err(wait);
        }
        self.told = match self.told {
            Some(Told::Left { left: 0, .. } | Told::Refused { .. } | Told::Probing { .. }) => {
                Some(Told::Probing { until: after(now, PROBE) })
            }
            Some(Told::Left { left, until }) if until > now => {
                Some(Told::Left { left: left - 1, until })
            }
            Some(Told::Left { .. }) | None => None,
        };
        self.made.push_back(now);
        Ok(())
    }

    /// What the server said with an answer of this status.
    pub fn heard(&mut self, now: Timestamp, status: u16, rate: &Rate) {
        let now = self.advance(now);
        let reset = rate.reset.and_then(|reset| between(now, reset));
        let refused = (status == 429).then(|| {
            // With requests left, the reset is not what it waits for.
            let reset = reset.filter(|_| rate.remaining.is_none_or(|left| left == 0));
            let wait = reset.unwrap_or_default().max(PROBE);
            let wait = rate.retry_after.map_or(wait, |wait| wait.max(SLACK));
            after(now, wait.min(HOUR))
        });
        self.told = match (self.told, refused) {
            (Some(Told::Refused { until: before }), Some(until)) => {
                Some(Told::Refused { until: until.max(before) })
            }
            (_, Some(until)) => Some(Told::Refused { until }),
            // An answer to a request from before the refusal.
            (Some(told @ Told::Refused { until }), None) if until > now => Some(told),
            (told, None) => match rate.remaining {
                Some(left) => {
                    let least = if left == 0 { PROBE } else { Duration::ZERO };
                    let reset = reset.unwrap_or(UNSAID).clamp(least, HOUR);
                    Some(Told::Left { left, until: after(now, reset) })
                }
                None => told.filter(|told| matches!(told, Told::Left { .. })),
            },
        };
    }

    /// What may still be spent.
    pub fn left(&self, now: Timestamp) -> Left {
        // As if no time had passed, should it lie before the last one.
        let now = now.max(self.latest);
        let told = match self.told {
            Some(Told::Left { left, until }) if until > now => left,
            Some(Told::Refused { until } | Told::Probing { until }) if until > now => 0,
            Some(Told::Left { left: 0, .. } | Told::Refused { .. } | Told::Probing { .. }) => 1,
            Some(Told::Left { .. }) | None => u32::MAX,
        };
        let left = |limit: u32, window| {
            let expired = self.made.partition_point(|made| remains(now, *made, window).is_none());
            let spent = u32::try_from(self.made.len() - expired).unwrap_or(u32::MAX);
            limit.saturating_sub(spent).min(told)
        };
        let hour = left(self.limits.per_hour, HOUR);
        Left { hour, minute: left(self.limits.per_minute, MINUTE).min(hour) }
    }

    /// How far apart rounds of `cost` requests have to begin to spend at most four fifths of
    /// the limits; never less than `poll`.
    pub fn interval(&self, poll: Duration, cost: u32) -> Duration {
        let pace = |window: Duration, limit: u32| {
            let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
            let spread = u64::from(cost).saturating_mul(window).saturating_mul(5);
            Duration::from_millis(spread.div_ceil(4 * u64::from(limit)))
        };
        poll.max(pace(HOUR, self.limits.per_hour)).max(pace(MINUTE, self.limits.per_minute))
    }

    /// Goes on to `now` and forgets what is over; returns the time to reckon with.
    fn advance(&mut self, now: Timestamp) -> Timestamp {
        let back = self.latest.duration_since(now);
        let slack = SignedDuration::from_secs(SLACK.as_secs().cast_signed());
        // What is only out of order would, time and again, make the requests older.
        let now = if back.is_positive() && back <= slack { self.latest } else { now };
        if back > slack {
            self.shift(back);
        }
        self.latest = now;
        while self.made.front().is_some_and(|made| remains(now, *made, HOUR).is_none()) {
            self.made.pop_front();
        }
        now
    }

    /// The clock was set back.
    fn shift(&mut self, back: SignedDuration) {
        let earlier = |time: &mut Timestamp| {
            *time = time.checked_sub(back).unwrap_or(Timestamp::MIN);
        };
        self.made.iter_mut().for_each(earlier);
        if let Some(Told::Left { until, .. } | Told::Refused { until } | Told::Probing { until }) =
            &mut self.told
        {
            earlier(until);
        }
    }

    /// How long until a window has room; `None`: it has.
    fn until_free(&self, now: Timestamp, limit: u32, window: Duration) -> Option<Duration> {
        let full = self.made.len().checked_sub(usize::try_from(limit).unwrap_or(usize::MAX))?;
        remains(now, *self.made.get(full)?, window)
    }
}

/// How long a request stays in a window; `None`: it has left it.
fn remains(now: Timestamp, made: Timestamp, window: Duration) -> Option<Duration> {
    let age = Duration::try_from(now.duration_since(made)).unwrap_or_default();
    (window + SLACK).checked_sub(age).filter(|wait| !wait.is_zero())
}

/// The time to `later`; `None` if it has come.
fn between(now: Timestamp, later: Timestamp) -> Option<Duration> {
    Duration::try_from(later.duration_since(now)).ok().filter(|wait| !wait.is_zero())
}

fn after(time: Timestamp, wait: Duration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
