//! Reading and clearing what the programs count, and the events they write.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, BorrowedFd},
};

use aya::{
    maps::{Map, MapData, PerCpuArray, PerCpuValues, RingBuf},
    util::nr_cpus,
};
use dbfw_common::{
    BUDGET, Budget, Counted, Counter, DATABASE_SLOTS, EVENTS, Family, RULE_SLOTS, RULE_STATS,
    Reason, RuleCounter, STATS, STATS_SLOTS, stats_slot,
};

use super::{Kernel, fail};
use crate::sys;

/// The counters that are not zero, summed over the CPUs.
pub type Counters = BTreeMap<(u32, Family, Counted), Counter>;

impl Kernel {
    /// Every counter of STATS that is not zero. A slot that belongs to none is a panic.
    pub fn counters(&self) -> Counters {
        let slots = sums(self.per_cpu_fd(STATS), STATS, STATS_SLOTS);
        let mut counters = Counters::new();
        let mut rest: BTreeMap<usize, [u64; 2]> =
            slots.into_iter().enumerate().filter(|(_, sum)| *sum != [0, 0]).collect();
        for database in 0..DATABASE_SLOTS {
            for family in Family::ALL {
                for counted in every_counted() {
                    let slot = stats_slot(database, family, counted) as usize;
                    if let Some([packets, bytes]) = rest.remove(&slot) {
                        counters.insert((database, family, counted), Counter { packets, bytes });
                    }
                }
            }
        }
        assert!(rest.is_empty(), "STATS slots that belong to no counter moved: {rest:?}");
        counters
    }

    /// Packets per RULE_STATS slot that is not zero, and the time of the last.
    pub fn rule_counters(&self) -> BTreeMap<u32, RuleCounter> {
        let fd = self.per_cpu_fd(RULE_STATS);
        let cpus = cpus();
        let bytes = sys::read_array(fd, RULE_SLOTS, 16 * cpus)
            .unwrap_or_else(|error| fail("read", RULE_STATS, &error.into()));
        let mut counters = BTreeMap::new();
        for (slot, values) in pairs(&bytes).chunks(cpus).enumerate() {
            let packets = values.iter().map(|value| value[0]).sum();
            let last_hit = values.iter().map(|value| value[1]).max().unwrap_or(0);
            if packets != 0 || last_hit != 0 {
                counters.insert(slot as u32, RuleCounter { packets, last_hit });
            }
        }
        counters
    }

    /// Lets every CPU write `tokens` events.
    pub fn set_budget(&mut self, tokens: u64) {
        self.write_budget(vec![Budget { tokens, skipped: 0 }; cpus()]);
    }

    /// Writes the budget of every CPU, as [`Self::budget`] returns it.
    pub fn write_budget(&mut self, budget: Vec<Budget>) {
        let budget = PerCpuValues::try_from(budget)
            .unwrap_or_else(|error| panic!("cannot make a per-CPU value: {error}"));
        let mut map: PerCpuArray<_, Budget> = self.map(BUDGET);
        map.set(0, budget, 0).unwrap_or_else(|error| fail("write", BUDGET, &error));
    }

    /// What is left of the budget, per CPU.
    pub fn budget(&mut self) -> Vec<Budget> {
        let map: PerCpuArray<_, Budget> = self.map(BUDGET);
        let values = map.get(&0, 0).unwrap_or_else(|error| fail("read", BUDGET, &error));
        values.to_vec()
    }

    /// Takes every event out of the ring buffer, as the bytes the program wrote.
    pub fn events(&mut self) -> Vec<Vec<u8>> {
        let mut ring: RingBuf<_> = self.map(EVENTS);
        std::iter::from_fn(|| ring.next().map(|item| item.to_vec())).collect()
    }

    /// Sets every counter to zero, takes the tokens away and discards the events.
    pub fn reset(&mut self) {
        for (name, slots) in [(STATS, STATS_SLOTS), (RULE_STATS, RULE_SLOTS)] {
            let zeros = vec![0; slots as usize * 16 * cpus()];
            sys::update_array(self.per_cpu_fd(name), 0, slots, &zeros)
                .unwrap_or_else(|error| fail("clear", name, &error.into()));
        }
        self.set_budget(0);
        self.events();
    }

    fn per_cpu_fd(&self, name: &str) -> BorrowedFd<'_> {
        match self.ebpf.map(name) {
            Some(Map::PerCpuArray(data)) => MapData::fd(data).as_fd(),
            _ => panic!("the object has no per-CPU array {name}"),
        }
    }
}

fn every_counted() -> impl Iterator<Item = Counted> {
    let dropped = Reason::DROPS.into_iter().map(Counted::Dropped);
    let observed = Reason::DROPS.into_iter().map(Counted::Observed);
    std::iter::once(Counted::Allowed).chain(dropped).chain(observed)
}

/// Both words of every slot, summed over the CPUs.
fn sums(fd: BorrowedFd<'_>, name: &str, slots: u32) -> Vec<[u64; 2]> {
    let cpus = cpus();
    let bytes = sys::read_array(fd, slots, 16 * cpus)
        .unwrap_or_else(|error| fail("read", name, &error.into()));
    let add = |sum: [u64; 2], value: &[u64; 2]| [sum[0] + value[0], sum[1] + value[1]];
    pairs(&bytes).chunks(cpus).map(|values| values.iter().fold([0, 0], add)).collect()
}

fn pairs(bytes: &[u8]) -> Vec<[u64; 2]> {
    let (words, _) = bytes.as_chunks::<8>();
    let (pairs, _) = words.as_chunks::<2>();
    pairs.iter().map(|pair| pair.map(u64::from_ne_bytes)).collect()
}

fn cpus() -> usize {
    nr_cpus().unwrap_or_else(|(file, error)| panic!("cannot read {file}: {error}"))
}
