//! The lines of the history. People read them with jq: add, never rename.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::status::Guard;
use crate::words::words;

/// One entry of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryList {
    /// The entries, the newest last.
    pub entries: Vec<HistoryEntry>,
}

/// One line of the history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The time of the change.
    pub time: Timestamp,
    /// The kind of event.
    pub kind: HistoryKind,
    /// Number of the policy in force afterwards.
    pub generation: u64,
    /// The database it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The trusted source, "tag:backend".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The origin of that source: config, local, or the provider's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The user who asked for it, "uid 0"; absent: the agent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The reason, in the words of who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Prefixes that came in, or would have.
    pub prefixes_in: usize,
    /// Prefixes that went out, or would have.
    pub prefixes_out: usize,
    /// Those that came in; the first 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Those that went out; the first 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// The guard that refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// The plan that was refused or confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Further details.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

words! {
    /// The subject of a [`HistoryEntry`].
    #[derive(Default)]
    pub enum HistoryKind {
        /// The agent started.
        #[default]
        Started = "started",
        /// A change is in force.
        Applied = "applied",
        /// A guard refused a change; what was in force stays.
        Refused = "refused",
        /// A human let a refused change through.
        Confirmed = "confirmed",
        /// `dbfw trust add`.
        TrustAdded = "trust_added",
        /// `dbfw trust rm`.
        TrustRemoved = "trust_removed",
        /// A source reached its end.
        Expired = "expired",
        /// The configuration was read again.
        Reloaded = "reloaded",
        /// A configuration that was on trial was kept.
        TrialKept = "trial_kept",
        /// A trial ended; the configuration before it is in force again.
        TrialEnded = "trial_ended",
        /// The configuration changed what is open and what is closed.
        ConfigChanged = "config_changed",
        /// It was bad or could not be carried out; the one before stands.
        ReloadFailed = "reload_failed",
        /// `dbfw detach`.
        Detached = "detached",
    }
}
