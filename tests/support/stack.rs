//! What a Linux host would make of a frame, where that matters to the promises: no
//! untrusted packet to a protected port gets through, no complete packet to another port
//! is dropped. It errs towards "would deliver": checksums and addresses are not looked at,
//! and any number of tags and extension headers is walked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dbfw_common::Mode;

use crate::{
    model::Link,
    packets::{DOT1AD, DOT1Q, IPV4, IPV6, QINQ, protocol},
    policy::{Policy, Transport},
};

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: the stack drops it, or nobody takes it.
    Discarded,
    /// Delivered to something that has no ports (ARP, ICMP, tunnels).
    Portless,
    /// Kept until the other fragments are there; not the first one.
    LaterFragment,
    /// Kept as the first fragment; `port` is `None` if a later one brings it.
    FirstFragment {
        /// Sender.
        source: IpAddr,
        /// Transport and destination port, if they are in this fragment.
        port: Option<(Transport, u16)>,
    },
    /// Delivered to a port.
    Segment {
        /// Sender.
        source: IpAddr,
        /// Transport and destination port.
        port: (Transport, u16),
    },
}

impl Fate {
    /// Whether letting the frame in would break the promise: its source is not trusted, and
    /// it is, or may become, a packet to an enforced port.
    pub fn is_leak(&self, policy: &Policy) -> bool {
        let reaches = |source, port: (Transport, u16)| {
            policy.database(port.0, port.1).is_some_and(|database| {
                let trusted = policy.reach(source) >> (database.id - 1) & 1 == 1;
                database.mode == Mode::Enforce && !trusted
            })
        };
        match *self {
            Self::Segment { source, port } => reaches(source, port),
            Self::FirstFragment { source, port: Some(port) } => reaches(source, port),
            Self::FirstFragment { source, port: None } => {
                let mut modes = policy.databases.iter().map(|database| database.mode);
                modes.any(|mode| mode == Mode::Enforce) && policy.longest(source).is_none()
            }
            Self::Discarded | Self::Portless | Self::LaterFragment => false,
        }
    }

    /// Whether dropping the frame would break the promise: it is complete, and no database
    /// is concerned.
    pub fn is_elsewhere(&self, policy: &Policy) -> bool {
        match *self {
            Self::Segment { port, .. } | Self::FirstFragment { port: Some(port), .. } => {
                policy.database(port.0, port.1).is_none()
            }
            Self::Portless => true,
            Self::LaterFragment => !policy.drop_fragments,
            Self::Discarded | Self::FirstFragment { port: None, .. } => false,
        }
    }
}

/// Follows a frame through the stack.
pub fn fate(link: Link, frame: &[u8]) -> Fate {
    if link == Link::None {
        return match frame.first().map(|byte| byte >> 4) {
            Some(4) => fate4(frame),
            Some(6) => fate6(frame),
            _ => Fate::Discarded,
        };
    }
    let Some(mut rest) = frame.get(12..) else { return Fate::Discarded };
    loop {
        let Some((ethertype, content)) = rest.split_first_chunk::<2>() else {
            return Fate::Discarded;
        };
        match u16::from_be_bytes(*ethertype) {
            DOT1Q | DOT1AD => match content.get(2..) {
                Some(inner) => rest = inner,
                None => return Fate::Discarded,
            },
            // No device takes this tag off.
            QINQ => return Fate::Discarded,
            IPV4 => return fate4(content),
            IPV6 => return fate6(content),
            _ => return Fate::Portless,
        }
    }
}

fn fate4(packet: &[u8]) -> Fate {
    let field = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    if packet.len() < 20 || packet[0] >> 4 != 4 {
        return Fate::Discarded;
    }
    let (header, total) = (usize::from(packet[0] & 15) * 4, field(2));
    if header < 20 || total < header || packet.len() < total {
        return Fate::Discarded;
    }
    let source: [u8; 4] = [packet[12], packet[13], packet[14], packet[15]];
    let source = IpAddr::V4(Ipv4Addr::from(source));
    if field(6) & 0x1fff != 0 {
        return Fate::LaterFragment;
    }
    upper(source, packet[9], &packet[header..total], field(6) & 0x2000 != 0)
}

fn fate6(packet: &[u8]) -> Fate {
    if packet.len() < 40 || packet[0] >> 4 != 6 {
        return Fate::Discarded;
    }
    let mut source = [0; 16];
    source.copy_from_slice(&packet[8..24]);
    let source = IpAddr::V6(Ipv6Addr::from(source));
    let promised = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    let mut next = packet[6];
    let jumbogram = promised == 0 && next == protocol::HOP_BY_HOP;
    let end = if jumbogram { packet.len() } else { 40 + promised };
    let Some(mut rest) = packet.get(40..end) else { return Fate::Discarded };
    let mut first_fragment = false;
    loop {
        let length = match next {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION => {
                rest.get(1).map(|units| (usize::from(*units) + 1) * 8)
            }
            protocol::FRAGMENT => {
                match rest.get(2..4).map(|field| u16::from_be_bytes([field[0], field[1]])) {
                    Some(field) if field & 0xfff8 != 0 => return Fate::LaterFragment,
                    Some(field) => first_fragment |= field & 1 != 0,
                    None => return Fate::Discarded,
                }
                Some(8)
            }
            _ => return upper(source, next, rest, first_fragment),
        };
        match length.and_then(|length| rest.get(length..)) {
            Some(inner) => {
                next = rest[0];
                rest = inner;
            }
            None if first_fragment && may_bring_port(rest.first()) => {
                return Fate::FirstFragment { source, port: None };
            }
            None => return Fate::Discarded,
        }
    }
}

fn upper(source: IpAddr, protocol: u8, body: &[u8], first_fragment: bool) -> Fate {
    let (transport, header) = match protocol {
        protocol::TCP => (Transport::Tcp, 20),
        protocol::UDP => (Transport::Udp, 8),
        // Nobody takes them, unless as raw packets.
        _ if may_bring_port(Some(&protocol)) => return Fate::Discarded,
        _ => return Fate::Portless,
    };
    let port = body.get(2..4).map(|port| (transport, u16::from_be_bytes([port[0], port[1]])));
    match port {
        _ if first_fragment => Fate::FirstFragment { source, port },
        Some(port) if body.len() >= header => Fate::Segment { source, port },
        _ => Fate::Discarded,
    }
}

/// Whether a port can follow a header of this number; unknown: yes.
fn may_bring_port(next: Option<&u8>) -> bool {
    const HEADERS: [u8; 10] = [
        protocol::HOP_BY_HOP,
        protocol::TCP,
        protocol::UDP,
        protocol::ROUTING,
        protocol::FRAGMENT,
        protocol::AH,
        protocol::DESTINATION,
        protocol::MOBILITY,
        protocol::HOST_IDENTITY,
        protocol::SHIM6,
    ];
    next.is_none_or(|next| HEADERS.contains(next))
}
