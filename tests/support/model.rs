//! What the design says about a packet, read from its text: an independent parser and
//! policy, to hold against the kernel programs. It works on slices that get shorter and by
//! recursion; nothing of it is taken from the programs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dbfw_common::{Family, HOST, Mode, Reason, Verdict};
use ipnet::IpNet;

use crate::policy::{Policy, Transport};

/// VLAN tags that are looked behind.
const TAGS: usize = 4;
/// Extension headers that are looked behind.
const EXTENSIONS: usize = 8;

/// What a packet begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// An Ethernet header.
    Ethernet,
    /// The IP header.
    None,
}

/// What has to come of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The verdict.
    pub verdict: Verdict,
    /// Its reason.
    pub reason: Reason,
    /// The database; 0: the host's slot.
    pub database: u32,
}

/// [`Expected`], and what decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Verdict, reason, database.
    pub expected: Expected,
    /// The family it is counted for.
    pub family: Family,
    /// The most specific prefix that covers the source, where a database's trust decided.
    pub entry: Option<IpNet>,
}

/// What the headers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// No concern of any database.
    Nothing,
    /// Dropped whatever its port.
    Refuse(Reason, Family),
    /// A fragment that is not the first.
    LaterFragment(IpAddr),
    /// Its port is not to be seen.
    Hidden(IpAddr),
    /// A port; `cut` if the IP length promises more than there is.
    Port { source: IpAddr, transport: Transport, port: u16, cut: bool },
}

/// Judges a packet by the text.
pub fn judge(policy: &Policy, link: Link, packet: &[u8]) -> Decision {
    let told = match link {
        Link::Ethernet => packet.get(12..).map_or(Told::Nothing, |typed| frame(typed, TAGS)),
        Link::None => match packet.first().map(|byte| byte >> 4) {
            Some(4) => ipv4(packet),
            Some(6) => ipv6(packet),
            _ => Told::Nothing,
        },
    };
    decide(policy, told)
}

/// From an EtherType on.
fn frame(typed: &[u8], tags: usize) -> Told {
    match typed {
        [0x08, 0x00, packet @ ..] => ipv4(packet),
        [0x86, 0xdd, packet @ ..] => ipv6(packet),
        [0x81, 0x00, ..] | [0x88, 0xa8, ..] | [0x91, 0x00, ..] if tags == 0 => {
            Told::Refuse(Reason::VlanDepth, Family::V4)
        }
        [0x81, 0x00, _, _, inner @ ..]
        | [0x88, 0xa8, _, _, inner @ ..]
        | [0x91, 0x00, _, _, inner @ ..] => frame(inner, tags - 1),
        _ => Told::Nothing,
    }
}

fn ipv4(packet: &[u8]) -> Told {
    let malformed = Told::Refuse(Reason::Malformed, Family::V4);
    let Some(fixed) = packet.first_chunk::<20>() else { return malformed };
    let header = usize::from(fixed[0] % 16) * 4;
    let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if fixed[0] / 16 != 4 || header < 20 || packet.len() < header || (1..header).contains(&total) {
        return malformed;
    }
    let source = Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]);
    let destination = Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]);
    if source.is_loopback() || destination.is_loopback() {
        return Told::Refuse(Reason::Martian, Family::V4);
    }
    let fragment = u16::from_be_bytes([fixed[6], fixed[7]]);
    if fragment % 0x2000 != 0 {
        return Told::LaterFragment(source.into());
    }
    let length = if total == 0 { packet.len() } else { total };
    let body = &packet[header..length.min(packet.len())];
    let first = fragment & 0x2000 != 0;
    transport(source.into(), fixed[9], body, first, length > packet.len())
}

fn ipv6(packet: &[u8]) -> Told {
    let Some((fixed, rest)) = packet.split_first_chunk::<40>() else {
        return Told::Refuse(Reason::Malformed, Family::V6);
    };
    if fixed[0] / 16 != 6 {
        return Told::Refuse(Reason::Malformed, Family::V6);
    }
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&fixed[at..at + 16]);
        Ipv6Addr::from(octets)
    };
    let (source, destination) = (address(8), address(24));
    if source.is_loopback() || destination.is_loopback() {
        return Told::Refuse(Reason::Martian, Family::V6);
    }
    let promised = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    let length = if promised == 0 { rest.len() } else { promised };
    let body = &rest[..length.min(rest.len())];
    chain(source.into(), fixed[6], body, EXTENSIONS, false, length > rest.len())
}

/// From a next-header number and what it names on.
fn chain(source: IpAddr, next: u8, body: &[u8], left: usize, first: bool, cut: bool) -> Told {
    if !matches!(next, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140) {
        return transport(source, next, body, first, cut);
    }
    if left == 0 {
        return Told::Hidden(source);
    }
    let Some(start) = body.first_chunk::<8>() else {
        return if first {
            Told::Hidden(source)
        } else {
            Told::Refuse(Reason::Malformed, Family::V6)
        };
    };
    let length = usize::from(start[1]);
    let (length, first) = match next {
        44 => {
            let field = u16::from_be_bytes([start[2], start[3]]);
            if field / 8 != 0 {
                return Told::LaterFragment(source);
            }
            (8, first || field % 2 == 1)
        }
        51 => (4 * (length + 2), first),
        _ => (8 * (length + 1), first),
    };
    chain(source, start[0], body.get(length..).unwrap_or(&[]), left - 1, first, cut)
}

fn transport(source: IpAddr, protocol: u8, body: &[u8], first: bool, cut: bool) -> Told {
    let transport = match protocol {
        6 => Transport::Tcp,
        17 => Transport::Udp,
        _ => return Told::Nothing,
    };
    match body {
        [_, _, high, low, ..] => {
            let port = u16::from_be_bytes([*high, *low]);
            Told::Port { source, transport, port, cut }
        }
        _ if first => Told::Hidden(source),
        _ => Told::Refuse(Reason::Malformed, family(source)),
    }
}

fn decide(policy: &Policy, told: Told) -> Decision {
    let host = policy.databases.iter().map(|database| database.mode).max().unwrap_or(Mode::Off);
    let trusted_by_any = |source| policy.longest(source).is_some();
    match told {
        Told::Nothing => pass(Reason::NotJudged),
        _ if host == Mode::Off && !matches!(told, Told::Port { .. }) => pass(Reason::NotJudged),
        Told::Refuse(reason, family) => refuse(host, reason, HOST, family),
        Told::LaterFragment(_) if !policy.drop_fragments => pass(Reason::NotJudged),
        Told::LaterFragment(source) | Told::Hidden(source) if trusted_by_any(source) => {
            allow(HOST, source, None)
        }
        Told::LaterFragment(source) => refuse(host, Reason::Fragment, HOST, family(source)),
        Told::Hidden(source) => refuse(host, Reason::PortHidden, HOST, family(source)),
        Told::Port { source, transport, port, cut } => match policy.database(transport, port) {
            Some(database) if database.mode != Mode::Off => {
                let (mode, id) = (database.mode, database.id);
                if cut {
                    refuse(mode, Reason::Malformed, id, family(source))
                } else if policy.reach(source) >> (id - 1) & 1 == 1 {
                    allow(id, source, policy.longest(source))
                } else {
                    refuse(mode, Reason::Untrusted, id, family(source))
                }
            }
            _ => pass(Reason::OtherPort),
        },
    }
}

fn pass(reason: Reason) -> Decision {
    let expected = Expected { verdict: Verdict::Pass, reason, database: HOST };
    Decision { expected, family: Family::V4, entry: None }
}

fn allow(database: u32, source: IpAddr, entry: Option<IpNet>) -> Decision {
    let expected = Expected { verdict: Verdict::Allow, reason: Reason::Trusted, database };
    Decision { expected, family: family(source), entry }
}

fn refuse(mode: Mode, reason: Reason, database: u32, family: Family) -> Decision {
    let verdict = if mode == Mode::Observe { Verdict::Observe } else { Verdict::Drop };
    Decision { expected: Expected { verdict, reason, database }, family, entry: None }
}

fn family(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}
