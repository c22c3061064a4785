//! The sets as the agent sees them: what the kernel holds, and where.

use std::{collections::BTreeSet, os::fd::AsFd as _};

use dbfw_common::{ENTRIES, ENTRY_IDS, Entry, FRONT4, FRONT6};

use super::{
    Entries,
    error::DatapathError,
    hosts::{Hosts, outer_name},
    ids::{Ids, Taken},
    maps::Maps,
    nets,
    pins::Pins,
    presence::Presence,
    table::Probe,
};
use crate::{policy::Holding, source::Prefix};

/// What the kernel holds. For hosts the tables themselves are the record.
#[derive(Debug)]
pub struct Sets {
    /// IPv4, IPv6.
    pub(super) sides: [Side; 2],
    pub(super) ids: Ids,
}

/// One family.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) hosts: Hosts,
    /// What the trie holds: networks, and hosts that found no room in the table.
    pub(super) nets: Entries,
    /// These hosts.
    pub(super) overflow: BTreeSet<Prefix>,
    pub(super) presence: Presence,
    /// What left the trie since the presence bits were last cleared.
    pub(super) gone: Vec<Prefix>,
}

/// Where a prefix's family is in [`Sets::sides`].
pub(super) fn side(prefix: &Prefix) -> usize {
    usize::from(!prefix.is_v4())
}

impl Side {
    fn open(maps: &Maps, pins: &Pins, v4: bool) -> Result<Self, DatapathError> {
        let mut presence = Presence::new(maps.fd(if v4 { FRONT4 } else { FRONT6 })?, v4);
        presence.wake()?;
        let hosts = Hosts::open(pins, maps.fd(outer_name(v4))?, v4, &presence)?;
        let (nets, overflow, gone) = (Entries::new(), BTreeSet::new(), Vec::new());
        Ok(Self { hosts, nets, overflow, presence, gone })
    }

    /// Notes that a prefix is gone: one of the trie, or a host of the table.
    pub(super) fn gone(&mut self, prefix: Prefix, in_trie: bool) {
        if in_trie { self.gone.push(prefix) } else { self.presence.host_gone() }
    }
}

impl Sets {
    /// Reads what the maps hold, and makes the presence bits exactly fit it.
    pub(super) fn read(maps: &mut Maps, pins: &Pins) -> Result<Self, DatapathError> {
        let sides = [Side::open(maps, pins, true)?, Side::open(maps, pins, false)?];
        let mut sets = Self { sides, ids: Ids::new(maps.all_entries()?) };
        for (_, id) in sets.sides.iter().flat_map(|family| family.hosts.table().iter()) {
            sets.ids.found(id);
        }
        sets.ids.all_found();
        for v4 in [true, false] {
            let mut twice = Vec::new();
            maps.for_each_net(v4, &mut |prefix, entry| {
                let family = &mut sets.sides[side(&prefix)];
                if prefix.is_host() {
                    if family.hosts.table().get(&Probe::new(prefix.addr())).is_some() {
                        twice.push(prefix);
                        return Ok::<(), DatapathError>(());
                    }
                    family.overflow.insert(prefix);
                }
                family.nets.insert(prefix, entry);
                Ok(())
            })?;
            // A kill on the way from one to the other; the table decides.
            for prefix in twice {
                nets::remove(maps, prefix)?;
            }
        }
        for family in &mut sets.sides {
            family.presence.fit(family.hosts.table(), &family.nets);
            family.presence.sleep();
        }
        Ok(sets)
    }

    /// The entry of exactly this prefix.
    pub fn get(&self, prefix: &Prefix) -> Option<Entry> {
        let family = &self.sides[side(prefix)];
        if prefix.is_host()
            && let Some(id) = family.hosts.table().get(&Probe::new(prefix.addr()))
        {
            return Some(self.ids.entry(id));
        }
        family.nets.get(prefix).copied()
    }

    /// Whether there is an entry of exactly this prefix.
    pub fn contains_key(&self, prefix: &Prefix) -> bool {
        self.get(prefix).is_some()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.sides.iter().map(|family| family.hosts.table().len() + family.nets.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix, Entry)> {
        self.sides.iter().flat_map(|family| {
            let hosts = family.hosts.table().iter();
            let hosts = hosts.map(|(address, id)| (Prefix::host(address), self.ids.entry(id)));
            hosts.chain(family.nets.iter().map(|(prefix, entry)| (*prefix, *entry)))
        })
    }

    pub(super) fn write_host(
        &mut self,
        maps: &mut Maps,
        prefix: Prefix,
        entry: Entry,
    ) -> Result<(), DatapathError> {
        let probe = Probe::new(prefix.addr());
        if let Some(id) = self.take_id(maps, prefix.is_v4(), entry)? {
            let family = &mut self.sides[side(&prefix)];
            match family.hosts.table_mut().insert(&probe, id) {
                Ok(before) => {
                    if let Some(before) = before {
                        self.ids.give_back(before);
                    }
                    if family.overflow.contains(&prefix) {
                        nets::remove(maps, prefix)?;
                        family.overflow.remove(&prefix);
                        family.nets.remove(&prefix);
                        family.gone(prefix, true);
                    }
                    return Ok(());
                }
                Err(()) => self.ids.give_back(id),
            }
        }
        let family = &mut self.sides[side(&prefix)];
        family.presence.add(&prefix, true);
        nets::insert(maps, prefix, entry)?;
        family.nets.insert(prefix, entry);
        family.overflow.insert(prefix);
        // Only where there was no id: from now on the trie decides.
        if let Some(id) = family.hosts.table_mut().remove(&probe) {
            family.presence.host_gone();
            self.ids.give_back(id);
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, maps: &mut Maps, prefix: Prefix) -> Result<(), DatapathError> {
        let family = &mut self.sides[side(&prefix)];
        if prefix.is_host()
            && let Some(id) = family.hosts.table_mut().remove(&Probe::new(prefix.addr()))
        {
            self.ids.give_back(id);
            family.gone(prefix, false);
            return Ok(());
        }
        nets::remove(maps, prefix)?;
        family.nets.remove(&prefix);
        family.overflow.remove(&prefix);
        family.gone(prefix, true);
        Ok(())
    }

    /// An id for one more host with this entry, which ENTRIES then holds; `None` if all are
    /// taken.
    fn take_id(
        &mut self,
        maps: &mut Maps,
        v4: bool,
        entry: Entry,
    ) -> Result<Option<u16>, DatapathError> {
        let mut taken = self.ids.take(entry);
        if taken == Taken::Wait {
            self.sides[usize::from(!v4)].hosts.wait_for_programs()?;
            self.ids.release();
            taken = self.ids.take(entry);
        }
        match taken {
            Taken::Known(id) => Ok(Some(id)),
            Taken::New(id) => {
                if let Err(error) = Self::write_entry(maps, id, entry) {
                    self.ids.give_back(id);
                    return Err(error);
                }
                Ok(Some(id))
            }
            Taken::Wait | Taken::None => Ok(None),
        }
    }

    /// Makes the table of a family fit `hosts`. Where that cannot be had, hosts that find no
    /// room go to the trie.
    pub(super) fn make_room(&mut self, maps: &mut Maps, pins: &Pins, v4: bool, hosts: usize) {
        let at = usize::from(!v4);
        if let Some(bits) = self.sides[at].hosts.wanted_bits(hosts)
            && let Err(error) = self.resize(maps, pins, at, bits)
        {
            tracing::warn!(
                hosts, %error,
                "no table of a fitting size: hosts without room in the one there is go to the trie"
            );
        }
    }

    fn resize(
        &mut self,
        maps: &mut Maps,
        pins: &Pins,
        at: usize,
        bits: u32,
    ) -> Result<(), DatapathError> {
        let mut fresh = self.sides[at].hosts.fresh(bits)?;
        let mut moved = Vec::new();
        for prefix in self.sides[at].overflow.clone() {
            let Some(entry) = self.sides[at].nets.get(&prefix).copied() else { continue };
            let Some(id) = self.take_id(maps, at == 0, entry)? else { continue };
            match fresh.insert(&Probe::new(prefix.addr()), id) {
                Ok(_) => moved.push((prefix, id)),
                Err(()) => self.ids.give_back(id),
            }
        }
        let spilled = std::mem::take(&mut fresh.spilled);
        let mut result = Ok(());
        for (address, id) in &spilled {
            let prefix = Prefix::host(*address);
            let family = &mut self.sides[at];
            family.presence.add(&prefix, true);
            let entry = self.ids.entry(*id);
            result = nets::insert(maps, prefix, entry);
            if result.is_err() {
                break;
            }
            family.nets.insert(prefix, entry);
        }
        let family = &mut self.sides[at];
        let result = result.and_then(|()| family.hosts.switch(pins, &family.presence, fresh));
        // What is in the table in use needs no place in the trie.
        let (stay, leave): (Vec<_>, Vec<_>) = match result {
            Ok(()) => (spilled.iter().map(|(a, id)| (Prefix::host(*a), *id)).collect(), moved),
            Err(_) => (moved, spilled.iter().map(|(a, id)| (Prefix::host(*a), *id)).collect()),
        };
        for (prefix, id) in stay {
            self.ids.give_back(id);
            family.overflow.insert(prefix);
        }
        for (prefix, _) in leave {
            nets::remove(maps, prefix)?;
            family.overflow.remove(&prefix);
            family.nets.remove(&prefix);
            family.gone(prefix, true);
        }
        result
    }
}

impl Holding for Sets {
    fn entry(&self, prefix: &Prefix) -> Option<Entry> {
        self.get(prefix)
    }

    fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.iter().map(|(prefix, _)| prefix)
    }
}

impl Maps {
    /// All of ENTRIES, by id.
    fn all_entries(&self) -> Result<Vec<Entry>, DatapathError> {
        let mut entries = Vec::with_capacity(ENTRY_IDS as usize);
        let Some(map) = self.fds.get(ENTRIES) else { return Ok(entries) };
        self.for_each_in(map.as_fd(), ENTRIES, 4, size_of::<Entry>(), &mut |_, value| {
            entries.push(super::maps::entry_of(value));
            Ok::<(), DatapathError>(())
        })?;
        Ok(entries)
    }
}
