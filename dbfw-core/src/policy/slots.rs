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
    plan::Entries,
};
use crate::source::Origin;

/// The slots of RULE_STATS in use.
///
/// An entry has a run of adjacent slots, one for every database it may reach, in the order of
/// their ids; entries whose packets count for the same rules share a run. Slot 0 belongs to no
/// rule: it counts for entries that found no room.
///
/// As JSON the list of its runs; reading it checks them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Run>", into = "Vec<Run>")]
pub struct SlotTable {
    /// Sorted by their first slot; none overlap.
    runs: Vec<Run>,
}

/// Adjacent slots and the rule each counts for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    first: u32,
    rules: Vec<RuleKey>,
}

/// The entries of a policy with their slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assigned {
    /// The entries, with their slots.
    pub entries: Entries,
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
    /// Gives every entry of `policy` its slots. An entry that counted for the same rules before
    /// keeps its run. Runs that no entry needs any more become free for the next assignment
    /// only: the kernel counts into them until this one is carried out.
    ///
    /// Call it on a copy, and keep the copy only when the plan has been carried out.
    pub fn assign(&mut self, policy: &Policy) -> Assigned {
        let old = std::mem::take(&mut self.runs);
        let mut assignment = Assignment::begin(&old, policy);
        let mut unattributed = 0;
        let mut entries = Vec::with_capacity(policy.entries().len());
        for entry in policy.entries() {
            let first = assignment.first_slot(entry.rules).unwrap_or(0);
            unattributed += usize::from(first == 0);
            entries.push((entry.prefix, Entry::new(entry.mask, first)));
        }
        self.runs = assignment.runs;
        self.runs.sort_unstable_by_key(|run| run.first);
        Assigned { entries: Entries::from_iter(entries), fresh: assignment.fresh, unattributed }
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
        let table = Self { runs };
        table.validate()?;
        Ok(table)
    }
}

impl From<SlotTable> for Vec<Run> {
    fn from(table: SlotTable) -> Self {
        table.runs
    }
}

/// An assignment under way.
struct Assignment<'a> {
    policy: &'a Policy,
    numbers: RuleNumbers<'a>,
    /// Runs from before that no entry has taken yet.
    old: HashMap<Vec<usize>, &'a Run>,
    /// The free slots: neither in use before nor taken since.
    free: FreeSlots,
    /// First slot by rules.
    firsts: HashMap<Vec<usize>, u32>,
    runs: Vec<Run>,
    fresh: Vec<Range<u32>>,
}

impl<'a> Assignment<'a> {
    fn begin(old: &'a [Run], policy: &'a Policy) -> Self {
        let mut numbers = RuleNumbers::default();
        let number = |run: &'a Run| (run.rules.iter().map(|key| numbers.known(key)).collect(), run);
        let runs = old.iter().map(number).collect();
        Self {
            policy,
            numbers,
            old: runs,
            free: FreeSlots::between(old),
            firsts: HashMap::new(),
            runs: Vec::new(),
            fresh: Vec::new(),
        }
    }

    /// The first of the slots for these rules, if there is room.
    fn first_slot(&mut self, rules: &[RuleRef]) -> Option<u32> {
        let len = u32::try_from(rules.len()).ok()?;
        // Without a free run of this length only rules that have slots already can match: the
        // others need no number, and there may be a million.
        let learn = self.free.may_hold(len);
        let ids = rules.iter().map(|rule| self.numbers.of(self.policy, *rule, learn));
        let ids: Vec<_> = ids.collect::<Option<_>>()?;
        if let Some(first) = self.firsts.get(&ids) {
            return Some(*first);
        }
        let run = match self.old.remove(&ids) {
            Some(run) => run.clone(),
            None => self.new_run(rules, len)?,
        };
        let first = run.first;
        self.firsts.insert(ids, first);
        self.runs.push(run);
        Some(first)
    }

    fn new_run(&mut self, rules: &[RuleRef], len: u32) -> Option<Run> {
        let slots = self.free.take(len)?;
        let rules = rules.iter().map(|rule| self.policy.key(*rule)).collect::<Option<_>>()?;
        self.fresh.push(slots.clone());
        Some(Run { first: slots.start, rules })
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
