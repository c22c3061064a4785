//! `dbfw explain` and `dbfw map lookup`.

use std::net::IpAddr;

use dbfw_common::{Reason, Verdict};
use dbfw_core::{
    Port, PortQuery,
    policy::RuleKey,
    source::{Prefix, Rule},
};
use dbfw_datapath::{DatabaseSlot, DatapathError, Interface};
use dbfw_wire::control::{self as wire, CoveringSource, Effect, Explanation, Lookup};
use jiff::Timestamp;

use super::{
    sources::count,
    status::{View, map_entry},
};
use crate::{
    protection::Attachments,
    traffic::uses::{SourceUses, UsedSource},
};

/// The way by which this host's own packets come, which nothing judges.
const LOOPBACK: &str = "lo";

/// Ways into this host, by whether a program judges what comes in by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ways {
    are_some_judged: bool,
    unjudged: Vec<String>,
}

impl Ways {
    /// Those by the interfaces `present`.
    pub fn of(attached: &Attachments, present: &[Interface]) -> Self {
        let (judged, unjudged): (Vec<_>, Vec<_>) =
            attached.ways_in(present).partition(|(_, judge)| judge.judges());
        let unjudged = unjudged.into_iter().map(|(interface, _)| interface.name.clone()).collect();
        Self { are_some_judged: !judged.is_empty(), unjudged }
    }

    /// The effect of a decision, and the interfaces by which the address gets in against it.
    fn effect(&self, verdict: wire::Verdict, reason: wire::Reason) -> (Effect, Vec<String>) {
        if verdict != wire::Verdict::Drop {
            return (Effect::LetIn, Vec::new());
        }
        let is_own = reason == wire::Reason::Martian;
        let own = is_own.then(|| LOOPBACK.to_owned());
        let let_in_by: Vec<String> = own.into_iter().chain(self.unjudged.clone()).collect();
        let effect = match (let_in_by.is_empty(), self.are_some_judged) {
            (true, _) => Effect::Dropped,
            (false, true) => Effect::Partly,
            (false, false) => Effect::LetIn,
        };
        (effect, let_in_by)
    }
}

/// `dbfw map lookup`: by the maps alone.
///
/// # Errors
///
/// The maps cannot be read.
pub fn lookup(view: &View<'_>, address: IpAddr) -> Result<Lookup, DatapathError> {
    let found = view.reader.lookup(address)?;
    let entry = match found {
        Some((map, entry)) => {
            let databases = view.reader.databases()?;
            longest(view, address)?.map(|prefix| map_entry(map, prefix, entry, &databases))
        }
        None => None,
    };
    Ok(Lookup { address, front: view.reader.front(address)?, entry })
}

/// The longest prefix in the maps that covers `address`. A trie tells a match's value but
/// not its length, so without the agent's own copy this goes through all entries, once.
fn longest(view: &View<'_>, address: IpAddr) -> Result<Option<Prefix>, DatapathError> {
    if let Some(held) = view.held {
        // The copy finds a prefix by its whole value: one look-up a length costs less than going
        // through them all.
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let around = (0..=bits).rev().map(|len| Prefix::new(address, len));
        let mut around = around.filter(|prefix| prefix.contains(address));
        return Ok(around.find(|prefix| held.get(prefix).is_some()));
    }
    let mut longest: Option<Prefix> = None;
    view.reader.for_each_entry(|_, prefix, _| {
        if prefix.contains(address) && longest.is_none_or(|known| known.len() < prefix.len()) {
            longest = Some(prefix);
        }
        Ok::<(), DatapathError>(())
    })?;
    Ok(longest)
}

/// `dbfw explain`: what the loaded program decides for `address`, for one port or for every
/// protected one, and which sources of the policy cover it. `uses` is what they counted before.
/// `ways` are those into this host, where they are known.
///
/// # Errors
///
/// The maps cannot be read, or the program cannot be run.
pub fn explain(
    view: &View<'_>,
    uses: &SourceUses,
    ways: Option<&Ways>,
    address: IpAddr,
    port: Option<PortQuery>,
) -> Result<Vec<Explanation>, DatapathError> {
    let databases = view.reader.databases()?;
    let mut protected: Vec<(Port, Option<&DatabaseSlot>)> = databases
        .iter()
        .flat_map(|database| database.ports.iter().map(move |known| (*known, Some(database))))
        .filter(|(known, _)| port.is_none_or(|port| port.is_about(*known)))
        .collect();
    if let Some(port) = port.filter(|_| protected.is_empty()) {
        protected.push((Port { udp: port.udp == Some(true), port: port.port }, None));
    }
    let prefix = longest(view, address)?;
    let covering = covering(view, uses, address)?;
    protected
        .into_iter()
        .map(|(port, database)| {
            let of_database = |(id, source): &(u8, CoveringSource)| {
                (Some(*id) == database.map(|database| database.id)).then(|| source.clone())
            };
            let sources = covering.iter().filter_map(of_database).collect();
            let mut explained = explain_one(view, address, port, database, prefix, sources)?;
            if let Some(ways) = ways {
                let (verdict, reason) = (explained.verdict, explained.reason);
                (explained.effect, explained.let_in_by) = ways.effect(verdict, reason);
            }
            Ok(explained)
        })
        .collect()
}

fn explain_one(
    view: &View<'_>,
    address: IpAddr,
    port: Port,
    database: Option<&DatabaseSlot>,
    prefix: Option<Prefix>,
    sources: Vec<CoveringSource>,
) -> Result<Explanation, DatapathError> {
    // A test run of TCX always has an Ethernet header, before what the program reads.
    let ethernet = view.program != dbfw_common::PROGRAM_XDP_L3;
    let outcome = view.reader.test_run(view.program, &packet(address, port, ethernet))?;
    let verdict = Verdict::from_u8(outcome.trace.verdict).unwrap_or(if outcome.passes {
        Verdict::Pass
    } else {
        Verdict::Drop
    });
    let reason = Reason::from_u8(outcome.trace.reason);
    Ok(Explanation {
        address,
        port: port.to_string(),
        database: database.map(|database| database.name.clone()),
        mode: database.map(|database| database.mode.into()),
        verdict: verdict.into(),
        reason: reason.map_or(wire::Reason::Unknown, Into::into),
        effect: Effect::Unknown,
        let_in_by: Vec::new(),
        program: view.program.to_owned(),
        prefix: prefix.map(|prefix| prefix.to_string()),
        sources,
        facts: Vec::new(),
    })
}

/// The rules that cover an address, each with the id of its database.
fn covering(
    view: &View<'_>,
    uses: &SourceUses,
    address: IpAddr,
) -> Result<Vec<(u8, CoveringSource)>, DatapathError> {
    let found = view.policy.covering(address);
    let shown: Vec<(&str, String)> = found
        .iter()
        .filter_map(|covering| view.policy.rule(covering.rule))
        .map(|(database, rule)| (&*database.name, rule.kind.to_string()))
        .collect();
    let is_shown = |key: &RuleKey| {
        shown.iter().any(|(database, source)| *database == key.database && *source == key.source)
    };
    let counted = count(view.reader, view.slots, is_shown)?;
    let now = Timestamp::now();
    Ok(found
        .into_iter()
        .filter_map(|covering| {
            let (database, rule) = view.policy.rule(covering.rule)?;
            let key = UsedSource::new(&database.name, &rule.kind.to_string());
            let mut source = covering_source(rule, covering.prefix);
            if let Some(used) = uses.of(&key, counted.get(&key), now) {
                source.since = Some(used.since);
                (source.packets, source.last_hit) = (used.packets, used.last_hit);
            }
            Some((covering.rule.database, source))
        })
        .collect())
}

/// A rule that lets a prefix in, without what it counted.
pub fn covering_source(rule: &Rule, prefix: Prefix) -> CoveringSource {
    CoveringSource {
        source: rule.kind.to_string(),
        prefix: prefix.to_string(),
        origin: rule.origin.to_string(),
        description: rule.kind.description().map(str::to_owned),
        expires_at: rule.kind.expires_at(),
        since: None,
        packets: 0,
        last_hit: None,
    }
}

/// A TCP SYN or a UDP datagram from `source` to `port`, padded as on a wire.
fn packet(source: IpAddr, port: Port, ethernet: bool) -> Vec<u8> {
    let protocol = if port.udp { 17 } else { 6 };
    let mut transport = vec![0; 20];
    transport[..2].copy_from_slice(&49152u16.to_be_bytes());
    transport[2..4].copy_from_slice(&port.port.to_be_bytes());
    if port.udp {
        transport[4..6].copy_from_slice(&20u16.to_be_bytes());
    } else {
        // Header length of five words, SYN.
        transport[12..14].copy_from_slice(&[0x50, 0x02]);
    }
    let (kind, header, address) = match source {
        IpAddr::V4(source) => (
            [0x08, 0x00],
            vec![0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, protocol, 0, 0],
            source.octets().to_vec(),
        ),
        IpAddr::V6(source) => {
            ([0x86, 0xdd], vec![0x60, 0, 0, 0, 0, 20, protocol, 64], source.octets().to_vec())
        }
    };
    let mut packet = Vec::new();
    if ethernet {
        packet.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        packet.extend(kind);
    }
    packet.extend(header);
    // To itself: the destination matters where the source is the host's own, and then it is to be
    // another of its own.
    packet.extend(address.repeat(2));
    packet.extend(transport);
    packet.resize(packet.len().max(60), 0);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effect_is_that_on_every_way() {
        let present = [Interface::ethernet("eth0", 2), Interface::ethernet("eth1", 3)];
        let (drop, untrusted) = (wire::Verdict::Drop, wire::Reason::Untrusted);
        for (hooks, backstop, exempt, effect, by) in [
            (&[2, 3][..], false, &[][..], Effect::Dropped, &[][..]),
            (&[2], true, &[], Effect::Dropped, &[]),
            (&[2], true, &[3], Effect::Partly, &["eth1"]),
            (&[2], false, &[], Effect::Partly, &["eth1"]),
            (&[], true, &[2, 3], Effect::LetIn, &["eth0", "eth1"]),
            (&[], false, &[], Effect::LetIn, &["eth0", "eth1"]),
        ] {
            let attached = Attachments::new(hooks.to_vec(), backstop, exempt.to_vec());
            let ways = Ways::of(&attached, &present);
            let by: Vec<String> = by.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(ways.effect(drop, untrusted), (effect, by), "{attached:?}");
            for verdict in [wire::Verdict::Allow, wire::Verdict::Observe, wire::Verdict::Pass] {
                assert_eq!(ways.effect(verdict, untrusted), (Effect::LetIn, Vec::new()));
            }
        }
        let ways = Ways::of(&Attachments::new([2, 3], true, []), &present);
        let own = (Effect::Partly, vec!["lo".to_owned()]);
        assert_eq!(ways.effect(drop, wire::Reason::Martian), own);
    }
}
