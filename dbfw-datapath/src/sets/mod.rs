//! [`Sets`]: the trusted sources that the kernel holds, changed all or nothing.

mod front;
pub(crate) mod hosts;
mod ids;
mod nets;
mod presence;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use dbfw_common::{ENTRIES, Entry, Family, MAX_HOSTS, MAX_NETS};
use dbfw_core::{
    policy::{CurrentEntries, Entries, Plan},
    source::Prefix,
};

use crate::{
    error::{DatapathError, map_io},
    keys::{HOSTS, NETS},
    maps::Maps,
    pins::Pins,
};
pub(crate) use front::admits;
use hosts::Hosts;
use ids::{Ids, Taken};
use presence::Presence;
pub(crate) use table::{Probe, bucket_words, hosts_of};

/// From this many networks on they are written in batches.
const MANY: usize = 100;
/// The presence bits are made anew, instead of cleared one by one, if more networks vanish at
/// once than this many and one in [`GONE_PART`] of those that are left.
const GONE: usize = 1_024;
const GONE_PART: usize = 16;

/// The sets that the kernel holds. Of hosts there is no second copy: the tables are read.
#[derive(Debug)]
pub struct Sets {
    by_family: [FamilySets; 2],
    ids: Ids,
}

/// The sets of one family.
#[derive(Debug)]
struct FamilySets {
    hosts: Hosts,
    /// Prefixes of the trie: networks, and hosts that found no room in the table.
    nets: Entries,
    /// These hosts.
    overflow: BTreeSet<Prefix>,
    presence: Presence,
    /// Prefixes that left the trie since the presence bits were last cleared.
    gone: Vec<Prefix>,
}

impl FamilySets {
    fn open(maps: &Maps, pins: &Pins, family: Family) -> Result<Self, DatapathError> {
        let mut presence = Presence::new(family);
        presence.map_memory(maps)?;
        let hosts = Hosts::open(maps, pins, family, &presence)?;
        let (nets, overflow, gone) = (Entries::new(), BTreeSet::new(), Vec::new());
        Ok(Self { hosts, nets, overflow, presence, gone })
    }

    /// Notes that a prefix is gone: one of the trie, or a host of the table.
    fn gone(&mut self, prefix: Prefix, in_trie: bool) {
        if in_trie { self.gone.push(prefix) } else { self.presence.host_gone() }
    }
}

impl Sets {
    /// Reads what the maps hold, and makes the presence bits exactly fit it.
    ///
    /// # Errors
    /// A map cannot be read, or the first table of hosts cannot be made.
    pub(crate) fn read(maps: &mut Maps, pins: &Pins) -> Result<Self, DatapathError> {
        let by_family =
            [FamilySets::open(maps, pins, Family::V4)?, FamilySets::open(maps, pins, Family::V6)?];
        let mut all = Self { by_family, ids: Ids::new(maps.all_entries()?) };
        for (_, id) in all.by_family.iter().flat_map(|sets| sets.hosts.table().iter()) {
            all.ids.found(id);
        }
        all.ids.all_found();
        for family in Family::ALL {
            let sets = &mut all.by_family[family as usize];
            let mut twice = Vec::new();
            maps.for_each_net(family, &mut |prefix, entry| {
                if prefix.is_host() {
                    if sets.hosts.table().get(&Probe::new(prefix.addr())).is_some() {
                        twice.push(prefix);
                        return Ok::<(), DatapathError>(());
                    }
                    sets.overflow.insert(prefix);
                }
                sets.nets.insert(prefix, entry);
                Ok(())
            })?;
            // A kill on the way from one to the other; the table decides.
            for prefix in twice {
                nets::remove(maps, prefix)?;
            }
        }
        for sets in &mut all.by_family {
            sets.presence.fit(sets.hosts.table(), &sets.nets);
            sets.presence.unmap_memory();
        }
        Ok(all)
    }

    /// The entry of exactly this prefix.
    pub fn get(&self, prefix: &Prefix) -> Option<Entry> {
        let sets = &self.by_family[prefix.family() as usize];
        if prefix.is_host()
            && let Some(id) = sets.hosts.table().get(&Probe::new(prefix.addr()))
        {
            return Some(self.ids.entry(id));
        }
        sets.nets.get(prefix).copied()
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix, Entry)> {
        self.by_family.iter().flat_map(|sets| {
            let hosts = sets.hosts.table().iter();
            let hosts = hosts.map(|(address, id)| (Prefix::host(address), self.ids.entry(id)));
            hosts.chain(sets.nets.iter().map(|(prefix, entry)| (*prefix, *entry)))
        })
    }

    /// Writes `plan`: inserts, then removals. On an error everything is undone, so that the sets
    /// are what they were; an error while undoing is logged, and what is held is still known.
    ///
    /// # Errors
    /// There is no room for the plan, or the kernel refused a write.
    pub(crate) fn write(
        &mut self,
        maps: &mut Maps,
        pins: &Pins,
        plan: &Plan,
    ) -> Result<(), DatapathError> {
        if plan.is_empty() {
            return Ok(());
        }
        let hosts = self.check_capacity(plan)?;
        self.by_family.iter_mut().try_for_each(|sets| sets.presence.map_memory(maps))?;
        let result = self.write_or_undo(maps, pins, plan, hosts);
        self.by_family.iter_mut().for_each(|sets| sets.presence.unmap_memory());
        result
    }

    /// Writes `plan` while the presence bits are mapped.
    fn write_or_undo(
        &mut self,
        maps: &mut Maps,
        pins: &Pins,
        plan: &Plan,
        hosts: [usize; 2],
    ) -> Result<(), DatapathError> {
        for (family, hosts) in Family::ALL.into_iter().zip(hosts) {
            self.make_room(maps, pins, family, hosts);
        }
        for (prefix, _) in &plan.writes {
            // Where a host must go to the trie is seen when it does.
            self.by_family[prefix.family() as usize].presence.add(prefix, false);
        }
        let mut before = Vec::with_capacity(plan.len());
        let result = self.write_steps(maps, plan, &mut before);
        if result.is_err() {
            let writes = plan.writes.iter().map(|(prefix, _)| *prefix);
            let prefixes = writes.chain(plan.removals.iter().copied());
            for (prefix, before) in Vec::from_iter(prefixes.zip(before)).into_iter().rev() {
                let undone = match before {
                    Some(entry) => self.write_prefix(maps, prefix, entry),
                    None => self.remove(maps, prefix),
                };
                if let Err(error) = undone {
                    tracing::error!(%prefix, %error, "cannot undo a half-done change");
                }
            }
            for (prefix, _) in &plan.writes {
                if self.get(prefix).is_none() {
                    self.by_family[prefix.family() as usize].gone(*prefix, !prefix.is_host());
                }
            }
        }
        if result.is_ok() {
            // The peak may have asked for a larger table than what is left.
            for family in Family::ALL {
                let sets = &self.by_family[family as usize];
                let hosts = sets.hosts.table().len() + sets.overflow.len();
                self.make_room(maps, pins, family, hosts);
            }
        }
        self.clear_presence();
        result
    }

    /// Writes the plan in its order; `before` gets, for each prefix, the entry it had.
    fn write_steps(
        &mut self,
        maps: &mut Maps,
        plan: &Plan,
        before: &mut Vec<Option<Entry>>,
    ) -> Result<(), DatapathError> {
        let mut rest = plan.writes.as_slice();
        while let Some((first, _)) = rest.first() {
            let alike = |(prefix, _): &&(Prefix, Entry)| {
                !prefix.is_host() && prefix.family() == first.family()
            };
            let nets = rest.iter().take_while(alike).count();
            let (now, later) = rest.split_at(nets.max(1));
            if nets >= MANY {
                self.write_nets(maps, now, before)?;
            } else {
                for (prefix, entry) in now {
                    let held = self.get(prefix);
                    self.write_prefix(maps, *prefix, *entry)?;
                    before.push(held);
                }
            }
            rest = later;
        }
        for prefix in &plan.removals {
            let held = self.get(prefix);
            self.remove(maps, *prefix)?;
            before.push(held);
        }
        Ok(())
    }

    /// Writes many networks of one family.
    fn write_nets(
        &mut self,
        maps: &Maps,
        entries: &[(Prefix, Entry)],
        before: &mut Vec<Option<Entry>>,
    ) -> Result<(), DatapathError> {
        let Some((first, _)) = entries.first() else { return Ok(()) };
        let result = nets::insert_all(maps, first.family(), entries);
        let done = result.as_ref().map_or_else(|(done, _)| *done, |()| entries.len());
        for (prefix, entry) in entries.iter().take(done) {
            before.push(self.by_family[prefix.family() as usize].nets.insert(*prefix, *entry));
        }
        result.map_err(|(_, error)| error)
    }

    /// Writes the entry of one prefix.
    fn write_prefix(
        &mut self,
        maps: &mut Maps,
        prefix: Prefix,
        entry: Entry,
    ) -> Result<(), DatapathError> {
        if prefix.is_host() {
            return self.write_host(maps, prefix, entry);
        }
        nets::insert(maps, prefix, entry)?;
        self.by_family[prefix.family() as usize].nets.insert(prefix, entry);
        Ok(())
    }

    /// The most hosts there are while the plan is written, by family.
    ///
    /// # Errors
    /// [`DatapathError::Capacity`] if a table or trie cannot hold its peak.
    fn check_capacity(&self, plan: &Plan) -> Result<[usize; 2], DatapathError> {
        // Writes come before removals, so the peak counts all of both.
        let (mut hosts, mut nets) = ([0; 2], [0; 2]);
        for (prefix, _) in plan.writes.iter().filter(|(prefix, _)| self.get(prefix).is_none()) {
            let counts = if prefix.is_host() { &mut hosts } else { &mut nets };
            counts[prefix.family() as usize] += 1;
        }
        for (at, sets) in self.by_family.iter().enumerate() {
            hosts[at] += sets.hosts.table().len() + sets.overflow.len();
            nets[at] += sets.nets.len();
            for (map, wanted, limit) in
                [(HOSTS[at], hosts[at], MAX_HOSTS), (NETS[at], nets[at], MAX_NETS)]
            {
                if wanted > limit as usize {
                    return Err(DatapathError::Capacity { map, wanted, limit: limit as usize });
                }
            }
        }
        Ok(hosts)
    }

    /// Clears the presence bits of prefixes that are gone.
    fn clear_presence(&mut self) {
        for sets in &mut self.by_family {
            let gone = std::mem::take(&mut sets.gone);
            if gone.len() > GONE + sets.nets.len() / GONE_PART {
                sets.presence.fit(sets.hosts.table(), &sets.nets);
                continue;
            }
            for prefix in gone.iter().filter(|prefix| !sets.nets.contains_key(prefix)) {
                sets.presence.net_gone(prefix, &sets.nets);
            }
            sets.presence.tidy(sets.hosts.table(), &sets.nets);
        }
    }

    /// Pins the tables of hosts again whose pins are gone or something else; their names.
    ///
    /// # Errors
    /// A table cannot be pinned.
    pub(crate) fn repair_pins(&self, pins: &Pins) -> Result<Vec<&'static str>, DatapathError> {
        let mut repaired = Vec::new();
        for sets in &self.by_family {
            repaired.extend(sets.hosts.repair_pin(pins)?);
        }
        Ok(repaired)
    }

    /// Entries of each set, by map name.
    pub fn sizes(&self) -> BTreeMap<&'static str, u64> {
        let counts =
            self.by_family.iter().zip(HOSTS).zip(NETS).flat_map(|((sets, hosts), nets)| {
                [(hosts, sets.hosts.table().len() as u64), (nets, sets.nets.len() as u64)]
            });
        counts.collect()
    }

    /// Writes a host: to the table, or to the trie if it has no room there.
    fn write_host(
        &mut self,
        maps: &mut Maps,
        prefix: Prefix,
        entry: Entry,
    ) -> Result<(), DatapathError> {
        let probe = Probe::new(prefix.addr());
        if let Some(id) = self.take_id(maps, prefix.family(), entry)? {
            let sets = &mut self.by_family[prefix.family() as usize];
            match sets.hosts.table_mut().insert(&probe, id) {
                Ok(before) => {
                    if let Some(before) = before {
                        self.ids.give_back(before);
                    }
                    if sets.overflow.contains(&prefix) {
                        nets::remove(maps, prefix)?;
                        sets.overflow.remove(&prefix);
                        sets.nets.remove(&prefix);
                        sets.gone(prefix, true);
                    }
                    return Ok(());
                }
                Err(()) => self.ids.give_back(id),
            }
        }
        let sets = &mut self.by_family[prefix.family() as usize];
        sets.presence.add(&prefix, true);
        nets::insert(maps, prefix, entry)?;
        sets.nets.insert(prefix, entry);
        sets.overflow.insert(prefix);
        // Only where there was no id: from now on the trie decides.
        if let Some(id) = sets.hosts.table_mut().remove(&probe) {
            sets.presence.host_gone();
            self.ids.give_back(id);
        }
        Ok(())
    }

    /// Removes a host or network.
    fn remove(&mut self, maps: &mut Maps, prefix: Prefix) -> Result<(), DatapathError> {
        let sets = &mut self.by_family[prefix.family() as usize];
        if prefix.is_host()
            && let Some(id) = sets.hosts.table_mut().remove(&Probe::new(prefix.addr()))
        {
            self.ids.give_back(id);
            sets.gone(prefix, false);
            return Ok(());
        }
        nets::remove(maps, prefix)?;
        sets.nets.remove(&prefix);
        sets.overflow.remove(&prefix);
        sets.gone(prefix, true);
        Ok(())
    }

    /// An id for one more host with this entry, which ENTRIES then holds; `None` if all are
    /// taken.
    fn take_id(
        &mut self,
        maps: &mut Maps,
        family: Family,
        entry: Entry,
    ) -> Result<Option<u16>, DatapathError> {
        let mut taken = self.ids.take(entry);
        if taken == Taken::Wait {
            self.by_family[family as usize].hosts.wait_for_programs()?;
            self.ids.release();
            taken = self.ids.take(entry);
        }
        match taken {
            Taken::Known(id) => Ok(Some(id)),
            Taken::New(id) => {
                maps.entries.set(u32::from(id), entry, 0).map_err(|error| {
                    self.ids.give_back(id);
                    DatapathError::map(format!("write {id} of"), ENTRIES, map_io(error))
                })?;
                Ok(Some(id))
            }
            Taken::Wait | Taken::None => Ok(None),
        }
    }

    /// Makes the table of a family fit `hosts`. Where that cannot be had, hosts that find no
    /// room go to the trie.
    fn make_room(&mut self, maps: &mut Maps, pins: &Pins, family: Family, hosts: usize) {
        if let Some(bits) = self.by_family[family as usize].hosts.wanted_bits(hosts)
            && let Err(error) = self.resize(maps, pins, family, bits)
        {
            tracing::warn!(
                hosts, %error,
                "no table of the right size could be made: hosts that do not fit into the present \
                 one go to the trie"
            );
        }
    }

    /// Replaces the table of a family by one of `1 << bits` buckets.
    fn resize(
        &mut self,
        maps: &mut Maps,
        pins: &Pins,
        family: Family,
        bits: u32,
    ) -> Result<(), DatapathError> {
        let (mut new, spilled) = self.by_family[family as usize].hosts.resized(bits)?;
        let mut moved = Vec::new();
        for prefix in self.by_family[family as usize].overflow.clone() {
            let sets = &self.by_family[family as usize];
            let Some(entry) = sets.nets.get(&prefix).copied() else { continue };
            let Some(id) = self.take_id(maps, family, entry)? else { continue };
            match new.table.insert(&Probe::new(prefix.addr()), id) {
                Ok(_) => moved.push((prefix, id)),
                Err(()) => self.ids.give_back(id),
            }
        }
        let mut result = Ok(());
        for (address, id) in &spilled {
            let prefix = Prefix::host(*address);
            let sets = &mut self.by_family[family as usize];
            sets.presence.add(&prefix, true);
            let entry = self.ids.entry(*id);
            result = nets::insert(maps, prefix, entry);
            if result.is_err() {
                break;
            }
            sets.nets.insert(prefix, entry);
        }
        let sets = &mut self.by_family[family as usize];
        let result = result.and_then(|()| sets.hosts.switch(pins, &sets.presence, new));
        // What is in the table in use needs no place in the trie.
        let (stay, leave): (Vec<_>, Vec<_>) = match result {
            Ok(()) => (spilled.iter().map(|(a, id)| (Prefix::host(*a), *id)).collect(), moved),
            Err(_) => (moved, spilled.iter().map(|(a, id)| (Prefix::host(*a), *id)).collect()),
        };
        for (prefix, id) in stay {
            self.ids.give_back(id);
            sets.overflow.insert(prefix);
        }
        for (prefix, _) in leave {
            nets::remove(maps, prefix)?;
            sets.overflow.remove(&prefix);
            sets.nets.remove(&prefix);
            sets.gone(prefix, true);
        }
        result
    }
}

impl CurrentEntries for Sets {
    fn entry(&self, prefix: &Prefix) -> Option<Entry> {
        self.get(prefix)
    }

    fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.iter().map(|(prefix, _)| prefix)
    }
}
