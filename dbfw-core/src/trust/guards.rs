//! Settings of the guards of a database, as the configuration has them.

use serde::{Deserialize, Serialize};

use crate::answers::ListId;

/// Settings of the guards of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guards {
    /// The database's name.
    pub database: String,
    /// The list that is guarded, if there is a provider.
    pub provider: Option<ListId>,
    /// The meaning of an empty list.
    pub on_empty: OnEmpty,
    /// The largest part of the prefixes in force that a change may take away, in percent.
    pub max_shrink: u8,
    /// Whether a list may trust everybody.
    pub allow_any: bool,
    /// The lengths of the shortest prefixes that a list may hold, IPv4 and IPv6.
    pub min_prefix: [u8; 2],
}

/// Meaning of an empty list from a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnEmpty {
    /// A mistake: keep the last good list.
    Keep,
    /// Nobody.
    Close,
    /// Everybody.
    Open,
}
