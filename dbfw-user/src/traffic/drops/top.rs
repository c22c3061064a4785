//! The sources refused most (heavy hitters), in bounded memory.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use dbfw_common::Event;
use jiff::Timestamp;

use super::source;

/// Sources remembered at most.
pub const CAPACITY: usize = 4096;

/// Ports, reasons and interfaces remembered of one source, of each.
pub const MAX_LISTED: usize = 16;

/// A refused source of a database, as the events number things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopSource {
    /// Its address.
    pub source: IpAddr,
    /// The database it wanted.
    pub database: u8,
}

impl TopSource {
    fn of(event: &Event) -> Self {
        Self { source: source(event), database: event.database }
    }
}

/// The drops of a source, estimated from the sampled events.
#[derive(Clone, Debug)]
pub struct Tally {
    /// At most this many.
    count: u64,
    /// Of which so many may be another source's, whose place this one took.
    error: u64,
    /// Kernel time of the first event.
    pub first: u64,
    /// The newest event.
    pub last: Event,
    /// Destination ports; 0 where one could not be read.
    pub ports: Distinct<u16>,
    /// Reasons.
    pub reasons: Distinct<u8>,
    /// Interfaces they came in on, by index; 0 where the program could not tell.
    pub interfaces: Distinct<u32>,
}

impl Tally {
    fn new(event: &Event, inherited: u64) -> Self {
        let mut new = Self {
            count: inherited,
            error: inherited,
            first: event.time,
            last: *event,
            ports: Distinct::default(),
            reasons: Distinct::default(),
            interfaces: Distinct::default(),
        };
        new.add(event);
        new
    }

    fn add(&mut self, event: &Event) {
        self.count = self.count.saturating_add(event.weight);
        // CPUs write their events beside each other: not all come in order.
        self.first = self.first.min(event.time);
        if event.time >= self.last.time {
            self.last = *event;
        }
        self.ports.add(event.port);
        self.reasons.add(event.reason);
        self.interfaces.add(event.ifindex);
    }

    /// Packets that are certain, without those that may be inherited from a forgotten source.
    pub fn certain(&self) -> u64 {
        self.count - self.error
    }

    /// Whether there were more ports, reasons or interfaces than are remembered.
    pub fn has_more(&self) -> bool {
        self.ports.more || self.reasons.more || self.interfaces.more
    }
}

/// The first [`MAX_LISTED`] different values, in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distinct<T> {
    values: Vec<T>,
    more: bool,
}

impl<T> Default for Distinct<T> {
    fn default() -> Self {
        Self { values: Vec::new(), more: false }
    }
}

impl<T: Ord> Distinct<T> {
    fn add(&mut self, value: T) {
        if let Err(place) = self.values.binary_search(&value) {
            if self.values.len() < MAX_LISTED {
                self.values.insert(place, value);
            } else {
                self.more = true;
            }
        }
    }

    /// The values.
    pub fn values(&self) -> &[T] {
        &self.values
    }
}

/// The sources refused most, in bounded memory: the space-saving algorithm (Metwally,
/// Agrawal, El Abbadi 2005), weighted. A source with more than `1 / CAPACITY` of all drops
/// is never missing, however many others there are, and neither is the newest one.
#[derive(Clone, Debug)]
pub struct TopSources {
    since: Timestamp,
    seen: HashMap<TopSource, Tally>,
    by_count: BTreeSet<(u64, TopSource)>,
    forgotten: u64,
}

impl TopSources {
    /// An empty memory.
    pub fn new(since: Timestamp) -> Self {
        Self { since, seen: HashMap::new(), by_count: BTreeSet::new(), forgotten: 0 }
    }

    /// Counts an event.
    pub fn add(&mut self, event: &Event) {
        let key = TopSource::of(event);
        let count = match self.seen.get_mut(&key) {
            Some(seen) => {
                self.by_count.remove(&(seen.count, key));
                seen.add(event);
                seen.count
            }
            None => {
                let seen = Tally::new(event, self.make_room());
                let count = seen.count;
                self.seen.insert(key, seen);
                count
            }
        };
        self.by_count.insert((count, key));
    }

    /// Takes out the source with the least drops when all places are taken; its count.
    fn make_room(&mut self) -> u64 {
        if self.seen.len() < CAPACITY {
            return 0;
        }
        let Some((count, key)) = self.by_count.pop_first() else { return 0 };
        self.seen.remove(&key);
        self.forgotten = self.forgotten.saturating_add(1);
        count
    }

    /// Forgets what a database refused: its id may become another's.
    pub fn forget_database(&mut self, id: u8) {
        self.seen.retain(|key, _| key.database != id);
        self.by_count.retain(|(_, key)| key.database != id);
    }

    /// Takes what the id `from` refused for what `to` did, which is new.
    pub fn move_database(&mut self, from: u8, to: u8) {
        let moved: Vec<_> = self.seen.extract_if(|key, _| key.database == from).collect();
        self.by_count.retain(|(_, key)| key.database != from);
        for (key, seen) in moved {
            let key = TopSource { database: to, ..key };
            self.by_count.insert((seen.count, key));
            self.seen.insert(key, seen);
        }
    }

    /// The time since when sources are counted.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// Number of sources remembered.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether no source is remembered.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Number of times that a source was forgotten to make room for another.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Every source remembered, in no order.
    pub fn all(&self) -> impl Iterator<Item = (&TopSource, &Tally)> {
        self.seen.iter()
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
