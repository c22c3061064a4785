//! The values that one scrape shows.

use dbfw_common::{Family, Mode};
use dbfw_datapath::Totals;
use dbfw_provider::stats::StatsValues;
use dbfw_wire::control::{InterfaceStatus, Protection};

use super::sync::SyncCounters;
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
    /// What is in force per database.
    pub databases: Vec<DatabaseScrape>,
    /// Fill of the maps that can run full.
    pub maps: Vec<MapFill>,
    /// Outcomes of the syncs.
    pub sync: SyncCounters,
    /// Whether the last reload of the configuration succeeded.
    pub reload_ok: bool,
    /// States of the trusted sources, by database.
    pub sources: Vec<SourceScrape>,
    /// Services that are asked over the network.
    pub providers: Vec<ProviderScrape>,
    /// Entries of the history that were not written.
    pub history_errors: u64,
}

/// States of the trusted sources of one database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceScrape {
    /// Its name.
    pub database: String,
    /// Sources that could not be refreshed.
    pub stale: u64,
    /// Sources that stand for no address, though they should.
    pub unresolved: u64,
    /// Seconds since the source that waits longest for an answer had its last good one; 0 if
    /// none was asked for.
    pub oldest_age_seconds: f64,
    /// A guard refuses a change of them.
    pub refused: bool,
}

/// One account of a provider, or another service that is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderScrape {
    /// digitalocean, aptible, feeds, dns.
    pub name: String,
    /// Its counters.
    pub stats: StatsValues,
    /// It has a request budget.
    pub limits_known: bool,
}

/// The counters of one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketCounters {
    /// Its name, or [`NO_DATABASE`].
    pub database: String,
    /// In the order of [`Family::ALL`].
    pub totals: [Totals; Family::ALL.len()],
}

/// What is in force for one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseScrape {
    /// Its name.
    pub name: String,
    /// The treatment of packets from untrusted sources.
    pub mode: Mode,
    /// Prefixes that may connect, in the order of [`Family::ALL`].
    pub prefixes: [u64; Family::ALL.len()],
}

/// Fill of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFill {
    /// Its name, as in `dbfw_common::MAPS`.
    pub map: String,
    /// Entries it holds.
    pub entries: u64,
    /// Entries it can hold.
    pub max_entries: u64,
}
