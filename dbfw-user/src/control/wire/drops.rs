//! Who is refused.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `dbfw drops`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drops {
    /// Since when sources are remembered.
    pub since: Timestamp,
    /// Most drops first.
    pub sources: Vec<DropSource>,
}

/// A refused source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropSource {
    /// Its address.
    pub source: IpAddr,
    /// The database it wanted; "*" where the port could not be read.
    pub database: String,
    /// Destination port; 0 where it could not be read.
    pub port: u16,
    /// untrusted, port_hidden, …
    pub reason: String,
    /// Dropped, or only observed.
    pub verdict: String,
    /// Packets, estimated from the sampled events.
    pub estimated_packets: u64,
    /// First event.
    pub first_seen: Timestamp,
    /// Last event.
    pub last_seen: Timestamp,
}

/// A line of `dbfw drops --follow`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropEvent {
    /// When.
    pub time: Timestamp,
    /// From where.
    pub source: IpAddr,
    /// The database it wanted; "*" where the port could not be read.
    pub database: String,
    /// Destination port; 0 where it could not be read.
    pub port: u16,
    /// tcp, udp, or the protocol's number.
    pub protocol: String,
    /// Interface it came in on.
    pub interface: String,
    /// untrusted, port_hidden, …
    pub reason: String,
    /// drop or observe.
    pub verdict: String,
    /// Drops this event stands for.
    pub weight: u64,
}
