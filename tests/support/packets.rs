//! Building packets byte by byte, the malformed ones included.
//!
//! Checksums are right unless a case spoils them, so that the same bytes can be sent to a
//! real stack.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// Customer VLAN tag, 802.1Q.
pub const DOT1Q: u16 = 0x8100;
/// Service VLAN tag, 802.1ad.
pub const DOT1AD: u16 = 0x88a8;
/// The pre-standard tag in tag.
pub const QINQ: u16 = 0x9100;

/// Shortest Ethernet frame on a wire, without its checksum.
pub const MINIMUM: usize = 60;

/// IP protocol numbers.
pub mod protocol {
    #![expect(missing_docs, reason = "the names are the protocols'")]
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IGMP: u8 = 2;
    pub const IPIP: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const ESP: u8 = 50;
    pub const AH: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT: u8 = 59;
    pub const DESTINATION: u8 = 60;
    pub const OSPF: u8 = 89;
    pub const SCTP: u8 = 132;
    pub const MOBILITY: u8 = 135;
    pub const HOST_IDENTITY: u8 = 139;
    pub const SHIM6: u8 = 140;
    pub const EXPERIMENT: u8 = 253;
}

/// Hardware addresses of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Macs {
    /// To whom.
    pub destination: [u8; 6],
    /// From whom.
    pub source: [u8; 6],
}

/// A frame: hardware addresses, tags (type and control word), type, content.
pub fn ethernet(macs: Macs, tags: &[(u16, u16)], ethertype: u16, content: &[u8]) -> Vec<u8> {
    let mut frame = [macs.destination, macs.source].concat();
    for (kind, control) in tags {
        frame.extend(kind.to_be_bytes());
        frame.extend(control.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(content);
    frame
}

/// A frame filled up with zeros to [`MINIMUM`], as a network card does it.
pub fn padded(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame.resize(frame.len().max(MINIMUM), 0);
    frame
}

/// An IPv4 header; `None` fields get the right value.
#[derive(Clone, Debug)]
pub struct Ip4 {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Version field.
    pub version: u8,
    /// Header length field, in words.
    pub ihl: Option<u8>,
    /// Total length field.
    pub total: Option<u16>,
    /// Identification.
    pub id: u16,
    /// Flags and fragment offset (in units of 8 bytes), as the field has them.
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// Options; a multiple of 4 bytes.
    pub options: Vec<u8>,
}

/// More fragments follow (IPv4).
pub const MF: u16 = 0x2000;
/// Don't fragment.
pub const DF: u16 = 0x4000;
/// The reserved flag of IPv4.
pub const EVIL: u16 = 0x8000;

impl Ip4 {
    /// A plain header.
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self {
            source,
            destination,
            version: 4,
            ihl: None,
            total: None,
            id: 0x4242,
            fragment: 0,
            ttl: 64,
            options: Vec::new(),
        }
    }

    /// The header in front of `payload`.
    pub fn packet(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let length = 20 + self.options.len();
        let ihl = self.ihl.unwrap_or((length / 4) as u8);
        let total = self.total.unwrap_or((length + payload.len()) as u16);
        let mut packet = vec![self.version << 4 | ihl & 0x0f, 0];
        packet.extend(total.to_be_bytes());
        packet.extend(self.id.to_be_bytes());
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([self.ttl, protocol, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(&self.options);
        let covered = (usize::from(ihl) * 4).clamp(20, packet.len());
        let sum = checksum(&[&packet[..covered]]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(payload);
        packet
    }
}

/// One extension header of an IPv6 packet.
#[derive(Clone, Debug)]
pub struct Extension {
    /// Its own number, for the header in front of it.
    pub number: u8,
    /// Its bytes; the first is filled with the number of what follows.
    pub bytes: Vec<u8>,
}

impl Extension {
    /// Hop-by-hop or destination options of `units` units of 8 bytes beyond the first,
    /// filled with options that every node skips (type 0x1e: the kernel refuses much
    /// padding).
    pub fn options(number: u8, units: u8) -> Self {
        let mut bytes = vec![0, units];
        let mut room = 6 + usize::from(units) * 8;
        while room > 0 {
            let option = room.min(257);
            // A last byte alone can only be padding.
            if option == 1 {
                bytes.push(0);
            } else {
                bytes.extend([0x1e, (option - 2) as u8]);
                bytes.resize(bytes.len() + option - 2, 0);
            }
            room -= option;
        }
        Self { number, bytes }
    }

    /// A routing header of a type, no segments left, with `units` units of 8 bytes beyond
    /// the first.
    pub fn routing(kind: u8, units: u8) -> Self {
        let mut bytes = vec![0, units, kind, 0];
        bytes.resize(8 + usize::from(units) * 8, 0);
        Self { number: protocol::ROUTING, bytes }
    }

    /// A fragment header: offset in units of 8 bytes, whether more follow.
    pub fn fragment(offset: u16, more: bool) -> Self {
        Self::fragment_raw(0, offset << 3 | u16::from(more))
    }

    /// A fragment header from its reserved byte and its field of offset and flags.
    pub fn fragment_raw(reserved: u8, field: u16) -> Self {
        let [high, low] = field.to_be_bytes();
        let bytes = vec![0, reserved, high, low, 0, 0, 0x42, 0x42];
        Self { number: protocol::FRAGMENT, bytes }
    }

    /// An authentication header whose length field is `words` (its length less two words).
    pub fn authentication(words: u8) -> Self {
        let mut bytes = vec![0, words];
        bytes.resize((usize::from(words) + 2) * 4, 0);
        Self { number: protocol::AH, bytes }
    }

    /// A header of the common form: 8 bytes, length field 0.
    pub fn plain(number: u8) -> Self {
        Self { number, bytes: vec![0; 8] }
    }

    /// A jumbo payload option in a hop-by-hop header.
    pub fn jumbo(length: u32) -> Self {
        let mut bytes = vec![0, 0, 0xc2, 4];
        bytes.extend(length.to_be_bytes());
        Self { number: protocol::HOP_BY_HOP, bytes }
    }
}

/// An IPv6 header; `None` fields get the right value.
#[derive(Clone, Debug)]
pub struct Ip6 {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Version field.
    pub version: u8,
    /// Traffic class.
    pub class: u8,
    /// Flow label.
    pub flow: u32,
    /// Payload length field.
    pub payload: Option<u16>,
    /// Hop limit.
    pub hops: u8,
    /// Extension headers.
    pub chain: Vec<Extension>,
}

impl Ip6 {
    /// A plain header.
    pub fn new(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self {
            source,
            destination,
            version: 6,
            class: 0,
            flow: 0,
            payload: None,
            hops: 64,
            chain: Vec::new(),
        }
    }

    /// The header and its chain in front of `payload`.
    pub fn packet(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut next = protocol;
        let mut rest = payload.to_vec();
        for extension in self.chain.iter().rev() {
            let mut bytes = extension.bytes.clone();
            bytes[0] = next;
            bytes.extend(rest);
            rest = bytes;
            next = extension.number;
        }
        let length = self.payload.unwrap_or(rest.len() as u16);
        let first = u32::from(self.version) << 28 | u32::from(self.class) << 20 | self.flow;
        let mut packet = first.to_be_bytes().to_vec();
        packet.extend(length.to_be_bytes());
        packet.extend([next, self.hops]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(rest);
        packet
    }
}

/// A TCP segment.
#[derive(Clone, Debug)]
pub struct Tcp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Flags: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
    pub flags: u8,
    /// Options; a multiple of 4 bytes.
    pub options: Vec<u8>,
    /// Data behind the header.
    pub data: Vec<u8>,
}

impl Tcp {
    /// A SYN from an ordinary port.
    pub fn syn(destination: u16) -> Self {
        Self { source: 40_000, destination, flags: 2, options: Vec::new(), data: Vec::new() }
    }

    /// Its bytes, with the checksum for a pair of addresses.
    pub fn bytes(&self, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let mut segment = self.source.to_be_bytes().to_vec();
        segment.extend(self.destination.to_be_bytes());
        segment.extend(1_000_000u32.to_be_bytes());
        segment.extend(0u32.to_be_bytes());
        let words = 5 + self.options.len() as u8 / 4;
        segment.extend([words << 4, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(&self.options);
        segment.extend(&self.data);
        let sum = transport_checksum(source, destination, protocol::TCP, &segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        segment
    }
}

/// A UDP datagram from port 40000, with the checksum for a pair of addresses.
pub fn udp(source: IpAddr, destination: IpAddr, port: u16, data: &[u8]) -> Vec<u8> {
    let mut datagram = 40_000u16.to_be_bytes().to_vec();
    datagram.extend(port.to_be_bytes());
    datagram.extend((8 + data.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(data);
    let sum = transport_checksum(source, destination, protocol::UDP, &datagram);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// A packet as hexadecimal digits, for messages.
pub fn hex(packet: &[u8]) -> String {
    packet.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn transport_checksum(source: IpAddr, destination: IpAddr, protocol: u8, data: &[u8]) -> u16 {
    let octets = |address| match address {
        IpAddr::V4(address) => Ipv4Addr::octets(&address).to_vec(),
        IpAddr::V6(address) => Ipv6Addr::octets(&address).to_vec(),
    };
    let length = (data.len() as u32).to_be_bytes();
    checksum(&[&octets(source), &octets(destination), &length, &[0, 0, 0, protocol], data])
}

/// The Internet checksum over parts of even length (the last may be odd).
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |byte| u32::from(*byte));
        }
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}
