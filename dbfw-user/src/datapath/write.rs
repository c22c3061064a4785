//! Carrying out a plan on the sets: all of it or nothing.

use std::collections::BTreeMap;

use dbfw_common::{ENTRIES, Entry, HOSTS4, HOSTS6, MAX_HOSTS, MAX_NETS, NETS4, NETS6};

use super::{
    Plan,
    error::DatapathError,
    maps::Maps,
    nets,
    pins::Pins,
    sets::{Sets, side},
};
use crate::{policy::Step, source::Prefix};

/// From this many networks on they are written in batches.
const MANY: usize = 100;
/// Networks that vanish at once, at least, and then a part of those that are there, before
/// the presence bits are made anew instead of looking at each.
const GONE: usize = 1_024;
const GONE_PART: usize = 16;

impl Sets {
    /// Carries out `plan`. On an error everything is taken back, so that the sets are what
    /// they were; an error while taking back is logged, and what is held is still known.
    pub(super) fn apply(
        &mut self,
        maps: &mut Maps,
        pins: &Pins,
        plan: &Plan,
    ) -> Result<(), DatapathError> {
        if plan.is_empty() {
            return Ok(());
        }
        let hosts = self.check_capacity(plan)?;
        self.sides.iter_mut().try_for_each(|family| family.presence.wake())?;
        let result = self.apply_awake(maps, pins, plan, hosts);
        self.sides.iter_mut().for_each(|family| family.presence.sleep());
        result
    }

    fn apply_awake(
        &mut self,
        maps: &mut Maps,
        pins: &Pins,
        plan: &Plan,
        hosts: [usize; 2],
    ) -> Result<(), DatapathError> {
        for (v4, hosts) in [(true, hosts[0]), (false, hosts[1])] {
            self.make_room(maps, pins, v4, hosts);
        }
        for (prefix, _) in &plan.writes {
            // Where a host must go to the trie is seen when it does.
            self.sides[side(prefix)].presence.add(prefix, false);
        }
        let mut before = Vec::with_capacity(plan.len());
        let result = self.carry_out(maps, plan, &mut before);
        if result.is_err() {
            let done: Vec<Step> = plan.steps().take(before.len()).collect();
            for (step, before) in done.into_iter().zip(before).rev() {
                let inverse = step.inverse(before);
                if let Err(error) = self.step(maps, inverse) {
                    tracing::error!(prefix = %inverse.prefix(), %error, "cannot take back a half-done change");
                }
            }
            for (prefix, _) in &plan.writes {
                if self.get(prefix).is_none() {
                    self.sides[side(prefix)].gone(*prefix, !prefix.is_host());
                }
            }
        }
        self.clear_front();
        result
    }

    /// Makes the steps in their order, and notes for each what stood there before it.
    fn carry_out(
        &mut self,
        maps: &mut Maps,
        plan: &Plan,
        before: &mut Vec<Option<Entry>>,
    ) -> Result<(), DatapathError> {
        let mut rest = plan.writes.as_slice();
        while let Some((first, _)) = rest.first() {
            let alike = |(prefix, _): &&(Prefix, Entry)| {
                !prefix.is_host() && prefix.is_v4() == first.is_v4()
            };
            let nets = rest.iter().take_while(alike).count();
            let (now, later) = rest.split_at(nets.max(1));
            if nets >= MANY {
                self.write_nets(maps, now, before)?;
            } else {
                for (prefix, entry) in now {
                    let held = self.get(prefix);
                    self.step(maps, Step::Write(*prefix, *entry))?;
                    before.push(held);
                }
            }
            rest = later;
        }
        for prefix in &plan.removals {
            let held = self.get(prefix);
            self.step(maps, Step::Remove(*prefix))?;
            before.push(held);
        }
        Ok(())
    }

    fn write_nets(
        &mut self,
        maps: &Maps,
        entries: &[(Prefix, Entry)],
        before: &mut Vec<Option<Entry>>,
    ) -> Result<(), DatapathError> {
        let v4 = entries.first().is_some_and(|(prefix, _)| prefix.is_v4());
        let result = nets::insert_all(maps, v4, entries);
        let done = result.as_ref().map_or_else(|(done, _)| *done, |()| entries.len());
        for (prefix, entry) in entries.iter().take(done) {
            before.push(self.sides[side(prefix)].nets.insert(*prefix, *entry));
        }
        result.map_err(|(_, error)| error)
    }

    fn step(&mut self, maps: &mut Maps, step: Step) -> Result<(), DatapathError> {
        match step {
            Step::Write(prefix, entry) if prefix.is_host() => self.write_host(maps, prefix, entry),
            Step::Write(prefix, entry) => {
                nets::insert(maps, prefix, entry)?;
                self.sides[side(&prefix)].nets.insert(prefix, entry);
                Ok(())
            }
            Step::Remove(prefix) => self.remove(maps, prefix),
        }
    }

    /// Hosts of each family that there will be at most. Fails if there is no room.
    fn check_capacity(&self, plan: &Plan) -> Result<[usize; 2], DatapathError> {
        // Writes come before removals, so the peak counts all of both.
        let (mut hosts, mut nets) = ([0; 2], [0; 2]);
        for (prefix, _) in plan.writes.iter().filter(|(prefix, _)| self.get(prefix).is_none()) {
            let counts = if prefix.is_host() { &mut hosts } else { &mut nets };
            counts[side(prefix)] += 1;
        }
        for (at, family) in self.sides.iter().enumerate() {
            hosts[at] += family.hosts.table().len() + family.overflow.len();
            nets[at] += family.nets.len();
            let names = if at == 0 { [HOSTS4, NETS4] } else { [HOSTS6, NETS6] };
            for (map, wanted, limit) in
                [(names[0], hosts[at], MAX_HOSTS), (names[1], nets[at], MAX_NETS)]
            {
                if wanted > limit as usize {
                    return Err(DatapathError::Capacity { map, wanted, limit: limit as usize });
                }
            }
        }
        Ok(hosts)
    }

    /// Clears the presence bits of what is gone.
    fn clear_front(&mut self) {
        for family in &mut self.sides {
            let gone = std::mem::take(&mut family.gone);
            if gone.len() > GONE + family.nets.len() / GONE_PART {
                family.presence.fit(family.hosts.table(), &family.nets);
                continue;
            }
            for prefix in gone.iter().filter(|prefix| !family.nets.contains_key(prefix)) {
                family.presence.net_gone(prefix, &family.nets);
            }
            family.presence.tidy(family.hosts.table(), &family.nets);
        }
    }

    /// Entries of each set, by map name.
    pub(super) fn sizes(&self) -> BTreeMap<&'static str, u64> {
        let names = [[HOSTS4, NETS4], [HOSTS6, NETS6]];
        let counts =
            self.sides.iter().map(|family| [family.hosts.table().len(), family.nets.len()]);
        names.into_iter().flatten().zip(counts.flatten().map(|count| count as u64)).collect()
    }

    /// Writes an entry under a new id.
    pub(super) fn write_entry(maps: &mut Maps, id: u16, entry: Entry) -> Result<(), DatapathError> {
        maps.entries.set(u32::from(id), entry, 0).map_err(|error| {
            DatapathError::map(format!("write {id} of"), ENTRIES, super::error::map_io(&error))
        })
    }
}
