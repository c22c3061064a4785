//! nftables: one port comparison, one set, two named counters.

use std::{fs, path::PathBuf};

use dbfw_common::Family;

use super::{Counts, NftHook, System, netlink};
use crate::{
    PORT,
    line::{INTERFACE, Line, run},
    sets::{Set, write_short},
};

pub(crate) struct Nft<'a> {
    line: &'a Line,
    /// Number of the table's family, and its name.
    family: u8,
    table: &'static str,
}

/// NFPROTO_*.
const NETDEV: u8 = 5;
const IPV4: u8 = 2;
const IPV6: u8 = 10;

impl<'a> Nft<'a> {
    /// The table with everything but the elements.
    pub(crate) fn empty(
        line: &'a Line,
        set: &Set,
        hook: NftHook,
        interval: bool,
    ) -> Result<Self, String> {
        setup(line, set, hook, interval)?;
        let (family, table) = match (hook, line.family) {
            (NftHook::Netdev, _) => (NETDEV, "netdev"),
            (NftHook::Raw, Family::V4) => (IPV4, "ip"),
            (NftHook::Raw, Family::V6) => (IPV6, "ip6"),
        };
        Ok(Self { line, family, table })
    }

    /// Writes the file that [`Self::fill`] reads.
    pub(crate) fn prepare(&self, set: &Set) -> Result<(), String> {
        elements(set, self.table).map(drop)
    }

    /// Puts the list in force.
    pub(crate) fn fill(&self, set: &Set) -> Result<(), String> {
        let file = elements(set, self.table)?;
        run(self.line.sut.command("timeout").args(["150", "nft", "-f"]).arg(file)).map(drop)
    }

    /// Adds one element.
    pub(crate) fn add(&self, address: &str) -> Result<(), String> {
        let element = format!("add element {} bench allowed {{ {address} }}", self.table);
        run(self.line.sut.command("timeout").args(["150", "nft"]).arg(element)).map(drop)
    }
}

fn setup(line: &Line, set: &Set, hook: NftHook, interval: bool) -> Result<(), String> {
    let (table, chain) = match hook {
        NftHook::Netdev => {
            ("netdev", format!("type filter hook ingress device \"{INTERFACE}\" priority -500"))
        }
        NftHook::Raw => (ip(set.family), "type filter hook prerouting priority -300".to_owned()),
    };
    let (kind, address) = match set.family {
        Family::V4 => ("ipv4_addr", "ip saddr"),
        Family::V6 => ("ipv6_addr", "ip6 saddr"),
    };
    // A size lets the kernel take its fastest hash. One element more is for `change`.
    let count = set.prefixes.len() + 16;
    let form = if interval { "flags interval;".to_owned() } else { format!("size {count};") };
    // One rule refuses and one counts the rest: a dropped packet is looked up once.
    let text = format!(
        "table {table} bench {{\n set allowed {{\n type {kind}; {form}\n }}\n counter dropped {{\n }}\n \
         counter accepted {{\n }}\n chain c {{\n {chain}; policy accept;\n \
         tcp dport {PORT} {address} != @allowed counter name dropped drop\n \
         tcp dport {PORT} counter name accepted accept\n }}\n}}\n"
    );
    let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    fs::write(file.path(), text).map_err(|error| error.to_string())?;
    run(line.sut.command("nft").arg("-f").arg(file.path())).map(drop)
}

/// A file that adds the list's elements.
pub(crate) fn elements(set: &Set, table: &str) -> Result<PathBuf, String> {
    set.file(
        &format!("{table}.nft"),
        &format!("add element {table} bench allowed {{\n"),
        |text, net| {
            write_short(text, net);
            text.push_str(",\n");
        },
        "}\n",
    )
    .map_err(|error| error.to_string())
}

fn ip(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

impl System for Nft<'_> {
    fn counts(&self) -> Result<Counts, String> {
        // `nft list counters` reads every element of every set first: minutes for a million.
        self.line
            .sut
            .run(|| {
                Ok(Counts {
                    dropped: netlink::counter(self.family, "bench", "dropped")?,
                    accepted: netlink::counter(self.family, "bench", "accepted")?,
                })
            })
            .map_err(|error: std::io::Error| format!("cannot read nftables' counters: {error}"))
    }
}
