//! Applying a change of policy: ports, sets and modes, in an order that drops no allowed packet.

use std::{collections::BTreeMap, ops::Range};

use dbfw_common::{
    BOUND_PORTS, Bound, Counted, DATABASE_SLOTS, DATABASES, Database, Family, HOST, MAX_NAME, Mode,
    PORT_INDEXES, PORT_WORDS, PORTS, RULE_STATS, STATS, stats_slot,
};
use dbfw_core::{
    policy::{Entries, Plan, diff, union},
    source::Prefix,
};

use super::Datapath;
use crate::{
    counters,
    databases::{DatabaseSlot, Ownership, bit, database_slots, name_of, not_addressed},
    error::{DatapathError, map_io},
    keys::BOUND_NETS,
    maps::Maps,
    mmap::Words,
};

/// A change of everything that the kernel holds.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Rule slots to zero, because they are about to count for another rule.
    pub fresh_rules: Vec<Range<u32>>,
    /// The change of the sets.
    pub plan: Plan,
    /// Every database.
    pub databases: Vec<DatabaseSlot>,
    /// `FLAG_*` of the host's slot.
    pub flags: u32,
}

/// PORTS and BOUND_PORTS as memory, while they change: it would count as the agent's.
struct PortWords {
    ports: Words,
    bound_ports: Words,
}

impl PortWords {
    fn map(maps: &Maps) -> Result<Self, DatapathError> {
        let ports = maps.words(PORTS, PORT_WORDS)?;
        Ok(Self { ports, bound_ports: maps.words(BOUND_PORTS, PORT_INDEXES)? })
    }
}

impl Datapath {
    /// Carries out a change. The order keeps every packet's verdict the old or the new one:
    /// ports that are protected no more go first, then the sets change, then modes, and
    /// ports that become protected come last; likewise the addresses that databases are bound
    /// to. Where a port at an address goes from one database to another (a new name is a new
    /// database), the sets hold what either may reach while it does. On an error the sets and
    /// ports are as before.
    ///
    /// # Errors
    /// The kernel refuses a write, or there is no room; sets and ports are then as before.
    pub fn apply(&mut self, change: &Change) -> Result<(), DatapathError> {
        let fresh_rules = change.fresh_rules.iter().flat_map(Clone::clone);
        counters::reset(&mut self.maps.rule_stats, RULE_STATS, fresh_rules)?;
        for database in &change.databases {
            let known = name_of(&self.maps.database(u32::from(database.id))?);
            if known == database.name {
                continue;
            }
            // One that gets another id goes on counting; what it counts until its ports follow is lost.
            let slots = counters_of(database.id);
            match self.database_ids()?.get(&database.name) {
                Some(id) => {
                    counters::copy(&mut self.maps.stats, STATS, counters_of(*id), slots)?;
                }
                None => counters::reset(&mut self.maps.stats, STATS, slots)?,
            }
        }

        let before = self.ownership.clone();
        let after = Ownership::of(&change.databases, self.judges_behind_hooks());
        // Before anything is written: without it nothing could be undone either.
        let words = PortWords::map(&self.maps)?;
        let moves = self.moves(&change.databases);
        // What such a database had at an address is judged until it has what it will have.
        let kept = moves
            .iter()
            .fold(not_addressed(&change.databases), |kept, (from, _)| kept | bit(u32::from(*from)));
        let moving = !moves.is_empty() && self.are_new(moves.iter().map(|(_, to)| *to))?;
        let desired = moving.then(|| {
            let held: Entries = self.sets.iter().collect();
            let desired = change.plan.result(&held);
            (union(&held, &desired), desired)
        });
        let first = match &desired {
            Some((both, _)) => &diff(&self.sets, both),
            None => &change.plan,
        };
        let result = self
            .write_ownership(&words, &before.without_gone(&after, kept))
            .and_then(|()| self.sets.write(&mut self.maps, &self.pins, first));
        if let Err(error) = result {
            self.write_ownership(&words, &before)?;
            return Err(error);
        }
        // What ports still point at goes only after they do not.
        let slots = database_slots(&change.databases, change.flags, self.judges_behind_hooks());
        for (id, slot) in slots.iter().filter(|(id, _)| **id != HOST) {
            self.write_database(*id, slot)?;
        }
        self.write_ownership(&words, &after)?;
        self.databases.clone_from(&change.databases);
        self.flags = change.flags;
        let free = Database { mode: Mode::Off as u32, flags: 0, name: [0; MAX_NAME] };
        for id in 0..DATABASE_SLOTS {
            self.write_database(id, slots.get(&id).unwrap_or(&free))?;
        }
        if let Some((_, desired)) = &desired {
            let plan = diff(&self.sets, desired);
            self.sets.write(&mut self.maps, &self.pins, &plan)?;
        }
        Ok(())
    }

    /// Follows the backstop: without it, databases that are bound to this host's own addresses judge
    /// every destination.
    ///
    /// # Errors
    /// A map cannot be written.
    pub(super) fn follow_backstop(&mut self, judges: bool) -> Result<(), DatapathError> {
        let (databases, flags) = (std::mem::take(&mut self.databases), self.flags);
        let slots = database_slots(&databases, flags, judges);
        let ownership = Ownership::of(&databases, judges);
        self.databases = databases;
        if ownership == self.ownership {
            return Ok(());
        }
        let words = PortWords::map(&self.maps)?;
        if let Some(host) = slots.get(&HOST).filter(|_| !judges) {
            self.write_database(HOST, host)?;
        }
        self.write_ownership(&words, &ownership)?;
        slots.get(&HOST).map_or(Ok(()), |host| self.write_database(HOST, host))
    }

    /// Makes the maps say which databases each port and address is of. Every packet is judged by a
    /// database it was of before, or by one it is of then, and by none only if that is so on one
    /// side.
    fn write_ownership(
        &mut self,
        words: &PortWords,
        next: &Ownership,
    ) -> Result<(), DatapathError> {
        self.write_bound(self.ownership.bound_with(next))?;
        for (index, mask) in &next.bound_ports {
            words.bound_ports.set(*index, *mask);
        }
        for (word, ids) in (0..).zip(&next.ports) {
            words.ports.set(word, *ids);
        }
        for index in self.ownership.bound_ports.keys() {
            words.bound_ports.set(*index, next.bound_ports.get(index).copied().unwrap_or(0));
        }
        self.ownership.ports.clone_from(&next.ports);
        self.ownership.bound_ports.clone_from(&next.bound_ports);
        self.write_bound(next.bound.clone())
    }

    /// Makes BOUND4 and BOUND6 hold `next`, what is new before what goes.
    fn write_bound(&mut self, next: BTreeMap<Prefix, u64>) -> Result<(), DatapathError> {
        let trie = |prefix: &Prefix| BOUND_NETS[prefix.family() as usize];
        for (prefix, mask) in &next {
            if self.ownership.bound.get(prefix) != Some(mask) {
                self.maps.bound.insert(*prefix, Bound::new(*mask)).map_err(|error| {
                    DatapathError::map(format!("write {prefix} to"), trie(prefix), error)
                })?;
                self.ownership.bound.insert(*prefix, *mask);
            }
        }
        let held = self.ownership.bound.keys();
        let gone: Vec<_> = held.filter(|prefix| !next.contains_key(prefix)).copied().collect();
        for prefix in gone {
            self.maps.bound.remove(prefix).map_err(|error| {
                DatapathError::map(format!("remove {prefix} from"), trie(&prefix), error)
            })?;
            self.ownership.bound.remove(&prefix);
        }
        Ok(())
    }

    /// The ids between which a port at an address goes from one database to another.
    fn moves(&self, databases: &[DatabaseSlot]) -> Vec<(u8, u8)> {
        let mut moves = Vec::new();
        for from in &self.databases {
            let to = databases.iter().filter(|to| to.id != from.id && from.meets(to));
            moves.extend(to.map(|to| (from.id, to.id)));
        }
        moves
    }

    /// Whether the maps know no database by any of these ids: nobody has their bits yet, so what the
    /// former and the new database may reach together lets nobody in by mistake.
    fn are_new(&self, ids: impl Iterator<Item = u8>) -> Result<bool, DatapathError> {
        for id in ids {
            if !name_of(&self.maps.database(u32::from(id))?).is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn write_database(&mut self, id: u32, slot: &Database) -> Result<(), DatapathError> {
        if self.maps.database(id)? == *slot {
            return Ok(());
        }
        self.maps.databases.set(id, *slot, 0).map_err(|error| {
            DatapathError::map(format!("write slot {id} of"), DATABASES, map_io(error))
        })
    }
}

/// The counters of a database by its id.
fn counters_of(id: u8) -> Range<u32> {
    let first = |id: u32| stats_slot(id, Family::V4, Counted::Allowed);
    first(u32::from(id))..first(u32::from(id) + 1)
}
