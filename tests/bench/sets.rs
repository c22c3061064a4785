//! The lists of prefixes, the same for every system and every run, and where floods come
//! from.

use std::{
    collections::HashSet,
    fmt::Write as _,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use dbfw_common::Family;
use ipnet::IpNet;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use tempfile::TempDir;

use crate::bpf::programs::{COUNT4, FIRST4};

/// Networks of the clients' cloud: /16 of IPv4, /32 of IPv6.
const CLOUD: usize = 64;

/// What a list consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Single addresses, anywhere.
    Hosts,
    /// Single addresses inside [`CLOUD`] networks.
    CloudHosts,
    /// /16 to /32 (IPv6: /32 to /64), most of them long, none inside another.
    Mixed,
}

/// Where a flood comes from.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    /// Any address.
    Uniform,
    /// Any address of these networks, given by their first 32 bits.
    Inside(Vec<u32>),
    /// One address.
    One(IpAddr),
}

/// A list, and files with it in the forms of the systems.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) family: Family,
    pub(crate) kind: Kind,
    pub(crate) prefixes: Vec<IpNet>,
    /// The networks of [`Kind::CloudHosts`].
    cloud: Vec<u32>,
    files: TempDir,
}

impl Set {
    pub(crate) fn new(family: Family, kind: Kind, count: usize) -> Self {
        let mut rng = SmallRng::seed_from_u64(0xdbf);
        let mut cloud = Vec::new();
        let prefixes = match kind {
            Kind::Hosts => distinct(count, || host(address(family, &mut rng))),
            Kind::CloudHosts => {
                let bits = if family == Family::V4 { 16 } else { 32 };
                cloud = distinct(CLOUD, || leading(address(family, &mut rng)) >> (32 - bits))
                    .into_iter()
                    .map(|network| network << (32 - bits))
                    .collect();
                let pick = cloud.clone();
                distinct(count, || {
                    let network = pick[rng.random_range(0..CLOUD)];
                    host(with_leading(address(family, &mut rng), network, bits))
                })
            }
            Kind::Mixed => mixed(family, count, &mut rng),
        };
        let files = TempDir::with_prefix("dbfw-bench-").expect("a directory for the lists");
        Self { family, kind, prefixes, cloud, files }
    }

    /// Where the flood from the clients' cloud comes from.
    pub(crate) fn inside(&self) -> Pattern {
        Pattern::Inside(self.cloud.clone())
    }

    /// One source that is not in the list.
    pub(crate) fn one(&self) -> Pattern {
        let mut rng = SmallRng::seed_from_u64(1);
        let strangers = std::iter::repeat_with(|| address(self.family, &mut rng));
        let listed = |source: &IpAddr| self.prefixes.iter().any(|net| net.contains(source));
        let mut strangers = strangers.filter(|source| !listed(source));
        Pattern::One(strangers.next().expect("a list never covers everything"))
    }

    /// The share of a flood's packets that comes from prefixes of the list.
    pub(crate) fn share(&self, pattern: &Pattern) -> f64 {
        let covered: f64 = self
            .prefixes
            .iter()
            .map(|net| f64::from(net.max_prefix_len() - net.prefix_len()).exp2())
            .sum();
        let universe = match (pattern, self.family) {
            (Pattern::One(_), _) => return 0.0,
            (Pattern::Uniform, Family::V4) => f64::from(COUNT4),
            (Pattern::Uniform, Family::V6) => 125f64.exp2(),
            (Pattern::Inside(networks), Family::V4) => networks.len() as f64 * 16f64.exp2(),
            (Pattern::Inside(networks), Family::V6) => networks.len() as f64 * 96f64.exp2(),
        };
        covered / universe
    }

    /// Whether every prefix is one address.
    pub(crate) fn is_hosts(&self) -> bool {
        self.kind != Kind::Mixed
    }

    /// Writes a file once: a line for each prefix, between a head and a tail.
    pub(crate) fn file(
        &self,
        name: &str,
        head: &str,
        line: impl Fn(&mut String, &IpNet),
        tail: &str,
    ) -> io::Result<PathBuf> {
        let path = self.files.path().join(name);
        if !path.exists() {
            let mut text = String::with_capacity(self.prefixes.len() * 24);
            text.push_str(head);
            for prefix in &self.prefixes {
                line(&mut text, prefix);
            }
            text.push_str(tail);
            fs::write(&path, text)?;
        }
        Ok(path)
    }
}

/// A prefix, or an address alone where it is one.
pub(crate) fn write_short(text: &mut String, net: &IpNet) {
    let written = if net.prefix_len() == net.max_prefix_len() {
        write!(text, "{}", net.addr())
    } else {
        write!(text, "{net}")
    };
    written.expect("memory for a list");
}

/// As the generators draw them.
fn address(family: Family, rng: &mut SmallRng) -> IpAddr {
    match family {
        Family::V4 => {
            let word = FIRST4 + rng.random_range(0..COUNT4);
            let word = if word >> 24 == 127 { word - (1 << 24) } else { word };
            Ipv4Addr::from(word).into()
        }
        Family::V6 => Ipv6Addr::from(1 << 125 | rng.random::<u128>() >> 3).into(),
    }
}

fn host(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

fn leading(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => (address.to_bits() >> 96) as u32,
    }
}

fn with_leading(address: IpAddr, network: u32, bits: u32) -> IpAddr {
    let kept = u32::MAX.checked_shr(bits).unwrap_or(0);
    match address {
        IpAddr::V4(address) => Ipv4Addr::from(network | address.to_bits() & kept).into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from(u128::from(network) << 96 | address.to_bits() << 32 >> 32).into()
        }
    }
}

fn distinct<T: Copy + Eq + std::hash::Hash>(count: usize, draw: impl FnMut() -> T) -> Vec<T> {
    let mut seen = HashSet::with_capacity(count);
    std::iter::repeat_with(draw).filter(|value| seen.insert(*value)).take(count).collect()
}

/// Prefixes in 10,000 by their length in IPv4; in IPv6 lengths are twice these. Like the
/// routes of the Internet with hosts beside them: each length from /16 to /23 covers about
/// as many addresses, together some two percent of all.
const LENGTHS: [(u8, usize); 17] = [
    (16, 1),
    (17, 2),
    (18, 4),
    (19, 8),
    (20, 15),
    (21, 30),
    (22, 70),
    (23, 150),
    (24, 1_000),
    (25, 500),
    (26, 500),
    (27, 500),
    (28, 700),
    (29, 700),
    (30, 700),
    (31, 500),
    (32, 4_620),
];

fn mixed(family: Family, count: usize, rng: &mut SmallRng) -> Vec<IpNet> {
    let mut prefixes: HashSet<IpNet> = HashSet::with_capacity(count);
    // Shortest first: what a shorter one covers is drawn again.
    for (len, share) in LENGTHS {
        let len = if family == Family::V4 { len } else { len * 2 };
        let wanted = count * share / 10_000;
        let shortest = if family == Family::V4 { 16 } else { 32 };
        let mut found = 0;
        while found < wanted {
            let net = IpNet::new(address(family, rng), len).expect("a length of the family");
            let net = net.trunc();
            let covered = (shortest..=len).any(|shorter| {
                IpNet::new(net.addr(), shorter).is_ok_and(|net| prefixes.contains(&net.trunc()))
            });
            if !covered {
                prefixes.insert(net);
                found += 1;
            }
        }
    }
    let mut prefixes: Vec<IpNet> = prefixes.into_iter().collect();
    prefixes.sort_unstable();
    prefixes
}
