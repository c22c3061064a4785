//! Applying a change of policy: ports, sets and modes, in an order that drops no allowed packet.

use std::ops::Range;

use dbfw_common::{
    Counted, DATABASE_SLOTS, DATABASES, Database, Family, MAX_NAME, Mode, PORT_WORDS, RULE_STATS,
    STATS, stats_slot,
};
use dbfw_core::policy::{Entries, Plan, diff, union};

use super::Datapath;
use crate::{
    counters,
    databases::{DatabaseSlot, database_slots, name_of, port_words},
    error::{DatapathError, map_io},
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

impl Datapath {
    /// Carries out a change. The order keeps every packet's verdict the old or the new one:
    /// ports that are protected no more go first, then the sets change, then modes, and
    /// ports that become protected come last. Where a port goes from one database to another
    /// (a new name is a new database), the sets hold what either may reach while it does. On
    /// an error the sets and ports are as before.
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

        let before: Vec<u64> = (0..PORT_WORDS).map(|word| self.ports.get(word)).collect();
        let after = port_words(&change.databases);
        for word in 0..PORT_WORDS {
            let kept = still_protected(before[word as usize], after[word as usize]);
            self.ports.set(word, kept);
        }
        let moving = self.moves_to_new_databases(&before, &after)?;
        let desired = moving.then(|| {
            let held: Entries = self.sets.iter().collect();
            let desired = change.plan.result(&held);
            (union(&held, &desired), desired)
        });
        let result = match &desired {
            Some((both, _)) => {
                let plan = diff(&self.sets, both);
                self.sets.write(&mut self.maps, &self.pins, &plan)
            }
            None => self.sets.write(&mut self.maps, &self.pins, &change.plan),
        };
        if let Err(error) = result {
            for (word, ids) in before.iter().enumerate() {
                self.ports.set(word as u32, *ids);
            }
            return Err(error);
        }
        // What ports still point at goes only after they do not.
        let slots = database_slots(&change.databases, change.flags);
        for (id, slot) in &slots {
            self.write_database(*id, slot)?;
        }
        for (word, ids) in after.iter().enumerate() {
            self.ports.set(word as u32, *ids);
        }
        let free = Database { mode: Mode::Off as u32, flags: 0, name: [0; MAX_NAME] };
        for id in (0..DATABASE_SLOTS).filter(|id| !slots.contains_key(id)) {
            self.write_database(id, &free)?;
        }
        if let Some((_, desired)) = &desired {
            let plan = diff(&self.sets, desired);
            self.sets.write(&mut self.maps, &self.pins, &plan)?;
        }
        Ok(())
    }

    /// Whether a port goes from one database to another, and only to ones the maps did not
    /// know: nobody has their bits yet, so what both may reach lets nobody in by mistake.
    fn moves_to_new_databases(&self, before: &[u64], after: &[u64]) -> Result<bool, DatapathError> {
        let mut moves = false;
        for (before, after) in before.iter().zip(after).filter(|(before, after)| before != after) {
            for (old, new) in before.to_le_bytes().into_iter().zip(after.to_le_bytes()) {
                if old == 0 || new == 0 || old == new {
                    continue;
                }
                if !name_of(&self.maps.database(u32::from(new))?).is_empty() {
                    return Ok(false);
                }
                moves = true;
            }
        }
        Ok(moves)
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

/// `before` without the bytes that are zero in `after`.
fn still_protected(before: u64, after: u64) -> u64 {
    let mut kept = before.to_le_bytes();
    for (kept, after) in kept.iter_mut().zip(after.to_le_bytes()) {
        if after == 0 {
            *kept = 0;
        }
    }
    u64::from_le_bytes(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_stay_are_kept_while_others_go() {
        assert_eq!(still_protected(0x0201, 0x0003), 0x0001);
        assert_eq!(still_protected(0, u64::MAX), 0);
    }
}
