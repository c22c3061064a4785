//! The packet corpus: a table of frames and what has to come of each.
//!
//! Its expectations are written down by hand, shape by shape; the tests hold them against
//! the kernel programs and against the model, so that the three watch each other.

mod ipv4;
mod ipv6;
mod link;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dbfw_common::{HOST, Mode, Reason, Verdict};

use crate::{
    model::Expected,
    packets::{self, DOT1AD, DOT1Q, IPV4, IPV6, Ip4, Ip6, Macs, Tcp},
    policy::{Policy, Protected, Transport, Trusted, mask},
};

/// Database 1: two TCP ports.
pub const ORDERS: u32 = 1;
/// Database 2: one port number, TCP and UDP.
pub const CACHE: u32 = 2;
/// Database 64, the last there can be.
pub const LAST: u32 = 64;

/// A port of [`ORDERS`], the one most shapes are aimed at.
pub const PORT: u16 = 5432;
/// Its other port.
pub const SECOND_PORT: u16 = 6432;
/// The port of [`CACHE`].
pub const CACHE_PORT: u16 = 11_211;
/// The port of [`LAST`].
pub const LAST_PORT: u16 = 9_999;
/// A port of nobody.
pub const OTHER_PORT: u16 = 8_080;

/// Who talks to whom: a host with its database, and two clients of its network.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Hardware addresses, from a client to the host.
    pub macs: Macs,
    /// The host.
    pub host4: Ipv4Addr,
    /// Trusted by [`ORDERS`].
    pub trusted4: Ipv4Addr,
    /// Trusted by nobody.
    pub stranger4: Ipv4Addr,
    /// The host.
    pub host6: Ipv6Addr,
    /// Trusted by [`ORDERS`].
    pub trusted6: Ipv6Addr,
    /// Trusted by nobody.
    pub stranger6: Ipv6Addr,
}

impl Default for Scene {
    fn default() -> Self {
        let fd77 = |last| Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last);
        Self {
            macs: Macs { destination: [2, 0, 0, 0, 0, 1], source: [2, 0, 0, 0, 0, 2] },
            host4: Ipv4Addr::new(10, 77, 0, 1),
            trusted4: Ipv4Addr::new(10, 77, 0, 2),
            stranger4: Ipv4Addr::new(10, 77, 0, 3),
            host6: fd77(1),
            trusted6: fd77(2),
            stranger6: fd77(3),
        }
    }
}

impl Scene {
    /// The policy the corpus' expectations are for, every database in `enforce`.
    pub fn policy(&self) -> Policy {
        let database =
            |id, ports: &[_]| Protected { id, mode: Mode::Enforce, ports: ports.to_vec() };
        let trusted = |net: &str, ids: &[u32]| Trusted {
            net: net.parse().unwrap_or_else(|error| panic!("{net}: {error}")),
            databases: mask(ids),
        };
        Policy {
            databases: vec![
                database(ORDERS, &[(Transport::Tcp, PORT), (Transport::Tcp, SECOND_PORT)]),
                database(CACHE, &[(Transport::Tcp, CACHE_PORT), (Transport::Udp, CACHE_PORT)]),
                database(LAST, &[(Transport::Tcp, LAST_PORT)]),
            ],
            trusted: vec![
                trusted(&format!("{}/32", self.trusted4), &[ORDERS]),
                trusted(&format!("{}/128", self.trusted6), &[ORDERS]),
                trusted("198.51.100.0/24", &[ORDERS, CACHE]),
                trusted("198.51.100.128/25", &[LAST]),
                trusted("203.0.113.7/32", &[LAST]),
                trusted("2001:db8:2::/48", &[ORDERS, CACHE]),
                trusted("2001:db8:2:8000::/49", &[LAST]),
                trusted("2001:db8:7::7/128", &[LAST]),
            ],
            drop_fragments: false,
        }
    }

    /// The corpus.
    pub fn corpus(&self) -> Vec<Case> {
        let mut table = Table { scene: self.clone(), cases: Vec::new() };
        link::add(&mut table);
        ipv4::add(&mut table);
        ipv6::add(&mut table);
        table.cases
    }
}

/// One packet of the corpus.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is special about it.
    pub name: String,
    /// The frame, not padded.
    pub frame: Vec<u8>,
    /// What has to come of it.
    pub expected: Expected,
    /// What has to come of it where non-first fragments are dropped.
    pub fragments_dropped: Expected,
}

impl Case {
    /// The packet without its Ethernet header, and what has to come of it then; `None` for
    /// frames that have no meaning there.
    pub fn without_link(&self, frame: &[u8]) -> Option<(Vec<u8>, Expected)> {
        let (link, packet) = frame.split_at_checked(14)?;
        let version = packet.first()? >> 4;
        match (u16::from_be_bytes([link[12], link[13]]), version) {
            (IPV4, 4) | (IPV6, 6) => Some((packet.to_vec(), self.expected)),
            (IPV4, 6) | (IPV6, 4) => None,
            (IPV4 | IPV6, _) => Some((packet.to_vec(), not_judged())),
            _ => None,
        }
    }
}

fn expected(verdict: Verdict, reason: Reason, database: u32) -> Expected {
    Expected { verdict, reason, database }
}

fn allowed(database: u32) -> Expected {
    expected(Verdict::Allow, Reason::Trusted, database)
}

fn untrusted(database: u32) -> Expected {
    expected(Verdict::Drop, Reason::Untrusted, database)
}

/// Dropped for a reason that has no database.
fn refused(reason: Reason) -> Expected {
    expected(Verdict::Drop, reason, HOST)
}

fn cut(database: u32) -> Expected {
    expected(Verdict::Drop, Reason::Malformed, database)
}

fn other_port() -> Expected {
    expected(Verdict::Pass, Reason::OtherPort, HOST)
}

fn not_judged() -> Expected {
    expected(Verdict::Pass, Reason::NotJudged, HOST)
}

/// The three ordinary packets every shape is tried with.
#[derive(Clone, Copy)]
struct Ordinary<A> {
    label: &'static str,
    source: A,
    port: u16,
    expected: Expected,
}

/// The corpus while it is built.
struct Table {
    scene: Scene,
    cases: Vec<Case>,
}

impl Table {
    fn add(&mut self, name: impl Into<String>, frame: Vec<u8>, expected: Expected) {
        let name = name.into();
        self.cases.push(Case { name, frame, expected, fragments_dropped: expected });
    }

    /// A fragment that is not the first, from a trusted source or not.
    fn add_later_fragment(&mut self, name: impl Into<String>, frame: Vec<u8>, trusted: bool) {
        let fragments_dropped = if trusted { allowed(HOST) } else { refused(Reason::Fragment) };
        let name = name.into();
        self.cases.push(Case { name, frame, expected: not_judged(), fragments_dropped });
    }

    fn ordinary4(&self) -> [Ordinary<Ipv4Addr>; 3] {
        ordinary(self.scene.trusted4, self.scene.stranger4)
    }

    fn ordinary6(&self) -> [Ordinary<Ipv6Addr>; 3] {
        ordinary(self.scene.trusted6, self.scene.stranger6)
    }

    fn ethernet(&self, ethertype: u16, content: &[u8]) -> Vec<u8> {
        packets::ethernet(self.scene.macs, &[], ethertype, content)
    }

    fn ip4(&self, source: Ipv4Addr) -> Ip4 {
        Ip4::new(source, self.scene.host4)
    }

    fn ip6(&self, source: Ipv6Addr) -> Ip6 {
        Ip6::new(source, self.scene.host6)
    }

    /// A frame of an IPv4 header and a payload.
    fn frame4(&self, header: &Ip4, protocol: u8, payload: &[u8]) -> Vec<u8> {
        self.ethernet(IPV4, &header.packet(protocol, payload))
    }

    /// A frame of an IPv6 header, its chain and a payload.
    fn frame6(&self, header: &Ip6, protocol: u8, payload: &[u8]) -> Vec<u8> {
        self.ethernet(IPV6, &header.packet(protocol, payload))
    }
}

fn ordinary<A: Copy>(trusted: A, stranger: A) -> [Ordinary<A>; 3] {
    [
        Ordinary { label: "trusted", source: trusted, port: PORT, expected: allowed(ORDERS) },
        Ordinary { label: "untrusted", source: stranger, port: PORT, expected: untrusted(ORDERS) },
        Ordinary {
            label: "other port",
            source: stranger,
            port: OTHER_PORT,
            expected: other_port(),
        },
    ]
}

fn syn4(header: &Ip4, port: u16) -> Vec<u8> {
    tcp4(header, &Tcp::syn(port))
}

fn tcp4(header: &Ip4, tcp: &Tcp) -> Vec<u8> {
    tcp.bytes(IpAddr::V4(header.source), IpAddr::V4(header.destination))
}

fn syn6(header: &Ip6, port: u16) -> Vec<u8> {
    Tcp::syn(port).bytes(IpAddr::V6(header.source), IpAddr::V6(header.destination))
}

fn udp4(header: &Ip4, port: u16) -> Vec<u8> {
    packets::udp(IpAddr::V4(header.source), IpAddr::V4(header.destination), port, b"gets a\r\n")
}

fn udp6(header: &Ip6, port: u16) -> Vec<u8> {
    packets::udp(IpAddr::V6(header.source), IpAddr::V6(header.destination), port, b"gets a\r\n")
}

/// Tags of one kind, VLAN 0, as many as asked for.
fn tags(kind: u16, number: usize) -> Vec<(u16, u16)> {
    vec![(kind, 0); number]
}

/// A service tag outside, customer tags inside.
fn service_tags(number: usize) -> Vec<(u16, u16)> {
    let mut tags = tags(DOT1Q, number);
    if let Some(outer) = tags.first_mut() {
        outer.0 = DOT1AD;
    }
    tags
}
