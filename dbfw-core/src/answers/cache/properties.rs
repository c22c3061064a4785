//! Any sequence of outcomes, against a model that only remembers what was said and when.

mod found;
mod model;

use proptest::{collection::vec, prelude::*, sample::subsequence};

use self::model::Model;
use super::*;
use crate::{
    answers::{Answer, FetchError, Part, SourceState, Unanswered},
    source::SourceType,
    testing::cases,
};

const GONE_AFTER: Duration = Duration::from_secs(120);

/// Prefix of the names of parts that an answer may leave open.
const REST: &str = "c";

#[derive(Clone, Debug)]
enum Step {
    Hear(usize, Said),
    Restart,
    Wait(i64),
}

#[derive(Clone, Debug)]
enum Said {
    /// Parts by name, and the grace in seconds.
    Answer(BTreeMap<&'static str, PartSaid>, u64),
    /// The same where nobody could tell of [`REST`].
    Partly(BTreeMap<&'static str, PartSaid>, u64),
    /// The last answer, given again.
    Again,
    Failed,
    Gone,
}

#[derive(Clone, Debug)]
enum PartSaid {
    Prefixes(Vec<Prefix>),
    Failed,
    Empty,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn key(source: usize) -> SourceKey {
    SourceKey::new(SourceType::Tag, &format!("tag-{source}")).unwrap()
}

fn error() -> FetchError {
    FetchError::new(Cause::Server, "GET /v2/droplets: 500")
}

fn outcome(said: &Said) -> Outcome {
    let part = |(name, said): (&&'static str, &PartSaid)| {
        let part = match said {
            PartSaid::Prefixes(prefixes) => Part::prefixes(prefixes.clone()),
            PartSaid::Failed => Part::Failed(error()),
            PartSaid::Empty => Part::Empty("is still being created".to_owned()),
        };
        ((*name).to_owned(), part)
    };
    let answer = |parts: &BTreeMap<_, _>, grace| Answer {
        parts: parts.iter().map(part).collect(),
        grace: Duration::from_secs(grace),
        ..Answer::default()
    };
    let unanswered = || Some(Unanswered { parts: REST, error: error() });
    match said {
        Said::Answer(parts, grace) => Outcome::Answer(answer(parts, *grace).into()),
        Said::Partly(parts, grace) => {
            let answer = Answer { unanswered: unanswered(), ..answer(parts, *grace) };
            Outcome::Answer(answer.into())
        }
        Said::Again => unreachable!("the run knows which answer that is"),
        Said::Failed => Outcome::Failed(error()),
        Said::Gone => Outcome::Gone("404".to_owned()),
    }
}

fn pool() -> Vec<Prefix> {
    let texts = ["10.0.0.1", "10.0.0.2", "10.0.0.0/24", "2001:db8::1"];
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let part = || {
        prop_oneof![
            5 => subsequence(pool(), 0..=4).prop_shuffle().prop_map(PartSaid::Prefixes),
            2 => Just(PartSaid::Failed),
            2 => Just(PartSaid::Empty),
        ]
    };
    let parts = subsequence(vec!["a", "b", "c"], 0..=3).prop_flat_map(move |names| {
        vec(part(), names.len())
            .prop_map(move |parts| -> BTreeMap<_, _> { names.iter().copied().zip(parts).collect() })
    });
    let grace = prop_oneof![3 => Just(0_u64), 1 => Just(60), 1 => Just(900)];
    let answer = (parts, grace, prop::bool::weighted(0.2));
    let said = prop_oneof![
        6 => answer.prop_map(|(mut parts, grace, partly)| {
            if partly {
                parts.retain(|name, _| !name.starts_with(REST));
                Said::Partly(parts, grace)
            } else {
                Said::Answer(parts, grace)
            }
        }),
        2 => Just(Said::Again),
        2 => Just(Said::Failed),
        2 => Just(Said::Gone),
    ];
    let wait = prop_oneof![
        3 => 1_i64..20, 2 => Just(60), 1 => Just(119), 2 => Just(120), 1 => Just(300),
        1 => 500_i64..700, 1 => Just(3600),
    ];
    let step = prop_oneof![
        8 => (0_usize..2, said).prop_map(|(source, said)| Step::Hear(source, said)),
        6 => wait.prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ];
    vec(step, 1..40)
}

/// The cache and what is known of two sources.
struct Run {
    cache: Cache,
    limits: Limits,
    models: [Model; 2],
    /// The last answer about each.
    answers: [Option<(Said, Outcome)>; 2],
    now: i64,
}

impl Run {
    fn new(max_stale: Option<u64>) -> Self {
        let limits =
            Limits { gone_after: GONE_AFTER, max_stale: max_stale.map(Duration::from_secs) };
        Self {
            cache: Cache::new(limits),
            limits,
            models: <[Model; 2]>::default(),
            answers: [None, None],
            now: 0,
        }
    }

    fn trusted(&self, source: usize) -> BTreeSet<Prefix> {
        self.cache.resolution(&key(source)).prefixes.iter().copied().collect()
    }

    fn max_stale(&self) -> Option<i64> {
        self.limits.max_stale.map(|max| i64::try_from(max.as_secs()).unwrap())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        if let Step::Wait(seconds) = step {
            self.now += seconds;
        }
        self.drop_expired()?;
        match step {
            Step::Wait(_) => {}
            Step::Hear(source, said) => self.hear(*source, said)?,
            Step::Restart => self.restart()?,
        }
        for (source, model) in self.models.iter().enumerate() {
            let trusted = self.trusted(source);
            let (must, may) = (model.must(self.now), model.may(self.now));
            prop_assert!(must.is_subset(&trusted), "{trusted:?} lacks of {must:?}");
            prop_assert!(trusted.is_subset(&may), "{trusted:?} is more than {may:?}");
            let resolution = self.cache.resolution(&key(source));
            prop_assert!(!resolution.never_answered || !model.answered);
            prop_assert!(resolution.prefixes.is_sorted_by(|a, b| a < b));
        }
        Ok(())
    }

    fn drop_expired(&mut self) -> Result<(), TestCaseError> {
        let before = [0, 1].map(|source| self.trusted(source));
        let changed = self.cache.drop_expired(at(self.now));
        let max_stale = self.max_stale();
        for (source, before) in before.iter().enumerate() {
            let after = self.trusted(source);
            prop_assert!(changed || after == *before, "time took something and did not say so");
            prop_assert!(after.is_subset(before), "time alone gave {after:?}");
            self.models[source].lapse(max_stale, self.now);
        }
        Ok(())
    }

    fn hear(&mut self, source: usize, said: &Said) -> Result<(), TestCaseError> {
        let (said, outcome) = match said {
            Said::Again => match self.answers[source].clone() {
                Some(last) => last,
                None => return Ok(()),
            },
            said => (said.clone(), outcome(said)),
        };
        let said = &said;
        if matches!(outcome, Outcome::Answer(_)) {
            self.answers[source] = Some((said.clone(), outcome.clone()));
        }
        let (before, other) = (self.trusted(source), self.trusted(1 - source));
        let changed = self.cache.accept(&key(source), outcome, at(self.now));
        let max_stale = self.max_stale();
        self.models[source].hear(said, self.now);
        self.models[source].lapse(max_stale, self.now);
        let after = self.trusted(source);
        prop_assert!(changed || after == before, "it changed and did not say so");
        prop_assert_eq!(self.trusted(1 - source), other);
        let given: BTreeSet<Prefix> = after.difference(&before).copied().collect();
        let said_now: BTreeSet<Prefix> = match said {
            Said::Answer(parts, _) | Said::Partly(parts, _) => {
                parts.values().flat_map(PartSaid::prefixes).collect()
            }
            Said::Again | Said::Failed | Said::Gone => BTreeSet::new(),
        };
        prop_assert!(given.is_subset(&said_now), "{said:?} gave {given:?}");
        if matches!(said, Said::Failed) && max_stale.is_none() {
            prop_assert_eq!(after, before, "a failure took something");
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), TestCaseError> {
        let before = [0, 1].map(|source| self.trusted(source));
        self.cache = restarted(&self.cache, self.now);
        self.models.iter_mut().for_each(Model::restart);
        for (source, before) in before.iter().enumerate() {
            prop_assert_eq!(&self.trusted(source), before, "a restart changed it");
        }
        Ok(())
    }
}

impl PartSaid {
    fn is_empty(&self) -> bool {
        match self {
            Self::Prefixes(prefixes) => prefixes.is_empty(),
            Self::Failed | Self::Empty => true,
        }
    }

    fn prefixes(&self) -> Vec<Prefix> {
        match self {
            Self::Prefixes(prefixes) => prefixes.clone(),
            Self::Failed | Self::Empty => Vec::new(),
        }
    }
}

/// A cache of the next run, from what this one stored.
fn restarted(cache: &Cache, now: i64) -> Cache {
    let text = serde_json::to_string(&cache.store()).unwrap();
    let mut again = Cache::new(cache.limits);
    again.restore(serde_json::from_str(&text).unwrap(), at(now));
    again
}

fn check(max_stale: Option<u64>, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut run = Run::new(max_stale);
    for (number, step) in steps.iter().enumerate() {
        run.step(step).map_err(|error| {
            TestCaseError::fail(format!("step {number}, {step:?}, at {}: {error}", run.now))
        })?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn what_is_trusted_follows_from_what_was_said(steps in steps()) {
        check(None, &steps)?;
    }

    #[test]
    fn max_stale_bounds_what_cannot_be_refreshed(
        max_stale in prop_oneof![Just(90_u64), Just(1000)],
        steps in steps(),
    ) {
        check(Some(max_stale), &steps)?;
    }
}
