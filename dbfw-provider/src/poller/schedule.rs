//! Times at which keys are due.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::backoff::Backoff;

/// Keys, each with the time it is due.
#[derive(Debug)]
pub(super) struct Schedule<K> {
    entries: BTreeMap<K, Entry>,
    /// The number of requests so far.
    asked: u64,
}

#[derive(Debug)]
struct Entry {
    due: Instant,
    /// The number of the request that is under way.
    asking: Option<u64>,
    /// That request may have begun before what makes the key due happened.
    again: bool,
    backoff: Backoff,
}

impl<K> Default for Schedule<K> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), asked: 0 }
    }
}

impl<K: Ord + Clone> Schedule<K> {
    /// Exactly these are wanted; those that were not are due now.
    pub(super) fn want(&mut self, keys: BTreeSet<K>, now: Instant) {
        self.entries.retain(|key, _| keys.contains(key));
        for key in keys {
            self.entries.entry(key).or_insert_with(|| Entry {
                due: now,
                asking: None,
                again: false,
                backoff: Backoff::default(),
            });
        }
    }

    /// These are due now, whatever failed, and what is being asked for is asked for once more.
    pub(super) fn make_due(&mut self, keys: &BTreeSet<K>, now: Instant) {
        for key in keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.make_due(now);
            }
        }
    }

    /// All are due now.
    pub(super) fn make_all_due(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.make_due(now);
        }
    }

    /// Up to `room` keys that are due, the longest due first, each with the number of the
    /// request that is now to be made for it.
    pub(super) fn take(&mut self, now: Instant, room: usize) -> Vec<(K, u64)> {
        let mut due: Vec<(Instant, &K)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.asking.is_none() && entry.due <= now)
            .map(|(key, entry)| (entry.due, key))
            .collect();
        due.sort_unstable();
        let keys: Vec<K> = due.into_iter().take(room).map(|(_, key)| key.clone()).collect();
        let mut taken = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(entry) = self.entries.get_mut(&key) {
                self.asked += 1;
                entry.asking = Some(self.asked);
                taken.push((key, self.asked));
            }
        }
        taken
    }

    /// The key's failures so far; `None`: the answer to this request is not waited for any more.
    pub(super) fn asked(&mut self, key: &K, number: u64) -> Option<&mut Backoff> {
        let entry = self.entries.get_mut(key).filter(|entry| entry.asking == Some(number))?;
        Some(&mut entry.backoff)
    }

    /// A key was answered and is due again at `due`.
    pub(super) fn done(&mut self, key: &K, due: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.asking = None;
            if !std::mem::take(&mut entry.again) {
                entry.due = due;
            }
        }
    }

    /// The time at which the next key is due that is not being asked for.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.entries.values().filter(|entry| entry.asking.is_none()).map(|entry| entry.due).min()
    }
}

impl Entry {
    fn make_due(&mut self, now: Instant) {
        self.backoff.succeeded();
        self.due = self.due.min(now);
        self.again |= self.asking.is_some();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dbfw_core::answers::Cause;

    use super::*;

    const LATER: Duration = Duration::from_secs(60);

    fn set(keys: &[&'static str]) -> BTreeSet<&'static str> {
        keys.iter().copied().collect()
    }

    fn keys(taken: &[(&'static str, u64)]) -> Vec<&'static str> {
        taken.iter().map(|(key, _)| *key).collect()
    }

    #[test]
    fn what_is_new_is_due_at_once_and_alone() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        assert_eq!(schedule.next_due(), None);
        schedule.want(set(&["a", "b"]), now);
        assert_eq!(keys(&schedule.take(now, 16)), ["a", "b"]);
        assert_eq!(schedule.take(now, 16), []);
        schedule.done(&"a", now + LATER);
        schedule.done(&"b", now + LATER * 2);
        assert_eq!(schedule.next_due(), Some(now + LATER));

        schedule.want(set(&["a", "b", "c"]), now);
        assert_eq!(keys(&schedule.take(now, 16)), ["c"]);
        assert_eq!(keys(&schedule.take(now + LATER, 16)), ["a"]);
        schedule.want(set(&["b"]), now);
        assert_eq!(keys(&schedule.take(now + LATER * 9, 16)), ["b"]);
        assert_eq!(schedule.next_due(), None);
    }

    #[test]
    fn the_longest_due_comes_first() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.want(set(&["a", "b", "c"]), now);
        assert_eq!(keys(&schedule.take(now, 2)), ["a", "b"]);
        schedule.done(&"a", now + LATER);
        schedule.done(&"b", now + LATER / 2);
        assert_eq!(keys(&schedule.take(now + LATER, 1)), ["c"]);
        assert_eq!(keys(&schedule.take(now + LATER, 1)), ["b"]);
        assert_eq!(keys(&schedule.take(now + LATER, 0)), Vec::<&str>::new());
    }

    #[test]
    fn what_is_hurried_while_it_is_asked_is_asked_again() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.want(set(&["a", "b"]), now);
        schedule.take(now, 16);
        schedule.done(&"b", now + LATER);
        schedule.make_due(&set(&["a", "gone"]), now);
        assert_eq!(schedule.take(now, 16), []);
        schedule.done(&"a", now + LATER);
        assert_eq!(keys(&schedule.take(now, 16)), ["a"]);
        schedule.done(&"a", now + LATER);
        assert_eq!(schedule.take(now, 16), []);
        schedule.make_all_due(now);
        assert_eq!(keys(&schedule.take(now, 16)), ["a", "b"]);
    }

    #[test]
    fn failures_are_forgotten_by_what_is_hurried() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.want(set(&["a"]), now);
        let (_, number) = schedule.take(now, 16)[0];
        let fail = |schedule: &mut Schedule<_>| {
            let backoff = schedule.asked(&"a", number).unwrap();
            backoff.failed(LATER, Cause::Server, None)
        };
        assert_eq!(fail(&mut schedule), LATER);
        assert!(fail(&mut schedule) > LATER);
        schedule.make_all_due(now);
        assert_eq!(fail(&mut schedule), LATER);
    }

    #[test]
    fn an_answer_to_what_was_dropped_meanwhile_is_not_waited_for() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.want(set(&["a"]), now);
        let (_, first) = schedule.take(now, 16)[0];
        assert!(schedule.asked(&"a", first).is_some());
        schedule.want(set(&[]), now);
        assert!(schedule.asked(&"a", first).is_none());
        schedule.want(set(&["a"]), now);
        let (_, second) = schedule.take(now, 16)[0];
        assert!(schedule.asked(&"a", first).is_none() && schedule.asked(&"a", second).is_some());
    }
}
