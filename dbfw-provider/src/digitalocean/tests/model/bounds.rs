//! What has to stay trusted through faults, and what may be trusted at all.

use std::collections::{BTreeMap, BTreeSet};

use dbfw_core::source::{Prefix, SourceKey};
use proptest::prelude::*;

use super::account::{Account, Counts};

pub(super) type Trusted = BTreeMap<SourceKey, BTreeSet<Prefix>>;

/// What was true so far.
pub(super) struct Bounds {
    gone_after: i64,
    counts: Counts,
    ever: Trusted,
    /// Which parts of a source an address was ever in.
    holders: BTreeMap<(SourceKey, Prefix), BTreeSet<String>>,
    /// Since when every round may have said that a source, or some part of it, is gone; and
    /// whether that was ever a lie.
    denied: BTreeMap<SourceKey, (i64, bool)>,
}

impl Bounds {
    pub(super) fn new(gone_after: i64, counts: Counts) -> Self {
        let (ever, holders, denied) = Default::default();
        Self { gone_after, counts, ever, holders, denied }
    }

    /// A round in which the account is like this, and said, if it `lied`, that something is
    /// gone that exists.
    pub(super) fn round(
        &mut self,
        account: &Account,
        lied: bool,
        now: i64,
        before: &Trusted,
        after: &Trusted,
    ) -> Result<(), TestCaseError> {
        for (key, trusted) in after {
            let truth = account.prefixes(key, self.counts);
            self.note(account, key, lied, now);
            let new: BTreeSet<_> = trusted.difference(&before[key]).copied().collect();
            prop_assert!(new.is_subset(&truth), "{key}: {new:?} is new, though it is {truth:?}");
            let ever = &self.ever[key];
            prop_assert!(trusted.is_subset(ever), "{key}: {trusted:?}, though it was {ever:?}");
            for prefix in &before[key] {
                let must = self.must_stay(account, key, prefix, now);
                prop_assert!(!must || trusted.contains(prefix), "{key}: {prefix} is lost");
            }
        }
        Ok(())
    }

    fn note(&mut self, account: &Account, key: &SourceKey, lied: bool, now: i64) {
        let parts = account.parts(key, self.counts);
        let ever = self.ever.entry(key.clone()).or_default();
        for (name, prefixes) in parts.iter().flatten() {
            for prefix in prefixes {
                ever.insert(*prefix);
                let holders = self.holders.entry((key.clone(), *prefix)).or_default();
                holders.insert(name.clone());
            }
        }
        let is_denied = parts.is_none_or(|parts| parts.values().any(BTreeSet::is_empty));
        if lied || is_denied {
            self.denied.entry(key.clone()).or_insert((now, false)).1 |= lied;
        } else {
            self.denied.remove(key);
        }
    }

    /// Whether no answer of this round can have taken it away.
    fn must_stay(&self, account: &Account, key: &SourceKey, prefix: &Prefix, now: i64) -> bool {
        let is_true = account.prefixes(key, self.counts).contains(prefix);
        match self.denied.get(key) {
            Some((since, lied)) if now - since >= self.gone_after => is_true && !lied,
            _ if is_true => true,
            // Gone, but not for long enough; a whole answer without it counts at once.
            _ => account.parts(key, self.counts).is_none_or(|parts| {
                let holders = &self.holders[&(key.clone(), *prefix)];
                holders.iter().any(|name| parts.get(name).is_some_and(BTreeSet::is_empty))
            }),
        }
    }
}
