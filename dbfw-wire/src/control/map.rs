//! Documents of `dbfw map`, as the agent sends them and `--output json` prints them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A line of `dbfw map dump`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapEntry {
    /// HOSTS4, HOSTS6, NETS4 or NETS6.
    pub map: String,
    /// The prefix.
    pub prefix: String,
    /// The databases it may reach.
    pub databases: Vec<String>,
    /// First slot of its rules.
    pub rules: u32,
}

/// The entry that decides about an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lookup {
    /// The address looked up.
    pub address: IpAddr,
    /// Whether the presence bits let the lookup go on to the sets.
    pub front: bool,
    /// The longest match; absent: untrusted by all.
    pub entry: Option<MapEntry>,
}
