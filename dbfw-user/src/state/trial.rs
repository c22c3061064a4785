//! The record of a configuration on trial.

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    checked,
    files::{self, ReadError},
    last_good::{LastGood, StoredCopy},
};
use crate::config::{Config, ConfigFile};

const FORMAT: u32 = 1;

/// A trial on disk, from before it is in force until a configuration is in force for good. A start
/// returns to the configuration before it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TrialRecord {
    pub(crate) before: LastGood,
    /// The files on trial; `None`: those before them are in force again.
    pub(crate) tried: Option<Vec<ConfigFile>>,
    /// Whether the files on trial are in force: else they may be, or were about to be.
    #[serde(default)]
    pub(crate) is_in_force: bool,
}

impl TrialRecord {
    /// Of a trial that is to begin.
    pub(crate) fn new(before: &Config, before_since: Timestamp, tried: &Config) -> Self {
        let before = LastGood { in_force_since: before_since, files: before.files.clone() };
        Self { before, tried: Some(tried.files.clone()), is_in_force: false }
    }

    /// Of a trial that is over: nothing but `before` is in force.
    pub(crate) fn ended(before: LastGood) -> Self {
        Self { before, tried: None, is_in_force: false }
    }

    /// The record that a start goes by, `saved` being the copy of the last good configuration, and
    /// why that is not the one on disk.
    pub(crate) fn of_start(
        state_dir: &Path,
        saved: Option<&StoredCopy>,
        now: Timestamp,
    ) -> (Option<Self>, Option<ReadError>) {
        match Self::load(state_dir) {
            Ok(record) => (Some(record), None),
            Err(ReadError::Missing(_)) => (None, None),
            // Nobody kept what was on trial: the last good files are those before it.
            Err(error) => (saved.map(|kept| Self::ended(kept.clone().in_force(now))), Some(error)),
        }
    }

    /// The moment at which the trial ended, where the record could not be written after that: what
    /// was in force before it is in force since then.
    pub(crate) fn ended_at(&self, saved: Option<&StoredCopy>) -> Option<Timestamp> {
        let since = saved?.in_force_since(&self.before.files)?;
        // The name of a copy has milliseconds.
        let is_later = since.as_millisecond() > self.before.in_force_since.as_millisecond();
        is_later.then_some(since)
    }

    /// Its file in a state directory.
    pub(crate) fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("trial.json")
    }

    /// Reads it.
    ///
    /// # Errors
    /// There is none, or it cannot be used.
    pub(crate) fn load(state_dir: &Path) -> Result<Self, ReadError> {
        files::read(Self::path(state_dir), |content| checked::decode(FORMAT, content))
    }

    /// Writes it, for root alone.
    ///
    /// # Errors
    /// The system's reason; what was there before stays.
    pub(crate) fn save(&self, state_dir: &Path) -> io::Result<()> {
        let bytes = checked::encode(FORMAT, self)?;
        files::replace(&Self::path(state_dir), &bytes, files::Readers::Owner)
    }

    /// Removes it, if it is there.
    ///
    /// # Errors
    /// The system's reason.
    pub(crate) fn remove(state_dir: &Path) -> io::Result<()> {
        files::remove(&Self::path(state_dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::{files, last_good};

    #[test]
    fn a_copy_that_is_later_tells_that_the_trial_ended() {
        let record = TrialRecord {
            before: last_good(100, "before"),
            tried: Some(files("tried")),
            is_in_force: true,
        };
        assert_eq!(record.ended_at(None), None);
        for (second, text, ended) in [
            (100, "before", None),
            (50, "before", None),
            (200, "before", Some(200)),
            (200, "tried", None),
            (200, "another", None),
        ] {
            let kept = StoredCopy { last_good: last_good(second, text), successor: None };
            let found = record.ended_at(Some(&kept)).map(Timestamp::as_second);
            assert_eq!(found, ended, "{text} since {second}");
        }
    }

    #[test]
    fn a_start_goes_by_the_last_good_copy_where_the_record_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path();
        let now = Timestamp::from_second(500).unwrap();
        let kept = StoredCopy { last_good: last_good(100, "before"), successor: None };
        let of_start = |saved: Option<&StoredCopy>| {
            let (record, error) = TrialRecord::of_start(state_dir, saved, now);
            let record = record.map(|record| (record.before.files, record.tried));
            (record, error.is_some())
        };
        assert_eq!(of_start(Some(&kept)), (None, false));
        for damaged in ["", "{}", "null", "{\"format\":1}"] {
            std::fs::write(TrialRecord::path(state_dir), damaged).unwrap();
            assert_eq!(of_start(Some(&kept)), (Some((files("before"), None)), true), "{damaged}");
            assert_eq!(of_start(None), (None, true), "{damaged}");
        }
        let record = TrialRecord {
            before: last_good(7, "older"),
            tried: Some(files("tried")),
            is_in_force: true,
        };
        record.save(state_dir).unwrap();
        let expected = Some((files("older"), Some(files("tried"))));
        assert_eq!(of_start(Some(&kept)), (expected, false));
    }
}
