//! The sources refused most (heavy hitters), in bounded memory.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use dbfw_common::Event;
use jiff::Timestamp;

use super::source;

/// Sources remembered at most.
pub const CAPACITY: usize = 1024;

/// A refused source, as the events number things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopSource {
    /// Its address.
    pub source: IpAddr,
    /// The database it wanted.
    pub database: u8,
    /// Destination port; 0 where it could not be read.
    pub port: u16,
    /// The reason.
    pub reason: u8,
    /// The verdict.
    pub verdict: u8,
}

impl TopSource {
    fn of(event: &Event) -> Self {
        Self {
            source: source(event),
            database: event.database,
            port: event.port,
            reason: event.reason,
            verdict: event.verdict,
        }
    }
}

/// The drops of a source, estimated from the sampled events.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    /// At most this many.
    count: u64,
    /// Of which so many may be another source's, whose place this one took.
    error: u64,
    /// Kernel time of the first event.
    pub first: u64,
    /// Kernel time of the last event.
    pub last: u64,
}

impl Tally {
    /// Packets that are certain, without those that may be inherited from a forgotten source.
    pub fn certain(&self) -> u64 {
        self.count - self.error
    }
}

/// The sources refused most, in bounded memory: the space-saving algorithm (Metwally,
/// Agrawal, El Abbadi 2005), weighted. A source with more than `1 / CAPACITY` of all drops
/// is never missing, however many others there are.
#[derive(Clone, Debug)]
pub struct TopSources {
    since: Timestamp,
    seen: HashMap<TopSource, Tally>,
    by_count: BTreeSet<(u64, TopSource)>,
}

impl TopSources {
    /// An empty memory.
    pub fn new(since: Timestamp) -> Self {
        Self { since, seen: HashMap::with_capacity(CAPACITY), by_count: BTreeSet::new() }
    }

    /// Counts an event.
    pub fn add(&mut self, event: &Event) {
        let key = TopSource::of(event);
        let seen = match self.seen.get(&key) {
            Some(seen) => {
                self.by_count.remove(&(seen.count, key));
                Tally {
                    count: seen.count.saturating_add(event.weight),
                    last: seen.last.max(event.time),
                    ..*seen
                }
            }
            None => {
                let inherited = self.make_room();
                Tally {
                    count: inherited.saturating_add(event.weight),
                    error: inherited,
                    first: event.time,
                    last: event.time,
                }
            }
        };
        self.by_count.insert((seen.count, key));
        self.seen.insert(key, seen);
    }

    /// Takes out the source with the least drops when all places are taken; its count.
    fn make_room(&mut self) -> u64 {
        if self.seen.len() < CAPACITY {
            return 0;
        }
        let Some((count, key)) = self.by_count.pop_first() else { return 0 };
        self.seen.remove(&key);
        count
    }

    /// Forgets what a database refused: its id may become another's.
    pub fn forget_database(&mut self, id: u8) {
        self.seen.retain(|key, _| key.database != id);
        self.by_count.retain(|(_, key)| key.database != id);
    }

    /// The time since when sources are counted.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// The sources refused most, by what is certain of each, most first.
    pub fn ranked(&self, limit: usize) -> Vec<(&TopSource, &Tally)> {
        let mut sources: Vec<_> = self.seen.iter().collect();
        sources.sort_unstable_by(|(a_key, a), (b_key, b)| {
            b.certain().cmp(&a.certain()).then_with(|| a_key.cmp(b_key))
        });
        sources.truncate(limit);
        sources
    }

    #[cfg(test)]
    pub(super) fn bounds(&self, event: &Event) -> Option<(u64, u64)> {
        self.seen.get(&TopSource::of(event)).map(|seen| (seen.certain(), seen.count))
    }

    #[cfg(test)]
    pub(super) fn total_and_sizes(&self) -> (u64, usize, usize) {
        (self.seen.values().map(|seen| seen.count).sum(), self.seen.len(), self.by_count.len())
    }
}
