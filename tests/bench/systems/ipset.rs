//! ipset behind iptables' raw table: one rule, which counts what it drops; the chain's
//! policy counts the rest.

use std::path::PathBuf;

use dbfw_common::Family;

use super::{Counts, IpsetKind, System};
use crate::{
    PORT,
    line::{INTERFACE, Line, run},
    sets::{Set, write_short},
};

pub(crate) struct Ipset<'a> {
    line: &'a Line,
}

impl<'a> Ipset<'a> {
    /// The set without elements, and the rule.
    pub(crate) fn empty(line: &'a Line, set: &Set, kind: IpsetKind) -> Result<Self, String> {
        setup(line, set, kind)?;
        Ok(Self { line })
    }

    /// Writes the file that [`Self::fill`] reads.
    pub(crate) fn prepare(&self, set: &Set) -> Result<(), String> {
        restore(set).map(drop)
    }

    /// Puts the list in force.
    pub(crate) fn fill(&self, set: &Set) -> Result<(), String> {
        let file = restore(set)?;
        run(self.line.sut.command("ipset").args(["restore", "-file"]).arg(file)).map(drop)
    }

    /// Adds one element.
    pub(crate) fn add(&self, address: &str) -> Result<(), String> {
        run(self.line.sut.command("ipset").args(["add", "allowed", address])).map(drop)
    }

    /// Bytes of the set, as the kernel tells.
    pub(crate) fn memory(&self) -> Result<u64, String> {
        let text = run(self.line.sut.command("ipset").args(["list", "-t", "allowed"]))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Size in memory:"));
        line.and_then(|bytes| bytes.trim().parse().ok()).ok_or(text)
    }
}

fn setup(line: &Line, set: &Set, kind: IpsetKind) -> Result<(), String> {
    let kind = match kind {
        IpsetKind::HashIp => "hash:ip",
        IpsetKind::HashNet => "hash:net",
    };
    let family = if set.family == Family::V4 { "inet" } else { "inet6" };
    let count = set.prefixes.len() + 16;
    // Sized from the start: growing it would cost time, and leave it no better.
    let size = count.next_power_of_two().max(1024).to_string();
    run(line.sut.command("ipset").args([
        "create",
        "allowed",
        kind,
        "family",
        family,
        "hashsize",
        &size,
        "maxelem",
        &count.to_string(),
    ]))?;
    run(line.sut.command(iptables(set.family)).args([
        "-t",
        "raw",
        "-A",
        "PREROUTING",
        "-i",
        INTERFACE,
        "-p",
        "tcp",
        "--dport",
        &PORT.to_string(),
        "-m",
        "set",
        "!",
        "--match-set",
        "allowed",
        "src",
        "-j",
        "DROP",
    ]))
    .map(drop)
}

/// A file for `ipset restore`.
fn restore(set: &Set) -> Result<PathBuf, String> {
    set.file(
        "ipset.restore",
        "",
        |text, net| {
            text.push_str("add allowed ");
            write_short(text, net);
            text.push('\n');
        },
        "",
    )
    .map_err(|error| error.to_string())
}

/// The kernel's own iptables: over nf_tables each rule takes a layer more.
fn iptables(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables-legacy",
        Family::V6 => "ip6tables-legacy",
    }
}

impl System for Ipset<'_> {
    fn counts(&self) -> Result<Counts, String> {
        let text = run(self.line.sut.command(iptables(self.line.family)).args([
            "-t",
            "raw",
            "-L",
            "PREROUTING",
            "-v",
            "-n",
            "-x",
        ]))?;
        // Chain PREROUTING (policy ACCEPT 12 packets, 720 bytes)
        let word_before = |text: &str, word: &str| {
            let words: Vec<&str> = text.split_whitespace().collect();
            let at = words.iter().position(|it| *it == word)?;
            words.get(at.checked_sub(1)?)?.parse::<u64>().ok()
        };
        let accepted = text.lines().next().and_then(|line| word_before(line, "packets,"));
        let rule = text.lines().find(|line| line.contains("DROP"));
        let dropped = rule.and_then(|line| line.split_whitespace().next()?.parse().ok());
        match (dropped, accepted) {
            (Some(dropped), Some(accepted)) => Ok(Counts { dropped, accepted }),
            _ => Err(format!("iptables shows no counters: {text}")),
        }
    }
}
