//! Counters of the syncs: outcomes, durations, refused plans.

use std::{collections::BTreeMap, time::Duration};

use dbfw_core::{answers::Cause, policy::Guard};
use dbfw_metrics::Durations;
use jiff::Timestamp;

/// Upper bounds in seconds of the buckets of `dbfw_sync_duration_seconds`; one without a
/// bound follows.
pub const BUCKETS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Outcome of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The list was read, at this moment, and is in force.
    Success(Timestamp),
    /// It could not be read.
    Failure(Cause),
    /// It was read, and a guard refused it.
    Refused,
}

/// The syncs of one database since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseSync {
    /// Syncs, successful or not.
    pub total: u64,
    /// Time of the last successful one.
    pub last_success: Option<Timestamp>,
    failures: [u64; Cause::ALL.len()],
    refused: [u64; Guard::ALL.len()],
}

impl DatabaseSync {
    /// Syncs that failed for this cause.
    pub fn failures(&self, cause: Cause) -> u64 {
        self.failures[cause as usize]
    }

    /// Changes this guard refused.
    pub fn refused(&self, guard: Guard) -> u64 {
        self.refused[guard as usize]
    }
}

/// Counts the syncs of every database that has a provider. The agent owns it.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncCounters {
    databases: BTreeMap<String, DatabaseSync>,
    durations: Durations,
}

impl Default for SyncCounters {
    fn default() -> Self {
        Self { databases: BTreeMap::new(), durations: Durations::new(&BUCKETS) }
    }
}

impl SyncCounters {
    /// Makes these the databases: new ones begin at zero, those that stay keep their
    /// counts, others are forgotten.
    pub fn set_databases<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let mut before = std::mem::take(&mut self.databases);
        for name in names {
            let sync = before.remove(name).unwrap_or_default();
            self.databases.insert(name.to_owned(), sync);
        }
    }

    /// Counts a sync that ended.
    pub fn finished(&mut self, database: &str, took: Duration, outcome: Outcome) {
        self.durations.observe(took);
        let sync = self.database(database);
        sync.total += 1;
        match outcome {
            Outcome::Success(at) => sync.last_success = Some(at),
            Outcome::Failure(cause) => sync.failures[cause as usize] += 1,
            Outcome::Refused => {}
        }
    }

    /// Counts a change that a guard refused. One that is read again is not refused anew.
    pub fn plan_refused(&mut self, database: &str, guard: Guard) {
        self.database(database).refused[guard as usize] += 1;
    }

    /// Takes over when the list in force was read, as a snapshot of an earlier run tells.
    pub fn restore(&mut self, database: &str, last_success: Timestamp) {
        self.database(database).last_success = Some(last_success);
    }

    /// Every database by name.
    pub fn databases(&self) -> impl Iterator<Item = (&str, &DatabaseSync)> {
        self.databases.iter().map(|(name, sync)| (name.as_str(), sync))
    }

    /// Durations of the syncs.
    pub fn durations(&self) -> &Durations {
        &self.durations
    }

    fn database(&mut self, name: &str) -> &mut DatabaseSync {
        self.databases.entry(name.to_owned()).or_default()
    }
}
