//! Last answer about one source, and its age.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    answer::{Answer, Part, Unanswered},
    error::FetchError,
};
use crate::source::{Prefix, PrefixSet};

/// Limits on the age of answers that are not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time for which the answer "gone" or "empty" has to stand before it is believed.
    pub gone_after: Duration,
    /// Oldest age of a last good answer; `None`: any age.
    pub max_stale: Option<Duration>,
}

/// The state of a source's resolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceState {
    /// It was not asked for yet.
    #[default]
    Pending,
    /// Its answer is current.
    Ok,
    /// It could not be refreshed: what it last resolved to stays in force.
    Stale,
    /// The provider says that it does not exist any more; its prefixes will go.
    Gone,
    /// It resolves to no address.
    Unresolvable,
    /// `max_stale` is over for some of it.
    Expired,
}

/// The resolution of a source, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceReport {
    /// Its state.
    pub state: SourceState,
    /// The request that was answered.
    pub from: Option<String>,
    /// The time at which its prefixes were last confirmed.
    pub answered_at: Option<Timestamp>,
    /// Its parts that have no address or could not be asked for, and why.
    pub unresolved: Vec<(String, String)>,
    /// The error of the last try.
    pub error: Option<FetchError>,
    /// Notes on what is probably not meant.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) parts: BTreeMap<String, PartEntry>,
    /// Prefixes of all parts, and those held through their grace period.
    pub(super) prefixes: PrefixSet,
    pub(super) lapsed: PrefixSet,
    held: BTreeMap<Prefix, GracePeriod>,
    pub(super) grace: Duration,
    pub(super) answered_at: Option<Timestamp>,
    pub(super) from: String,
    pub(super) notes: Vec<String>,
    pub(super) error: Option<FetchError>,
    /// The parts that the last answer leaves open.
    pub(super) unanswered: Option<Unanswered>,
    /// Since when every answer says that it is gone or empty, and what it says.
    pub(super) gone: Option<(Timestamp, String)>,
    pub(super) asked: bool,
    /// The last answer, to recognise the same one by.
    last: Option<Arc<Answer>>,
}

/// A prefix that vanished and stays for the grace period.
#[derive(Clone, Copy, Debug)]
struct GracePeriod {
    since: Timestamp,
    until: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) struct PartEntry {
    pub(super) prefixes: PrefixSet,
    /// The time at which an answer last had them.
    pub(super) good_at: Option<Timestamp>,
    /// Whether `max_stale` dropped them.
    pub(super) lapsed: bool,
    pub(super) state: PartState,
}

#[derive(Clone, Debug)]
pub(super) enum PartState {
    Good,
    /// Not confirmed since.
    Failed {
        error: FetchError,
    },
    Empty {
        why: String,
        /// `None`: something else came between.
        since: Option<Timestamp>,
    },
}

impl Entry {
    /// Whether `answer` is the one this entry was made of, and time changes nothing of it.
    pub(super) fn is_confirmed_by(&self, answer: &Arc<Answer>) -> bool {
        let is_same = |last: &Arc<Answer>| Arc::ptr_eq(last, answer) || *last == *answer;
        self.is_stable() && self.last.as_ref().is_some_and(is_same)
    }

    /// Takes note that the last answer was given again.
    pub(super) fn confirm(&mut self, now: Timestamp) {
        self.answered_at = Some(now);
        self.parts.values_mut().for_each(|part| part.good_at = Some(now));
    }

    pub(super) fn answer(&mut self, answer: Arc<Answer>, limits: Limits, now: Timestamp) {
        self.last = Some(Arc::clone(&answer));
        self.from.clone_from(&answer.from);
        self.notes.clone_from(&answer.notes);
        self.grace = answer.grace;
        let is_empty = answer.parts.values().all(|part| match part {
            Part::Prefixes(prefixes) => prefixes.is_empty(),
            Part::Failed(_) | Part::Empty(_) => true,
        });
        if let Some(rest) = &answer.unanswered
            && (is_empty || self.answered_at.is_none())
        {
            // Half an answer takes nothing where it is all there is.
            return self.fail(rest.error.clone());
        }
        if answer.parts.is_empty() {
            return self.gone("the answer is complete and empty".to_owned(), limits, now);
        }
        (self.error, self.gone, self.unanswered) = (None, None, answer.unanswered.clone());
        let mut before = std::mem::take(&mut self.parts);
        for (name, part) in &answer.parts {
            let old = before.remove(name);
            self.parts.insert(name.clone(), merge(old, part.clone(), limits, now));
        }
        for (name, old) in before {
            let part = match &self.unanswered {
                Some(rest) if rest.has(&name) => Part::Failed(rest.error.clone()),
                // All of it vanished at once: as with a list that is empty, that has to last.
                _ if is_empty => Part::Empty("is no longer in the answer".to_owned()),
                _ => continue,
            };
            let part = merge(Some(old), part, limits, now);
            if !part.prefixes.is_empty() {
                self.parts.insert(name, part);
            }
        }
        self.answered_at = Some(now);
    }

    pub(super) fn fail(&mut self, error: FetchError) {
        (self.error, self.unanswered) = (Some(error), None);
        // Gone is believed of consecutive answers only.
        self.gone = None;
        for part in self.parts.values_mut() {
            if let PartState::Empty { since, .. } = &mut part.state {
                *since = None;
            }
        }
    }

    /// Adjusts every stored time. Parts that `max_stale` dropped while they could not be refreshed
    /// are judged anew by the next [`Self::update_prefixes`].
    pub(super) fn adjust_times(&mut self, adjust: &dyn Fn(&mut Timestamp)) {
        let failed = self.error.is_some();
        for part in self.parts.values_mut() {
            part.good_at.iter_mut().for_each(adjust);
            match &mut part.state {
                PartState::Empty { since, .. } => since.iter_mut().for_each(adjust),
                PartState::Failed { .. } => part.lapsed = false,
                PartState::Good => part.lapsed &= !failed,
            }
        }
        self.answered_at.iter_mut().for_each(adjust);
        self.gone.iter_mut().for_each(|(since, _)| adjust(since));
        for hold in self.held.values_mut() {
            let before = hold.since;
            adjust(&mut hold.since);
            let by = hold.since.duration_since(before);
            hold.until = hold.until.saturating_add(by).unwrap_or(hold.until);
        }
    }

    /// Prefixes that vanished and are held, each with its end.
    pub(super) fn held(&self) -> impl Iterator<Item = (Prefix, Timestamp)> {
        self.held.iter().map(|(prefix, hold)| (*prefix, hold.until))
    }

    /// Holds what vanished in an earlier run, each prefix until its time.
    pub(super) fn hold(&mut self, held: Vec<(Prefix, Timestamp)>, now: Timestamp) {
        let hold = |(prefix, until)| (prefix, GracePeriod { since: now, until });
        self.held = held.into_iter().map(hold).collect();
    }

    /// The time at which the next held prefix goes.
    pub(super) fn next_release(&self) -> Option<Timestamp> {
        self.held.values().map(|hold| hold.until).min()
    }

    /// Whether time alone changes nothing of it.
    pub(super) fn is_stable(&self) -> bool {
        self.error.is_none()
            && self.unanswered.is_none()
            && self.gone.is_none()
            && self.answered_at.is_some()
            && self.held.is_empty()
            && self.parts.values().all(|part| matches!(part.state, PartState::Good) && !part.lapsed)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failure().is_some()
    }

    /// The error that kept it, or a part of it, from being refreshed.
    pub(super) fn failure(&self) -> Option<&FetchError> {
        let mut parts = self.parts.values().filter_map(|part| match &part.state {
            PartState::Failed { error, .. } => Some(error),
            PartState::Good | PartState::Empty { .. } => None,
        });
        let rest = self.unanswered.as_ref().map(|rest| &rest.error);
        self.error.as_ref().or(rest).or_else(|| parts.next())
    }

    pub(super) fn gone(&mut self, why: String, limits: Limits, now: Timestamp) {
        (self.error, self.unanswered) = (None, None);
        let since = self.gone.as_ref().map_or(now, |(since, _)| *since);
        self.gone = Some((since, why));
        if is_over(since, limits.gone_after, now) {
            self.parts.clear();
            self.answered_at = Some(now);
        }
    }

    /// Brings `prefixes` and `lapsed` up to date. Returns whether they changed.
    pub(super) fn update_prefixes(&mut self, limits: Limits, now: Timestamp) -> bool {
        let is_lapsed = |good_at: Option<Timestamp>| {
            limits.max_stale.zip(good_at).is_some_and(|(max, at)| is_over(at, max, now))
        };
        let all_failed = self.error.is_some();
        let (mut current, mut lapsed) = (Vec::new(), Vec::new());
        for part in self.parts.values_mut() {
            let failed = all_failed || matches!(part.state, PartState::Failed { .. });
            part.lapsed |= failed && is_lapsed(part.good_at);
            let target = if part.lapsed { &mut lapsed } else { &mut current };
            target.extend_from_slice(&part.prefixes);
        }
        for list in [&mut current, &mut lapsed] {
            list.sort_unstable();
            list.dedup();
        }
        lapsed.retain(|prefix| current.binary_search(prefix).is_err());
        // Nothing that lapsed is held: it would outlive max_stale.
        let vanished = |prefix: &Prefix| {
            current.binary_search(prefix).is_err() && lapsed.binary_search(prefix).is_err()
        };
        self.held.retain(|prefix, _| vanished(prefix));
        if let Some(until) = later(now, self.grace) {
            for prefix in self.prefixes.iter().filter(|prefix| vanished(prefix)) {
                self.held.entry(*prefix).or_insert(GracePeriod { since: now, until });
            }
        }
        self.held.retain(|_, hold| hold.until > now);
        current.extend(self.held.keys());
        current.sort_unstable();
        let changed = *current != *self.prefixes || *lapsed != *self.lapsed;
        if changed {
            // Of one part they are shared: a feed may have a million.
            let of_part = self.parts.values().find(|part| *part.prefixes == *current);
            self.prefixes = of_part.map_or_else(|| current.into(), |part| part.prefixes.clone());
            self.lapsed = lapsed.into();
        }
        changed
    }

    pub(super) fn state(&self) -> SourceReport {
        let mut unresolved = Vec::new();
        let rest = self.unanswered.as_ref();
        let mut failed = rest.is_some();
        if let Some(rest) = rest {
            unresolved.push((format!("{}s", rest.parts), rest.error.to_string()));
        }
        for (name, part) in &self.parts {
            match &part.state {
                PartState::Good => {}
                // One line stands for all of them.
                PartState::Failed { .. } if rest.is_some_and(|rest| rest.has(name)) => {}
                PartState::Failed { error, .. } => {
                    failed = true;
                    unresolved.push((name.clone(), error.to_string()));
                }
                PartState::Empty { why, .. } => unresolved.push((name.clone(), why.clone())),
            }
        }
        if let Some((_, why)) = &self.gone {
            unresolved.push(("the whole".to_owned(), why.clone()));
        }
        let state = if !self.asked && self.answered_at.is_none() {
            SourceState::Pending
        } else if !self.lapsed.is_empty() {
            SourceState::Expired
        } else if self.gone.is_some() && !self.prefixes.is_empty() {
            SourceState::Gone
        } else if self.error.is_some() || failed || !self.asked {
            SourceState::Stale
        } else if self.prefixes.is_empty() {
            SourceState::Unresolvable
        } else {
            SourceState::Ok
        };
        SourceReport {
            state,
            from: Some(self.from.clone()).filter(|from| !from.is_empty()),
            answered_at: self.answered_at,
            unresolved,
            error: self.error.clone(),
            notes: self.notes.clone(),
        }
    }
}

fn merge(old: Option<PartEntry>, part: Part, limits: Limits, now: Timestamp) -> PartEntry {
    let nothing =
        PartEntry { prefixes: [].into(), good_at: None, lapsed: false, state: PartState::Good };
    let old = old.unwrap_or(nothing);
    match part {
        Part::Prefixes(prefixes) if !prefixes.is_empty() => {
            PartEntry { prefixes, good_at: Some(now), lapsed: false, state: PartState::Good }
        }
        Part::Failed(error) => PartEntry { state: PartState::Failed { error }, ..old },
        Part::Empty(why) => empty(old, why, limits, now),
        Part::Prefixes(_) => empty(old, "has no address".to_owned(), limits, now),
    }
}

fn empty(mut old: PartEntry, why: String, limits: Limits, now: Timestamp) -> PartEntry {
    let since = match old.state {
        PartState::Empty { since, .. } => since.unwrap_or(now),
        _ => now,
    };
    if is_over(since, limits.gone_after, now) {
        old.prefixes = [].into();
    }
    PartEntry { state: PartState::Empty { why, since: Some(since) }, ..old }
}

/// The end of the grace period; `None`: there is none.
fn later(now: Timestamp, grace: Duration) -> Option<Timestamp> {
    if grace.is_zero() { None } else { now.checked_add(grace).ok() }
}

pub(super) fn is_over(since: Timestamp, limit: Duration, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(since)).is_ok_and(|passed| passed >= limit)
}
