//! Documents of `dbfw suggest`, as the agent sends them and `--output json` prints them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Proposed trusted sources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suggestions {
    /// The time of the first refusal that is remembered; absent: none is.
    pub since: Option<Timestamp>,
    /// Refused addresses that are not trusted now; one counts for every database it wanted.
    pub observed: usize,
    /// The fewest sources that would let all of them in, by database.
    pub suggestions: Vec<Suggestion>,
    /// The reason why they were not matched with the provider's account.
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
    /// The number of other addresses it would let in; the largest number stands for more.
    pub others: u64,
    /// Packets of the refused addresses, estimated from the sampled events.
    pub packets: u64,
    /// Facts about them, and points to consider.
    pub why: String,
}
