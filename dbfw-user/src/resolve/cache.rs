//! What every source last resolved to, and how that ages. Pure: outcomes and the time come in.
//!
//! A failure never takes a prefix away. What a provider calls gone goes after `gone_after`,
//! what a complete answer no longer holds goes at once (or after its grace), and what cannot
//! be refreshed goes after `max_stale`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Answer, Damper, Outcome, Part};
use crate::{
    provider::{Cause, FetchError},
    source::{Prefix, SourceKey},
};

/// How long a source is remembered that nobody wants.
const UNWANTED: Duration = Duration::from_secs(60);

/// How long the cache trusts what is not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long the answer "gone" or "empty" has to stand before it is believed.
    pub gone_after: Duration,
    /// How old a last good answer may become; `None`: any age.
    pub max_stale: Option<Duration>,
}

/// Every source that was asked for.
#[derive(Clone, Debug)]
pub struct Cache {
    limits: Limits,
    entries: BTreeMap<SourceKey, Entry>,
}

/// What a source stands for at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Sorted, no duplicates.
    pub prefixes: Arc<[Prefix]>,
    /// Those that only `max_stale` took away: that is the operator's word, not a provider's.
    pub lapsed: Arc<[Prefix]>,
    /// It was asked for, whatever came of it, or is known from an earlier run.
    pub known: bool,
    /// Nothing but failures so far.
    pub never_answered: bool,
}

/// How a source is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceState {
    /// pending, ok, stale, gone, unresolvable, expired.
    pub state: &'static str,
    /// The request that was answered.
    pub from: Option<String>,
    /// When what is in force was last confirmed.
    pub answered_at: Option<Timestamp>,
    /// Its parts that have no address or could not be asked for, and why.
    pub unresolved: Vec<(String, String)>,
    /// Why the last try failed.
    pub error: Option<FetchError>,
    /// What is probably not meant.
    pub notes: Vec<String>,
}

/// A source as the snapshot keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Which.
    pub key: SourceKey,
    /// When it was last confirmed.
    pub answered_at: Timestamp,
    /// The request that was answered.
    pub from: String,
    /// Prefixes by part.
    pub parts: BTreeMap<String, Vec<Prefix>>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    parts: BTreeMap<String, PartEntry>,
    /// All parts' prefixes, and those that are held though they vanished.
    prefixes: Arc<[Prefix]>,
    lapsed: Arc<[Prefix]>,
    damper: Damper<Prefix>,
    grace: Duration,
    answered_at: Option<Timestamp>,
    from: String,
    notes: Vec<String>,
    error: Option<FetchError>,
    /// Since when every answer says that it is gone or empty, and what it says.
    gone: Option<(Timestamp, String)>,
    asked: bool,
    unwanted_since: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct PartEntry {
    prefixes: Vec<Prefix>,
    state: PartState,
}

#[derive(Clone, Debug)]
enum PartState {
    Good,
    /// Not confirmed since.
    Failed {
        error: FetchError,
        good_at: Option<Timestamp>,
    },
    Empty {
        why: String,
        since: Timestamp,
    },
}

impl Cache {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self { limits, entries: BTreeMap::new() }
    }

    /// Follows the configuration.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes in what became of asking for a source; whether what it stands for changed.
    pub fn accept(&mut self, key: &SourceKey, outcome: Outcome, now: Timestamp) -> bool {
        let limits = self.limits;
        let entry = self.entries.entry(key.clone()).or_default();
        if outcome == Outcome::Unchanged && entry.answered_at.is_none() {
            // The same as an answer that is not known here says nothing.
            return false;
        }
        entry.asked = true;
        match outcome {
            Outcome::Answer(answer) => entry.answer(answer, limits, now),
            Outcome::Unchanged if entry.is_settled() => {
                entry.answered_at = Some(now);
                return false;
            }
            Outcome::Unchanged => entry.repeat(limits, now),
            Outcome::Failed(error) => entry.fail(error, now),
            Outcome::Gone(why) => entry.gone(why, limits, now),
        }
        entry.settle(limits, now)
    }

    /// Lets time pass: whether anything changed by it.
    pub fn sweep(&mut self, now: Timestamp) -> bool {
        let limits = self.limits;
        let mut changed = false;
        for entry in self.entries.values_mut() {
            let due = entry.damper.next_release().is_some_and(|at| at <= now);
            if due || (limits.max_stale.is_some() && entry.is_failing()) {
                changed |= entry.settle(limits, now);
            }
        }
        changed
    }

    /// Forgets every source that nobody has wanted for a minute: who is asked may not have
    /// noticed that it was not wanted, and say next that nothing changed.
    pub fn retain(&mut self, wanted: &BTreeSet<SourceKey>, now: Timestamp) {
        self.entries.retain(|key, entry| {
            if wanted.contains(key) {
                entry.unwanted_since = None;
                return true;
            }
            let since = *entry.unwanted_since.get_or_insert(now);
            !is_over(since, UNWANTED, now)
        });
    }

    /// What a source stands for.
    pub fn resolution(&self, key: &SourceKey) -> Resolution {
        self.entries.get(key).map_or_else(Resolution::default, |entry| Resolution {
            prefixes: Arc::clone(&entry.prefixes),
            lapsed: Arc::clone(&entry.lapsed),
            known: entry.asked || entry.answered_at.is_some(),
            never_answered: entry.answered_at.is_none() && entry.error.is_some(),
        })
    }

    /// Why a source, or a part of it, could not be refreshed.
    pub fn failure(&self, key: &SourceKey) -> Option<Cause> {
        let entry = self.entries.get(key)?;
        let part = |part: &PartEntry| match &part.state {
            PartState::Failed { error, .. } => Some(error.cause),
            PartState::Good | PartState::Empty { .. } => None,
        };
        entry
            .error
            .as_ref()
            .map(|error| error.cause)
            .or_else(|| entry.parts.values().find_map(part))
    }

    /// What is the matter with a source, in words; `None`: nothing.
    pub fn trouble(&self, key: &SourceKey) -> Option<&str> {
        let entry = self.entries.get(key)?;
        let mut failed = entry.parts.values().filter_map(|part| match &part.state {
            PartState::Failed { error, .. } => Some(error.message.as_str()),
            PartState::Good | PartState::Empty { .. } => None,
        });
        let gone = entry.gone.as_ref().map(|(_, why)| why.as_str());
        let error = entry.error.as_ref().map(|error| error.message.as_str());
        error.or(gone).or_else(|| failed.next())
    }

    /// How a source is.
    pub fn state(&self, key: &SourceKey) -> SourceState {
        match self.entries.get(key) {
            Some(entry) => entry.state(),
            None => Entry::default().state(),
        }
    }

    /// Everything worth keeping over a restart.
    pub fn store(&self) -> Vec<Stored> {
        let stored = |(key, entry): (&SourceKey, &Entry)| {
            Some(Stored {
                key: key.clone(),
                answered_at: entry.answered_at?,
                from: entry.from.clone(),
                parts: entry
                    .parts
                    .iter()
                    .map(|(name, part)| (name.clone(), part.prefixes.clone()))
                    .collect(),
            })
        };
        self.entries.iter().filter_map(stored).collect()
    }

    /// Takes over what an earlier run knew.
    pub fn restore(&mut self, stored: Vec<Stored>, now: Timestamp) {
        for Stored { key, answered_at, from, parts } in stored {
            let mut entry = Entry { answered_at: Some(answered_at), from, ..Entry::default() };
            let part = |(name, prefixes)| (name, PartEntry { prefixes, state: PartState::Good });
            entry.parts = parts.into_iter().map(part).collect();
            entry.settle(self.limits, now);
            self.entries.insert(key, entry);
        }
    }
}

impl Entry {
    fn answer(&mut self, answer: Answer, limits: Limits, now: Timestamp) {
        (self.from, self.notes, self.grace) = (answer.from, answer.notes, answer.grace);
        if answer.parts.is_empty() {
            return self.gone("the answer is complete and empty".to_owned(), limits, now);
        }
        (self.error, self.gone) = (None, None);
        let good_at = self.answered_at;
        let is_empty = answer.parts.values().all(|part| match part {
            Part::Prefixes(prefixes) => prefixes.is_empty(),
            Part::Failed(_) => false,
            Part::Empty(_) => true,
        });
        let mut before = std::mem::take(&mut self.parts);
        for (name, part) in answer.parts {
            let old = before.remove(&name);
            self.parts.insert(name, merge(old, part, good_at, limits, now));
        }
        if is_empty {
            // All of it vanished at once: as with a list that is empty, that has to last.
            let why = "is in the answer no more";
            for (name, old) in before {
                let part = merge(Some(old), Part::Empty(why.to_owned()), good_at, limits, now);
                if !part.prefixes.is_empty() {
                    self.parts.insert(name, part);
                }
            }
        }
        self.answered_at = Some(now);
    }

    /// The last answer, given again.
    fn repeat(&mut self, limits: Limits, now: Timestamp) {
        self.error = None;
        if let Some((_, why)) = self.gone.clone() {
            return self.gone(why, limits, now);
        }
        for part in self.parts.values_mut() {
            if let PartState::Empty { since, .. } = &part.state
                && is_over(*since, limits.gone_after, now)
            {
                part.prefixes.clear();
            }
        }
        self.answered_at = Some(now);
    }

    fn fail(&mut self, error: FetchError, now: Timestamp) {
        self.error = Some(error);
        // Gone is believed of consecutive answers only.
        self.gone = None;
        for part in self.parts.values_mut() {
            if let PartState::Empty { since, .. } = &mut part.state {
                *since = now;
            }
        }
    }

    /// Whether the last answer said nothing that time could change.
    fn is_settled(&self) -> bool {
        self.error.is_none()
            && self.gone.is_none()
            && self.answered_at.is_some()
            && self.damper.next_release().is_none()
            && self.parts.values().all(|part| matches!(part.state, PartState::Good))
    }

    fn is_failing(&self) -> bool {
        let failed = |part: &PartEntry| matches!(part.state, PartState::Failed { .. });
        self.error.is_some() || self.parts.values().any(failed)
    }

    fn gone(&mut self, why: String, limits: Limits, now: Timestamp) {
        self.error = None;
        let since = self.gone.as_ref().map_or(now, |(since, _)| *since);
        self.gone = Some((since, why));
        if is_over(since, limits.gone_after, now) {
            self.parts.clear();
            self.answered_at = Some(now);
        }
    }

    /// Brings `prefixes` up to date; whether they changed.
    fn settle(&mut self, limits: Limits, now: Timestamp) -> bool {
        let is_lapsed = |good_at: Option<Timestamp>| {
            limits.max_stale.zip(good_at).is_some_and(|(max, at)| is_over(at, max, now))
        };
        let all_lapsed = self.error.is_some() && is_lapsed(self.answered_at);
        let (mut current, mut lapsed) = (Vec::new(), Vec::new());
        for part in self.parts.values() {
            let part_lapsed = match &part.state {
                PartState::Failed { good_at, .. } => is_lapsed(*good_at),
                PartState::Good | PartState::Empty { .. } => false,
            };
            let target = if all_lapsed || part_lapsed { &mut lapsed } else { &mut current };
            target.extend_from_slice(&part.prefixes);
        }
        for list in [&mut current, &mut lapsed] {
            list.sort_unstable();
            list.dedup();
        }
        lapsed.retain(|prefix| current.binary_search(prefix).is_err());
        let held = if lapsed.is_empty() {
            self.damper.update(&self.prefixes, &current, self.grace, now)
        } else {
            // Nothing that is held may outlive max_stale.
            let rest: Vec<Prefix> = self
                .prefixes
                .iter()
                .filter(|p| lapsed.binary_search(p).is_err())
                .copied()
                .collect();
            self.damper.update(&rest, &current, self.grace, now)
        };
        let changed = *held != *self.prefixes || *lapsed != *self.lapsed;
        if changed {
            (self.prefixes, self.lapsed) = (held.into(), lapsed.into());
        }
        changed
    }

    fn state(&self) -> SourceState {
        let mut unresolved = Vec::new();
        let mut failed = false;
        for (name, part) in &self.parts {
            match &part.state {
                PartState::Good => {}
                PartState::Failed { error, .. } => {
                    failed = true;
                    unresolved.push((name.clone(), error.message.clone()));
                }
                PartState::Empty { why, .. } => unresolved.push((name.clone(), why.clone())),
            }
        }
        if let Some((_, why)) = &self.gone {
            unresolved.push(("the whole".to_owned(), why.clone()));
        }
        let state = if !self.asked && self.answered_at.is_none() {
            "pending"
        } else if !self.lapsed.is_empty() {
            "expired"
        } else if self.gone.is_some() && !self.prefixes.is_empty() {
            "gone"
        } else if self.error.is_some() || failed || !self.asked {
            "stale"
        } else if self.prefixes.is_empty() {
            "unresolvable"
        } else {
            "ok"
        };
        SourceState {
            state,
            from: Some(self.from.clone()).filter(|from| !from.is_empty()),
            answered_at: self.answered_at,
            unresolved,
            error: self.error.clone(),
            notes: self.notes.clone(),
        }
    }
}

fn merge(
    old: Option<PartEntry>,
    part: Part,
    answered_at: Option<Timestamp>,
    limits: Limits,
    now: Timestamp,
) -> PartEntry {
    let (prefixes, before) = match old {
        Some(old) => (old.prefixes, Some(old.state)),
        None => (Vec::new(), None),
    };
    match part {
        Part::Prefixes(mut prefixes) if !prefixes.is_empty() => {
            prefixes.sort_unstable();
            prefixes.dedup();
            PartEntry { prefixes, state: PartState::Good }
        }
        Part::Failed(error) => {
            let good_at = match before {
                Some(PartState::Failed { good_at, .. }) => good_at,
                Some(_) => answered_at,
                None => None,
            };
            PartEntry { prefixes, state: PartState::Failed { error, good_at } }
        }
        Part::Empty(why) => empty(prefixes, before, why, limits, now),
        Part::Prefixes(_) => empty(prefixes, before, "has no address".to_owned(), limits, now),
    }
}

fn empty(
    mut prefixes: Vec<Prefix>,
    before: Option<PartState>,
    why: String,
    limits: Limits,
    now: Timestamp,
) -> PartEntry {
    let since = match before {
        Some(PartState::Empty { since, .. }) => since,
        _ => now,
    };
    if is_over(since, limits.gone_after, now) {
        prefixes.clear();
    }
    PartEntry { prefixes, state: PartState::Empty { why, since } }
}

fn is_over(since: Timestamp, limit: Duration, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(since)).is_ok_and(|passed| passed >= limit)
}

#[cfg(test)]
mod tests;
