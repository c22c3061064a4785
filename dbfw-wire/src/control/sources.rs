//! Documents of `dbfw sources`, as the agent sends them and `--output json` prints them.

use dbfw_core::answers;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::words::words;

words! {
    /// The state of a source's resolution.
    #[derive(Default)]
    pub enum SourceState from answers::SourceState {
        /// It was not asked for yet.
        Pending = "pending",
        /// Its answer is current.
        Ok = "ok",
        /// It could not be refreshed: what it last resolved to stays in force.
        Stale = "stale",
        /// The provider says that it does not exist any more; its prefixes will go.
        Gone = "gone",
        /// It resolves to no address.
        Unresolvable = "unresolvable",
        /// Its time or `max_stale` is over.
        Expired = "expired",
    } or {
        /// It names its addresses itself.
        #[default]
        Literal = "literal",
    }
}

/// Every trusted source, by database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sources {
    /// Every trusted source of every database.
    pub sources: Vec<SourceStatus>,
}

/// One trusted source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// The database it is trusted by.
    pub database: String,
    /// "ip_addr:10.0.0.0/8".
    pub source: String,
    /// config, local, or the provider's name.
    pub origin: String,
    /// For people.
    pub description: Option<String>,
    /// The end of its trust.
    pub expires_at: Option<Timestamp>,
    /// The database's users that are meant to come from it; none: nobody said.
    #[serde(default)]
    pub users: Vec<String>,
    /// The addresses it resolved to.
    pub prefixes: Vec<String>,
    /// The moment since when its packets are counted; absent: it has no counter of its own.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Packets it let in, as the most specific source of their address.
    pub packets: u64,
    /// The time of the last of them.
    pub last_hit: Option<Timestamp>,
    /// The state of its resolution.
    #[serde(default)]
    pub state: SourceState,
    /// The request whose answer gave the prefixes, "GET /v2/droplets?tag_name=backend".
    pub resolved_from: Option<String>,
    /// Seconds since that answer was last confirmed.
    pub age_seconds: Option<u64>,
    /// Parts of it that have no address or could not be asked for.
    #[serde(default)]
    pub unresolved: Vec<Unresolved>,
    /// The reason why the last try failed.
    pub error: Option<String>,
    /// Hints at what is probably not meant.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A part of a source without addresses of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unresolved {
    /// "droplet 123".
    pub part: String,
    /// The reason.
    pub why: String,
}
