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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    source: IpAddr,
    database: u8,
    port: u16,
    reason: u8,
    verdict: u8,
}

impl Key {
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

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// At most this many.
    count: u64,
    /// Of which so many may be another source's, whose place this one took.
    error: u64,
    /// Kernel time.
    first: u64,
    /// Kernel time.
    last: u64,
}

impl Seen {
    fn certain(&self) -> u64 {
        self.count - self.error
    }
}

/// One of the sources refused most, as the events number things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Packets, estimated from the sampled events.
    pub packets: u64,
    /// Kernel time of the first event.
    pub first: u64,
    /// Kernel time of the last event.
    pub last: u64,
}

/// The sources refused most, in bounded memory: the space-saving algorithm (Metwally,
/// Agrawal, El Abbadi 2005), weighted. A source with more than `1 / CAPACITY` of all drops
/// is never missing, however many others there are.
#[derive(Clone, Debug)]
pub struct TopSources {
    since: Timestamp,
    seen: HashMap<Key, Seen>,
    by_count: BTreeSet<(u64, Key)>,
}

impl TopSources {
    /// An empty memory.
    pub fn new(since: Timestamp) -> Self {
        Self { since, seen: HashMap::with_capacity(CAPACITY), by_count: BTreeSet::new() }
    }

    /// Counts an event.
    pub fn add(&mut self, event: &Event) {
        let key = Key::of(event);
        let seen = match self.seen.get(&key) {
            Some(seen) => {
                self.by_count.remove(&(seen.count, key));
                Seen {
                    count: seen.count.saturating_add(event.weight),
                    last: seen.last.max(event.time),
                    ..*seen
                }
            }
            None => {
                let inherited = self.make_room();
                Seen {
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

    /// The sources refused most, most first. The numbers are what is certain of each: what
    /// a source may have inherited from one that was forgotten is left out.
    pub fn ranked(&self, limit: usize) -> impl Iterator<Item = TopSource> {
        let mut sources: Vec<_> = self.seen.iter().collect();
        sources.sort_unstable_by(|(a_key, a), (b_key, b)| {
            b.certain().cmp(&a.certain()).then_with(|| a_key.cmp(b_key))
        });
        sources.into_iter().take(limit).map(|(key, seen)| TopSource {
            source: key.source,
            database: key.database,
            port: key.port,
            reason: key.reason,
            verdict: key.verdict,
            packets: seen.certain(),
            first: seen.first,
            last: seen.last,
        })
    }

    #[cfg(test)]
    pub(super) fn bounds(&self, event: &Event) -> Option<(u64, u64)> {
        self.seen.get(&Key::of(event)).map(|seen| (seen.certain(), seen.count))
    }

    #[cfg(test)]
    pub(super) fn total_and_sizes(&self) -> (u64, usize, usize) {
        (self.seen.values().map(|seen| seen.count).sum(), self.seen.len(), self.by_count.len())
    }
}
