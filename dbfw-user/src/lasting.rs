//! Problems that last: each is logged when it begins, when its text changes and when it ends.

use std::{collections::BTreeMap, fmt::Display};

/// The problems that are there now, by what each is.
#[derive(Debug, Default)]
pub(crate) struct LastingProblems(BTreeMap<&'static str, String>);

/// A change that is to be logged.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Began(String),
    Ended,
}

impl LastingProblems {
    /// Takes in whether something fails now, and logs that if it did not the last time, or for
    /// another reason. `what` says what fails, without the reason.
    pub(crate) fn follow<E: Display>(&mut self, what: &'static str, result: Result<(), E>) {
        match self.take_in(what, result) {
            Some(Change::Began(reason)) => tracing::error!("{what}: {reason}"),
            Some(Change::Ended) => tracing::info!("resolved: {what}"),
            None => {}
        }
    }

    fn take_in<E: Display>(&mut self, what: &'static str, result: Result<(), E>) -> Option<Change> {
        let Err(error) = result else { return self.0.remove(what).map(|_| Change::Ended) };
        let reason = error.to_string();
        let before = self.0.insert(what, reason.clone());
        (before.as_ref() != Some(&reason)).then_some(Change::Began(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_when_it_begins_changes_and_ends() {
        let mut problems = LastingProblems::default();
        let began = |reason: &str| Some(Change::Began(reason.to_owned()));
        for (what, result, told) in [
            ("write", Ok(()), None),
            ("write", Err("full"), began("full")),
            ("write", Err("full"), None),
            ("list", Err("full"), began("full")),
            ("write", Err("read-only"), began("read-only")),
            ("write", Err("read-only"), None),
            ("write", Ok(()), Some(Change::Ended)),
            ("write", Ok(()), None),
            ("list", Err("full"), None),
            ("write", Err("read-only"), began("read-only")),
        ] {
            assert_eq!(problems.take_in(what, result), told, "{what} {result:?}");
        }
    }
}
