//! `dbfw explain` and `dbfw map lookup`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dbfw_common::{Family, Reason, Verdict};
use dbfw_core::{
    Port, PortRange,
    policy::RuleKey,
    source::{Prefix, Rule},
};
use dbfw_datapath::{DatabaseSlot, DatapathError};
use dbfw_wire::control::{self as wire, CoveringSource, Explanation, Lookup};
use jiff::Timestamp;

use super::{
    sources::count,
    status::{View, map_entry},
};
use crate::traffic::uses::{SourceUses, UsedSource};

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

/// The packets that `dbfw explain` is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Their source.
    pub address: IpAddr,
    /// Their port; `None`: every protected one.
    pub port: Option<u16>,
    /// Their destination; `None`: one that the database judges. Of the family of `address`.
    pub to: Option<IpAddr>,
}

/// Ports that fare alike, with the database that they are of.
type PortsOf<'a> = (PortRange, Option<&'a DatabaseSlot>);

/// `dbfw explain`: what the loaded program decides for packets, and which sources of the policy
/// cover their source. `uses` is what those counted before.
///
/// # Errors
///
/// The maps cannot be read, or the program cannot be run.
pub fn explain(
    view: &View<'_>,
    uses: &SourceUses,
    asked: &Asked,
) -> Result<Vec<Explanation>, DatapathError> {
    let databases = view.reader.databases()?;
    let prefix = longest(view, asked.address)?;
    let covering = covering(view, uses, asked.address)?;
    ports(view, &databases, asked)?
        .into_iter()
        .map(|(ports, database)| {
            let to = match (asked.to, database) {
                (Some(to), _) => Some(to),
                (None, Some(database)) => destination(view, database, asked.address)?,
                (None, None) => None,
            };
            let mut found = run(view, asked.address, ports, to)?;
            // Of several that share a port, the program says which one judges.
            let judging = databases.iter().find(|known| known.id == found.judged_by);
            let database = judging.or(database);
            if let Some(database) = database {
                let of_database = |(id, source): &(u8, CoveringSource)| {
                    (*id == database.id).then(|| source.clone())
                };
                found.explanation.database = Some(database.name.clone());
                found.explanation.mode = Some(database.mode.into());
                found.explanation.sources = covering.iter().filter_map(of_database).collect();
            } else if let Some(to) = asked.to {
                let at = ports.first();
                let elsewhere = databases.iter().filter(|known| known.ports.contains(at));
                let facts = elsewhere.map(|known| {
                    format!("{} has this port at {}, not at {to}", known.name, known.destinations)
                });
                found.explanation.facts = facts.collect();
            }
            found.explanation.prefix = prefix.map(|prefix| prefix.to_string());
            Ok(found.explanation)
        })
        .collect()
}

/// The ports that are asked about: those of a database that judges the destination with it, others
/// without one.
fn ports<'a>(
    view: &View<'_>,
    databases: &'a [DatabaseSlot],
    asked: &Asked,
) -> Result<Vec<PortsOf<'a>>, DatapathError> {
    let is_asked = |ports: &PortRange| asked.port.is_none_or(|port| ports.has_number(port));
    let narrowed = |ports: PortRange| match asked.port {
        Some(port) => Port { port, ..ports.first() }.into(),
        None => ports,
    };
    let all = databases.iter().flat_map(|database| {
        let ports = database.ports.ranges().filter(is_asked).map(narrowed);
        ports.map(move |ports| (ports, database))
    });
    let is_local = match asked.to {
        Some(to) => is_group(to) || view.reader.is_local(to)?,
        None => true,
    };
    let judges = |database: &DatabaseSlot| {
        asked.to.is_none_or(|to| database.destinations.include(to, is_local))
    };
    let (judged, others): (Vec<_>, Vec<_>) = all.partition(|(_, database)| judges(database));
    let mut found: Vec<PortsOf<'_>> =
        judged.into_iter().map(|(ports, database)| (ports, Some(database))).collect();
    for (ports, _) in others {
        if !found.iter().any(|(known, _)| known.overlaps(&ports)) {
            found.push((ports, None));
        }
    }
    if let Some(port) = asked.port.filter(|_| found.is_empty()) {
        found.push((Port { udp: false, port }.into(), None));
    }
    Ok(found)
}

/// A destination that a database judges, of the family of `source`; `None`: it judges every one, or
/// none of that family.
fn destination(
    view: &View<'_>,
    database: &DatabaseSlot,
    source: IpAddr,
) -> Result<Option<IpAddr>, DatapathError> {
    let destinations = &database.destinations;
    if destinations.has_local() {
        if view.reader.is_local(source)? {
            return Ok(Some(source));
        }
        let family = if source.is_ipv4() { Family::V4 } else { Family::V6 };
        let own = view.reader.local_addresses(family)?;
        // Where it has none, one that every host takes.
        return Ok(Some(own.first().copied().unwrap_or(match family {
            Family::V4 => Ipv4Addr::new(224, 0, 0, 1).into(),
            Family::V6 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into(),
        })));
    }
    let mut written = destinations.prefixes().iter().map(Prefix::addr);
    Ok(written.find(|address| address.is_ipv4() == source.is_ipv4()))
}

/// Whether packets to an address are for no single host.
fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast(),
    }
}

/// A run of the program.
struct Run {
    /// Id of the database that judged; 0: none did.
    judged_by: u8,
    /// Its decision, without what is known of databases and sources.
    explanation: Explanation,
}

/// Runs the program on a packet from `address` to the first of `ports`.
fn run(
    view: &View<'_>,
    address: IpAddr,
    ports: PortRange,
    to: Option<IpAddr>,
) -> Result<Run, DatapathError> {
    // A test run of TCX always has an Ethernet header, before what the program reads.
    let ethernet = view.program != dbfw_common::PROGRAM_XDP_L3;
    // To itself: the destination matters where the source is the host's own, and then it is to be
    // another of its own.
    let packet = packet(address, to.unwrap_or(address), ports.first(), ethernet);
    let outcome = view.reader.test_run(view.program, &packet)?;
    let verdict = Verdict::from_u8(outcome.trace.verdict).unwrap_or(if outcome.passes {
        Verdict::Pass
    } else {
        Verdict::Drop
    });
    let reason = Reason::from_u8(outcome.trace.reason);
    let explanation = Explanation {
        address,
        port: ports.to_string(),
        to,
        database: None,
        mode: None,
        verdict: verdict.into(),
        reason: reason.map_or(wire::Reason::Unknown, Into::into),
        program: view.program.to_owned(),
        prefix: None,
        sources: Vec::new(),
        facts: Vec::new(),
    };
    Ok(Run { judged_by: outcome.trace.database, explanation })
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

/// A TCP SYN or a UDP datagram from `source` to `port` of `to`, padded as on a wire.
fn packet(source: IpAddr, to: IpAddr, port: Port, ethernet: bool) -> Vec<u8> {
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
    let (kind, header) = match source {
        IpAddr::V4(_) => ([0x08, 0x00], vec![0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, protocol, 0, 0]),
        IpAddr::V6(_) => ([0x86, 0xdd], vec![0x60, 0, 0, 0, 0, 20, protocol, 64]),
    };
    let mut packet = Vec::new();
    if ethernet {
        packet.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        packet.extend(kind);
    }
    packet.extend(header);
    for address in [source, to] {
        match address {
            IpAddr::V4(address) => packet.extend(address.octets()),
            IpAddr::V6(address) => packet.extend(address.octets()),
        }
    }
    packet.extend(transport);
    packet.resize(packet.len().max(60), 0);
    packet
}
