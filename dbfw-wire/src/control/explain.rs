//! Documents of `dbfw explain`, as the agent sends them and `--output json` prints them.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::drops::{Mode, Reason, Verdict};
use crate::words::words;

/// The decision about an address, for one database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The source address asked about.
    pub address: IpAddr,
    /// "tcp/5432"; "tcp/6432-6440" for ports that fare alike.
    pub port: String,
    /// The destination of the packets, where it was asked for or makes a difference.
    #[serde(default)]
    pub to: Option<IpAddr>,
    /// The database that judges them; absent: none.
    pub database: Option<String>,
    /// Its mode.
    pub mode: Option<Mode>,
    /// The decision of the loaded program.
    pub verdict: Verdict,
    /// The reason for it.
    pub reason: Reason,
    /// The effect of it on all ways into this host.
    #[serde(default)]
    pub effect: Effect,
    /// Interfaces by which the address gets in although the program drops its packets, or would in
    /// enforce mode.
    #[serde(default)]
    pub let_in_by: Vec<String>,
    /// Interfaces without a program, where this host routes: packets that it passes on from there,
    /// as by a NAT rule, are not judged.
    #[serde(default)]
    pub passed_on_unjudged: Vec<String>,
    /// The program that was run: dbfw_xdp, …
    pub program: String,
    /// The longest prefix in the maps that covers the address.
    pub prefix: Option<String>,
    /// Every trusted source of this database that covers it, most specific first.
    pub sources: Vec<CoveringSource>,
    /// Further facts in words: until when it was trusted, and what keeps the list from being current.
    #[serde(default)]
    pub facts: Vec<String>,
}

words! {
    /// Whether an address gets in.
    #[derive(Default)]
    pub enum Effect {
        /// By every way into this host.
        LetIn = "let_in",
        /// By some ways and not by others.
        Partly = "partly",
        /// By none.
        Dropped = "dropped",
        /// This version of dbfw does not know.
        #[default]
        Unknown = "unknown",
    }
}

/// A trusted source that covers an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoveringSource {
    /// "ip_addr:10.0.0.0/8".
    pub source: String,
    /// The prefix of it that covers the address.
    pub prefix: String,
    /// config, local, or the provider's name.
    pub origin: String,
    /// For people.
    pub description: Option<String>,
    /// The end of its trust.
    pub expires_at: Option<Timestamp>,
    /// The moment since when its packets are counted; absent: it has no counter.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Packets that it let in since then.
    #[serde(default)]
    pub packets: u64,
    /// The last time that it let one in.
    #[serde(default)]
    pub last_hit: Option<Timestamp>,
}
