//! [`Cache`]: the last answer about every source, and which of its prefixes stay trusted.
//!
//! A failure never takes a prefix away. What a provider calls gone goes after `gone_after`,
//! what a complete answer no longer holds goes at once (or after its grace), and what cannot
//! be refreshed goes after `max_stale`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    answer::Outcome,
    entry::{Entry, Limits, PartEntry, PartState, SourceReport},
    error::Cause,
};
use crate::source::{Prefix, PrefixSet, SourceKey};

/// The last answer about every source.
///
/// ```
/// use std::{collections::BTreeMap, time::Duration};
///
/// use dbfw_core::{
///     answers::{Answer, Cache, Cause, FetchError, Limits, Outcome, Part},
///     source::{Prefix, SourceKey, SourceType},
/// };
///
/// let limits = Limits { gone_after: Duration::from_secs(120), max_stale: None };
/// let mut cache = Cache::new(limits);
/// let backend = SourceKey::new(SourceType::Tag, "backend").unwrap();
/// let now = "2026-12-01T00:00:00Z".parse().unwrap();
///
/// let address: Prefix = "10.0.0.1".parse().unwrap();
/// let parts = BTreeMap::from([("droplet 1".to_owned(), Part::prefixes(vec![address]))]);
/// let answer = Answer { parts, ..Answer::default() };
/// assert!(cache.accept(&backend, answer.into(), now), "the prefixes changed");
///
/// // A failure takes nothing away.
/// let error = FetchError::new(Cause::Server, "GET /v2/droplets: 500");
/// assert!(!cache.accept(&backend, Outcome::Failed(error), now));
/// assert_eq!(*cache.resolution(&backend).prefixes, [address]);
/// ```
#[derive(Clone, Debug)]
pub struct Cache {
    limits: Limits,
    entries: BTreeMap<SourceKey, Entry>,
}

/// The prefixes of a source at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Its prefixes.
    pub prefixes: PrefixSet,
    /// Those that were dropped by `max_stale` alone: by the operator's limit, not by a provider.
    pub lapsed: PrefixSet,
    /// Whether it was asked for, with any result, or is known from an earlier run.
    pub known: bool,
    /// Whether there were only failures so far.
    pub never_answered: bool,
}

/// The last answer about a source, as the snapshot stores it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The source.
    pub key: SourceKey,
    /// The time at which it was last confirmed.
    pub answered_at: Timestamp,
    /// The request that was answered.
    pub from: String,
    /// Prefixes by part.
    pub parts: BTreeMap<String, Vec<Prefix>>,
    /// The time at which an answer last had each part.
    #[serde(default)]
    pub good_at: BTreeMap<String, Timestamp>,
    /// Parts that `max_stale` took away.
    #[serde(default)]
    pub lapsed: BTreeSet<String>,
    /// Time for which an address stays after it vanished.
    #[serde(default)]
    pub grace: Duration,
    /// Prefixes that vanished and are held, and until when.
    #[serde(default)]
    pub held: Vec<(Prefix, Timestamp)>,
}

impl Cache {
    /// An empty cache.
    pub fn new(limits: Limits) -> Self {
        Self { limits, entries: BTreeMap::new() }
    }

    /// Sets the limits, as a new configuration has them.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes in an outcome. Returns whether the prefixes of the source changed.
    pub fn accept(&mut self, key: &SourceKey, outcome: Outcome, now: Timestamp) -> bool {
        let limits = self.limits;
        let entry = self.entries.entry(key.clone()).or_default();
        entry.asked = true;
        match outcome {
            Outcome::Answer(answer) if entry.is_confirmed_by(&answer) => {
                entry.confirm(now);
                return false;
            }
            Outcome::Answer(answer) => entry.answer(answer, limits, now),
            Outcome::Failed(error) => entry.fail(error),
            Outcome::Gone(why) => entry.gone(why, limits, now),
        }
        entry.update_prefixes(limits, now)
    }

    /// Drops what is too old at `now`. Returns whether anything changed.
    pub fn drop_expired(&mut self, now: Timestamp) -> bool {
        let limits = self.limits;
        let mut changed = false;
        for entry in self.entries.values_mut() {
            let due = entry.next_release().is_some_and(|at| at <= now);
            if due || (limits.max_stale.is_some() && entry.is_failing()) {
                changed |= entry.update_prefixes(limits, now);
            }
        }
        changed
    }

    /// Adjusts every stored time after the clock was stepped, and applies `max_stale` anew.
    pub fn adjust_times(&mut self, adjust: &dyn Fn(&mut Timestamp), now: Timestamp) {
        for entry in self.entries.values_mut() {
            entry.adjust_times(adjust);
            entry.update_prefixes(self.limits, now);
        }
    }

    /// Forgets every source that is not wanted.
    pub fn retain(&mut self, wanted: &BTreeSet<SourceKey>) {
        self.entries.retain(|key, _| wanted.contains(key));
    }

    /// Takes over the answers that an earlier state of this cache had and this one has not.
    pub fn take_back(&mut self, earlier: &Self) {
        for (key, entry) in &earlier.entries {
            self.entries.entry(key.clone()).or_insert_with(|| entry.clone());
        }
    }

    /// The prefixes of a source.
    pub fn resolution(&self, key: &SourceKey) -> Resolution {
        self.entries.get(key).map_or_else(Resolution::default, |entry| Resolution {
            prefixes: entry.prefixes.clone(),
            lapsed: entry.lapsed.clone(),
            known: entry.asked || entry.answered_at.is_some(),
            never_answered: entry.answered_at.is_none() && entry.error.is_some(),
        })
    }

    /// The cause that kept a source, or a part of it, from being refreshed.
    pub fn failure(&self, key: &SourceKey) -> Option<Cause> {
        self.entries.get(key)?.failure().map(|error| error.cause)
    }

    /// The problem of a source as text; `None`: there is none.
    pub fn problem(&self, key: &SourceKey) -> Option<String> {
        let entry = self.entries.get(key)?;
        let gone = entry.gone.as_ref().filter(|_| entry.error.is_none());
        let failure = || entry.failure().map(ToString::to_string);
        gone.map(|(_, why)| why.clone()).or_else(failure)
    }

    /// The state of a source.
    pub fn state(&self, key: &SourceKey) -> SourceReport {
        match self.entries.get(key) {
            Some(entry) => entry.state(),
            None => Entry::default().state(),
        }
    }

    /// The answers to keep over a restart.
    pub fn store(&self) -> Vec<Stored> {
        let stored = |(key, entry): (&SourceKey, &Entry)| {
            Some(Stored {
                key: key.clone(),
                answered_at: entry.answered_at?,
                from: entry.from.clone(),
                parts: entry
                    .parts
                    .iter()
                    .map(|(name, part)| (name.clone(), part.prefixes.to_vec()))
                    .collect(),
                good_at: entry
                    .parts
                    .iter()
                    .filter_map(|(name, part)| Some((name.clone(), part.good_at?)))
                    .collect(),
                lapsed: entry
                    .parts
                    .iter()
                    .filter(|(_, part)| part.lapsed)
                    .map(|(name, _)| name.clone())
                    .collect(),
                grace: entry.grace,
                held: entry.held().collect(),
            })
        };
        self.entries.iter().filter_map(stored).collect()
    }

    /// Takes over the answers of an earlier run.
    pub fn restore(&mut self, stored: Vec<Stored>, now: Timestamp) {
        for Stored { key, answered_at, from, parts, good_at, lapsed, grace, held } in stored {
            let mut entry = Entry::default();
            (entry.answered_at, entry.from, entry.grace) = (Some(answered_at), from, grace);
            let part = |(name, prefixes): (String, Vec<Prefix>)| {
                let prefixes = prefixes.into();
                let good_at = Some(good_at.get(&name).copied().unwrap_or(answered_at));
                let lapsed = lapsed.contains(&name);
                (name, PartEntry { prefixes, good_at, lapsed, state: PartState::Good })
            };
            entry.parts = parts.into_iter().map(part).collect();
            entry.hold(held, now);
            entry.update_prefixes(self.limits, now);
            self.entries.insert(key, entry);
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
