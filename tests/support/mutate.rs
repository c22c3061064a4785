//! Random policies, and frames that are nearly right: the corpus mutated where the headers
//! are, and packets built anew, their sources at the edges of what the policy trusts.

mod frames;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dbfw_common::{MAX_DATABASES, Mode};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};

use crate::{
    corpus::{CACHE_PORT, LAST_PORT, PORT, SECOND_PORT, Scene},
    policy::{Policy, Protected, Transport, Trusted},
};

/// Ports databases may get.
const PORTS: [(Transport, u16); 10] = [
    (Transport::Tcp, PORT),
    (Transport::Udp, PORT),
    (Transport::Tcp, SECOND_PORT),
    (Transport::Tcp, CACHE_PORT),
    (Transport::Udp, CACHE_PORT),
    (Transport::Tcp, LAST_PORT),
    (Transport::Tcp, 0),
    (Transport::Tcp, u16::MAX),
    (Transport::Udp, u16::MAX),
    (Transport::Tcp, PORT.swap_bytes()),
];

/// Makes policies and frames; the same seed makes the same ones.
#[derive(Debug)]
pub struct Generator {
    rng: SmallRng,
    scene: Scene,
    corpus: Vec<Vec<u8>>,
}

impl Generator {
    /// A generator that starts from the corpus of a scene.
    pub fn new(scene: Scene, seed: u64) -> Self {
        // A jumbo frame says nothing new here, and would take most of the time.
        let frames = scene.corpus().into_iter().map(|case| case.frame);
        let corpus = frames.filter(|frame| frame.len() < 2_000).collect();
        Self { rng: SmallRng::seed_from_u64(seed), scene, corpus }
    }

    /// One of the generator's dice, for a choice of the test.
    pub fn one_in(&mut self, number: u32) -> bool {
        self.rng.random_range(0..number) == 0
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }

    /// Some databases, and prefixes that nest, adjoin, repeat and look alike.
    pub fn policy(&mut self) -> Policy {
        let mut ids: Vec<u32> = Vec::new();
        for _ in 0..self.rng.random_range(1..=6) {
            let id = self.rng.random_range(1..=MAX_DATABASES);
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let mut databases: Vec<Protected> =
            ids.iter().map(|&id| Protected { id, mode: self.mode(), ports: Vec::new() }).collect();
        for port in PORTS {
            if self.rng.random_bool(0.7) {
                let owner = self.rng.random_range(0..databases.len());
                databases[owner].ports.push(port);
            }
        }
        let mut nets = Vec::new();
        for _ in 0..self.rng.random_range(0..8) {
            self.add_nets(&mut nets);
        }
        let trusted =
            nets.into_iter().map(|net| Trusted { net, databases: self.mask(&ids) }).collect();
        Policy { databases, trusted, drop_fragments: self.one_in(3) }
    }

    fn mode(&mut self) -> Mode {
        match self.rng.random_range(0..10) {
            0 => Mode::Off,
            1..4 => Mode::Observe,
            _ => Mode::Enforce,
        }
    }

    fn mask(&mut self, ids: &[u32]) -> u64 {
        let mask = ids.iter().filter(|_| self.rng.random_bool(0.5)).map(|id| 1u64 << (id - 1));
        let mask = mask.fold(0, |mask, bit| mask | bit);
        // A prefix that reaches nothing is no prefix of a policy.
        if mask == 0 { 1 << (ids[0] - 1) } else { mask }
    }

    fn add_nets(&mut self, nets: &mut Vec<IpNet>) {
        let address4 = self.any_address4();
        let address6 = self.any_address6();
        match self.rng.random_range(0..12) {
            0 if self.one_in(4) => nets.push(net4(address4, 0)),
            1 if self.one_in(4) => nets.push(net6(address6, 0)),
            0..3 => nets.push(net4(address4, self.rng.random_range(1..=32))),
            3..5 => nets.push(net6(address6, self.rng.random_range(1..=128))),
            5 => {
                for length in [8, 15, 16, 17, 23, 24, 25, 31, 32] {
                    if self.rng.random_bool(0.5) {
                        nets.push(net4(address4, length));
                    }
                }
            }
            6 => {
                for length in [15, 16, 24, 25, 32, 48, 63, 64, 65, 127, 128] {
                    if self.rng.random_bool(0.5) {
                        nets.push(net6(address6, length));
                    }
                }
            }
            7 => {
                let length = self.rng.random_range(1..=32);
                let sibling = address4.to_bits() ^ 1 << (32 - length);
                nets.extend([net4(address4, length), net4(sibling.into(), length)]);
            }
            8 => {
                let length = self.rng.random_range(1..=128);
                let sibling = address6.to_bits() ^ 1 << (128 - length);
                nets.extend([net6(address6, length), net6(sibling.into(), length)]);
            }
            9 => nets.push(net4(Ipv4Addr::new(32, 1, 0, 0), 16)),
            10 => nets.push(net6(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 16)),
            _ => {
                // The same leading octets in the other family.
                let length = self.rng.random_range(8..=32);
                nets.push(match nets.choose(&mut self.rng) {
                    Some(IpNet::V6(net)) => net4(leading(net.network()), length),
                    Some(IpNet::V4(net)) => net6(led_by(net.network()), length),
                    None => net4(self.scene.trusted4, 32),
                });
            }
        }
    }

    /// A source for a packet: inside, at the edge, or just outside of a trusted prefix, one
    /// that looks like a prefix of the other family, or any.
    fn source4(&mut self, policy: &Policy) -> Ipv4Addr {
        match policy.trusted.choose(&mut self.rng).map(|trusted| trusted.net) {
            Some(IpNet::V4(net)) if !self.one_in(4) => {
                let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                Ipv4Addr::from_bits(match self.rng.random_range(0..5) {
                    0 => first,
                    1 => last,
                    2 => first.wrapping_sub(1),
                    3 => last.wrapping_add(1),
                    _ => self.rng.random_range(first..=last),
                })
            }
            Some(IpNet::V6(net)) if !self.one_in(2) => leading(net.network()),
            _ => self.any_address4(),
        }
    }

    fn source6(&mut self, policy: &Policy) -> Ipv6Addr {
        match policy.trusted.choose(&mut self.rng).map(|trusted| trusted.net) {
            Some(IpNet::V6(net)) if !self.one_in(4) => {
                let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                Ipv6Addr::from_bits(match self.rng.random_range(0..5) {
                    0 => first,
                    1 => last,
                    2 => first.wrapping_sub(1),
                    3 => last.wrapping_add(1),
                    _ => self.rng.random_range(first..=last),
                })
            }
            Some(IpNet::V4(net)) if !self.one_in(2) => led_by(net.network()),
            _ => self.any_address6(),
        }
    }

    fn any_address4(&mut self) -> Ipv4Addr {
        let known = [
            self.scene.trusted4,
            self.scene.stranger4,
            Ipv4Addr::new(32, 1, 13, 184),
            Ipv4Addr::new(127, 0, 0, 1),
            Ipv4Addr::UNSPECIFIED,
            Ipv4Addr::BROADCAST,
        ];
        match known.choose(&mut self.rng) {
            Some(address) if self.rng.random_bool(0.5) => *address,
            _ => Ipv4Addr::from_bits(self.rng.random()),
        }
    }

    fn any_address6(&mut self) -> Ipv6Addr {
        let known = [
            self.scene.trusted6,
            self.scene.stranger6,
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
            Ipv6Addr::LOCALHOST,
            Ipv6Addr::UNSPECIFIED,
            self.scene.trusted4.to_ipv6_mapped(),
        ];
        match known.choose(&mut self.rng) {
            Some(address) if self.rng.random_bool(0.5) => *address,
            _ => Ipv6Addr::from_bits(self.rng.random()),
        }
    }

    /// A port: of a database, or not.
    fn port(&mut self) -> u16 {
        match PORTS.choose(&mut self.rng) {
            Some((_, port)) if !self.one_in(4) => *port,
            _ => self.rng.random(),
        }
    }
}

fn net4(address: Ipv4Addr, length: u8) -> IpNet {
    let net = Ipv4Net::new(address, length);
    IpNet::V4(net.unwrap_or_else(|error| panic!("/{length}: {error}")).trunc())
}

fn net6(address: Ipv6Addr, length: u8) -> IpNet {
    let net = Ipv6Net::new(address, length);
    IpNet::V6(net.unwrap_or_else(|error| panic!("/{length}: {error}")).trunc())
}

/// The IPv4 address of an IPv6 address' first octets.
fn leading(address: Ipv6Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits((address.to_bits() >> 96) as u32)
}

/// The IPv6 address whose first octets an IPv4 address has.
fn led_by(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(u128::from(address.to_bits()) << 96)
}

/// An address' octets.
fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
