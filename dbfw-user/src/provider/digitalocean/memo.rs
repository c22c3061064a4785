//! What was reported last, so that what is the same is only called unchanged. Pure.

use std::collections::{BTreeSet, HashMap};

use crate::{
    answers::{Answer, Outcome, Part},
    provider::worker::{Demand, ListOutcome},
    source::SourceKey,
};

/// The last report on everything that is wanted.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    lists: HashMap<String, u128>,
    sources: HashMap<SourceKey, Last>,
}

#[derive(Debug)]
struct Last {
    /// The mark of the answers it was made of.
    print: u128,
    answer: Answer,
}

impl Memo {
    /// The report on a list whose answer has the mark `print`.
    pub(crate) fn list(
        &mut self,
        provider: &str,
        print: u128,
        make: impl FnOnce() -> ListOutcome,
    ) -> ListOutcome {
        if self.lists.get(provider) == Some(&print) {
            return ListOutcome::Unchanged;
        }
        let outcome = make();
        if matches!(outcome, ListOutcome::List { .. }) {
            self.lists.insert(provider.to_owned(), print);
        }
        outcome
    }

    /// The next answer for a list is reported in full.
    pub(crate) fn list_failed(&mut self, provider: &str) {
        self.lists.remove(provider);
    }

    /// The report on a source whose answers have the mark `print`; `None` if one is missing.
    pub(crate) fn source(
        &mut self,
        key: &SourceKey,
        print: Option<u128>,
        make: impl FnOnce() -> Outcome,
    ) -> Outcome {
        let last = self.sources.get_mut(key);
        if let (Some(last), Some(print)) = (&last, print)
            && last.print == print
        {
            return Outcome::Unchanged;
        }
        let outcome = make();
        match (&outcome, print, last) {
            (Outcome::Answer(answer), Some(print), Some(last)) if *answer == last.answer => {
                last.print = print;
                return Outcome::Unchanged;
            }
            (Outcome::Answer(answer), Some(print), _) if is_full(answer) => {
                let answer = answer.clone();
                self.sources.insert(key.clone(), Last { print, answer });
            }
            _ => {
                self.sources.remove(key);
            }
        }
        outcome
    }

    /// Forgets what nobody wants any more: should it be wanted again, it is news.
    pub(crate) fn retain(&mut self, wanted: &Demand) {
        self.lists.retain(|provider, _| wanted.lists.contains(provider));
        self.retain_sources(&wanted.sources);
    }

    fn retain_sources(&mut self, wanted: &BTreeSet<SourceKey>) {
        self.sources.retain(|key, _| wanted.contains(key));
    }
}

/// Whether nothing of an answer has to be asked for again.
fn is_full(answer: &Answer) -> bool {
    let failed = |part: &Part| matches!(part, Part::Failed(_));
    answer.unanswered.is_none() && !answer.parts.values().any(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::{Cause, FetchError};

    fn key() -> SourceKey {
        SourceKey::new(crate::source::SourceType::Tag, "web").unwrap()
    }

    fn answer(part: Part) -> Outcome {
        Outcome::Answer(Answer {
            parts: [("droplet 1".to_owned(), part)].into(),
            ..Answer::default()
        })
    }

    fn address(text: &str) -> Part {
        Part::Prefixes(vec![text.parse().unwrap()])
    }

    fn failure() -> FetchError {
        FetchError::new(Cause::Server, "500")
    }

    #[test]
    fn the_same_is_unchanged() {
        let mut memo = Memo::default();
        let first = answer(address("10.0.0.1"));
        assert_eq!(memo.source(&key(), Some(1), || first.clone()), first);
        let never = || panic!("what is the same need not be made");
        assert_eq!(memo.source(&key(), Some(1), never), Outcome::Unchanged);
        // Other answers that come to the same.
        assert_eq!(memo.source(&key(), Some(2), || first.clone()), Outcome::Unchanged);
        assert_eq!(memo.source(&key(), Some(2), never), Outcome::Unchanged);
        let second = answer(address("10.0.0.2"));
        assert_eq!(memo.source(&key(), Some(3), || second.clone()), second);
        assert_eq!(memo.source(&key(), Some(1), || first.clone()), first);
    }

    #[test]
    fn only_a_full_answer_can_stay_unchanged() {
        let full = answer(address("10.0.0.1"));
        let partly = answer(Part::Failed(failure()));
        for between in [Outcome::Failed(failure()), Outcome::Gone("404".to_owned()), partly] {
            let mut memo = Memo::default();
            assert_eq!(memo.source(&key(), Some(1), || full.clone()), full);
            for print in [None, Some(2)] {
                assert_eq!(memo.source(&key(), print, || between.clone()), between);
            }
            assert_eq!(memo.source(&key(), Some(1), || full.clone()), full);
        }
    }

    #[test]
    fn what_was_not_wanted_meanwhile_is_news() {
        let mut memo = Memo::default();
        let full = answer(address("10.0.0.1"));
        let list = || ListOutcome::List { sources: Vec::new(), problems: Vec::new() };
        for _ in 0..2 {
            assert_eq!(memo.source(&key(), Some(1), || full.clone()), full);
            assert_eq!(memo.list("digitalocean:x", 1, list), list());
            assert_eq!(memo.list("digitalocean:x", 1, list), ListOutcome::Unchanged);
            memo.retain(&Demand::default());
        }
        memo.list("digitalocean:x", 1, list);
        memo.list_failed("digitalocean:x");
        assert_eq!(memo.list("digitalocean:x", 1, list), list());
    }
}
