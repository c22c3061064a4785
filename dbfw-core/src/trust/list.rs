//! The last list of one database's provider.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    answers::{Cause, Edition, ListId, ListOutcome, SourceList},
    source::{Origin, PrefixSet, TrustedSource},
};

/// The last good list of a database's provider, and the state of its provider. What of it is in
/// force is up to [`super::Enforced`].
#[derive(Clone, Debug)]
pub struct List {
    id: ListId,
    /// The id as text, for origins and logs.
    name: Arc<str>,
    /// Its worker looks at it all the time, so that it was good until a failure is reported.
    is_watched: bool,
    /// The last good list; `None`: there never was one.
    answer: Option<Arc<SourceList>>,
    /// The time at which it was last confirmed.
    read_at: Option<Timestamp>,
    /// The time until which it was good though nobody read it again: it is watched, and could not
    /// be read when it changed.
    good_until: Option<Timestamp>,
    /// The error of the last try.
    error: Option<(Cause, String)>,
    /// It is from the snapshot: nothing was read since the start.
    from_snapshot: bool,
    /// Since when the provider says that there is no such list.
    gone_since: Option<Timestamp>,
    /// The time at which it last said so.
    gone_at: Option<Timestamp>,
    /// It was gone for long enough to be believed.
    is_gone: bool,
}

impl List {
    /// A list of which nothing is known yet.
    pub fn new(id: &ListId) -> Self {
        Self {
            id: id.clone(),
            name: id.to_string().into(),
            is_watched: matches!(id, ListId::File(_)),
            answer: None,
            read_at: None,
            good_until: None,
            error: None,
            from_snapshot: false,
            gone_since: None,
            gone_at: None,
            is_gone: false,
        }
    }

    /// A list as it was when the snapshot was written. That does not say why nothing of a list
    /// was in force: such a list counts as not read yet.
    pub fn restore(
        id: &ListId,
        sources: Vec<Arc<TrustedSource>>,
        plain: PrefixSet,
        edition: Option<Edition>,
        read_at: Timestamp,
        good_until: Option<Timestamp>,
    ) -> Self {
        let edition = edition.map(Arc::new);
        let list = SourceList { sources, plain, edition, problems: Vec::new() };
        Self {
            answer: (!list.is_empty()).then(|| list.into()),
            read_at: Some(read_at),
            good_until,
            from_snapshot: true,
            ..Self::new(id)
        }
    }

    /// Takes in an outcome; whether what the list says changed.
    pub fn accept(&mut self, outcome: ListOutcome, gone_after: Duration, now: Timestamp) -> bool {
        match outcome {
            ListOutcome::Answer(answer) => {
                (self.error, self.gone_since) = (None, None);
                (self.read_at, self.good_until) = (Some(now), None);
                self.from_snapshot = false;
                let is_same =
                    |last: &Arc<SourceList>| Arc::ptr_eq(last, &answer) || **last == *answer;
                let changed = !self.answer.as_ref().is_some_and(is_same) || self.is_gone;
                (self.answer, self.is_gone) = (Some(answer), false);
                changed
            }
            ListOutcome::Failed(error) => {
                if self.is_watched && self.error.is_none() && !self.from_snapshot {
                    self.good_until = self.read_at.map(|_| now);
                }
                self.gone_since = None;
                self.error = Some((error.cause, error.to_string()));
                false
            }
            ListOutcome::Gone(why) => {
                let since = *self.gone_since.get_or_insert(now);
                self.gone_at = Some(now);
                self.error = Some((Cause::NotFound, why));
                let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
                let believed = passed >= gone_after && self.answer.is_some();
                let changed = believed && !self.is_gone;
                self.is_gone |= believed;
                changed
            }
        }
    }

    /// The id of the list.
    pub fn id(&self) -> &ListId {
        &self.id
    }

    /// The id as text, for logs.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// The origin of the list's rules.
    pub fn origin(&self) -> Origin {
        Origin::Provider(self.name())
    }

    /// The time at which the list was last confirmed.
    pub fn read_at(&self) -> Option<Timestamp> {
        self.read_at
    }

    /// The time until which it was good, where that is later than [`Self::read_at`].
    pub fn good_until(&self) -> Option<Timestamp> {
        self.good_until
    }

    /// The time at which the provider last said that there is no such list.
    pub fn gone_at(&self) -> Option<Timestamp> {
        self.gone_at
    }

    /// The error of the last try.
    pub fn error(&self) -> Option<&(Cause, String)> {
        self.error.as_ref()
    }

    /// Whether the last try to read it failed, so that it may say something else by now. That a
    /// list is gone is an answer once it is believed.
    pub fn is_failing(&self) -> bool {
        let is_answer = self.is_gone && self.gone_since.is_some();
        self.error.is_some() && !is_answer
    }

    /// Whether the list is from the snapshot, and nothing was read since the start.
    pub fn is_restored(&self) -> bool {
        self.from_snapshot
    }

    /// Whether the provider has said for long enough that the list does not exist.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// The last good list; `None`: there never was one.
    pub fn answer(&self) -> Option<&SourceList> {
        self.answer.as_deref()
    }

    /// The sources of the last good list.
    pub fn sources(&self) -> &[Arc<TrustedSource>] {
        self.answer().map_or(&[], |answer| &answer.sources)
    }

    /// The edition of the last good list, if a control plane keeps it.
    pub fn edition(&self) -> Option<&Edition> {
        self.answer()?.edition.as_deref()
    }

    /// Whether it is older than `max_stale` and cannot be refreshed.
    pub fn is_lapsed(&self, max_stale: Option<Duration>, now: Timestamp) -> bool {
        let good_at = self.good_until.max(self.read_at);
        let Some((max_stale, good_at)) = max_stale.zip(good_at) else { return false };
        let age = Duration::try_from(now.duration_since(good_at)).unwrap_or_default();
        self.error.is_some() && age >= max_stale
    }

    /// Moves every moment it remembers, after the clock was stepped.
    pub fn adjust_times(&mut self, adjust: &dyn Fn(&mut Timestamp)) {
        let times =
            [&mut self.read_at, &mut self.good_until, &mut self.gone_since, &mut self.gone_at];
        times.into_iter().flatten().for_each(adjust);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::FetchError;

    fn endpoint() -> ListId {
        ListId::Aptible(123)
    }

    const GONE_AFTER: Duration = Duration::from_secs(120);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn listed(values: &[&str]) -> ListOutcome {
        let source = |value: &&str| format!("ip_addr:{value}").parse().unwrap();
        SourceList::new(values.iter().map(source).collect(), vec![]).into()
    }

    fn list() -> List {
        let mut list = List::new(&endpoint());
        assert!(list.accept(listed(&["10.0.0.1", "10.0.0.2"]), GONE_AFTER, at(0)));
        list
    }

    fn shown(list: &List) -> Vec<String> {
        list.sources().iter().map(|source| source.key().value().to_owned()).collect()
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
    fn only_a_failure_makes_it_unknown_what_it_says() {
        let mut list = List::new(&endpoint());
        assert!(!list.is_failing());
        let failure = || ListOutcome::Failed(FetchError::new(Cause::Timeout, "no answer"));
        let gone = || ListOutcome::Gone("404".to_owned());
        for (second, outcome, is_failing) in [
            (0, failure(), true),
            (1, listed(&["10.0.0.1"]), false),
            (2, gone(), true),
            (121, gone(), true),
            (122, gone(), false),
            (123, gone(), false),
            (124, failure(), true),
            (125, gone(), false),
            (126, listed(&[]), false),
            (127, failure(), true),
        ] {
            list.accept(outcome, GONE_AFTER, at(second));
            assert_eq!(list.is_failing(), is_failing, "at {second}");
        }
    }

    #[test]
    fn what_was_not_in_force_is_not_an_empty_list() {
        let restored = List::restore(&endpoint(), vec![], [].into(), None, at(0), None);
        assert_eq!(restored.answer(), None, "or on_empty would decide before anybody was asked");
    }

    #[test]
    fn the_same_list_again_changes_nothing() {
        let mut list = list();
        assert!(!list.accept(listed(&["10.0.0.1", "10.0.0.2"]), GONE_AFTER, at(1)));
        assert_eq!(list.read_at, Some(at(1)));
        for second in 2..100 {
            let values: &[&str] =
                if second % 2 == 0 { &["10.0.0.1"] } else { &["10.0.0.1", "10.0.0.2"] };
            assert!(list.accept(listed(values), GONE_AFTER, at(second)), "it counts at once");
        }
    }

    #[test]
    fn it_lapses_when_it_cannot_be_read() {
        let mut list = List::new(&ListId::File("orders.list".into()));
        list.accept(listed(&["10.0.0.1"]), GONE_AFTER, at(0));
        let max = Some(Duration::from_secs(60));
        assert!(!list.is_lapsed(max, at(100)), "nobody tried since");
        let failure = || ListOutcome::Failed(FetchError::new(Cause::Io, "gone"));
        // A file is looked at all the time: it was good until it failed. It was not read then.
        for second in [100, 120, 150] {
            list.accept(failure(), GONE_AFTER, at(second));
            assert_eq!((list.read_at(), list.good_until()), (Some(at(0)), Some(at(100))));
        }
        assert!(list.is_lapsed(max, at(160)));
        assert!(!list.is_lapsed(max, at(159)));
        assert!(!list.is_lapsed(None, at(1_000_000)));
        // As a restart finds it.
        let sources = list.sources().to_vec();
        let mut restored =
            List::restore(list.id(), sources, [].into(), None, at(0), list.good_until());
        restored.accept(failure(), GONE_AFTER, at(155));
        assert_eq!(
            (restored.is_lapsed(max, at(159)), restored.is_lapsed(max, at(160))),
            (false, true)
        );
        for (second, values) in [(170, "10.0.0.1"), (171, "10.0.0.2")] {
            list.accept(listed(&[values]), GONE_AFTER, at(second));
            assert_eq!((list.read_at(), list.good_until()), (Some(at(second)), None));
        }
    }
}
