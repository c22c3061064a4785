//! xdp-filter of xdp-tools: deny policy, addresses let in by source. It knows no rule of
//! both port and address, so it compares no port: less work than the others have.

use std::{fs, io::ErrorKind, net::IpAddr, path::Path};

use dbfw_common::Family;

use super::{
    Counts, System,
    xdp::{per_cpu, possible_cpus},
};
use crate::{
    bpf::Map,
    line::{INTERFACE, Line, run},
    sets::Set,
};

/// Entries of its address maps.
pub(super) const CAPACITY: usize = 10_000;
const PINS: &str = "/sys/fs/bpf/xdp-filter";
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

pub(super) struct XdpFilter<'a> {
    line: &'a Line,
    stats: Map,
}

impl<'a> XdpFilter<'a> {
    pub(super) fn start(line: &'a Line, set: &Set) -> Result<Self, String> {
        remove_leftovers()?;
        let feature = if set.family == Family::V4 { "ipv4" } else { "ipv6" };
        let command = || line.sut.command("xdp-filter");
        run(command().args(["load", INTERFACE, "-m", "native", "-p", "deny", "-f", feature]))?;
        let opened = Map::pinned(&Path::new(PINS).join("xdp_stats_map"));
        let opened = opened.map_err(|error| format!("xdp-filter's counters: {error}"));
        let system = match opened {
            Ok(stats) => Self { line, stats },
            Err(error) => {
                unload(line);
                return Err(error);
            }
        };
        system.fill(set, feature)?;
        Ok(system)
    }

    /// One command adds one address, so the first is added by it and the others as copies of
    /// what it wrote.
    fn fill(&self, set: &Set, feature: &str) -> Result<(), String> {
        let Some(first) = set.prefixes.first() else { return Ok(()) };
        let first = first.addr();
        let mut command = self.line.sut.command("xdp-filter");
        run(command.args(["ip", &first.to_string(), "-m", "src"]))?;
        let map = Map::pinned(&Path::new(PINS).join(format!("filter_{feature}")))
            .map_err(|error| format!("xdp-filter's addresses: {error}"))?;
        let value =
            map.get(&key(first), 8 * possible_cpus()?).map_err(|error| error.to_string())?;
        for prefix in &set.prefixes {
            map.set(&key(prefix.addr()), &value).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Pins of a bench that was killed: those of no interface but ours, which is named like no
/// real one.
fn remove_leftovers() -> Result<(), String> {
    let programs = Path::new(PINS).join("programs");
    let others = fs::read_dir(programs).into_iter().flatten().flatten();
    let mut others = others.filter(|entry| entry.file_name() != INTERFACE);
    if others.next().is_some() {
        return Err(format!("{PINS} is of another xdp-filter"));
    }
    match fs::remove_dir_all(PINS) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(format!("{PINS}: {error}")),
        _ => Ok(()),
    }
}

fn key(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

impl System for XdpFilter<'_> {
    fn counts(&self) -> Result<Counts, String> {
        Ok(Counts {
            dropped: per_cpu(&self.stats, XDP_DROP)?[0],
            accepted: per_cpu(&self.stats, XDP_PASS)?[0],
        })
    }
}

impl Drop for XdpFilter<'_> {
    fn drop(&mut self) {
        unload(self.line);
    }
}

/// Also removes its pins.
fn unload(line: &Line) {
    let _ = run(line.sut.command("xdp-filter").args(["unload", INTERFACE]));
}
