//! Sources seen once, so that a full memory takes in only those seen twice.

use std::hash::{BuildHasher as _, Hash, RandomState};

/// Number of places: 512 KiB.
const PLACES: usize = 1 << 16;

/// Longest time between two visits of the same source, in minutes.
const MINUTES: u32 = 24 * 60;

/// A place: 40 bits of the source's hash above 24 bits of the minute, counted from the first
/// of them.
type Place = u64;

/// Sources that a full memory did not take in, by hash alone: each place has the last one whose
/// hash leads there. The hash has a random key, so nobody can choose whom to push out.
#[derive(Clone, Debug, Default)]
pub(super) struct Newcomers {
    hasher: RandomState,
    /// Empty until the first newcomer.
    places: Vec<Place>,
    /// Minute 0 of the places.
    epoch: i64,
}

impl Newcomers {
    /// Whether the source was seen in an earlier minute, not longer ago than a day. If not, it
    /// is remembered.
    pub(super) fn was_seen_before(&mut self, key: impl Hash, minute: i64) -> bool {
        if self.places.is_empty() {
            self.places = vec![0; PLACES];
            // An empty place holds 0; no source comes in minute 0.
            self.epoch = minute.saturating_sub(1);
        }
        // 24 bits are 31 years of minutes.
        let minute = u32::try_from(minute - self.epoch).unwrap_or(0) & 0xff_ffff;
        let hash = self.hasher.hash_one(key);
        let mark = hash >> 24;
        let Some(place) = self.places.get_mut(hash as usize % PLACES) else { return false };
        let before = (*place & 0xff_ffff) as u32;
        if *place >> 24 != mark || before == 0 || minute.saturating_sub(before) > MINUTES {
            *place = mark << 24 | u64::from(minute);
            return false;
        }
        minute > before
    }
}
