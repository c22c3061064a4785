//! A configuration on trial: the one before it is in force again when the time is over, unless
//! somebody keeps it.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::last_good::LastGood;
use crate::{
    config::{Config, ConfigFile},
    state::{
        checked,
        expiry::Reading,
        files::{self, ReadError},
    },
};

const FORMAT: u32 = 1;

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

    pub(super) fn stuck(&mut self, reading: Reading) -> bool {
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

/// A trial on disk, from before it is in force until a configuration is in force for good. A start
/// returns to the configuration before it.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::agent) struct TrialRecord {
    pub(super) before: LastGood,
    /// The files on trial; `None`: those before them are in force again.
    pub(super) tried: Option<Vec<ConfigFile>>,
    /// Whether the files on trial are in force: else they may be, or were about to be.
    #[serde(default)]
    pub(super) is_in_force: bool,
}

impl TrialRecord {
    /// Of a trial that is to begin.
    pub(in crate::agent) fn new(before: &Config, before_since: Timestamp, tried: &Config) -> Self {
        let before = LastGood { in_force_since: before_since, files: before.files.clone() };
        Self { before, tried: Some(tried.files.clone()), is_in_force: false }
    }

    /// Of a trial that is over: nothing but `before` is in force.
    pub(super) fn ended(before: LastGood) -> Self {
        Self { before, tried: None, is_in_force: false }
    }

    /// Its file in a state directory.
    pub(in crate::agent) fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("trial.json")
    }

    pub(super) fn load(state_dir: &Path) -> Result<Self, ReadError> {
        files::read(Self::path(state_dir), |content| checked::decode(FORMAT, content))
    }

    /// Writes it, for root alone.
    ///
    /// # Errors
    /// The system's reason; what was there before stays.
    pub(in crate::agent) fn save(&self, state_dir: &Path) -> io::Result<()> {
        let bytes = checked::encode(FORMAT, self)?;
        files::replace(&Self::path(state_dir), &bytes, files::Readers::Owner)
    }

    /// Removes it, if it is there.
    ///
    /// # Errors
    /// The system's reason.
    pub(in crate::agent) fn remove(state_dir: &Path) -> io::Result<()> {
        files::remove(&Self::path(state_dir))
    }
}
