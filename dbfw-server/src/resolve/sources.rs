//! [`Sources`]: the answers about all sources, and which prefixes of each count. Pure.
//!
//! A failure takes no prefix away; what the [`Cache`] lets go passes the limit on a loss. Answers of
//! an earlier run count until a complete one has come.

use std::collections::{BTreeMap, BTreeSet};

use dbfw_core::{
    answers::{Cache, Cause, Outcome, SourceReport, Stored},
    source::{PrefixSet, PrefixUnion, SourceKey},
};
use dbfw_wire::agent::{Digest, SetState, set_digest};
use jiff::{SignedDuration, Timestamp};

use super::config::ResolveConfig;

/// Failures that have lasted for so long are told to the hosts: each telling is a change of every
/// list that has the source.
const TOLD_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// Prefixes that may go whatever share they are: a tag of two droplets may lose one.
const FEW: usize = 3;

/// Digits of the id of a change that is held.
const ID: usize = 8;

/// The name of the part that holds the prefixes of an earlier run.
const EARLIER: &str = "the last run";

/// The answers about all sources.
#[derive(Debug)]
pub(super) struct Sources {
    cache: Cache,
    max_shrink: u8,
    sources: BTreeMap<SourceKey, Source>,
}

/// The prefixes of a source that count.
#[derive(Debug, Default)]
struct Source {
    /// `None`: nobody has answered yet.
    accepted: Option<Accepted>,
    /// Prefixes of an earlier run, which stay until a complete answer has come.
    earlier: PrefixSet,
    failing_since: Option<Timestamp>,
    state: Option<SetState>,
    held: Option<Held>,
}

/// Prefixes that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) prefixes: PrefixSet,
    pub(super) digest: Digest,
}

impl Accepted {
    fn new(prefixes: PrefixSet) -> Self {
        let digest = set_digest(prefixes.iter());
        Self { prefixes, digest }
    }
}

/// A loss that is held until somebody confirms it.
#[derive(Clone, Debug)]
struct Held {
    loss: Loss,
    prefixes: PrefixSet,
    since: Timestamp,
}

/// A loss of prefixes that is held until somebody confirms it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The id by which it is confirmed.
    pub id: String,
    /// The number of prefixes that would go.
    pub lost: usize,
    /// The number of prefixes that count now.
    pub of: usize,
}

/// The state of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// The source.
    pub source: SourceKey,
    /// The number of prefixes that count.
    pub prefixes: usize,
    /// The state of the last answer, its age and its errors.
    pub report: SourceReport,
    /// A loss that is held, and since when.
    pub held: Option<(Loss, Timestamp)>,
}

/// A source as it is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) accepted: Accepted,
    pub(super) state: SetState,
    pub(super) at: Timestamp,
}

impl Sources {
    pub(super) fn new(config: &ResolveConfig) -> Self {
        let cache = Cache::new(config.limits);
        Self { cache, max_shrink: config.max_shrink, sources: BTreeMap::new() }
    }

    /// Takes over what an earlier run found.
    pub(super) fn restore(
        &mut self,
        key: SourceKey,
        prefixes: PrefixSet,
        state: SetState,
        at: Timestamp,
        now: Timestamp,
    ) {
        let parts = BTreeMap::from([(EARLIER.to_owned(), prefixes.to_vec())]);
        let stored = Stored {
            key: key.clone(),
            answered_at: at,
            from: String::new(),
            parts,
            good_at: BTreeMap::new(),
            lapsed: BTreeSet::new(),
            grace: std::time::Duration::ZERO,
            held: Vec::new(),
        };
        self.cache.restore(vec![stored], now);
        let source = Source {
            accepted: Some(Accepted::new(prefixes.clone())),
            earlier: prefixes,
            failing_since: (state == SetState::Stale).then_some(at),
            state: Some(state),
            held: None,
        };
        self.sources.insert(key, source);
    }

    /// Forgets every source that is not wanted.
    pub(super) fn retain(&mut self, wanted: &BTreeSet<SourceKey>) {
        self.cache.retain(wanted);
        self.sources.retain(|key, _| wanted.contains(key));
    }

    /// Takes an outcome.
    pub(super) fn learn(&mut self, key: &SourceKey, outcome: Outcome, now: Timestamp) {
        let is_answer = !matches!(outcome, Outcome::Failed(_));
        self.cache.accept(key, outcome, now);
        let source = self.sources.entry(key.clone()).or_default();
        if self.cache.failure(key).is_some() {
            source.failing_since.get_or_insert(now);
        } else {
            source.failing_since = None;
            if is_answer {
                source.earlier = PrefixSet::default();
            }
        }
        self.judge(key, now);
    }

    /// Drops what is too old, and judges every source whose answer is not confirmed.
    pub(super) fn tick(&mut self, now: Timestamp) {
        let changed = self.cache.drop_expired(now);
        let due = |(_, source): &(&SourceKey, &Source)| {
            changed || (source.failing_since.is_some() && source.state != Some(SetState::Stale))
        };
        let due: Vec<SourceKey> =
            self.sources.iter().filter(due).map(|(key, _)| key.clone()).collect();
        due.iter().for_each(|key| self.judge(key, now));
    }

    /// Decides which prefixes of a source count now.
    fn judge(&mut self, key: &SourceKey, now: Timestamp) {
        let Some(source) = self.sources.get_mut(key) else { return };
        let resolution = self.cache.resolution(key);
        if resolution.never_answered {
            return;
        }
        let mut prefixes = resolution.prefixes;
        if !source.earlier.is_empty() {
            let earlier = source.earlier.minus(&resolution.lapsed);
            prefixes = prefixes.iter().copied().chain(earlier).collect();
        }
        let is_failing = |since| now.duration_since(since) >= TOLD_AFTER;
        source.state = match source.failing_since {
            None => Some(SetState::Ok),
            Some(since) if is_failing(since) => Some(SetState::Stale),
            Some(_) => source.state.or(Some(SetState::Ok)),
        };
        let Some(accepted) = &source.accepted else {
            source.accepted = Some(Accepted::new(prefixes));
            return;
        };
        if accepted.prefixes == prefixes {
            source.held = None;
            return;
        }
        let lost = lost(&accepted.prefixes, &prefixes, &resolution.lapsed);
        let of = accepted.prefixes.len();
        if lost <= FEW || lost * 100 <= of * usize::from(self.max_shrink) {
            source.held = None;
            source.accepted = Some(Accepted::new(prefixes));
            return;
        }
        let is_same = |held: &Held| held.prefixes == prefixes;
        if !source.held.as_ref().is_some_and(is_same) {
            let id = id(key, &prefixes);
            tracing::warn!(
                source = %key, lost, of, id,
                "a trusted source would lose more of its addresses than max_shrink allows: they stay \
                 until somebody confirms the loss by its id, with `dbfw-server resolved confirm`"
            );
            let since = source.held.as_ref().map_or(now, |held| held.since);
            source.held = Some(Held { loss: Loss { id, lost, of }, prefixes, since });
        }
    }

    /// The source of which a loss with this id is held.
    pub(super) fn held(&self, id: &str) -> Option<&SourceKey> {
        let is_it = |source: &Source| source.held.as_ref().is_some_and(|held| held.loss.id == id);
        self.sources.iter().find(|(_, source)| is_it(source)).map(|(key, _)| key)
    }

    /// Lets a loss count that was held; the source that it is of.
    pub(super) fn confirm(&mut self, id: &str) -> Option<SourceKey> {
        let key = self.held(id)?.clone();
        let source = self.sources.get_mut(&key)?;
        source.accepted = Some(Accepted::new(source.held.take()?.prefixes));
        Some(key)
    }

    /// A source as it is to be stored; `None`: nobody has answered yet.
    pub(super) fn answered(&self, key: &SourceKey) -> Option<Answered> {
        let source = self.sources.get(key)?;
        let accepted = source.accepted.clone()?;
        let at = self.cache.state(key).answered_at?;
        Some(Answered { accepted, state: source.state?, at })
    }

    /// Every source that somebody was asked for.
    pub(super) fn keys(&self) -> impl Iterator<Item = &SourceKey> {
        self.sources.keys()
    }

    /// The state of a source.
    pub(super) fn status(&self, key: &SourceKey) -> SourceStatus {
        let source = self.sources.get(key);
        let accepted = source.and_then(|source| source.accepted.as_ref());
        let held = source.and_then(|source| source.held.as_ref());
        SourceStatus {
            source: key.clone(),
            prefixes: accepted.map_or(0, |accepted| accepted.prefixes.len()),
            report: self.cache.state(key),
            held: held.map(|held| (held.loss.clone(), held.since)),
        }
    }

    /// The kind of failure that keeps a source from being refreshed.
    pub(super) fn failure(&self, key: &SourceKey) -> Option<Cause> {
        self.cache.failure(key)
    }
}

/// The number of prefixes that would go, without those that only their age takes away.
fn lost(old: &PrefixSet, new: &PrefixSet, lapsed: &PrefixSet) -> usize {
    let union = |set: &PrefixSet| -> PrefixUnion { [set].into_iter().collect() };
    let lost = union(old).lost_in(&union(new));
    lost.iter().filter(|prefix| !lapsed.has(prefix)).count()
}

fn id(key: &SourceKey, prefixes: &PrefixSet) -> String {
    let text = format!("{key}\n{}", set_digest(prefixes.iter()));
    let digits = Digest::of(text.as_bytes()).digits();
    digits.get(..ID).unwrap_or(&digits).to_owned()
}

#[cfg(test)]
mod tests {
    use dbfw_core::{
        answers::{Answer, FetchError, Part, Unanswered},
        source::{Prefix, SourceType},
    };

    use super::*;

    fn key() -> SourceKey {
        SourceKey::new(SourceType::Tag, "backend").unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn set(numbers: std::ops::Range<u8>) -> PrefixSet {
        numbers.map(|n| format!("10.0.0.{n}").parse::<Prefix>().unwrap()).collect()
    }

    fn answer(numbers: std::ops::Range<u8>) -> Answer {
        let part = |n: u8| (format!("droplet {n}"), Part::Prefixes(set(n..n + 1)));
        Answer { parts: numbers.map(part).collect(), ..Answer::default() }
    }

    fn failed() -> Outcome {
        Outcome::Failed(FetchError::new(Cause::Server, "500"))
    }

    fn sources() -> Sources {
        Sources::new(&ResolveConfig::default())
    }

    fn found(sources: &Sources) -> PrefixSet {
        sources.answered(&key()).unwrap().accepted.prefixes
    }

    #[test]
    fn failures_take_nothing_away_and_are_told_once_they_last() {
        let mut sources = sources();
        sources.learn(&key(), failed(), at(0));
        assert_eq!(sources.answered(&key()), None);
        sources.learn(&key(), answer(0..9).into(), at(1));
        assert_eq!(found(&sources), set(0..9));
        for second in 2..200 {
            sources.learn(&key(), failed(), at(second));
            sources.tick(at(second));
            assert_eq!(found(&sources), set(0..9));
            let told = sources.answered(&key()).unwrap().state;
            let expected = if second < 62 { SetState::Ok } else { SetState::Stale };
            assert_eq!(told, expected, "{second}");
        }
        assert_eq!(sources.answered(&key()).unwrap().at, at(1));
        assert_eq!(sources.status(&key()).report.error.unwrap().reason, "500");
        sources.learn(&key(), answer(0..8).into(), at(200));
        assert_eq!(found(&sources), set(0..8));
        assert_eq!(sources.answered(&key()).unwrap().state, SetState::Ok);
    }

    #[test]
    fn an_empty_answer_has_to_last_and_a_large_loss_to_be_confirmed() {
        let mut sources = sources();
        sources.learn(&key(), answer(0..9).into(), at(0));
        for second in 1..=120 {
            sources.learn(&key(), Answer::default().into(), at(second));
            assert_eq!(sources.status(&key()).held, None, "{second}");
        }
        sources.learn(&key(), Answer::default().into(), at(121));
        assert_eq!(found(&sources), set(0..9));
        let (loss, since) = sources.status(&key()).held.unwrap();
        assert_eq!((loss.lost, loss.of, since), (9, 9, at(121)));
        assert_eq!(sources.confirm("ffffffff"), None);
        assert_eq!(sources.confirm(&loss.id), Some(key()));
        assert!(found(&sources).is_empty());
        assert_eq!(sources.status(&key()).held, None);
    }

    #[test]
    fn a_held_loss_goes_with_what_would_be_lost() {
        let mut sources = sources();
        sources.learn(&key(), answer(0..10).into(), at(0));
        sources.learn(&key(), answer(0..4).into(), at(1));
        let (first, _) = sources.status(&key()).held.unwrap();
        sources.learn(&key(), answer(0..3).into(), at(2));
        let (second, since) = sources.status(&key()).held.unwrap();
        assert_ne!(first.id, second.id, "nobody confirms what they did not see");
        assert_eq!((second.lost, since), (7, at(1)));
        sources.learn(&key(), answer(0..5).into(), at(3));
        assert_eq!((sources.status(&key()).held, found(&sources)), (None, set(0..5)));
        // A few may go whatever share they are.
        sources.learn(&key(), answer(0..2).into(), at(4));
        assert_eq!(found(&sources), set(0..2));
    }

    #[test]
    fn what_an_earlier_run_found_stays_until_a_complete_answer() {
        let mut sources = sources();
        sources.restore(key(), set(0..9), SetState::Ok, at(0), at(5));
        assert_eq!(found(&sources), set(0..9));
        sources.learn(&key(), failed(), at(6));
        let unanswered = Unanswered {
            parts: "GPU droplet",
            error: FetchError::new(Cause::Timeout, "no answer"),
        };
        let half = Answer { unanswered: Some(unanswered), ..answer(0..1) };
        sources.learn(&key(), half.into(), at(7));
        let mut part = answer(0..2);
        part.parts.insert("droplet 3".to_owned(), Part::Failed(FetchError::new(Cause::Io, "x")));
        sources.learn(&key(), part.into(), at(8));
        assert_eq!(found(&sources), set(0..9));
        sources.learn(&key(), answer(1..10).into(), at(9));
        assert_eq!(found(&sources), set(1..10));
        // One that was stale is so until somebody answers.
        let mut sources = self::sources();
        sources.restore(key(), set(0..9), SetState::Stale, at(0), at(500));
        sources.tick(at(501));
        assert_eq!(sources.answered(&key()).unwrap().state, SetState::Stale);
        assert_eq!(sources.answered(&key()).unwrap().at, at(0));
    }

    #[test]
    fn what_max_stale_takes_away_is_no_loss() {
        let mut config = ResolveConfig::default();
        config.limits.max_stale = Some(std::time::Duration::from_secs(100));
        let mut sources = Sources::new(&config);
        sources.restore(key(), set(0..9), SetState::Ok, at(0), at(5));
        for second in 6..100 {
            sources.learn(&key(), failed(), at(second));
            sources.tick(at(second));
            assert_eq!(found(&sources), set(0..9));
        }
        sources.tick(at(101));
        assert!(found(&sources).is_empty());
    }
}
