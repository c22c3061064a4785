//! Counters of a provider's requests: written by its worker, read by metrics and status.

use std::{sync::Mutex, time::Duration};

use dbfw_core::answers::Cause;

use crate::{
    budget::{Remaining, RequestLimits},
    lock::lock,
};

/// Counters and gauges of one provider. All start at 0.
#[derive(Debug, Default)]
pub struct Stats(Mutex<StatsValues>);

/// The values of [`Stats`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsValues {
    /// Requests made.
    pub requests: u64,
    /// Failures, in the order of [`Cause::ALL`].
    pub failures: [u64; Cause::ALL.len()],
    /// Requests left of the hour's.
    pub left_hour: u32,
    /// Requests left of the minute's.
    pub left_minute: u32,
    /// Requests in an hour; 0: there is no limit.
    pub limit_hour: u32,
    /// Requests in a minute; 0: there is no limit.
    pub limit_minute: u32,
    /// Planned between the beginnings of rounds; whole milliseconds.
    pub interval: Duration,
}

impl Stats {
    /// Counts a request.
    pub(crate) fn request(&self) {
        lock(&self.0).requests += 1;
    }

    /// Counts a request that brought no usable answer.
    pub(crate) fn failure(&self, cause: Cause) {
        lock(&self.0).failures[cause as usize] += 1;
    }

    /// Records the limits, and the requests that are left of them.
    pub(crate) fn budget(&self, limits: RequestLimits, left: Remaining) {
        let mut stats = lock(&self.0);
        (stats.limit_hour, stats.limit_minute) = (limits.per_hour, limits.per_minute);
        (stats.left_hour, stats.left_minute) = (left.hour, left.minute);
    }

    /// The interval that is planned between rounds.
    pub(crate) fn interval(&self, interval: Duration) {
        let milliseconds = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        lock(&self.0).interval = Duration::from_millis(milliseconds);
    }

    /// All of it now.
    pub fn values(&self) -> StatsValues {
        *lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_every_cause_in_its_place() {
        let stats = Stats::default();
        assert_eq!(stats.values(), StatsValues::default());
        for (index, &cause) in Cause::ALL.iter().enumerate() {
            for _ in 0..=index {
                stats.failure(cause);
            }
        }
        let failures = stats.values().failures;
        assert_eq!(failures, std::array::from_fn(|index| index as u64 + 1));
    }

    #[test]
    fn shows_what_was_written_last() {
        let stats = Stats::default();
        stats.request();
        stats.request();
        let limits = RequestLimits { per_hour: 5000, per_minute: 250 };
        stats.budget(limits, Remaining { hour: 4000, minute: 200 });
        stats.budget(limits, Remaining { hour: 3999, minute: 199 });
        stats.interval(Duration::from_millis(15_250));
        let expected = StatsValues {
            requests: 2,
            left_hour: 3999,
            left_minute: 199,
            limit_hour: 5000,
            limit_minute: 250,
            interval: Duration::from_millis(15_250),
            ..StatsValues::default()
        };
        assert_eq!(stats.values(), expected);
        stats.interval(Duration::MAX);
        assert_eq!(stats.values().interval, Duration::from_millis(u64::MAX));
    }
}
