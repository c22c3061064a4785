//! The values that one scrape shows.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dbfw_common::{Family, Mode};
use dbfw_datapath::Totals;
use dbfw_provider::{stats::StatsValues, worker::Account};
use dbfw_wire::control::{InterfaceStatus, Protection};

use super::sync::SyncCounters;
use crate::state::audit::SavedAudit;
#[cfg(doc)]
use crate::traffic::drops::NO_DATABASE;

/// Everything one scrape shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    /// Version of the running program.
    pub version: String,
    /// Commit it was built from; empty if unknown.
    pub revision: String,
    /// The maps could be read for this scrape.
    pub up: bool,
    /// Whether the host is protected.
    pub protection: Protection,
    /// Covered interfaces.
    pub interfaces: Vec<InterfaceStatus>,
    /// Counters of [`NO_DATABASE`] and of every database.
    pub packets: Vec<PacketCounters>,
    /// Lists and sources in force, by database.
    pub databases: Vec<DatabaseScrape>,
    /// Entries of the maps that can run full, by name as in `dbfw_common::MAPS`.
    pub maps: BTreeMap<&'static str, u64>,
    /// Outcomes of the syncs.
    pub sync: SyncCounters,
    /// Whether the last reload of the configuration succeeded.
    pub reload_ok: bool,
    /// States of the trusted sources, by database.
    pub sources: Vec<SourceScrape>,
    /// Accounts that are asked over the network, and their counters.
    pub providers: Vec<(Account, StatsValues)>,
    /// Entries of the history that were not written.
    pub history_errors: u64,
    /// Whether the last write of the snapshot failed.
    pub snapshot_unsaved: bool,
    /// Whether the last copy of the configuration failed.
    pub configuration_unsaved: bool,
    /// The audit that was saved last.
    pub audit: Option<Arc<SavedAudit>>,
    /// Saved audits that could not be read.
    pub audit_errors: u64,
}

/// States of the trusted sources of one database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceScrape {
    /// Its name.
    pub database: String,
    /// Sources that could not be refreshed.
    pub stale: usize,
    /// Sources that stand for no address, though they should.
    pub unresolved: usize,
    /// Age of the oldest answer that a source relies on, if there is one.
    pub oldest: Option<Duration>,
    /// A guard refuses a change of them.
    pub refused: bool,
}

/// The counters of one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketCounters {
    /// Its name, or [`NO_DATABASE`].
    pub database: String,
    /// In the order of [`Family::ALL`].
    pub totals: [Totals; Family::ALL.len()],
}

/// Lists and sources in force for one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseScrape {
    /// Its name.
    pub name: String,
    /// The treatment of packets from untrusted sources.
    pub mode: Mode,
    /// Prefixes that may connect, in the order of [`Family::ALL`].
    pub prefixes: [u64; Family::ALL.len()],
}
