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

use dbfw_common::{Event, HOST, Reason, Verdict};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::drops::{self, Clock};
use newcomers::Newcomers;

/// Sources remembered at most, of all databases together.
pub const CAPACITY: usize = 4096;

/// Time that a source is remembered after it was last refused.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Time that the sources of a database are kept that is not configured any more.
const AWAY_KEPT: SignedDuration = SignedDuration::from_hours(24);

const MINUTES_A_DAY: i64 = 24 * 60;

/// Days for which a source that had a connection goes after those that had none.
const CONNECTED_DAYS: i64 = 7;

/// The IP protocol of connections.
const TCP: u8 = 6;

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
pub struct Refusals {
    /// First event.
    first_seen: Timestamp,
    /// Last event.
    last_seen: Timestamp,
    /// Packets, estimated from the sampled events.
    pub packets: u64,
    /// Different minutes in which it was refused, halved for every day of silence but the first.
    minutes: u32,
    /// Different minutes in which it was refused, or in observe mode had a connection.
    #[serde(default)]
    active_minutes: u32,
    /// Whether observe mode let a TCP packet of it pass, so that it could connect.
    #[serde(default)]
    passed: bool,
    /// The last moment at which observe mode let it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_let_in: Option<Timestamp>,
    /// Index of the interface by which a packet of it then came in, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_interface: Option<u32>,
    /// The last moment at which a TCP connection of it was open, or had just ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_connected: Option<Timestamp>,
    /// The ports it wanted; the first 16.
    ports: BTreeSet<u16>,
}

impl Refusals {
    /// Time of the first refusal.
    pub fn first_seen(&self) -> Timestamp {
        self.first_seen
    }

    /// Time of the last refusal.
    pub fn last_seen(&self) -> Timestamp {
        self.last_seen
    }

    /// Number of different minutes in which it was refused, or in observe mode had a connection.
    pub fn active_minutes(&self) -> u32 {
        self.active_minutes
    }

    /// The ports it wanted; the first 16.
    pub fn ports(&self) -> &BTreeSet<u16> {
        &self.ports
    }

    /// Whether it could connect: observe mode let a TCP packet of it pass.
    pub fn could_connect(&self) -> bool {
        self.passed
    }

    /// The last moment at which observe mode let it in; `None`: enforce mode refused all it sent.
    pub fn last_let_in(&self) -> Option<Timestamp> {
        self.last_let_in
    }

    /// Index of the interface by which the last packet came in that observe mode let in.
    pub fn last_interface(&self) -> Option<u32> {
        self.last_interface
    }

    /// The last moment at which it had a TCP connection; `None`: none was seen.
    pub fn last_connected(&self) -> Option<Timestamp> {
        self.last_connected
    }

    /// Takes over what was seen of the same source under another name of the database.
    fn absorb(&mut self, other: Self) {
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        self.packets = self.packets.saturating_add(other.packets);
        self.minutes = self.minutes.saturating_add(other.minutes);
        self.active_minutes = self.active_minutes.saturating_add(other.active_minutes);
        self.passed |= other.passed;
        if self.last_let_in < other.last_let_in {
            (self.last_let_in, self.last_interface) = (other.last_let_in, other.last_interface);
        }
        self.last_connected = self.last_connected.max(other.last_connected);
        let room = MAX_PORTS.saturating_sub(self.ports.len());
        self.ports.extend(other.ports.into_iter().take(room));
    }
}

/// Rank of a source: the least is forgotten first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    connected: bool,
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
/// different minutes, of those the one longest not seen; whoever had a connection within a week goes
/// last. A flood of random sources is refused once each and so displaces nobody, however many
/// packets it has; what keeps coming stays.
/// Minutes lose half their worth with every day of silence but the first, so that last week's
/// scanners make room, and after 30 days a source is forgotten.
#[derive(Clone, Debug, Default)]
pub struct RefusedSources {
    seen: BTreeMap<RefusedSource, Refusals>,
    by_rank: BTreeSet<Rank>,
    newcomers: Newcomers,
    /// The databases that are not configured any more, with the moment they went. Their sources
    /// are kept, and shown to nobody.
    away: BTreeMap<Arc<str>, Timestamp>,
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
        let key = RefusedSource { database: database.into(), source };
        let Some(mut seen) = self.take(&key, now) else { return };
        if minute(now) > minute(seen.last_seen) {
            seen.minutes = seen.minutes.saturating_add(1);
            seen.active_minutes = seen.active_minutes.saturating_add(1);
        }
        if event.verdict == Verdict::Observe as u8 {
            seen.passed |= event.protocol == TCP;
            seen.last_let_in = seen.last_let_in.max(Some(now));
            seen.last_interface = (event.ifindex != 0).then_some(event.ifindex);
        }
        seen.last_seen = seen.last_seen.max(now);
        seen.packets = seen.packets.saturating_add(event.weight);
        if seen.ports.len() < MAX_PORTS && event.port != 0 {
            seen.ports.insert(event.port);
        }
        self.keep(key, seen);
        self.dirty = true;
    }

    /// Takes note that a source had a TCP connection to a database, open at `at` or ended just
    /// before. One that is not remembered stays unknown.
    pub fn note_connected(&mut self, database: &str, source: IpAddr, at: Timestamp) {
        let key = RefusedSource { database: database.into(), source: source.to_canonical() };
        if self.seen.contains_key(&key)
            && let Some(seen) = self.take(&key, at)
        {
            self.keep_connected(key, seen, at);
        }
    }

    /// Takes note that observe mode let a source have a TCP connection. It may be older than the
    /// agent and idle, so that no packet was seen of it.
    pub fn add_connected(&mut self, database: &str, source: IpAddr, port: u16, at: Timestamp) {
        let key = RefusedSource { database: database.into(), source: source.to_canonical() };
        let Some(mut seen) = self.take(&key, at) else { return };
        let last = seen.last_connected.map_or(seen.last_seen, |last| last.max(seen.last_seen));
        if minute(at) > minute(last) {
            seen.minutes = seen.minutes.saturating_add(1);
            seen.active_minutes = seen.active_minutes.saturating_add(1);
        }
        seen.passed = true;
        seen.last_let_in = seen.last_let_in.max(Some(at));
        if seen.ports.len() < MAX_PORTS {
            seen.ports.insert(port);
        }
        self.keep_connected(key, seen, at);
    }

    fn keep_connected(&mut self, key: RefusedSource, mut seen: Refusals, at: Timestamp) {
        self.dirty |= seen.last_connected < Some(at);
        seen.last_connected = seen.last_connected.max(Some(at));
        self.keep(key, seen);
    }

    /// Takes out what is known of a source, to be changed and kept; `None`: it is new, and not let
    /// in yet.
    fn take(&mut self, key: &RefusedSource, now: Timestamp) -> Option<Refusals> {
        if let Some(seen) = self.seen.remove(key) {
            self.by_rank.remove(&self.rank(key, &seen));
            return Some(seen);
        }
        let minutes = self.admit(key, now)?;
        Some(Refusals {
            first_seen: now,
            last_seen: now,
            packets: 0,
            minutes,
            active_minutes: minutes,
            passed: false,
            last_let_in: None,
            last_interface: None,
            last_connected: None,
            ports: BTreeSet::new(),
        })
    }

    /// In how many minutes a newcomer was refused; `None` if it is not let in yet.
    fn admit(&mut self, key: &RefusedSource, now: Timestamp) -> Option<u32> {
        if self.seen.len() < CAPACITY {
            return Some(1);
        }
        if !self.newcomers.was_seen_before(key, minute(now)) {
            return None;
        }
        if let Some(weakest) = self.by_rank.pop_first() {
            self.seen.remove(&weakest.key);
        }
        Some(2)
    }

    /// The rank of a source as of the day minutes last lost worth.
    fn rank(&self, key: &RefusedSource, seen: &Refusals) -> Rank {
        let is_current = |at: Timestamp| day(at) + CONNECTED_DAYS >= self.aged_on;
        Rank {
            connected: seen.last_connected.is_some_and(is_current),
            minutes: seen.minutes,
            last: minute(seen.last_seen),
            key: key.clone(),
        }
    }

    fn rank_all(&mut self) {
        self.by_rank = self.seen.iter().map(|(key, seen)| self.rank(key, seen)).collect();
    }

    fn keep(&mut self, key: RefusedSource, seen: Refusals) {
        self.by_rank.insert(self.rank(&key, &seen));
        self.seen.insert(key, seen);
    }

    /// Forgets databases that have been away for a day. Once a day it forgets sources that are
    /// old, and halves the worth of who was silent. `now` has to be of a clock that can be trusted.
    pub fn age(&mut self, now: Timestamp) {
        let is_over = |since: &Timestamp| now.duration_since(*since) >= AWAY_KEPT;
        if self.away.values().any(is_over) {
            let over = |name: &Arc<str>| self.away.get(name).is_some_and(is_over);
            self.seen.retain(|key, _| !over(&key.database));
            self.by_rank.retain(|rank| !over(&rank.key.database));
            self.away.retain(|_, since| !is_over(since));
            self.dirty = true;
        }
        let today = day(now);
        if today <= self.aged_on {
            return;
        }
        let first_time = std::mem::replace(&mut self.aged_on, today) == 0;
        self.seen.retain(|_, seen| now.duration_since(seen.last_seen) < KEPT);
        for seen in self.seen.values_mut().filter(|_| !first_time) {
            // Who comes once a day loses nothing.
            if day(seen.last_seen) + 1 < today {
                seen.minutes = (seen.minutes / 2).max(1);
            }
        }
        self.rank_all();
    }

    /// Follows the databases that are configured now. What another one refused is kept for a day,
    /// in case it comes back. Returns the databases that went, each with the number of its sources.
    pub fn follow_databases<'n>(
        &mut self,
        names: impl IntoIterator<Item = &'n str>,
        now: Timestamp,
    ) -> BTreeMap<Arc<str>, usize> {
        let names: BTreeSet<&str> = names.into_iter().collect();
        let mut left: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for key in self.seen.keys().filter(|key| !names.contains(&*key.database)) {
            *left.entry(Arc::clone(&key.database)).or_default() += 1;
        }
        let before = std::mem::take(&mut self.away);
        let since = |name: &Arc<str>| before.get(name).copied().unwrap_or(now);
        self.away = left.keys().map(|name| (Arc::clone(name), since(name))).collect();
        self.dirty |= self.away != before;
        left.retain(|name, _| !before.contains_key(name));
        left
    }

    /// Gives what `from` refused to `to`, its new name. Returns the number of sources.
    pub fn rename_database(&mut self, from: &str, to: &str) -> usize {
        let is_of = |key: &RefusedSource| *key.database == *from;
        let renamed: Vec<_> = self.seen.extract_if(.., |key, _| is_of(key)).collect();
        self.by_rank.retain(|rank| !is_of(&rank.key));
        let count = renamed.len();
        for (RefusedSource { source, .. }, mut seen) in renamed {
            let key = RefusedSource { database: to.into(), source };
            if let Some(other) = self.seen.remove(&key) {
                self.by_rank.remove(&self.rank(&key, &other));
                seen.absorb(other);
            }
            self.keep(key, seen);
        }
        self.away.remove(from);
        self.dirty |= count > 0;
        count
    }

    /// Moves every moment by `adjust`, after the clock that told them was set.
    pub fn adjust_times(&mut self, adjust: impl Fn(&mut Timestamp)) {
        self.away.values_mut().for_each(&adjust);
        for seen in self.seen.values_mut() {
            adjust(&mut seen.first_seen);
            adjust(&mut seen.last_seen);
            seen.last_let_in.iter_mut().for_each(&adjust);
            seen.last_connected.iter_mut().for_each(&adjust);
        }
        self.rank_all();
        self.dirty |= !self.seen.is_empty();
    }

    /// Time of the first refusal that is remembered of a configured database.
    pub fn since(&self) -> Option<Timestamp> {
        self.all().map(|(_, seen)| seen.first_seen).min()
    }

    /// Every refused source of the configured databases, sorted by database, then by address.
    pub fn all(&self) -> impl Iterator<Item = (&RefusedSource, &Refusals)> {
        self.seen.iter().filter(|(key, _)| !self.away.contains_key(&key.database))
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

fn day(at: Timestamp) -> i64 {
    minute(at).div_euclid(MINUTES_A_DAY)
}

#[cfg(test)]
mod tests;
