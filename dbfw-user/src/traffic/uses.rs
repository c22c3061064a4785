//! Use of the trusted sources: packets, the last of them, and since when they are counted.
//!
//! Pure: counters and times are handed in. The kernel's counters belong to slots, and a reboot or
//! a change of the policy takes them away; what is kept here belongs to a database and a source.

mod file;

use std::collections::{BTreeMap, HashMap};

use dbfw_core::source::{SourceKey, TrustedSource};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Sources kept at most that are not in force.
const CAPACITY: usize = 16_384;

/// Time that a source is kept that is not in force any more.
const AWAY_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// A source of a database, wherever it is written: an address with and without its length is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UsedSource {
    database: String,
    source: String,
}

impl UsedSource {
    /// The source of a database, `type:value`.
    pub fn new(database: &str, source: &str) -> Self {
        let address = source.starts_with("ip_addr:").then(|| source.parse::<TrustedSource>().ok());
        let source = match address.flatten().as_ref().and_then(|known| known.key().prefixes()) {
            Some(prefixes) if prefixes.len() == 1 => SourceKey::from(prefixes[0]).to_string(),
            _ => source.to_owned(),
        };
        Self { database: database.to_owned(), source }
    }
}

/// The counters of a source in the kernel, all its slots together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceCounters {
    /// Packets that it let in.
    pub packets: u64,
    /// The time of the last of them.
    pub last_hit: Option<Timestamp>,
}

impl SourceCounters {
    /// Adds the counters of another slot of the same source.
    pub fn add(&mut self, other: Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.last_hit = self.last_hit.max(other.last_hit);
    }
}

/// Use of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// The moment counting began.
    pub since: Timestamp,
    /// Packets that it let in since then.
    pub packets: u64,
    /// The time of the last of them.
    pub last_hit: Option<Timestamp>,
    /// The packets that the kernel's counters showed when they were last read.
    #[serde(default)]
    read: u64,
    /// The moment it went out of force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    away: Option<Timestamp>,
}

impl Use {
    fn begin(counted: SourceCounters, now: Timestamp) -> Self {
        let SourceCounters { packets, last_hit } = counted;
        // Counters that nothing is known about count since their last packet, at least.
        let since = last_hit.map_or(now, |at| at.min(now));
        Self { since, packets, last_hit, read: packets, away: None }
    }

    /// Takes in what the counters show now. Fewer packets than before: they began again at 0.
    /// Returns whether anything is new.
    fn update(&mut self, counted: SourceCounters) -> bool {
        let more = counted.packets.checked_sub(self.read).unwrap_or(counted.packets);
        let is_new = self.read != counted.packets;
        self.read = counted.packets;
        if more > 0 {
            self.packets = self.packets.saturating_add(more);
            self.last_hit = self.last_hit.max(counted.last_hit);
        }
        is_new
    }
}

/// The use of every source that is counted, and of those that were until a day ago.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceUses {
    uses: BTreeMap<UsedSource, Use>,
    dirty: bool,
}

impl SourceUses {
    /// The use of a source up to now; `None` if it has no counter and never had one.
    pub fn of(
        &self,
        source: &UsedSource,
        counted: Option<&SourceCounters>,
        now: Timestamp,
    ) -> Option<Use> {
        let counted = counted.copied();
        match (self.uses.get(source).copied(), counted) {
            (Some(mut known), Some(counted)) => {
                known.update(counted);
                Some(known)
            }
            (Some(known), None) => Some(known),
            (None, counted) => counted.map(|counted| Use::begin(counted, now)),
        }
    }

    /// Takes in the counters of sources.
    pub fn update(&mut self, counted: &HashMap<UsedSource, SourceCounters>, now: Timestamp) {
        for (source, counted) in counted {
            match self.uses.get_mut(source) {
                Some(known) => self.dirty |= known.update(*counted),
                None => {
                    self.uses.insert(source.clone(), Use::begin(*counted, now));
                    self.dirty = true;
                }
            }
        }
    }

    /// Takes in what sources counted in all slots they had, some of which are taken from them, and
    /// what the slots show that they keep.
    pub fn move_slots(&mut self, moved: HashMap<UsedSource, [SourceCounters; 2]>, now: Timestamp) {
        for (source, [all, kept]) in moved {
            let known = self.uses.entry(source).or_insert_with(|| Use::begin(all, now));
            known.update(all);
            known.read = kept.packets;
            self.dirty = true;
        }
    }

    /// Follows which sources are in force. One that is not is kept for a day.
    pub fn follow(&mut self, is_in_force: impl Fn(&UsedSource) -> bool, now: Timestamp) {
        for (source, known) in &mut self.uses {
            let away = (!is_in_force(source)).then(|| known.away.unwrap_or(now));
            self.dirty |= known.away != away;
            known.away = away;
        }
        let before = self.uses.len();
        let is_over = |at: Timestamp| now.duration_since(at) >= AWAY_KEPT;
        self.uses.retain(|_, known| !known.away.is_some_and(is_over));
        let mut away: Vec<(Timestamp, UsedSource)> = self
            .uses
            .iter()
            .filter_map(|(source, known)| Some((known.away?, source.clone())))
            .collect();
        let excess = away.len().saturating_sub(CAPACITY);
        if excess > 0 {
            away.sort_unstable();
            away.iter().take(excess).for_each(|(_, source)| _ = self.uses.remove(source));
        }
        self.dirty |= self.uses.len() < before;
    }

    /// Moves every moment by `adjust`, after the clock that told them was set.
    pub fn adjust_times(&mut self, adjust: impl Fn(&mut Timestamp)) {
        for known in self.uses.values_mut() {
            adjust(&mut known.since);
            known.last_hit.as_mut().into_iter().for_each(&adjust);
            known.away.as_mut().into_iter().for_each(&adjust);
        }
        self.dirty |= !self.uses.is_empty();
    }

    /// Whether there is something that was not marked as written.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Marks the present state as written.
    pub fn clean(&mut self) {
        self.dirty = false;
    }
}

#[cfg(test)]
mod tests;
