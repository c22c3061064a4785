use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

/// How far back a disappearance counts.
const WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// So many returns within [`WINDOW`] make a flapping item.
const RETURNS: u8 = 2;

/// How long a flapping item stays after it vanished once more.
const HOLD: Duration = Duration::from_secs(300);

/// Disappearances remembered at most; beyond that the oldest are forgotten, and what flaps
/// is taken for new.
const MEMORY: usize = 16_384;

/// Keeps an answer that flaps from churning the kernel. What is new counts at once. What
/// vanished goes at once too, unless it has come back twice within ten minutes: then it stays
/// for another five minutes each time it vanishes.
#[derive(Clone, Debug)]
pub struct Damper<T> {
    absent: BTreeMap<T, Absence>,
}

#[derive(Clone, Copy, Debug)]
struct Absence {
    since: Timestamp,
    returns: u8,
    /// It counts as present until then.
    held_until: Option<Timestamp>,
    /// It is missing from the last answer.
    missing: bool,
}

impl<T> Default for Damper<T> {
    fn default() -> Self {
        Self { absent: BTreeMap::new() }
    }
}

impl<T: Ord + Clone> Damper<T> {
    /// What counts after a complete answer: `before` is what counted until now, `answer` what
    /// it holds, both sorted without duplicates. `grace` is how long everything stays.
    pub fn update(
        &mut self,
        before: &[T],
        answer: &[T],
        grace: Duration,
        now: Timestamp,
    ) -> Vec<T> {
        // What is missing still counts until its release is heeded below.
        self.absent.retain(|_, a| a.missing || now.duration_since(a.since) < WINDOW);
        for (item, absence) in &mut self.absent {
            if absence.missing && answer.binary_search(item).is_ok() {
                absence.missing = false;
                absence.held_until = None;
                absence.returns = absence.returns.saturating_add(1);
            }
        }
        let mut counts = answer.to_vec();
        for item in before.iter().filter(|item| answer.binary_search(item).is_err()) {
            let known = self.absent.get(item).copied();
            let absence = match known {
                Some(absence) if absence.missing => absence,
                known => {
                    let returns = known.map_or(0, |absence| absence.returns);
                    let hold = if returns >= RETURNS { grace.max(HOLD) } else { grace };
                    Absence { since: now, returns, held_until: later(now, hold), missing: true }
                }
            };
            self.absent.insert(item.clone(), absence);
            if absence.held_until.is_some_and(|until| until > now) {
                counts.push(item.clone());
            }
        }
        self.forget(now);
        counts.sort_unstable();
        counts
    }

    /// Moves every moment it remembers, after the clock was stepped.
    pub fn move_moments(&mut self, adjust: &dyn Fn(&mut Timestamp)) {
        for absence in self.absent.values_mut() {
            let before = absence.since;
            adjust(&mut absence.since);
            let by = absence.since.duration_since(before);
            absence.held_until =
                absence.held_until.map(|until| until.saturating_add(by).unwrap_or(until));
        }
    }

    /// What is held, and until when.
    pub fn held(&self) -> impl Iterator<Item = (&T, Timestamp)> {
        let missing = self.absent.iter().filter(|(_, absence)| absence.missing);
        missing.filter_map(|(item, absence)| Some((item, absence.held_until?)))
    }

    /// Holds an item that vanished in an earlier run.
    pub fn hold(&mut self, item: T, until: Timestamp, now: Timestamp) {
        let absence = Absence { since: now, returns: 0, held_until: Some(until), missing: true };
        self.absent.insert(item, absence);
    }

    /// When the next held item stops counting.
    pub fn next_release(&self) -> Option<Timestamp> {
        self.absent.values().filter(|a| a.missing).filter_map(|a| a.held_until).min()
    }

    fn forget(&mut self, now: Timestamp) {
        self.absent.retain(|_, absence| {
            let held = absence.held_until.is_some_and(|until| until > now);
            held || now.duration_since(absence.since) < WINDOW
        });
        if self.absent.len() > MEMORY {
            let mut times: Vec<Timestamp> = self.absent.values().map(|a| a.since).collect();
            let excess = times.len() - MEMORY;
            let (_, oldest_kept, _) = times.select_nth_unstable(excess);
            let oldest_kept = *oldest_kept;
            self.absent.retain(|_, a| {
                a.since >= oldest_kept || a.held_until.is_some_and(|until| until > now)
            });
        }
    }
}

fn later(now: Timestamp, hold: Duration) -> Option<Timestamp> {
    if hold.is_zero() { None } else { now.checked_add(hold).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn what_vanishes_goes_at_once() {
        let mut damper = Damper::default();
        let counts = damper.update(&[1, 2], &[2], Duration::ZERO, at(0));
        assert_eq!(counts, [2]);
        assert_eq!(damper.next_release(), None);
    }

    #[test]
    fn grace_keeps_for_exactly_so_long() {
        let mut damper = Damper::default();
        let grace = Duration::from_secs(60);
        let counts = damper.update(&[1, 2], &[2], grace, at(0));
        assert_eq!(counts, [1, 2]);
        assert_eq!(damper.next_release(), Some(at(60)));
        assert_eq!(damper.update(&counts, &[2], grace, at(59)), [1, 2]);
        assert_eq!(damper.update(&counts, &[2], grace, at(60)), [2]);
    }

    #[test]
    fn what_flaps_is_held_and_goes_in_the_end() {
        let mut damper = Damper::default();
        let mut counts = vec![1];
        let mut changes = 0;
        for second in 1..60 {
            let answer: &[i32] = if second % 2 == 0 { &[1] } else { &[] };
            let next = damper.update(&counts, answer, Duration::ZERO, at(second));
            changes += usize::from(next != counts);
            counts = next;
        }
        assert_eq!(changes, 4, "out, in, out, in, and then it stays");
        assert_eq!(counts, [1]);
        let mut second = 60;
        while !counts.is_empty() {
            counts = damper.update(&counts, &[], Duration::ZERO, at(second));
            second += 1;
        }
        assert_eq!(second, 59 + 300 + 1);
    }

    #[test]
    fn memory_is_bounded() {
        let mut damper = Damper::default();
        let all: Vec<u32> = (0..50_000).collect();
        damper.update(&all, &[], Duration::ZERO, at(0));
        let again: Vec<u32> = (50_000..100_000).collect();
        damper.update(&again, &[], Duration::ZERO, at(1));
        assert!(damper.absent.len() <= 50_000, "{}", damper.absent.len());
        damper.update(&[], &[], Duration::ZERO, at(601));
        assert_eq!(damper.absent.len(), 0);
    }
}
