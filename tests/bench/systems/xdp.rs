//! The references: drop everything, and the plain trie.

use std::os::fd::OwnedFd;

use dbfw_common::Family;

use super::{Counts, System};
use crate::{
    PORT,
    bpf::{Map, MapKind, Xdp, programs},
    line::{INTERFACE, Line, run},
    sets::Set,
};

/// Looks at nothing. Counted by the veth driver, as `ethtool -S` shows it.
pub(super) struct Blind<'a> {
    line: &'a Line,
    _attached: (Xdp, OwnedFd),
}

impl<'a> Blind<'a> {
    /// Drops all packets but a share of them.
    pub(super) fn start(line: &'a Line, passed: f64) -> Result<Self, String> {
        let program = if passed > 0.0 { programs::share(passed) } else { programs::constant(true) };
        let program = program.map_err(|error| error.to_string())?;
        let link = attach(line, &program)?;
        Ok(Self { line, _attached: (program, link) })
    }
}

impl System for Blind<'_> {
    fn counts(&self) -> Result<Counts, String> {
        let text = run(self.line.sut.command("ethtool").args(["-S", INTERFACE]))?;
        let sum = |name: &str| -> u64 {
            text.lines()
                .filter(|line| line.trim().starts_with("rx_queue_") && line.contains(name))
                .filter_map(|line| line.rsplit(':').next()?.trim().parse::<u64>().ok())
                .sum()
        };
        let dropped = sum("_xdp_drops:");
        Ok(Counts { dropped, accepted: sum("_xdp_packets:").saturating_sub(dropped) })
    }
}

/// A program with one trie.
pub(super) struct Trie {
    counters: Map,
    _attached: (Xdp, OwnedFd),
}

impl Trie {
    pub(super) fn start(line: &Line, set: &Set) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        let address = if set.family == Family::V4 { 4 } else { 16 };
        let trie =
            Map::create(MapKind::LpmTrie, 4 + address, 4, set.prefixes.len()).map_err(failed)?;
        for prefix in &set.prefixes {
            let mut key = u32::from(prefix.prefix_len()).to_ne_bytes().to_vec();
            match prefix.addr() {
                std::net::IpAddr::V4(address) => key.extend(address.octets()),
                std::net::IpAddr::V6(address) => key.extend(address.octets()),
            }
            trie.set(&key, &[1, 0, 0, 0]).map_err(failed)?;
        }
        let counters = Map::create(MapKind::PerCpuArray, 4, 16, 1).map_err(failed)?;
        let program = programs::trie(set.family, PORT, &trie, &counters).map_err(failed)?;
        let link = attach(line, &program)?;
        Ok(Self { counters, _attached: (program, link) })
    }
}

impl System for Trie {
    fn counts(&self) -> Result<Counts, String> {
        let [dropped, accepted] = per_cpu(&self.counters, 0)?;
        Ok(Counts { dropped, accepted })
    }
}

fn attach(line: &Line, program: &Xdp) -> Result<OwnedFd, String> {
    let ifindex = line.sut.ifindex(INTERFACE);
    line.sut.run(|| program.attach(ifindex)).map_err(|error| error.to_string())
}

/// The sums over all CPUs of an element of two 64-bit counters.
pub(super) fn per_cpu(map: &Map, key: u32) -> Result<[u64; 2], String> {
    let value = map
        .get(&key.to_ne_bytes(), 16 * possible_cpus()?)
        .map_err(|error| format!("cannot read counters: {error}"))?;
    let mut sums = [0; 2];
    for (at, word) in value.chunks_exact(8).enumerate() {
        sums[at % 2] += word.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    }
    Ok(sums)
}

/// How many values a per-CPU element has (sysfs: `0-1`).
pub(super) fn possible_cpus() -> Result<usize, String> {
    let path = "/sys/devices/system/cpu/possible";
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let last = text.trim().rsplit(['-', ',']).next().and_then(|cpu| cpu.parse::<usize>().ok());
    last.map(|last| last + 1).ok_or_else(|| format!("{path} says {text:?}"))
}
