//! Documents of `dbfw trust`, as the agent sends them and `--output json` prints them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::explain::CoveringSource;

/// `dbfw trust list`, and what `add` and `rm` changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrustList {
    /// Local temporary sources.
    pub sources: Vec<LocalSource>,
    /// Sources that still let in what was removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub still_trusted_by: Vec<CoveringSource>,
    /// Ways in which the database lets strangers in, and so what was removed, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub still_open: Vec<String>,
    /// Open connections of what was removed that go on: they came by interfaces where only new ones
    /// are judged.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub going_on: usize,
    /// The reason why what was removed is still on disk, and trusted again by a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_written: Option<String>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A source added by hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalSource {
    /// The database it is trusted by.
    pub database: String,
    /// "ip_addr:203.0.113.7".
    pub source: String,
    /// The reason given.
    pub why: Option<String>,
    /// The time it was added.
    pub added_at: Timestamp,
    /// The end of its trust; absent: until it is removed.
    pub expires_at: Option<Timestamp>,
}
