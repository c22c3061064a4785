//! Documents of `dbfw drops`, as the agent sends them and `--output json` prints them.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::words::words;

words! {
    /// The treatment of packets from untrusted sources.
    pub enum Mode from dbfw_common::Mode {
        /// They are neither judged nor counted.
        Off = "off",
        /// They are counted, and pass.
        Observe = "observe",
        /// They are dropped.
        Enforce = "enforce",
    }
}

words! {
    /// The decision about a packet.
    pub enum Verdict from dbfw_common::Verdict {
        /// Passed, and not counted: no protected port.
        Pass = "pass",
        /// Passed because its source is trusted.
        Allow = "allow",
        /// Passed in observe mode; enforce would have dropped it.
        Observe = "observe",
        /// Dropped.
        Drop = "drop",
    } or {
        /// One of another version of dbfw.
        #[serde(other)]
        Unknown = "unknown",
    }
}

words! {
    /// The reason for a verdict.
    pub enum Reason from dbfw_common::Reason {
        /// Its source is trusted.
        Trusted = "trusted",
        /// Its source is in no trusted source of the database.
        Untrusted = "untrusted",
        /// The port cannot be read.
        PortHidden = "port_hidden",
        /// Bad version, header length or total length.
        Malformed = "malformed",
        /// Too many VLAN tags.
        VlanDepth = "vlan_depth",
        /// Loopback or an address of this host, on a wire.
        Martian = "martian",
        /// A fragment that is not the first, where the configuration drops those.
        Fragment = "fragment",
        /// Refused by the backstop.
        Backstop = "backstop",
        /// Not for a protected port.
        OtherPort = "other_port",
        /// Neither IP nor a protocol that carries ports.
        NotJudged = "not_judged",
    } or {
        /// One of another version of dbfw.
        #[serde(other)]
        Unknown = "unknown",
    }
}

/// The sources that were refused, since a moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drops {
    /// The start of the count.
    pub since: Timestamp,
    /// One for each source and database, the last refused first unless asked otherwise.
    pub sources: Vec<DropSource>,
    /// Sources that were asked for and are beyond the limit.
    #[serde(default)]
    pub left_out: usize,
    /// Sources that the agent remembers, also those that were not asked for.
    #[serde(default)]
    pub remembered: usize,
    /// Number of times that the agent forgot a source to make room for another.
    #[serde(default)]
    pub forgotten: u64,
}

/// A refused source of a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropSource {
    /// Its address.
    pub source: IpAddr,
    /// The database it wanted; "*" where the port could not be read.
    pub database: String,
    /// Destination port of the last refusal; 0 where it could not be read.
    pub port: u16,
    /// The reason of the last refusal.
    pub reason: Reason,
    /// Whether the last one was dropped, or only observed.
    pub verdict: Verdict,
    /// Packets, estimated from the sampled events.
    pub estimated_packets: u64,
    /// First event.
    pub first_seen: Timestamp,
    /// Last event.
    pub last_seen: Timestamp,
    /// Every destination port, in ascending order; at most 16.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Every reason; at most 16.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// Every interface it came in on, by name; "*" where the program could not tell. At most 16.
    #[serde(default)]
    pub interfaces: Vec<String>,
    /// Whether there were more ports, reasons or interfaces than are listed.
    #[serde(default)]
    pub has_more: bool,
    /// Whether the maps trust it now for this database, or for any where the port could not be
    /// read. A trusted source is still refused for the shape of its packets: see `reason`.
    #[serde(default)]
    pub trusted_now: bool,
    /// The most specific trusted source of the database that covers it, if it is trusted now.
    #[serde(default)]
    pub trusted_by: Option<String>,
}

words! {
    /// The order of [`Drops::sources`].
    #[derive(Default)]
    pub enum DropOrder {
        /// The last refused first.
        #[default]
        Newest = "newest",
        /// Most packets first.
        Packets = "packets",
    }
}

/// A line of `dbfw drops --follow`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropEvent {
    /// The time of the packet.
    pub time: Timestamp,
    /// Its source address.
    pub source: IpAddr,
    /// The database it wanted; "*" where the port could not be read.
    pub database: String,
    /// Destination port; 0 where it could not be read.
    pub port: u16,
    /// tcp, udp, or the protocol's number.
    pub protocol: String,
    /// Interface it came in on.
    pub interface: String,
    /// The reason.
    pub reason: Reason,
    /// Dropped, or only observed.
    pub verdict: Verdict,
    /// Drops this event stands for.
    pub weight: u64,
    /// Events before this one, of any source, that the reader was too slow to get.
    #[serde(default)]
    pub missed: u64,
}
