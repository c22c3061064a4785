//! Answers to a question or an order.

use std::net::IpAddr;

use jiff::Timestamp;
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

/// `dbfw map lookup`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lookup {
    /// The address looked up.
    pub address: IpAddr,
    /// Whether the presence bits let the lookup go on to the sets.
    pub front: bool,
    /// The longest match; absent: untrusted by all.
    pub entry: Option<MapEntry>,
}

/// `dbfw explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The source address asked about.
    pub address: IpAddr,
    /// "tcp/5432".
    pub port: String,
    /// The database the port belongs to; absent: none.
    pub database: Option<String>,
    /// Its mode.
    pub mode: Option<String>,
    /// What the loaded program decided: pass, allow, observe, drop.
    pub verdict: String,
    /// Why: trusted, untrusted, other_port, …
    pub reason: String,
    /// The program that was run: dbfw_xdp, …
    pub program: String,
    /// The longest prefix in the maps that covers the address.
    pub prefix: Option<String>,
    /// Every trusted source of this database that covers it, most specific first.
    pub sources: Vec<CoveringSource>,
}

/// A trusted source that covers an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoveringSource {
    /// "ip_addr:10.0.0.0/8".
    pub source: String,
    /// Which of its prefixes covers the address.
    pub prefix: String,
    /// config, local, or the provider's name.
    pub origin: String,
    /// For people.
    pub description: Option<String>,
    /// When it stops being trusted.
    pub expires_at: Option<Timestamp>,
}

/// `dbfw reload`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Number of the policy now in force.
    pub generation: u64,
    /// Prefixes added.
    pub added: usize,
    /// Prefixes removed.
    pub removed: usize,
    /// Changes a guard refuses, in words; `dbfw status` shows what each would take away.
    pub refused: Vec<String>,
    /// Lists that could not be read, and why; what they held before stays in force.
    #[serde(default)]
    pub failed: Vec<String>,
    /// Sources that were not asked for before and have no answer yet.
    #[serde(default)]
    pub pending: Vec<String>,
}

/// An answer in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// The words.
    pub text: String,
}
