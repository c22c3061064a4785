//! A configuration on trial: the one before it is in force again when the time is over, unless
//! somebody keeps it.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    config::Config,
    state::{expiry::Reading, trial::TrialRecord},
};

/// Pause before going back is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// The trial of the configuration in force.
#[derive(Debug)]
pub(in crate::agent) struct Trial {
    before: Config,
    /// The time since when that was in force.
    before_since: Timestamp,
    /// Its end, on the clock that nobody can set.
    deadline: Duration,
    /// Whether going back has failed.
    is_stuck: bool,
}

impl Trial {
    pub(super) fn new(before: Config, before_since: Timestamp, deadline: Duration) -> Self {
        Self { before, before_since, deadline, is_stuck: false }
    }

    /// The configuration to go back to.
    pub(in crate::agent) fn before(&self) -> &Config {
        &self.before
    }

    /// The time since when that was in force.
    pub(in crate::agent) fn before_since(&self) -> Timestamp {
        self.before_since
    }

    pub(super) fn into_before(self) -> (Config, Timestamp) {
        (self.before, self.before_since)
    }

    pub(super) fn going_back_failed(&mut self, reading: Reading) -> bool {
        self.deadline = self.deadline.max(reading.boot.saturating_add(AFTER_FAILURE));
        !std::mem::replace(&mut self.is_stuck, true)
    }

    /// The time that is left.
    pub(in crate::agent) fn left(&self, reading: Reading) -> Duration {
        self.deadline.saturating_sub(reading.boot)
    }

    /// The end, by the wall clock.
    pub(in crate::agent) fn ends_at(&self, reading: Reading) -> Timestamp {
        reading.wall.saturating_add(self.left(reading)).unwrap_or(Timestamp::MAX)
    }

    /// The record that has to be on disk before `tried` is in force.
    pub(in crate::agent) fn record(&self, tried: &Config) -> TrialRecord {
        TrialRecord::new(&self.before, self.before_since, tried)
    }

    /// The record that has to be on disk while `tried` is in force.
    pub(super) fn record_in_force(&self, tried: &Config) -> TrialRecord {
        TrialRecord { is_in_force: true, ..self.record(tried) }
    }
}
