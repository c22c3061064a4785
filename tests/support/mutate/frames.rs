//! Making frames and spoiling them.

use std::net::IpAddr;

use rand::{Rng as _, seq::IndexedRandom as _};

use super::{Generator, octets};
use crate::{
    packets::{
        self, DOT1AD, DOT1Q, Extension, IPV4, IPV6, Ip4, Ip6, MF, MINIMUM, QINQ, Tcp, protocol,
    },
    policy::Policy,
};

/// Bytes that mean something in some header.
const BYTES: [u8; 20] =
    [0, 1, 2, 4, 6, 17, 41, 43, 44, 50, 51, 58, 59, 60, 0x40, 0x45, 0x4f, 0x60, 127, 255];
/// Words that mean something in some header.
const WORDS: [u16; 22] = [
    0, 1, 2, 3, 4, 19, 20, 23, 24, 40, 60, 0x0800, 0x86dd, 0x8100, 0x88a8, 0x9100, 0x2000, 0x1fff,
    0x7fff, 0x4500, 0x6000, 0xffff,
];
/// Where headers are.
const HEADERS: usize = 110;

impl Generator {
    /// A frame for a policy.
    pub fn frame(&mut self, policy: &Policy) -> Vec<u8> {
        let mut frame = match self.corpus.choose(&mut self.rng).cloned() {
            Some(mut frame) if self.rng.random_bool(0.5) => {
                if self.rng.random_bool(0.8) {
                    self.readdress(&mut frame, policy);
                }
                frame
            }
            _ => self.build(policy),
        };
        if self.rng.random_bool(0.7) {
            for _ in 0..self.rng.random_range(1..=4) {
                self.mutate(&mut frame);
            }
        }
        if self.rng.random_bool(0.3) {
            frame.resize(frame.len().max(MINIMUM), 0);
        }
        let smallest = crate::kernel::SMALLEST_FRAME;
        frame.resize(frame.len().max(smallest), 0);
        frame
    }

    /// Puts another source into a frame, and often another port behind it.
    fn readdress(&mut self, frame: &mut [u8], policy: &Policy) {
        let Some((at, six)) = ip_header(frame) else { return };
        let (source, address) = if six {
            (at + 8, IpAddr::V6(self.source6(policy)))
        } else {
            (at + 12, IpAddr::V4(self.source4(policy)))
        };
        let octets = octets(address);
        if let Some(place) = frame.get_mut(source..source + octets.len()) {
            place.copy_from_slice(&octets);
        }
        let header = match (six, frame.get(at)) {
            (true, _) => 40,
            (false, Some(first)) => usize::from(first & 15) * 4,
            (false, None) => return,
        };
        let port = self.port().to_be_bytes();
        if self.rng.random_bool(0.5)
            && let Some(place) = frame.get_mut(at + header + 2..at + header + 4)
        {
            place.copy_from_slice(&port);
        }
    }

    fn build(&mut self, policy: &Policy) -> Vec<u8> {
        let six = self.rng.random_bool(0.5);
        let udp = self.rng.random_bool(0.3);
        let port = self.port();
        let mut number = if udp { protocol::UDP } else { protocol::TCP };
        let (source, destination): (IpAddr, IpAddr) = if six {
            (self.source6(policy).into(), self.scene.host6.into())
        } else {
            (self.source4(policy).into(), self.scene.host4.into())
        };
        let mut segment = if udp {
            packets::udp(source, destination, port, b"gets a\r\n")
        } else {
            Tcp::syn(port).bytes(source, destination)
        };
        if self.one_in(5) {
            segment.truncate(self.rng.random_range(0..=segment.len()));
        }
        if self.one_in(10) {
            number = self.rng.random();
        }
        let (ethertype, packet) = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = Ip4::new(source, destination);
                if self.one_in(3) {
                    header.options = vec![1; 4 * self.rng.random_range(0..=10)];
                }
                header.fragment = self.fragment4();
                header.total = self.length(20 + header.options.len() + segment.len());
                (IPV4, header.packet(number, &segment))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut header = Ip6::new(source, destination);
                header.chain = self.chain();
                let chain: usize = header.chain.iter().map(|header| header.bytes.len()).sum();
                header.payload = self.length(chain + segment.len());
                (IPV6, header.packet(number, &segment))
            }
            _ => unreachable!("both addresses are of one family"),
        };
        let tags: Vec<_> = (0..self.tags())
            .map(|_| (*[DOT1Q, DOT1AD, QINQ].choose(&mut self.rng).unwrap_or(&DOT1Q), 0))
            .collect();
        packets::ethernet(self.scene.macs, &tags, ethertype, &packet)
    }

    fn tags(&mut self) -> usize {
        if self.one_in(3) { self.rng.random_range(1..=6) } else { 0 }
    }

    fn fragment4(&mut self) -> u16 {
        match self.rng.random_range(0..10) {
            0 | 1 => MF,
            2 => self.rng.random_range(0..0x4000),
            3 => self.rng.random(),
            _ => 0,
        }
    }

    /// A length field: usually right, else near to it or anything.
    fn length(&mut self, right: usize) -> Option<u16> {
        let right = right as u16;
        match self.rng.random_range(0..16) {
            0 => Some(0),
            1 => Some(right.wrapping_sub(self.rng.random_range(1..=24))),
            2 => Some(right + self.rng.random_range(1..=24)),
            3 => Some(self.rng.random()),
            _ => None,
        }
    }

    fn chain(&mut self) -> Vec<Extension> {
        let number = match self.rng.random_range(0..4) {
            0 => self.rng.random_range(0..=10),
            1 => 1,
            2 => self.rng.random_range(0..=3),
            _ => 0,
        };
        (0..number).map(|_| self.extension()).collect()
    }

    fn extension(&mut self) -> Extension {
        let units = if self.one_in(4) { self.rng.random_range(0..=6) } else { 0 };
        match self.rng.random_range(0..10) {
            0 => Extension::options(protocol::HOP_BY_HOP, units),
            1..4 => Extension::options(protocol::DESTINATION, units),
            4 => Extension::routing(self.rng.random_range(0..=4), units),
            5 => Extension::authentication(units),
            6 => Extension::fragment_raw(self.rng.random(), self.rng.random_range(0..16)),
            7 => Extension::fragment(0, true),
            8 => Extension::fragment(0, false),
            _ => Extension::plain(
                *[protocol::MOBILITY, protocol::HOST_IDENTITY, protocol::SHIM6]
                    .choose(&mut self.rng)
                    .unwrap_or(&protocol::SHIM6),
            ),
        }
    }

    fn mutate(&mut self, frame: &mut Vec<u8>) {
        let end = frame.len().clamp(1, HEADERS);
        if frame.len() < 2 {
            frame.push(self.rng.random());
            return;
        }
        let at = self.rng.random_range(0..end.min(frame.len()));
        match self.rng.random_range(0..12) {
            0..3 => frame[at] ^= 1 << self.rng.random_range(0..8),
            3 => frame[at] = *BYTES.choose(&mut self.rng).unwrap_or(&0),
            4 => {
                let at = at & !1;
                let word = *WORDS.choose(&mut self.rng).unwrap_or(&0);
                if let Some(place) = frame.get_mut(at..at + 2) {
                    place.copy_from_slice(&word.to_be_bytes());
                }
            }
            5 => frame.truncate(self.rng.random_range(0..=frame.len())),
            6 => {
                let more = self.rng.random_range(1..64);
                let byte = self.rng.random();
                frame.resize(frame.len() + more, byte);
            }
            7 => {
                let tag = [DOT1Q, DOT1AD, QINQ].choose(&mut self.rng).unwrap_or(&DOT1Q);
                let [high, low] = tag.to_be_bytes();
                let at = 12.min(frame.len());
                frame.splice(at..at, [high, low, 0, self.rng.random()]);
            }
            8 => {
                let last = (at + self.rng.random_range(1..=8)).min(frame.len());
                frame.drain(at..last);
            }
            9 => {
                let last = (at + self.rng.random_range(1..=8)).min(frame.len());
                let piece = frame[at..last].to_vec();
                frame.splice(at..at, piece);
            }
            10 => {
                if let Some(other) = self.corpus.choose(&mut self.rng) {
                    let at = at.min(other.len());
                    frame.truncate(at);
                    frame.extend(&other[at..]);
                }
            }
            _ => self.mutate_field(frame),
        }
    }

    /// Spoils a field of the IP header.
    fn mutate_field(&mut self, frame: &mut [u8]) {
        let Some((ip, six)) = ip_header(frame) else { return };
        let fields: &[usize] =
            if six { &[0, 4, 5, 6, 40, 41, 42, 43] } else { &[0, 2, 3, 6, 7, 9] };
        let at = ip + fields.choose(&mut self.rng).unwrap_or(&0);
        let value = if self.rng.random_bool(0.5) {
            *BYTES.choose(&mut self.rng).unwrap_or(&0)
        } else {
            self.rng.random()
        };
        if let Some(byte) = frame.get_mut(at) {
            *byte = value;
        }
    }
}

/// Where a frame's IP header begins, behind any tags, and whether it is IPv6.
fn ip_header(frame: &[u8]) -> Option<(usize, bool)> {
    let mut at = 12;
    loop {
        match u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]) {
            DOT1Q | DOT1AD | QINQ => at += 4,
            IPV4 => return Some((at + 2, false)),
            IPV6 => return Some((at + 2, true)),
            _ => return None,
        }
    }
}
