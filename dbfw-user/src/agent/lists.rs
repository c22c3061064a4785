//! What the provider of one database last said its trusted sources are.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    answers::{Cause, Damper},
    provider::{list::FileList, worker::ListOutcome},
    source::{Prefix, TrustedSource},
};

/// The last good list and how its provider is. What of it is in force is
/// [`super::enforced::Enforced`]'s to say.
#[derive(Clone, Debug)]
pub(super) struct List {
    /// The provider's name.
    pub(super) provider: Arc<str>,
    /// The last good list; `None`: there never was one.
    pub(super) sources: Option<Vec<Arc<TrustedSource>>>,
    /// What a long file says besides them, see [`FileList::plain`].
    pub(super) plain: Arc<[Prefix]>,
    /// When it was last confirmed.
    pub(super) read_at: Option<Timestamp>,
    /// Why the last try failed.
    pub(super) error: Option<(Cause, String)>,
    /// Rules of the last list that mean nothing here.
    pub(super) problems: Vec<String>,
    /// It is from the snapshot: nothing was read since the start.
    pub(super) from_snapshot: bool,
    /// Since when the provider says that there is no such list, and in which words.
    gone: Option<(Timestamp, String)>,
    /// It was gone for long enough to be believed.
    pub(super) is_gone: bool,
    /// The last answer, without what is held because it flaps.
    answer: Vec<Arc<TrustedSource>>,
    damper: Damper<Arc<TrustedSource>>,
}

impl List {
    /// Nothing read yet.
    pub(super) fn new(provider: String) -> Self {
        Self {
            provider: provider.into(),
            sources: None,
            plain: [].into(),
            read_at: None,
            error: None,
            problems: Vec::new(),
            from_snapshot: false,
            gone: None,
            is_gone: false,
            answer: Vec::new(),
            damper: Damper::default(),
        }
    }

    /// As it was when the snapshot was written. That does not say why nothing of a list was in
    /// force: such a list counts as not read yet.
    pub(super) fn restore(
        provider: String,
        sources: Vec<Arc<TrustedSource>>,
        plain: Arc<[Prefix]>,
        read_at: Timestamp,
    ) -> Self {
        let is_known = !sources.is_empty() || !plain.is_empty();
        Self {
            sources: is_known.then_some(sources),
            plain,
            read_at: Some(read_at),
            from_snapshot: true,
            ..Self::new(provider)
        }
    }

    /// Takes in what became of asking for the list; whether what it says changed.
    pub(super) fn accept(
        &mut self,
        outcome: ListOutcome,
        gone_after: Duration,
        now: Timestamp,
    ) -> bool {
        match outcome {
            ListOutcome::List { sources, problems } => {
                self.answer = sources.into_iter().map(Arc::new).collect();
                let sources = self.damp(self.answer.clone(), now);
                self.confirm(now);
                self.problems = problems;
                let changed = self.sources.as_ref() != Some(&sources) || self.is_gone;
                (self.sources, self.is_gone) = (Some(sources), false);
                changed
            }
            ListOutcome::Unchanged => {
                self.confirm(now);
                false
            }
            ListOutcome::Failed(error) => {
                self.gone = None;
                self.error = Some((error.cause, error.message));
                false
            }
            ListOutcome::Gone(why) => {
                let since = self.gone.as_ref().map_or(now, |(since, _)| *since);
                self.error = Some((Cause::NotFound, why.clone()));
                self.gone = Some((since, why));
                let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
                let believed = passed >= gone_after && self.sources.is_some();
                let changed = believed && !self.is_gone;
                self.is_gone |= believed;
                changed
            }
        }
    }

    /// A list in a file: what stands in it counts at once, however often it changes.
    pub(super) fn replace(&mut self, list: FileList, now: Timestamp) {
        let FileList { sources, plain } = list;
        self.confirm(now);
        self.problems.clear();
        self.is_gone = false;
        let same = |old: &Vec<Arc<TrustedSource>>| {
            old.len() == sources.len() && old.iter().zip(&sources).all(|(a, b)| **a == *b)
        };
        if !self.sources.as_ref().is_some_and(same) {
            self.sources = Some(sources.into_iter().map(Arc::new).collect());
        }
        if *self.plain != *plain {
            self.plain = plain.into();
        }
    }

    /// Whether it is known and names nobody.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.as_ref().is_some_and(Vec::is_empty) && self.plain.is_empty()
    }

    /// A list in a file cannot be read: keeps what is in force, says why. Files are looked at
    /// every second, so it was good until now.
    pub(super) fn failed(&mut self, cause: Cause, error: String, now: Timestamp) {
        if self.error.is_none() && !self.from_snapshot {
            self.read_at = self.read_at.map(|_| now);
        }
        self.gone = None;
        self.error = Some((cause, error));
    }

    /// Whether it is older than `max_stale` and cannot be refreshed.
    pub(super) fn is_lapsed(&self, max_stale: Option<Duration>, now: Timestamp) -> bool {
        let Some((max_stale, read_at)) = max_stale.zip(self.read_at) else { return false };
        let age = Duration::try_from(now.duration_since(read_at)).unwrap_or_default();
        self.error.is_some() && age >= max_stale
    }

    /// Moves every moment it remembers, after the clock was stepped.
    pub(super) fn move_moments(&mut self, adjust: &dyn Fn(&mut Timestamp)) {
        self.read_at.iter_mut().for_each(adjust);
        self.gone.iter_mut().for_each(|(since, _)| adjust(since));
        self.damper.move_moments(adjust);
    }

    fn confirm(&mut self, now: Timestamp) {
        (self.error, self.gone) = (None, None);
        self.read_at = Some(now);
        self.from_snapshot = false;
    }

    /// The list with the sources that are held because it flaps, at its end.
    fn damp(
        &mut self,
        mut sources: Vec<Arc<TrustedSource>>,
        now: Timestamp,
    ) -> Vec<Arc<TrustedSource>> {
        let sorted = |sources: &[Arc<TrustedSource>]| {
            let mut sorted = sources.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            sorted
        };
        let answer = sorted(&sources);
        let before = self.sources.as_deref().map(sorted).unwrap_or_default();
        let counts = self.damper.update(&before, &answer, Duration::ZERO, now);
        sources.extend(counts.into_iter().filter(|source| answer.binary_search(source).is_err()));
        sources
    }

    /// Lets time pass: whether what was held because the list flaps was let go.
    pub(super) fn sweep(&mut self, now: Timestamp) -> bool {
        if self.damper.next_release().is_none_or(|at| at > now) {
            return false;
        }
        let sources = Some(self.damp(self.answer.clone(), now));
        let changed = self.sources != sources;
        self.sources = sources;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::FetchError;

    const GONE_AFTER: Duration = Duration::from_secs(120);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn listed(values: &[&str]) -> ListOutcome {
        let source = |value: &&str| format!("ip_addr:{value}").parse().unwrap();
        ListOutcome::List { sources: values.iter().map(source).collect(), problems: vec![] }
    }

    fn list() -> List {
        let mut list = List::new("digitalocean:x".to_owned());
        assert!(list.accept(listed(&["10.0.0.1", "10.0.0.2"]), GONE_AFTER, at(0)));
        list
    }

    fn shown(list: &List) -> Vec<String> {
        list.sources.iter().flatten().map(|source| source.key().value().to_owned()).collect()
    }

    #[test]
    fn failures_keep_it_and_gone_takes_its_time() {
        let mut list = list();
        let failure = || ListOutcome::Failed(FetchError::new(Cause::Timeout, "no answer"));
        let gone = || ListOutcome::Gone("404".to_owned());
        assert!(!list.accept(failure(), GONE_AFTER, at(10_000)));
        assert!(!list.accept(gone(), GONE_AFTER, at(10_001)));
        assert!(!list.accept(gone(), GONE_AFTER, at(10_120)));
        assert!(!list.accept(failure(), GONE_AFTER, at(10_121)), "begins anew");
        assert!(!list.accept(gone(), GONE_AFTER, at(10_122)));
        assert!(list.accept(gone(), GONE_AFTER, at(10_242)));
        assert!(list.is_gone);
        assert_eq!(shown(&list), ["10.0.0.1", "10.0.0.2"]);
        assert!(list.accept(listed(&["10.0.0.1"]), GONE_AFTER, at(10_243)));
        assert!(!list.is_gone);
    }

    #[test]
    fn what_was_not_in_force_is_not_an_empty_list() {
        let restored = List::restore("digitalocean:x".to_owned(), vec![], [].into(), at(0));
        assert_eq!(restored.sources, None);
        assert!(!restored.is_empty(), "or on_empty would decide before anybody was asked");
    }

    #[test]
    fn a_list_that_flaps_settles() {
        let mut list = list();
        let mut changes = 0;
        for second in 1..100 {
            let values: &[&str] =
                if second % 2 == 0 { &["10.0.0.1", "10.0.0.2"] } else { &["10.0.0.1"] };
            changes += usize::from(list.accept(listed(values), GONE_AFTER, at(second)));
        }
        assert_eq!(changes, 4);
        assert_eq!(shown(&list), ["10.0.0.1", "10.0.0.2"]);
        assert!(!list.sweep(at(398)));
        assert!(list.sweep(at(399)));
        assert_eq!(shown(&list), ["10.0.0.1"]);
        assert!(!list.sweep(at(400)));
    }

    #[test]
    fn it_lapses_when_it_cannot_be_read() {
        let mut list = list();
        let max = Some(Duration::from_secs(60));
        assert!(!list.is_lapsed(max, at(100)), "nobody tried since");
        list.failed(Cause::Io, "gone".to_owned(), at(100));
        list.failed(Cause::Io, "gone".to_owned(), at(150));
        assert!(list.is_lapsed(max, at(160)));
        assert!(!list.is_lapsed(max, at(159)));
        assert!(!list.is_lapsed(None, at(1_000_000)));
    }
}
