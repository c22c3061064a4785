//! Carrying out a plan on the sets: all of it or nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
    time::Duration,
};

use aya::{
    maps::{MapError, PerCpuValues, lpm_trie::Key},
    util::nr_cpus,
};
use dbfw_common::{
    Budget, Counter, Entry, FRONT_WORDS, FRONT4, FRONT6, HOSTS4, HOSTS6, MAX_HOSTS, MAX_NETS,
    NETS4, NETS6, RULE_STATS, RuleCounter, STATS,
};

use super::{
    Entries, Plan,
    error::{DatapathError, map_io},
    front,
    maps::{Maps, key4, key6},
    words::{Words, for_each_word},
};
use crate::{policy::Step, source::Prefix};

/// The sets as the agent sees them: what the kernel holds, and where.
#[derive(Debug)]
pub(super) struct Sets {
    /// What the maps hold, kept equal with every write.
    held: Entries,
    /// Full-length prefixes that live in a trie because the hash was full.
    overflow: BTreeSet<Prefix>,
    front4: Words,
    front6: Words,
}

impl Sets {
    /// Reads what the maps hold, and makes the presence bits exactly fit it.
    pub(super) fn read(maps: &Maps) -> Result<Self, DatapathError> {
        let mut overflow = BTreeSet::new();
        let mut held = Entries::new();
        maps.for_each_entry(|map, prefix, entry| {
            let in_hash = matches!(map, HOSTS4 | HOSTS6);
            if prefix.is_host() && !in_hash {
                overflow.insert(prefix);
            }
            if in_hash || !held.contains_key(&prefix) {
                held.insert(prefix, entry);
            }
            Ok::<(), DatapathError>(())
        })?;
        let front4 = maps.words(FRONT4, FRONT_WORDS)?;
        let front6 = maps.words(FRONT6, FRONT_WORDS)?;
        let sets = Self { held, overflow, front4, front6 };
        sets.fit_front();
        Ok(sets)
    }

    /// Entries of each set, by map name.
    pub(super) fn sizes(&self) -> BTreeMap<&'static str, u64> {
        let mut sizes = BTreeMap::from([(HOSTS4, 0), (HOSTS6, 0), (NETS4, 0), (NETS6, 0)]);
        for prefix in self.held.keys() {
            let in_hash = prefix.is_host() && !self.overflow.contains(prefix);
            let map = match (prefix.is_v4(), in_hash) {
                (true, true) => HOSTS4,
                (true, false) => NETS4,
                (false, true) => HOSTS6,
                (false, false) => NETS6,
            };
            *sizes.entry(map).or_default() += 1;
        }
        sizes
    }

    /// What the maps hold.
    pub(super) fn held(&self) -> &Entries {
        &self.held
    }

    /// Carries out `plan`. On an error everything is taken back, so that the sets are what
    /// they were; an error while taking back is logged, and `held` still tells the truth.
    pub(super) fn apply(&mut self, maps: &mut Maps, plan: &Plan) -> Result<(), DatapathError> {
        self.check_capacity(plan)?;
        for (prefix, _) in &plan.writes {
            for bits in front::bits(prefix) {
                self.front(prefix).set_bits(bits);
            }
        }
        let mut inverses = Vec::with_capacity(plan.len());
        let mut result = Ok(());
        for step in plan.steps() {
            let inverse = step.inverse(self.held.get(&step.prefix()).copied());
            result = self.step(maps, step);
            if result.is_err() {
                break;
            }
            inverses.push(inverse);
        }
        if result.is_err() {
            for &inverse in inverses.iter().rev() {
                if let Err(error) = self.step(maps, inverse) {
                    tracing::error!(prefix = %inverse.prefix(), %error, "cannot take back a half-done change");
                }
            }
        }
        self.clear_front(plan.steps().map(|step| step.prefix()));
        result
    }

    fn step(&mut self, maps: &mut Maps, step: Step) -> Result<(), DatapathError> {
        match step {
            Step::Write(prefix, entry) => self.write(maps, prefix, entry),
            Step::Remove(prefix) => self.remove(maps, prefix),
        }
    }

    fn check_capacity(&self, plan: &Plan) -> Result<(), DatapathError> {
        // Writes come before removals, so the peak counts all of both.
        for v4 in [true, false] {
            let fresh = plan.writes.iter().filter(|(p, _)| !self.held.contains_key(p));
            let all = fresh.map(|(prefix, _)| prefix).chain(self.held.keys());
            let (mut hosts, mut nets) = (0usize, 0usize);
            for prefix in all.filter(|prefix| prefix.is_v4() == v4) {
                if prefix.is_host() { hosts += 1 } else { nets += 1 }
            }
            let wanted = nets + hosts.saturating_sub(MAX_HOSTS as usize);
            if wanted > MAX_NETS as usize {
                let map = if v4 { NETS4 } else { NETS6 };
                return Err(DatapathError::Capacity { map, wanted, limit: MAX_NETS as usize });
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        maps: &mut Maps,
        prefix: Prefix,
        entry: Entry,
    ) -> Result<(), DatapathError> {
        if prefix.is_host() {
            match insert_host(maps, prefix, entry) {
                Ok(()) => {
                    if self.overflow.remove(&prefix) {
                        remove_net(maps, prefix)?;
                    }
                    self.held.insert(prefix, entry);
                    return Ok(());
                }
                Err(error) if error.raw_os_error() == Some(libc::E2BIG) => {
                    self.overflow.insert(prefix);
                }
                Err(error) => {
                    let map = if prefix.is_v4() { HOSTS4 } else { HOSTS6 };
                    return Err(DatapathError::map(format!("write {prefix} to"), map, error));
                }
            }
        }
        insert_net(maps, prefix, entry)?;
        self.held.insert(prefix, entry);
        Ok(())
    }

    fn remove(&mut self, maps: &mut Maps, prefix: Prefix) -> Result<(), DatapathError> {
        // A kill between two writes can leave a host in both.
        if prefix.is_host() {
            let (result, map) = if prefix.is_v4() {
                (maps.hosts4.remove(&key4(prefix.addr())), HOSTS4)
            } else {
                (maps.hosts6.remove(&key6(prefix.addr())), HOSTS6)
            };
            ignore_missing(result)
                .map_err(|error| DatapathError::map(format!("remove {prefix} from"), map, error))?;
        }
        if !prefix.is_host() || self.overflow.contains(&prefix) {
            remove_net(maps, prefix)?;
            self.overflow.remove(&prefix);
        }
        self.held.remove(&prefix);
        Ok(())
    }

    /// Clears the bits of prefixes that may be gone, where nothing else touches them.
    fn clear_front(&self, gone: impl Iterator<Item = Prefix>) {
        /// Above this, looking at every bit costs more than building the map anew.
        const FEW_BITS: u32 = 1 << 16;
        for prefix in gone.filter(|prefix| !self.held.contains_key(prefix)) {
            let front = self.front(&prefix);
            let ranges = front::bits(&prefix);
            if ranges.iter().map(ExactSizeIterator::len).sum::<usize>() > FEW_BITS as usize {
                self.fit_front();
                return;
            }
            for bit in ranges.into_iter().flatten() {
                if front.bit(bit) && !front::is_touched(&self.held, prefix.is_v4(), bit) {
                    front.clear_bit(bit);
                }
            }
        }
    }

    fn front(&self, prefix: &Prefix) -> &Words {
        if prefix.is_v4() { &self.front4 } else { &self.front6 }
    }

    /// Makes the presence bits those of `held`, no more and no less.
    fn fit_front(&self) {
        for v4 in [true, false] {
            let mut exact = vec![0u64; (front::BITS / 64) as usize];
            for prefix in self.held.keys().filter(|prefix| prefix.is_v4() == v4) {
                for bits in front::bits(prefix) {
                    for_each_word(bits, |index, mask| exact[index as usize] |= mask);
                }
            }
            let front = if v4 { &self.front4 } else { &self.front6 };
            for (index, &word) in exact.iter().enumerate() {
                front.set(index as u32, word);
            }
        }
    }
}

/// Zeroes rule slots before they count for a rule.
pub(super) fn reset_rules(maps: &mut Maps, slots: &[Range<u32>]) -> Result<(), DatapathError> {
    let zero = || per_cpu(RuleCounter::default(), RULE_STATS);
    for slot in slots.iter().flat_map(Clone::clone) {
        maps.rule_stats
            .set(slot, zero()?, 0)
            .map_err(|error| DatapathError::map("reset", RULE_STATS, map_io(&error)))?;
    }
    Ok(())
}

/// Zeroes counters before their database id counts for another database.
pub(super) fn reset_counters(maps: &mut Maps, slots: Range<u32>) -> Result<(), DatapathError> {
    let zero = || per_cpu(Counter::default(), STATS);
    for slot in slots {
        maps.stats
            .set(slot, zero()?, 0)
            .map_err(|error| DatapathError::map("reset", STATS, map_io(&error)))?;
    }
    Ok(())
}

/// Gives every CPU `tokens` events to write; what it has skipped stays counted.
pub(super) fn refill(maps: &mut Maps, tokens: u64) -> Result<(), DatapathError> {
    const BUDGET: &str = dbfw_common::BUDGET;
    let held = maps
        .budget
        .get(&0, 0)
        .map_err(|error| DatapathError::map("read", BUDGET, map_io(&error)))?;
    let values: Vec<Budget> =
        held.iter().map(|budget| Budget { tokens, skipped: budget.skipped }).collect();
    PerCpuValues::try_from(values)
        .and_then(|values| maps.budget.set(0, values, 0).map_err(|error| map_io(&error)))
        .map_err(|error| DatapathError::map("refill", BUDGET, error))
}

fn per_cpu<T: aya::Pod>(value: T, map: &'static str) -> Result<PerCpuValues<T>, DatapathError> {
    nr_cpus()
        .map_err(|(_, error)| error)
        .and_then(|cpus| PerCpuValues::try_from(vec![value; cpus]))
        .map_err(|error| DatapathError::map("size", map, error))
}

fn insert_host(maps: &mut Maps, prefix: Prefix, entry: Entry) -> io::Result<()> {
    let result = if prefix.is_v4() {
        maps.hosts4.insert(key4(prefix.addr()), entry, 0)
    } else {
        maps.hosts6.insert(key6(prefix.addr()), entry, 0)
    };
    result.map_err(|error| map_io(&error))
}

fn insert_net(maps: &mut Maps, prefix: Prefix, entry: Entry) -> Result<(), DatapathError> {
    /// A fresh trie can run out of cached nodes for a moment (ENOMEM at the second element,
    /// seen on 6.18); a real shortage lasts longer than this.
    const ATTEMPTS: u32 = 5;
    let len = u32::from(prefix.len());
    let (map, mut attempt) = (if prefix.is_v4() { NETS4 } else { NETS6 }, 1);
    loop {
        let result = if prefix.is_v4() {
            maps.nets4.insert(&Key::new(len, key4(prefix.addr())), entry, 0)
        } else {
            maps.nets6.insert(&Key::new(len, key6(prefix.addr())), entry, 0)
        };
        match result.map_err(|error| map_io(&error)) {
            Ok(()) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && attempt < ATTEMPTS => {
                attempt += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => {
                return Err(DatapathError::map(format!("write {prefix} to"), map, error));
            }
        }
    }
}

fn remove_net(maps: &mut Maps, prefix: Prefix) -> Result<(), DatapathError> {
    let len = u32::from(prefix.len());
    let (result, map) = if prefix.is_v4() {
        (maps.nets4.remove(&Key::new(len, key4(prefix.addr()))), NETS4)
    } else {
        (maps.nets6.remove(&Key::new(len, key6(prefix.addr()))), NETS6)
    };
    ignore_missing(result)
        .map_err(|error| DatapathError::map(format!("remove {prefix} from"), map, error))
}

fn ignore_missing(result: Result<(), MapError>) -> io::Result<()> {
    match result.map_err(|error| map_io(&error)) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}
