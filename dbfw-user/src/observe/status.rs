//! What the maps and a policy say together: the documents of the readers, the same whether
//! the agent answers or the command line reads the pins.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use dbfw_common::{
    Entry, Family, HOST, HOSTS4, HOSTS6, MAX_HOSTS, MAX_NETS, Reason, RuleCounter, Verdict,
};
use jiff::Timestamp;

use super::{
    drops::Clock,
    metrics::{InterfaceScrape, MapFill, PacketCounters, PrefixCount, Scrape, SyncCounters},
};
use crate::{
    config::Port,
    control::wire::{
        CoveringSource, DatabaseStatus, Explanation, Lookup, MapEntry, SourceStatus, Sources,
    },
    datapath::{DatabaseSlot, DatapathError, Reader, Totals},
    policy::{Entries, Policy, RuleKey, SlotTable},
    source::Prefix,
};

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The maps.
    pub reader: &'a Reader,
    /// The policy in force.
    pub policy: &'a Policy,
    /// Which counters belong to which rules.
    pub slots: &'a SlotTable,
    /// The program `explain` runs.
    pub program: &'static str,
    /// What the maps hold, where that is known without going through them.
    pub held: Option<&'a Entries>,
    /// Entries of each set, likewise.
    pub sizes: Option<&'a BTreeMap<&'static str, u64>>,
}

/// Packets one database dropped so far, whatever the reason.
pub fn dropped_packets(reader: &Reader, id: u8) -> Result<u64, DatapathError> {
    Family::ALL.into_iter().try_fold(0, |sum, family| {
        let totals = reader.totals(id, family)?;
        Ok(sum + totals.dropped.iter().map(|counter| counter.packets).sum::<u64>())
    })
}

/// Every database, without what only a running agent knows.
pub fn databases(view: &View<'_>) -> Result<Vec<DatabaseStatus>, DatapathError> {
    view.reader
        .databases()?
        .into_iter()
        .map(|database| {
            let totals: Vec<Totals> = Family::ALL
                .into_iter()
                .map(|family| view.reader.totals(database.id, family))
                .collect::<Result<_, _>>()?;
            let packets = |pick: fn(&Totals) -> u64| totals.iter().map(pick).sum();
            Ok(DatabaseStatus {
                ports: database.ports.iter().map(Port::to_string).collect(),
                mode: database.mode.as_str().to_owned(),
                sources: rules_of(view.policy, database.id),
                prefixes_ipv4: view.policy.prefixes(database.id, Family::V4),
                prefixes_ipv6: view.policy.prefixes(database.id, Family::V6),
                allowed_packets: packets(|totals| totals.allowed.packets),
                dropped_packets: packets(|t| t.dropped.iter().map(|c| c.packets).sum()),
                observed_packets: packets(|t| t.observed.iter().map(|c| c.packets).sum()),
                drops_per_second: None,
                provider: None,
                name: database.name,
            })
        })
        .collect()
}

fn rules_of(policy: &Policy, id: u8) -> usize {
    policy.databases().iter().find(|database| database.id == id).map_or(0, |d| d.rules.len())
}

/// `dbfw sources`.
pub fn sources(view: &View<'_>) -> Result<Sources, DatapathError> {
    let mut counters: HashMap<&RuleKey, RuleCounter> = HashMap::new();
    for (slot, key) in view.slots.slots() {
        let read = view.reader.rule(slot)?;
        let sum = counters.entry(key).or_default();
        sum.packets += read.packets;
        sum.last_hit = sum.last_hit.max(read.last_hit);
    }
    let clock = Clock::read().ok();
    let mut sources = Vec::new();
    for database in view.policy.databases() {
        for rule in &database.rules {
            let key = RuleKey {
                database: database.name.clone(),
                origin: rule.origin.clone(),
                source: rule.source.to_string(),
            };
            let counter = counters.get(&key).copied().unwrap_or_default();
            sources.push(SourceStatus {
                database: database.name.clone(),
                source: rule.source.to_string(),
                origin: rule.origin.to_string(),
                description: rule.source.description.clone(),
                expires_at: rule.source.expires_at,
                prefixes: rule.prefixes.iter().map(Prefix::to_string).collect(),
                packets: counter.packets,
                last_hit: clock.filter(|_| counter.last_hit != 0).map(|c| c.at(counter.last_hit)),
            });
        }
    }
    Ok(Sources { sources })
}

/// A line of `dbfw map dump`.
pub fn map_entry(map: &str, prefix: Prefix, entry: Entry, databases: &[DatabaseSlot]) -> MapEntry {
    let mask = entry.mask();
    MapEntry {
        map: map.to_owned(),
        prefix: prefix.to_string(),
        databases: databases
            .iter()
            .filter(|database| mask >> (database.id - 1) & 1 != 0)
            .map(|database| database.name.clone())
            .collect(),
        rules: entry.rules,
    }
}

/// `dbfw map lookup`: by the maps alone.
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
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let covering = (0..=bits).rev().map(|len| Prefix::new(address, len));
        return Ok(covering.into_iter().find(|prefix| held.contains_key(prefix)));
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
/// protected one, and which sources of the policy cover it.
pub fn explain(
    view: &View<'_>,
    address: IpAddr,
    port: Option<u16>,
) -> Result<Vec<Explanation>, DatapathError> {
    let databases = view.reader.databases()?;
    let protected: Vec<(Port, Option<&DatabaseSlot>)> = match port {
        Some(number) => {
            let known: Vec<_> = databases
                .iter()
                .flat_map(|database| database.ports.iter().map(move |p| (*p, Some(database))))
                .filter(|(known, _)| known.port == number)
                .collect();
            if known.is_empty() { vec![(Port { udp: false, port: number }, None)] } else { known }
        }
        None => databases
            .iter()
            .flat_map(|database| database.ports.iter().map(move |p| (*p, Some(database))))
            .collect(),
    };
    let prefix = longest(view, address)?;
    protected
        .into_iter()
        .map(|(port, database)| explain_one(view, address, port, database, prefix))
        .collect()
}

fn explain_one(
    view: &View<'_>,
    address: IpAddr,
    port: Port,
    database: Option<&DatabaseSlot>,
    prefix: Option<Prefix>,
) -> Result<Explanation, DatapathError> {
    let ethernet =
        !matches!(view.program, dbfw_common::PROGRAM_XDP_L3 | dbfw_common::PROGRAM_TCX_L3);
    let outcome = view.reader.test_run(view.program, &packet(address, port, ethernet))?;
    let verdict = Verdict::from_u8(outcome.trace.verdict).unwrap_or(if outcome.passes {
        Verdict::Pass
    } else {
        Verdict::Drop
    });
    let reason = Reason::from_u8(outcome.trace.reason).map_or("unknown", Reason::as_str);
    let sources = view
        .policy
        .covering(address)
        .into_iter()
        .filter(|covering| database.is_some_and(|database| database.id == covering.rule.database))
        .filter_map(|covering| {
            let (_, rule) = view.policy.rule(covering.rule)?;
            Some(CoveringSource {
                source: rule.source.to_string(),
                prefix: covering.prefix.to_string(),
                origin: rule.origin.to_string(),
                description: rule.source.description.clone(),
                expires_at: rule.source.expires_at,
            })
        })
        .collect();
    Ok(Explanation {
        address,
        port: port.to_string(),
        database: database.map(|database| database.name.clone()),
        mode: database.map(|database| database.mode.as_str().to_owned()),
        verdict: verdict.as_str().to_owned(),
        reason: reason.to_owned(),
        program: view.program.to_owned(),
        prefix: prefix.map(|prefix| prefix.to_string()),
        sources,
    })
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
    let mut packet = Vec::new();
    match source {
        IpAddr::V4(source) => {
            if ethernet {
                packet.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00]);
            }
            packet.extend([0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, protocol, 0, 0]);
            packet.extend(source.octets());
            // TEST-NET-1 (RFC 5737): the programs do not look at the destination.
            packet.extend(Ipv4Addr::new(192, 0, 2, 1).octets());
        }
        IpAddr::V6(source) => {
            if ethernet {
                packet.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd]);
            }
            packet.extend([0x60, 0, 0, 0, 0, 20, protocol, 64]);
            packet.extend(source.octets());
            packet.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets());
        }
    }
    packet.extend(transport);
    packet.resize(packet.len().max(60), 0);
    packet
}

/// Everything a scrape shows. What cannot be read shows as `dbfw_up 0`.
pub fn scrape(
    view: &View<'_>,
    interfaces: Vec<InterfaceScrape>,
    sync: SyncCounters,
    reload_ok: bool,
) -> Scrape {
    let mut scrape = Scrape {
        version: crate::version().to_owned(),
        revision: crate::revision().to_owned(),
        up: false,
        interfaces,
        sync,
        reload_ok,
        ..Scrape::default()
    };
    match read_counters(view) {
        Ok((packets, prefixes, maps)) => {
            scrape.up = true;
            scrape.packets = packets;
            scrape.prefixes = prefixes;
            scrape.maps = maps;
        }
        Err(error) => tracing::error!(%error, "the counters cannot be read"),
    }
    scrape
}

type Counters = (Vec<PacketCounters>, Vec<PrefixCount>, Vec<MapFill>);

fn read_counters(view: &View<'_>) -> Result<Counters, DatapathError> {
    let databases = view.reader.databases()?;
    let mut packets = Vec::new();
    let host = [(HOST as u8, super::metrics::NO_DATABASE.to_owned())];
    let named = databases.iter().map(|database| (database.id, database.name.clone()));
    for (id, name) in host.into_iter().chain(named) {
        let mut totals = BTreeMap::new();
        for family in Family::ALL {
            totals.insert(family, view.reader.totals(id, family)?);
        }
        packets.push(PacketCounters::new(name, |family, counted| {
            totals.get(&family).map(|totals| totals.get(counted)).unwrap_or_default()
        }));
    }
    let prefixes = databases
        .iter()
        .map(|database| PrefixCount {
            database: database.name.clone(),
            prefixes: Family::ALL.map(|family| view.policy.prefixes(database.id, family)),
        })
        .collect();
    let counted;
    let sizes = match view.sizes {
        Some(sizes) => sizes,
        None => {
            counted = view.reader.sizes()?;
            &counted
        }
    };
    let maps = sizes
        .iter()
        .map(|(map, entries)| MapFill {
            map: (*map).to_owned(),
            entries: *entries,
            max_entries: u64::from(if matches!(*map, HOSTS4 | HOSTS6) {
                MAX_HOSTS
            } else {
                MAX_NETS
            }),
        })
        .collect();
    Ok((packets, prefixes, maps))
}

/// When a policy without an agent was written, for its age.
pub fn age_seconds(written_at: Timestamp) -> u64 {
    Timestamp::now().duration_since(written_at).as_secs().try_into().unwrap_or(0)
}
