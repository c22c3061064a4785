//! The lines of the history. People read them with jq: add, never rename.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `dbfw history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryList {
    /// The entries, the newest last.
    pub entries: Vec<HistoryEntry>,
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When.
    pub time: Timestamp,
    /// What happened.
    pub kind: HistoryKind,
    /// Number of the policy in force afterwards.
    pub generation: u64,
    /// The database it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The trusted source, "tag:backend".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where that is written: config, local, or the provider's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Who asked for it, "uid 0"; absent: the agent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why, in the words of who asked.
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
    /// The guard that refused it: max_shrink, on_empty, allow_any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<String>,
    /// The plan that was refused or confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl HistoryEntry {
    /// An entry that says nothing else yet.
    pub const fn new(time: Timestamp, kind: HistoryKind, generation: u64) -> Self {
        Self {
            time,
            kind,
            generation,
            database: None,
            source: None,
            origin: None,
            by: None,
            why: None,
            prefixes_in: 0,
            prefixes_out: 0,
            added: Vec::new(),
            removed: Vec::new(),
            guard: None,
            plan: None,
            message: None,
        }
    }
}

/// What an [`HistoryEntry`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryKind {
    /// The agent started.
    Started,
    /// A change is in force.
    Applied,
    /// A guard refused a change; what was in force stays.
    Refused,
    /// A human let a refused change through.
    Confirmed,
    /// `dbfw trust add`.
    TrustAdded,
    /// `dbfw trust rm`.
    TrustRemoved,
    /// A source reached its end.
    Expired,
    /// The configuration was read again.
    Reloaded,
    /// It was bad or could not be carried out; the one before stands.
    ReloadFailed,
    /// `dbfw detach`.
    Detached,
}

impl HistoryKind {
    /// The name used in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Applied => "applied",
            Self::Refused => "refused",
            Self::Confirmed => "confirmed",
            Self::TrustAdded => "trust_added",
            Self::TrustRemoved => "trust_removed",
            Self::Expired => "expired",
            Self::Reloaded => "reloaded",
            Self::ReloadFailed => "reload_failed",
            Self::Detached => "detached",
        }
    }
}

impl fmt::Display for HistoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
