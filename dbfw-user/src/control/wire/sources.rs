//! What is trusted, and what might be.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `dbfw sources`.
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
    /// When it stops being trusted.
    pub expires_at: Option<Timestamp>,
    /// What it resolved to.
    pub prefixes: Vec<String>,
    /// Packets it let in, as the most specific source of their address.
    pub packets: u64,
    /// When it last let one in.
    pub last_hit: Option<Timestamp>,
    /// literal (it names its addresses itself), pending (not asked for yet), ok, stale (it
    /// could not be refreshed), gone (the provider says so, and its prefixes will go),
    /// unresolvable (it stands for no address), expired (its time or `max_stale` is over).
    #[serde(default)]
    pub state: String,
    /// The request whose answer gave the prefixes, "GET /v2/droplets?tag_name=backend".
    #[serde(default)]
    pub resolved_from: Option<String>,
    /// Seconds since that answer was last confirmed.
    #[serde(default)]
    pub age_seconds: Option<u64>,
    /// Parts of it that have no address or could not be asked for.
    #[serde(default)]
    pub unresolved: Vec<Unresolved>,
    /// Why the last try failed.
    #[serde(default)]
    pub error: Option<String>,
    /// What is probably not meant.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A part of a source without addresses of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unresolved {
    /// "droplet 123".
    pub part: String,
    /// Why.
    pub why: String,
}

/// `dbfw trust list`, and what `add` and `rm` changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrustList {
    /// Local temporary sources.
    pub sources: Vec<LocalSource>,
}

/// A source added by hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalSource {
    /// The database it is trusted by.
    pub database: String,
    /// "ip_addr:203.0.113.7".
    pub source: String,
    /// Why it was added.
    pub why: Option<String>,
    /// When.
    pub added_at: Timestamp,
    /// When it stops being trusted; absent: when it is removed.
    pub expires_at: Option<Timestamp>,
}

/// `dbfw suggest`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suggestions {
    /// When the first refused source that is remembered was refused; absent: none is.
    pub since: Option<Timestamp>,
    /// Refused addresses that are not trusted now; one counts for every database it wanted.
    pub observed: usize,
    /// The fewest sources that would let all of them in, by database.
    pub suggestions: Vec<Suggestion>,
    /// Why they were not matched with what the provider's account holds.
    pub inventory_error: Option<String>,
}

/// A trusted source that would let refused addresses in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    /// The database that refused them.
    pub database: String,
    /// "tag:backend".
    pub source: String,
    /// The refused addresses it would let in.
    pub covers: Vec<String>,
    /// How many other addresses it would let in; the largest number stands for more.
    pub others: u64,
    /// Packets of the refused addresses, estimated from the sampled events.
    pub packets: u64,
    /// What is known about them, and what to think of.
    pub why: String,
}
