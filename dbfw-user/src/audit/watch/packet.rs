//! [`Segment`]: a packet of TCP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const TCP: u8 = 6;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A packet of TCP, as far as it was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// The number of its first byte.
    pub(super) sequence: u32,
    /// Whether it opens a connection.
    pub(super) opens: bool,
    /// What it carries; may be cut.
    pub(super) payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads a packet from its IP header on; `None`: it is not TCP, not the first fragment, behind
    /// extension headers, or damaged.
    pub(super) fn parse(packet: &'a [u8]) -> Option<Self> {
        let (from, to, tcp): (IpAddr, IpAddr, &[u8]) = match packet.first()? >> 4 {
            4 => {
                let header = packet.first_chunk::<20>()?;
                let length = usize::from(header[0] & 0xf) * 4;
                let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
                let is_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
                if header[9] != TCP || is_fragment || length < header.len() {
                    return None;
                }
                let address = |at| Ipv4Addr::from(u32_at(header, at)).into();
                (address(12), address(16), packet[..total.min(packet.len())].get(length..)?)
            }
            6 => {
                let (header, rest) = packet.split_first_chunk::<40>()?;
                let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
                if header[6] != TCP {
                    return None;
                }
                let address = |at: usize| {
                    let words = [0, 4, 8, 12].map(|word| u128::from(u32_at(header, at + word)));
                    let bits = words.iter().fold(0, |bits, word| bits << 32 | word);
                    Ipv6Addr::from(bits).into()
                };
                (address(8), address(24), &rest[..length.min(rest.len())])
            }
            _ => return None,
        };
        let header = tcp.first_chunk::<20>()?;
        let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let length = usize::from(header[12] >> 4) * 4;
        if length < header.len() {
            return None;
        }
        Some(Self {
            from: SocketAddr::new(from, port(0)),
            to: SocketAddr::new(to, port(2)),
            sequence: u32_at(header, 4),
            opens: header[13] & (SYN | ACK) == SYN,
            payload: tcp.get(length..)?,
        })
    }
}

/// The number at a place, which is in the header.
fn u32_at(header: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A packet from one address to another.
    pub(in super::super) fn packet(
        from: &str,
        to: &str,
        sequence: u32,
        flags: u8,
        payload: &[u8],
    ) -> Vec<u8> {
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let mut tcp = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
        tcp.extend_from_slice(&sequence.to_be_bytes());
        tcp.extend_from_slice(&[0, 0, 0, 0, 6 << 4, flags, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
        tcp.extend_from_slice(payload);
        match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut ip = vec![0x46, 0];
                ip.extend_from_slice(&(24 + tcp.len() as u16).to_be_bytes());
                ip.extend_from_slice(&[0, 0, 0x40, 0, 64, TCP, 0, 0]);
                [&ip[..], &from.octets(), &to.octets(), &[1; 4], &tcp].concat()
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut ip = vec![0x60, 0, 0, 0];
                ip.extend_from_slice(&(tcp.len() as u16).to_be_bytes());
                ip.extend_from_slice(&[TCP, 64]);
                [&ip[..], &from.octets(), &to.octets(), &tcp].concat()
            }
            _ => panic!("two families"),
        }
    }

    #[test]
    fn headers_of_both_families() {
        for (from, to) in [("10.0.0.2:4", "10.0.0.1:5432"), ("[fd00::2]:4", "[fd00::1]:5432")] {
            let mut bytes = packet(from, to, 7, SYN, b"abc");
            // Padding of a short frame.
            bytes.extend_from_slice(&[0; 9]);
            let segment = Segment::parse(&bytes).unwrap();
            assert_eq!(
                (segment.from.to_string(), segment.to.to_string()),
                (from.into(), to.into())
            );
            assert_eq!((segment.sequence, segment.opens, segment.payload), (7, true, &b"abc"[..]));
            let answer = packet(from, to, 7, SYN | ACK, b"");
            assert!(!Segment::parse(&answer).unwrap().opens);
        }
        let mut fragment = packet("10.0.0.2:4", "10.0.0.1:5432", 7, ACK, b"abc");
        fragment[7] = 1;
        assert_eq!(Segment::parse(&fragment), None);
        let mut udp = packet("10.0.0.2:4", "10.0.0.1:5432", 7, ACK, b"abc");
        udp[9] = 17;
        assert_eq!(Segment::parse(&udp), None);
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(20_000))]

        #[test]
        fn no_packet_panics(
            head in prop_oneof![Just(vec![]), Just(vec![0x45]), Just(vec![0x60])],
            bytes in proptest::collection::vec(any::<u8>(), 0..90),
        ) {
            let _ = Segment::parse(&[head, bytes].concat());
        }
    }
}
