//! [`SlotTable`]: the slots of RULE_STATS that count for each rule.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    ops::Range,
};

use dbfw_common::{Entry, MAX_DATABASES, RULE_SLOTS};
use serde::{Deserialize, Serialize};

use super::{
    build::{Policy, RuleKey, RuleRef},
    changed::Changed,
    plan::{CurrentEntries, Plan},
};
use crate::source::Origin;

/// The slots of RULE_STATS in use.
///
/// An entry has a run of adjacent slots, one for every database it may reach, in the order of
/// their ids; entries whose packets count for the same rules share a run. Slot 0 belongs to no
/// rule: it counts for entries that found no room.
///
/// As JSON the list of its runs; reading it checks them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Run>", into = "Vec<Run>")]
pub struct SlotTable {
    /// Sorted by their first slot; none overlap.
    runs: Vec<Run>,
    /// Entries of the last assignment without slots; `None`: there was none since it was read.
    unattributed: Option<usize>,
}

/// Adjacent slots and the rule each counts for.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Run {
    first: u32,
    rules: Vec<RuleKey>,
    /// Entries that have it, as of the last assignment.
    #[serde(skip)]
    entries: usize,
}

/// The change of the kernel's entries that makes them those of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assigned {
    /// The change, with the entries' slots.
    pub plan: Plan,
    /// Slots to zero before the first entry that uses them is written.
    pub fresh: Vec<Range<u32>>,
    /// Entries without slots: all are taken, so their packets count in slot 0.
    pub unattributed: usize,
}

/// A reason why a slot table cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the run at slot {first} with {rules} rules overlaps another, counts for the same rules or is \
     out of range"
)]
pub struct SlotError {
    first: u32,
    rules: usize,
}

impl Run {
    /// Its slots. Saturating, since a run that was read may hold anything.
    fn slots(&self) -> Range<u32> {
        let len = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
        self.first..self.first.saturating_add(len)
    }
}

impl SlotTable {
    /// Gives every entry of the policy `after` its slots, and plans the change of the entries that
    /// are `held`. Only where it `changed` from `before` is looked at, if the last assignment was of
    /// that policy, every entry got slots, and what is held is the result.
    ///
    /// An entry that counted for the same rules before keeps its run. Runs that no entry needs any
    /// more become free for the next assignment only: the kernel counts into them until this one is
    /// carried out.
    ///
    /// Call it on a copy, and keep the copy only when the plan has been carried out.
    pub fn assign(
        &mut self,
        before: &Policy,
        after: &Policy,
        changed: &Changed,
        held: &impl CurrentEntries,
    ) -> Assigned {
        let old = std::mem::take(&mut self.runs);
        let changed = match self.unattributed {
            Some(0) => changed,
            _ => &Changed::Everything,
        };
        let mut assignment = Assignment::begin(&old, after);
        let mut removals = Vec::new();
        match changed {
            Changed::Everything => {
                removals.extend(held.prefixes().filter(|prefix| !after.has(prefix)));
            }
            Changed::Within(_) => {
                assignment.entries.extend(old.iter().map(|run| run.entries));
                before.each_entry(changed, |entry| {
                    let Some(held) = held.entry(&entry.prefix) else { return };
                    assignment.release(held.rules);
                    if !after.has(&entry.prefix) {
                        removals.push(entry.prefix);
                    }
                });
            }
        }
        assignment.entries.resize(old.len(), 0);
        let (mut writes, mut unattributed) = (Vec::new(), 0);
        after.each_entry(changed, |entry| {
            let first = assignment.take_slots(entry.rules).unwrap_or(0);
            unattributed += usize::from(first == 0);
            let wanted = Entry::new(entry.mask, first);
            if held.entry(&entry.prefix) != Some(wanted) {
                writes.push((entry.prefix, wanted));
            }
        });
        let Assignment { entries, new, fresh, .. } = assignment;
        self.runs = old
            .into_iter()
            .zip(entries)
            .map(|(run, entries)| Run { entries, ..run })
            .filter(|run| run.entries > 0)
            .chain(new)
            .collect();
        self.runs.sort_unstable_by_key(|run| run.first);
        self.unattributed = Some(unattributed);
        Assigned { plan: Plan::new(writes, removals), fresh, unattributed }
    }

    /// Every slot in use, with the rule it counts for. A rule may have several.
    pub fn slots(&self) -> impl Iterator<Item = (u32, &RuleKey)> {
        self.runs.iter().flat_map(|run| run.slots().zip(&run.rules))
    }

    /// Whether every run lies in range and no two overlap or count for the same rules.
    ///
    /// # Errors
    /// The first run that cannot be.
    pub fn validate(&self) -> Result<(), SlotError> {
        let mut end = 1;
        let mut seen = HashSet::new();
        for run in &self.runs {
            let (slots, rules) = (run.slots(), run.rules.len());
            let fits = slots.start >= end && slots.end <= RULE_SLOTS;
            if !fits || !(1..=MAX_DATABASES as usize).contains(&rules) || !seen.insert(&run.rules) {
                return Err(SlotError { first: run.first, rules });
            }
            end = slots.end;
        }
        Ok(())
    }
}

impl TryFrom<Vec<Run>> for SlotTable {
    type Error = SlotError;

    fn try_from(mut runs: Vec<Run>) -> Result<Self, SlotError> {
        runs.sort_by_key(|run| run.first);
        let table = Self { runs, unattributed: None };
        table.validate()?;
        Ok(table)
    }
}

impl From<SlotTable> for Vec<Run> {
    fn from(table: SlotTable) -> Self {
        table.runs
    }
}

impl PartialEq for SlotTable {
    /// Whether the same slots count for the same rules.
    fn eq(&self, other: &Self) -> bool {
        let is_same = |(a, b): (&Run, &Run)| (a.first, &a.rules) == (b.first, &b.rules);
        self.runs.len() == other.runs.len() && self.runs.iter().zip(&other.runs).all(is_same)
    }
}

impl Eq for SlotTable {}

/// An assignment under way.
struct Assignment<'a> {
    policy: &'a Policy,
    numbers: RuleNumbers<'a>,
    /// The runs from before.
    old: &'a [Run],
    /// Entries that have each of these.
    entries: Vec<usize>,
    new: Vec<Run>,
    /// Index of each run, those of `new` after those of `old`, by rules.
    places: HashMap<Vec<usize>, usize>,
    /// The rules of the last entry, and the run it got.
    last: (Vec<RuleRef>, Option<usize>),
    /// The free slots: neither in use before nor taken since.
    free: FreeSlots,
    fresh: Vec<Range<u32>>,
}

impl<'a> Assignment<'a> {
    fn begin(old: &'a [Run], policy: &'a Policy) -> Self {
        let mut numbers = RuleNumbers::default();
        let number = |run: &'a Run| run.rules.iter().map(|key| numbers.known(key)).collect();
        let places = old.iter().map(number).zip(0..).collect();
        Self {
            policy,
            numbers,
            old,
            entries: Vec::with_capacity(old.len()),
            new: Vec::new(),
            places,
            last: (Vec::new(), None),
            free: FreeSlots::between(old),
            fresh: Vec::new(),
        }
    }

    /// Notes that an entry does not have this run any more.
    fn release(&mut self, first: u32) {
        if let Ok(place) = self.old.binary_search_by_key(&first, |run| run.first) {
            self.entries[place] = self.entries[place].saturating_sub(1);
        }
    }

    /// The first of the slots for an entry of these rules, if there is room.
    fn take_slots(&mut self, rules: &[RuleRef]) -> Option<u32> {
        if self.last.0 != rules {
            let place = self.place(rules);
            self.last.0.clear();
            self.last.0.extend_from_slice(rules);
            self.last.1 = place;
        }
        let place = self.last.1?;
        Some(match place.checked_sub(self.old.len()) {
            None => {
                self.entries[place] += 1;
                self.old[place].first
            }
            Some(place) => {
                self.new[place].entries += 1;
                self.new[place].first
            }
        })
    }

    /// The index of the run for these rules.
    fn place(&mut self, rules: &[RuleRef]) -> Option<usize> {
        let len = u32::try_from(rules.len()).ok()?;
        // Without a free run of this length only rules that have slots already can match: the
        // others need no number, and there may be a million.
        let learn = self.free.may_hold(len);
        let ids = rules.iter().map(|rule| self.numbers.of(self.policy, *rule, learn));
        let ids: Vec<_> = ids.collect::<Option<_>>()?;
        if let Some(place) = self.places.get(&ids) {
            return Some(*place);
        }
        let run = self.new_run(rules, len)?;
        let place = self.old.len() + self.new.len();
        self.places.insert(ids, place);
        self.new.push(run);
        Some(place)
    }

    fn new_run(&mut self, rules: &[RuleRef], len: u32) -> Option<Run> {
        let slots = self.free.take(len)?;
        let rules = rules.iter().map(|rule| self.policy.key(*rule)).collect::<Option<_>>()?;
        self.fresh.push(slots.clone());
        Some(Run { first: slots.start, rules, entries: 0 })
    }
}

/// Numbers for rules, so that runs compare without the text of their keys.
#[derive(Default)]
struct RuleNumbers<'a> {
    ids: HashMap<(&'a str, &'a Origin, Cow<'a, str>), usize>,
    refs: HashMap<RuleRef, usize>,
}

impl<'a> RuleNumbers<'a> {
    fn known(&mut self, key: &'a RuleKey) -> usize {
        let next = self.ids.len();
        let identity = (key.database.as_str(), &key.origin, Cow::from(&key.source));
        *self.ids.entry(identity).or_insert(next)
    }

    /// The number of a rule; a rule that has none gets one if `learn` says so.
    fn of(&mut self, policy: &'a Policy, rule: RuleRef, learn: bool) -> Option<usize> {
        if let Some(id) = self.refs.get(&rule) {
            return Some(*id);
        }
        let (database, found) = policy.rule(rule)?;
        let identity = (database.name.as_str(), &found.origin, Cow::from(found.kind.to_string()));
        let next = self.ids.len();
        let id = if learn {
            *self.ids.entry(identity).or_insert(next)
        } else {
            *self.ids.get(&identity)?
        };
        self.refs.insert(rule, id);
        Some(id)
    }
}

/// Free slots.
struct FreeSlots {
    gaps: Vec<Range<u32>>,
    /// No gap has this many slots, so a search for them would be in vain.
    exhausted: u32,
}

impl FreeSlots {
    /// The slots that the runs, sorted and valid, leave free.
    fn between(runs: &[Run]) -> Self {
        let mut gaps = Vec::new();
        let mut end = 1;
        for run in runs {
            gaps.push(end..run.first);
            end = run.slots().end;
        }
        gaps.push(end..RULE_SLOTS);
        gaps.retain(|gap| !gap.is_empty());
        Self { gaps, exhausted: RULE_SLOTS }
    }

    /// Whether a search for this many is worth it.
    fn may_hold(&self, len: u32) -> bool {
        len < self.exhausted
    }

    /// The first `len` adjacent slots.
    fn take(&mut self, len: u32) -> Option<Range<u32>> {
        if !self.may_hold(len) {
            return None;
        }
        let fits = |gap: &Range<u32>| gap.end - gap.start >= len;
        let Some(index) = self.gaps.iter().position(fits) else {
            self.exhausted = len;
            return None;
        };
        let gap = &mut self.gaps[index];
        let taken = gap.start..gap.start + len;
        gap.start = taken.end;
        if gap.start == gap.end {
            self.gaps.remove(index);
        }
        Some(taken)
    }
}
