//! Refused sources of the last days, for `dbfw suggest`.
//!
//! Pure: times and texts are handed in. The memory is bounded: see [`RefusedSources`].

mod file;
mod newcomers;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use dbfw_common::{Event, HOST, Reason};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::drops::{self, Clock};
use newcomers::Newcomers;

/// Sources remembered at most, of all databases together.
pub const CAPACITY: usize = 4096;

/// Time that a source is remembered after it was last refused.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

const MINUTES_A_DAY: i64 = 24 * 60;

/// Ports remembered of one source.
const MAX_PORTS: usize = 16;

/// A refused source of a database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RefusedSource {
    /// The database it wanted.
    pub database: Arc<str>,
    /// Its address.
    pub source: IpAddr,
}

/// The refusals of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// First event.
    first_seen: Timestamp,
    /// Last event.
    last_seen: Timestamp,
    /// Packets, estimated from the sampled events.
    pub packets: u64,
    /// Different minutes in which it was refused, halved for every day of silence but the first.
    minutes: u32,
    /// The ports it wanted; the first 16.
    ports: BTreeSet<u16>,
}

impl Seen {
    /// Time of the last refusal.
    pub fn last_seen(&self) -> Timestamp {
        self.last_seen
    }

    fn worth(&self, key: &RefusedSource) -> Worth {
        Worth { minutes: self.minutes, last: minute(self.last_seen), key: key.clone() }
    }
}

/// Rank of a source: the least is forgotten first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    minutes: u32,
    /// The minute of the last refusal.
    last: i64,
    key: RefusedSource,
}

/// The sources refused for no other reason than that nobody trusts them, in observe mode and
/// in enforce mode.
///
/// While there is room, everybody is remembered. A full memory takes in a newcomer only when
/// it is refused in a second, later minute, and then forgets whoever was refused in the fewest
/// different minutes, of those the one longest not seen. A flood of random sources is refused
/// once each and so displaces nobody, however many packets it has; what keeps coming stays.
/// Minutes lose half their worth with every day of silence but the first, so that last week's
/// scanners make room, and after 30 days a source is forgotten.
#[derive(Clone, Debug, Default)]
pub struct RefusedSources {
    seen: BTreeMap<RefusedSource, Seen>,
    by_worth: BTreeSet<Worth>,
    newcomers: Newcomers,
    /// The day minutes last lost worth.
    aged_on: i64,
    dirty: bool,
}

impl RefusedSources {
    /// Takes note of an event of a database.
    pub fn add(&mut self, database: &str, event: &Event, clock: &Clock) {
        let untrusted = [Reason::Untrusted as u8, Reason::Backstop as u8];
        let source = drops::source(event);
        // Only what trusting its source would let in; and no text names a mapped address.
        if !untrusted.contains(&event.reason)
            || u32::from(event.database) == HOST
            || source != source.to_canonical()
        {
            return;
        }
        let now = clock.at(event.time);
        self.age(now);
        let key = RefusedSource { database: database.into(), source };
        let mut seen = match self.seen.remove(&key) {
            Some(seen) => {
                self.by_worth.remove(&seen.worth(&key));
                seen
            }
            None => {
                let Some(minutes) = self.admit(&key, now) else { return };
                let ports = BTreeSet::new();
                Seen { first_seen: now, last_seen: now, packets: 0, minutes, ports }
            }
        };
        if minute(now) > minute(seen.last_seen) {
            seen.minutes = seen.minutes.saturating_add(1);
        }
        seen.last_seen = seen.last_seen.max(now);
        seen.packets = seen.packets.saturating_add(event.weight);
        if seen.ports.len() < MAX_PORTS && event.port != 0 {
            seen.ports.insert(event.port);
        }
        self.keep(key, seen);
        self.dirty = true;
    }

    /// In how many minutes a newcomer was refused; `None` if it is not let in yet.
    fn admit(&mut self, key: &RefusedSource, now: Timestamp) -> Option<u32> {
        if self.seen.len() < CAPACITY {
            return Some(1);
        }
        if !self.newcomers.was_seen_before(key, minute(now)) {
            return None;
        }
        if let Some(weakest) = self.by_worth.pop_first() {
            self.seen.remove(&weakest.key);
        }
        Some(2)
    }

    fn keep(&mut self, key: RefusedSource, seen: Seen) {
        self.by_worth.insert(seen.worth(&key));
        self.seen.insert(key, seen);
    }

    /// Once a day: forgets what is old, and halves the worth of who was silent.
    fn age(&mut self, now: Timestamp) {
        let today = minute(now) / MINUTES_A_DAY;
        if today <= self.aged_on {
            return;
        }
        let first_time = std::mem::replace(&mut self.aged_on, today) == 0;
        self.seen.retain(|_, seen| now.duration_since(seen.last_seen) < KEPT);
        for seen in self.seen.values_mut().filter(|_| !first_time) {
            // Who comes once a day loses nothing.
            if minute(seen.last_seen) / MINUTES_A_DAY + 1 < today {
                seen.minutes = (seen.minutes / 2).max(1);
            }
        }
        self.by_worth = self.seen.iter().map(|(key, seen)| seen.worth(key)).collect();
    }

    /// Forgets what databases refused that are not among `names`.
    pub fn retain_databases<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) {
        let names: BTreeSet<&str> = names.into_iter().collect();
        let before = self.seen.len();
        self.seen.retain(|key, _| names.contains(&*key.database));
        self.by_worth.retain(|worth| names.contains(&*worth.key.database));
        self.dirty |= self.seen.len() < before;
    }

    /// Time of the first refusal that is remembered.
    pub fn since(&self) -> Option<Timestamp> {
        self.seen.values().map(|seen| seen.first_seen).min()
    }

    /// Every refused source, sorted by database, then by address.
    pub fn all(&self) -> impl Iterator<Item = (&RefusedSource, &Seen)> {
        self.seen.iter()
    }

    /// Whether there is something that [`RefusedSources::to_json`] was not asked for since
    /// [`RefusedSources::clean`].
    pub fn dirty(&self) -> bool {
        self.dirty
    }

    /// Marks the present state as written, or on its way to the disk.
    pub fn clean(&mut self) {
        self.dirty = false;
    }

    /// Marks the present state as not written: the write failed.
    pub fn not_saved(&mut self) {
        self.dirty = true;
    }
}

fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

#[cfg(test)]
mod tests;
