//! Documents of `dbfw suggest`, as the agent sends them and `--output json` prints them.

use std::{collections::BTreeSet, net::IpAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::words::words;

words! {
    /// The kind of a refused source, by what it did.
    pub enum Visitor {
        /// One that uses the database, or wants to.
        Client = "client",
        /// One that looks for open ports.
        Scanner = "scanner",
        /// Either.
        Unclear = "unclear",
    }
}

/// Proposed trusted sources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suggestions {
    /// The time of the first refusal that is remembered; absent: none is.
    pub since: Option<Timestamp>,
    /// Refused addresses that are not trusted now; one counts for every database it wanted.
    pub observed: usize,
    /// The fewest sources that would let all of them in but scanners, by database.
    pub suggestions: Vec<Suggestion>,
    /// The refused addresses that look like scanners. Nothing is proposed for them.
    pub scanners: Vec<RefusedAddress>,
    /// The reason why they were not matched with the provider's account.
    pub inventory_error: Option<String>,
    /// The reason why it is not known who is connected now.
    pub connections_error: Option<String>,
}

/// A trusted source that would let refused addresses in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    /// The database that refused them.
    pub database: String,
    /// "tag:backend".
    pub source: String,
    /// `client` if all of the addresses look like clients, and nothing that looks like a scanner
    /// would come with them.
    pub looks_like: Visitor,
    /// The refused addresses it would let in.
    pub covers: Vec<String>,
    /// The number of other addresses it would let in; the largest number stands for more.
    pub others: u64,
    /// Their activity, taken together.
    #[serde(flatten)]
    pub activity: Activity,
    /// Facts about them, and points to consider.
    pub why: String,
    /// Each of the refused addresses.
    pub addresses: Vec<RefusedAddress>,
}

/// An address that was refused and is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedAddress {
    /// The database that refused it.
    pub database: String,
    /// The address.
    pub address: IpAddr,
    /// Its kind.
    pub looks_like: Visitor,
    /// Its activity.
    #[serde(flatten)]
    pub activity: Activity,
    /// The known machine or network that has it.
    pub belongs_to: Option<BelongsTo>,
    /// The facts that it is judged by.
    pub why: String,
}

/// Activity of refused addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// First refusal.
    pub first_seen: Timestamp,
    /// Last refusal.
    pub last_seen: Timestamp,
    /// Different minutes with a refusal; of several addresses, those of the one with the most.
    pub minutes: u32,
    /// Packets, estimated from the sampled events.
    pub packets: u64,
    /// The ports that they wanted.
    pub ports: BTreeSet<u16>,
    /// Whether a TCP connection was established.
    pub established: bool,
    /// The last moment at which one was open; `null`: none was seen.
    pub last_connected: Option<Timestamp>,
}

/// The known machine or network that has an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BelongsTo {
    /// A machine of the provider's account.
    Machine {
        /// The source that trusts it alone: "droplet:123".
        source: String,
        /// "web-1".
        name: String,
        /// The sources that trust it with others: its tags, its cluster.
        groups: Vec<String>,
    },
    /// A network of the provider's account.
    Network {
        /// The source that trusts it: "vpc:…".
        source: String,
        /// "default-fra1".
        name: String,
    },
    /// A network that this host is in.
    LocalNetwork {
        /// The interface with an address in it.
        interface: String,
        /// "10.0.3.0/24".
        network: String,
    },
}
