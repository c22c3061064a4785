//! The index of an account's inventory: machines by address, groups by machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use dbfw_core::source::{Prefix, PrefixMap, SourceKey, SourceType};
use dbfw_provider::inventory::Inventory;
use dbfw_wire::control::BelongsTo;

/// An inventory by address and by group; nothing depends on its order.
pub(super) struct Index<'i> {
    machines: BTreeMap<&'i SourceKey, Machine<'i>>,
    /// By what would trust them with others: tags and clusters.
    groups: BTreeMap<&'i SourceKey, BTreeSet<&'i SourceKey>>,
    networks: BTreeMap<&'i SourceKey, Network<'i>>,
    /// The machine that has an address.
    owners: PrefixMap<&'i SourceKey>,
    /// The network that an address is in.
    ranges: PrefixMap<&'i SourceKey>,
}

struct Machine<'i> {
    name: &'i str,
    groups: BTreeSet<&'i SourceKey>,
    prefixes: Vec<Prefix>,
}

struct Network<'i> {
    name: &'i str,
    ranges: BTreeSet<Prefix>,
}

impl<'i> Index<'i> {
    pub(super) fn new(inventory: &'i Inventory) -> Self {
        let mut index = Self {
            machines: BTreeMap::new(),
            groups: BTreeMap::new(),
            networks: BTreeMap::new(),
            owners: PrefixMap::default(),
            ranges: PrefixMap::default(),
        };
        for machine in &inventory.machines {
            let key = &machine.key;
            for group in &machine.groups {
                index.groups.entry(group).or_default().insert(key);
            }
            let known = index.machines.entry(key).or_insert(Machine {
                name: &machine.name,
                groups: BTreeSet::new(),
                prefixes: Vec::new(),
            });
            known.name = known.name.min(machine.name.as_str());
            known.groups.extend(&machine.groups);
            known.prefixes.extend(&machine.prefixes);
        }
        for network in &inventory.networks {
            let known = index
                .networks
                .entry(&network.key)
                .or_insert(Network { name: &network.name, ranges: BTreeSet::new() });
            known.name = known.name.min(network.name.as_str());
            known.ranges.insert(network.range);
        }
        for machine in index.machines.values_mut() {
            machine.prefixes.sort_unstable();
            machine.prefixes.dedup();
        }
        // Of two machines with one address the first by key has it, of two networks the last.
        let machines = index.machines.iter();
        index.owners = machines
            .flat_map(|(key, machine)| machine.prefixes.iter().map(move |prefix| (*prefix, *key)))
            .collect();
        let networks = index.networks.iter().rev();
        index.ranges = networks
            .flat_map(|(key, network)| network.ranges.iter().map(move |range| (*range, *key)))
            .collect();
        index
    }

    /// Machines that have an address.
    pub(super) fn machine(&self, address: IpAddr) -> Option<&'i SourceKey> {
        self.owners.longest(address).map(|(_, key)| *key)
    }

    /// The narrowest network an address is in.
    pub(super) fn network(&self, address: IpAddr) -> Option<&'i SourceKey> {
        self.ranges.longest(address).map(|(_, key)| *key)
    }

    /// The machine that has an address, or the network it is in.
    pub(super) fn belongs_to(&self, address: IpAddr) -> Option<BelongsTo> {
        if let Some(key) = self.machine(address) {
            let groups = self.machines.get(key).map(|machine| &machine.groups);
            return Some(BelongsTo::Machine {
                source: key.to_string(),
                name: self.name(key).to_owned(),
                groups: groups.into_iter().flatten().map(ToString::to_string).collect(),
            });
        }
        let key = self.network(address)?;
        Some(BelongsTo::Network { source: key.to_string(), name: self.name(key).to_owned() })
    }

    /// The cluster a machine is a node of.
    pub(super) fn cluster(&self, machine: &SourceKey) -> Option<&'i SourceKey> {
        self.groups_of(machine, SourceType::K8s).next()
    }

    /// The tags of a machine.
    pub(super) fn tags(&self, machine: &SourceKey) -> impl Iterator<Item = &'i SourceKey> {
        self.groups_of(machine, SourceType::Tag)
    }

    fn groups_of(
        &self,
        machine: &SourceKey,
        kind: SourceType,
    ) -> impl Iterator<Item = &'i SourceKey> {
        let groups = self.machines.get(machine).map(|machine| &machine.groups);
        groups.into_iter().flatten().copied().filter(move |group| group.kind() == kind)
    }

    /// Whether a machine is of a group.
    pub(super) fn is_in(&self, machine: &SourceKey, group: &SourceKey) -> bool {
        self.groups.get(group).is_some_and(|members| members.contains(machine))
    }

    /// The machines of a group.
    pub(super) fn members(&self, group: &SourceKey) -> Vec<&'i SourceKey> {
        self.groups.get(group).into_iter().flatten().copied().collect()
    }

    /// Prefixes of a machine.
    pub(super) fn prefixes(&self, machine: &SourceKey) -> &[Prefix] {
        self.machines.get(machine).map_or(&[], |machine| &machine.prefixes)
    }

    /// Prefixes of a group or a network.
    pub(super) fn group_prefixes(&self, key: &SourceKey) -> Vec<Prefix> {
        let ranges = self.networks.get(key).into_iter().flat_map(|network| &network.ranges);
        let members = self.members(key);
        let of_members = members.iter().flat_map(|machine| self.prefixes(machine));
        let all: BTreeSet<Prefix> = ranges.chain(of_members).copied().collect();
        all.into_iter().collect()
    }

    /// For people; the key itself where there is no name.
    pub(super) fn name<'n>(&'n self, key: &'n SourceKey) -> &'n str {
        let machine = self.machines.get(key).map(|machine| machine.name);
        let name = machine.or_else(|| self.networks.get(key).map(|network| network.name));
        name.filter(|name| !name.is_empty()).unwrap_or(key.value())
    }
}
