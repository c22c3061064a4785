//! Rows of `dbfw status` and of the maps, from the maps and the policy together.

use std::collections::BTreeMap;

use dbfw_common::{Entry, Family};
use dbfw_core::{
    policy::{Policy, SlotTable},
    source::Prefix,
};
use dbfw_datapath::{DatabaseSlot, DatapathError, HookMode, Interface, Reader, Sets, Totals};
use dbfw_wire::control::{DatabaseStatus, Enforced, InterfaceMode, InterfaceStatus, MapEntry};
use jiff::Timestamp;

use crate::protection::{Degradation, Opening, Unjudged};

/// Maps and policy that the readers look at.
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
    /// Prefixes in the maps, where they are known without going through them.
    pub held: Option<&'a Sets>,
    /// Entries of each set, likewise.
    pub sizes: Option<&'a BTreeMap<&'static str, u64>>,
}

/// The row of an interface that is named and that nothing can be attached to.
pub fn unfiltered(degradation: &Degradation) -> Option<InterfaceStatus> {
    let (name, ifindex, detail) = match degradation {
        Degradation::Absent { name } => (name, 0, "no such interface".to_owned()),
        Degradation::Unmatchable { name, reason } => (name, 0, reason.to_string()),
        Degradation::Unfit { interface, index } => {
            (interface, *index, "no program fits this kind of link".to_owned())
        }
        _ => return None,
    };
    Some(InterfaceStatus {
        name: name.clone(),
        ifindex,
        mode: InterfaceMode::None,
        healthy: false,
        detail: Some(detail),
    })
}

/// The word for a hook.
pub const fn interface_mode(mode: HookMode) -> InterfaceMode {
    match mode {
        HookMode::Native => InterfaceMode::Native,
        HookMode::Tcx => InterfaceMode::Tcx,
        HookMode::Generic => InterfaceMode::Generic,
    }
}

/// The row of an interface that needs no program, because those below it are filtered.
pub fn filtered_below(interface: &Interface) -> InterfaceStatus {
    InterfaceStatus {
        name: interface.name.clone(),
        ifindex: interface.index,
        mode: InterfaceMode::None,
        healthy: true,
        detail: Some("the interfaces below it are filtered".to_owned()),
    }
}

/// Packets one database dropped so far, whatever the reason.
///
/// # Errors
///
/// The counters cannot be read.
pub fn dropped_packets(reader: &Reader, id: u8) -> Result<u64, DatapathError> {
    Family::ALL.into_iter().try_fold(0, |sum, family| {
        let totals = reader.totals(id, family)?;
        Ok(sum + totals.dropped.iter().map(|counter| counter.packets).sum::<u64>())
    })
}

/// Every database, without what only a running agent knows.
///
/// # Errors
///
/// The maps cannot be read.
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
                ports: database.ports.texts(),
                addresses: database.destinations.texts(),
                mode: database.mode.into(),
                enforced: Enforced::No,
                openings: Vec::new(),
                unused_ports: None,
                sources: rules_of(view.policy, database.id),
                prefixes_ipv4: view.policy.prefixes(database.id, Family::V4),
                prefixes_ipv6: view.policy.prefixes(database.id, Family::V6),
                allowed_packets: packets(|totals| totals.allowed.packets),
                dropped_packets: packets(|t| t.dropped.iter().map(|c| c.packets).sum()),
                observed_packets: packets(|t| t.observed.iter().map(|c| c.packets).sum()),
                drops_per_second: None,
                provider: None,
                refused: None,
                stale_sources: 0,
                unresolved_sources: 0,
                oldest_age_seconds: None,
                name: database.name,
            })
        })
        .collect()
}

/// Fills in how each database lets strangers in although nothing failed, and returns the problem
/// of each way.
pub fn add_openings(
    databases: &mut [DatabaseStatus],
    policy: &Policy,
    unjudged: &[Unjudged],
) -> Vec<String> {
    let mut problems = Vec::new();
    for DatabaseStatus { name, mode, ports, enforced, openings, .. } in databases {
        let of_database = policy.databases().iter().find(|database| database.name == *name);
        let found = Opening::of(*mode, policy, of_database, unjudged);
        problems.extend(found.iter().map(|opening| opening.problem(name, ports)));
        *enforced = Opening::enforced(&found);
        *openings = found.iter().map(ToString::to_string).collect();
    }
    problems
}

fn rules_of(policy: &Policy, id: u8) -> usize {
    policy.databases().iter().find(|database| database.id == id).map_or(0, |d| d.rules.len())
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

/// Age of what is of the time `at`.
pub fn age_seconds(at: Timestamp, now: Timestamp) -> u64 {
    now.duration_since(at).as_secs().try_into().unwrap_or(0)
}
