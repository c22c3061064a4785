//! Model of the sources: the prefixes that may and that must be trusted.

use std::collections::{BTreeMap, BTreeSet};

use super::{GONE_AFTER, PartSaid, REST, Said};
use crate::source::Prefix;

/// The facts about one source.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    parts: BTreeMap<&'static str, KnownPart>,
    /// The last outcome is a failure of the whole.
    failing: bool,
    /// Something was said of what it consists of.
    pub(super) answered: bool,
    /// And that it is gone or empty since.
    pub(super) gone: bool,
    gone_since: Option<i64>,
    grace: i64,
    held: BTreeMap<Prefix, Held>,
}

/// The facts about a part that the last answer named.
#[derive(Clone, Debug)]
struct KnownPart {
    prefixes: BTreeSet<Prefix>,
    /// The time at which an answer last had them.
    good_at: i64,
    failing: bool,
    /// The last answer has nothing for it.
    empty: bool,
    /// Since when nothing but gone or empty was said of it.
    denied: Option<i64>,
    /// The same, in the same words: of the whole, or of this part.
    denied_alike: Option<(bool, i64)>,
    /// It may have been believed to be gone.
    doubtful: bool,
    lapsed: bool,
}

/// A prefix that vanished from an answer.
#[derive(Clone, Debug, Default)]
struct Held {
    vanished: Option<i64>,
    /// It has to stay until then, and may until then.
    must: i64,
    may: i64,
}

impl Model {
    pub(super) fn hear(&mut self, said: &Said, now: i64) {
        let (before, sure) = (self.answer(), self.sure());
        match said {
            Said::Failed => self.fail(),
            Said::Gone => self.deny_all(now),
            Said::Answer(parts, grace) => {
                self.grace = i64::try_from(*grace).unwrap();
                if parts.is_empty() {
                    self.deny_all(now);
                } else {
                    self.take(parts, false, now);
                }
            }
            Said::Partly(parts, grace) => {
                self.grace = i64::try_from(*grace).unwrap();
                if !self.answered || parts.values().all(PartSaid::is_empty) {
                    self.fail();
                } else {
                    self.take(parts, true, now);
                }
            }
            Said::Again => unreachable!("the run knows which answer that is"),
        }
        self.vanish(&before, &sure, now);
    }

    fn fail(&mut self) {
        (self.failing, self.gone_since) = (true, None);
        for part in self.parts.values_mut() {
            (part.denied, part.denied_alike) = (None, None);
        }
    }

    fn take(&mut self, parts: &BTreeMap<&'static str, PartSaid>, partly: bool, now: i64) {
        (self.failing, self.gone, self.answered) = (false, false, true);
        self.gone_since = None;
        let mut old = std::mem::take(&mut self.parts);
        for (name, said) in parts {
            let nothing = KnownPart {
                prefixes: BTreeSet::new(),
                good_at: now,
                failing: false,
                empty: false,
                denied: None,
                denied_alike: None,
                doubtful: false,
                lapsed: false,
            };
            let mut part = old.remove(name).unwrap_or_else(|| nothing.clone());
            match said {
                PartSaid::Prefixes(prefixes) if !prefixes.is_empty() => {
                    part = KnownPart { prefixes: prefixes.iter().copied().collect(), ..nothing };
                }
                PartSaid::Prefixes(_) | PartSaid::Empty => {
                    (part.failing, part.empty) = (false, true);
                    part.deny(false, now);
                }
                PartSaid::Failed => {
                    (part.failing, part.empty) = (true, false);
                    (part.denied, part.denied_alike) = (None, None);
                }
            }
            self.parts.insert(name, part);
        }
        if partly {
            for (name, mut part) in old {
                (part.failing, part.empty) = (true, false);
                (part.denied, part.denied_alike) = (None, None);
                if name.starts_with(REST) && !part.prefixes.is_empty() {
                    self.parts.insert(name, part);
                }
            }
        } else if parts.values().all(PartSaid::is_empty) {
            // All of it vanished at once: as with an empty answer, that has to last.
            for (name, mut part) in old {
                (part.failing, part.empty) = (false, true);
                part.deny(false, now);
                if !part.prefixes.is_empty() {
                    self.parts.insert(name, part);
                }
            }
        }
    }

    fn deny_all(&mut self, now: i64) {
        (self.failing, self.gone) = (false, true);
        let limit = i64::try_from(GONE_AFTER.as_secs()).unwrap();
        self.answered |= now - *self.gone_since.get_or_insert(now) >= limit;
        for part in self.parts.values_mut() {
            part.deny(true, now);
        }
    }

    /// The prefixes of the last answers, gone or not.
    fn answer(&self) -> BTreeSet<Prefix> {
        let current = self.parts.values().filter(|part| !part.lapsed);
        current.flat_map(|part| part.prefixes.iter().copied()).collect()
    }

    /// The same without what may have been believed to be gone.
    fn sure(&self) -> BTreeSet<Prefix> {
        let sure = self.parts.values().filter(|part| !part.lapsed && !part.doubtful);
        sure.flat_map(|part| part.prefixes.iter().copied()).collect()
    }

    /// Keeps book of what vanished and what came back.
    fn vanish(&mut self, before: &BTreeSet<Prefix>, sure: &BTreeSet<Prefix>, now: i64) {
        let (after, after_sure) = (self.answer(), self.sure());
        for prefix in before.difference(&after_sure) {
            let held = self.held.entry(*prefix).or_default();
            held.vanished.get_or_insert(now);
            held.may = held.may.max(now + self.grace);
            if sure.contains(prefix) && !after.contains(prefix) {
                held.must = now + self.grace;
            }
        }
        for (prefix, held) in &mut self.held {
            if after_sure.contains(prefix) && held.vanished.take().is_some() {
                (held.must, held.may) = (0, 0);
            }
        }
    }

    /// Nothing is older than `max_stale` that cannot be refreshed.
    pub(super) fn lapse(&mut self, max_stale: Option<i64>, now: i64) {
        let Some(max_stale) = max_stale else { return };
        for part in self.parts.values_mut() {
            part.lapsed |= (self.failing || part.failing) && now - part.good_at >= max_stale;
        }
        for part in self.parts.values().filter(|part| part.lapsed) {
            for prefix in &part.prefixes {
                self.held.entry(*prefix).or_default().must = 0;
            }
        }
    }

    pub(super) fn must(&self, now: i64) -> BTreeSet<Prefix> {
        let held = self.held.iter().filter(|(_, held)| held.must > now);
        self.sure().into_iter().chain(held.map(|(prefix, _)| *prefix)).collect()
    }

    pub(super) fn may(&self, now: i64) -> BTreeSet<Prefix> {
        let held = self.held.iter().filter(|(_, held)| held.may > now);
        self.answer().into_iter().chain(held.map(|(prefix, _)| *prefix)).collect()
    }

    /// A restart forgets what is only known of the run: failures, and since when a thing is
    /// gone.
    pub(super) fn restart(&mut self) {
        (self.failing, self.gone_since) = (false, None);
        for part in self.parts.values_mut() {
            (part.failing, part.empty, part.denied_alike) = (false, false, None);
        }
    }
}

impl KnownPart {
    fn deny(&mut self, whole: bool, now: i64) {
        let limit = i64::try_from(GONE_AFTER.as_secs()).unwrap();
        let since = *self.denied.get_or_insert(now);
        let alike = self.denied_alike.filter(|(of_whole, _)| *of_whole == whole);
        let (_, alike) = *self.denied_alike.insert(alike.unwrap_or((whole, now)));
        self.doubtful |= now - since >= limit;
        if now - alike >= limit {
            self.prefixes.clear();
            self.doubtful = false;
        }
    }
}
