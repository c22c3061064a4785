//! Outcomes of the last round, so that the same answers are not judged again.

use std::collections::HashMap;

use dbfw_core::{
    answers::{ListId, ListOutcome, Outcome},
    source::SourceKey,
};

use crate::worker::Demand;

/// The last outcome of everything wanted, with the fingerprint of the answers it follows from.
#[derive(Debug, Default)]
pub(crate) struct OutcomeCache {
    lists: HashMap<ListId, (u128, ListOutcome)>,
    sources: HashMap<SourceKey, (u128, Outcome)>,
}

impl OutcomeCache {
    /// The outcome for a list whose answer has this fingerprint.
    pub(crate) fn list(
        &mut self,
        list: &ListId,
        fingerprint: u128,
        judge: impl FnOnce() -> ListOutcome,
    ) -> ListOutcome {
        if let Some((known, outcome)) = self.lists.get(list)
            && *known == fingerprint
        {
            return outcome.clone();
        }
        let outcome = judge();
        self.lists.insert(list.clone(), (fingerprint, outcome.clone()));
        outcome
    }

    /// The outcome for a source whose answers have this fingerprint; `None`: one is missing.
    pub(crate) fn source(
        &mut self,
        key: &SourceKey,
        fingerprint: Option<u128>,
        judge: impl FnOnce() -> Outcome,
    ) -> Outcome {
        let Some(fingerprint) = fingerprint else { return judge() };
        if let Some((known, outcome)) = self.sources.get(key)
            && *known == fingerprint
        {
            return outcome.clone();
        }
        let outcome = judge();
        self.sources.insert(key.clone(), (fingerprint, outcome.clone()));
        outcome
    }

    /// Forgets what is not wanted any more.
    pub(crate) fn retain(&mut self, wanted: &Demand) {
        self.lists.retain(|list, _| wanted.lists.contains(list));
        self.sources.retain(|key, _| wanted.sources.contains(key));
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::Arc};

    use dbfw_core::{answers::Answer, source::SourceType};

    use super::*;

    #[test]
    fn the_same_answers_are_judged_once() {
        let mut cache = OutcomeCache::default();
        let key = SourceKey::new(SourceType::Tag, "web").unwrap();
        let judged = Cell::new(0);
        let judge = || {
            judged.set(judged.get() + 1);
            Outcome::from(Answer::default())
        };
        let first = cache.source(&key, Some(1), judge);
        let again = cache.source(&key, Some(1), judge);
        assert_eq!(judged.get(), 1);
        match (&first, &again) {
            (Outcome::Answer(first), Outcome::Answer(again)) => assert!(Arc::ptr_eq(first, again)),
            other => panic!("{other:?}"),
        }
        for (fingerprint, count) in [(None, 2), (Some(1), 2), (Some(2), 3), (Some(1), 4)] {
            cache.source(&key, fingerprint, judge);
            assert_eq!(judged.get(), count, "{fingerprint:?}");
        }
        cache.retain(&Demand::default());
        cache.source(&key, Some(1), judge);
        assert_eq!(judged.get(), 5, "it was not wanted meanwhile");
    }
}
