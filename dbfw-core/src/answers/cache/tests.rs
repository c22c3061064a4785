use super::*;
use crate::{
    answers::{Answer, FetchError, Part, SourceState},
    source::SourceType,
};

const GONE_AFTER: Duration = Duration::from_secs(120);

fn cache(max_stale: Option<u64>) -> Cache {
    Cache::new(Limits { gone_after: GONE_AFTER, max_stale: max_stale.map(Duration::from_secs) })
}

fn key() -> SourceKey {
    SourceKey::new(SourceType::Tag, "backend").unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn prefixes(texts: &[&str]) -> Vec<Prefix> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn answer(parts: &[(&str, &[&str])]) -> Outcome {
    let part = |(name, texts): &(&str, &[&str])| {
        let part = match *texts {
            ["fails"] => Part::Failed(error()),
            ["empty"] => Part::Empty("is still being created".to_owned()),
            _ => Part::prefixes(prefixes(texts)),
        };
        ((*name).to_owned(), part)
    };
    Outcome::Answer(Answer { parts: parts.iter().map(part).collect(), ..Answer::default() }.into())
}

fn error() -> FetchError {
    FetchError::new(Cause::Server, "GET /v2/droplets: 500")
}

fn now_trusted(cache: &Cache) -> Vec<String> {
    cache.resolution(&key()).prefixes.iter().map(ToString::to_string).collect()
}

#[test]
fn a_failure_takes_nothing_away() {
    let mut cache = cache(None);
    assert_eq!(cache.state(&key()).state, SourceState::Pending);
    assert!(!cache.accept(&key(), Outcome::Failed(error()), at(0)));
    assert!(cache.resolution(&key()).never_answered);
    assert!(cache.accept(&key(), answer(&[("a", &["10.0.0.1"]), ("b", &["10.0.0.2"])]), at(1)));
    assert_eq!(cache.state(&key()).state, SourceState::Ok);
    for second in 2..100_000 {
        assert!(!cache.accept(&key(), Outcome::Failed(error()), at(second)));
    }
    assert_eq!(now_trusted(&cache), ["10.0.0.1/32", "10.0.0.2/32"]);
    assert_eq!(cache.state(&key()).state, SourceState::Stale);
    assert_eq!(cache.state(&key()).answered_at, Some(at(1)));
}

#[test]
fn a_failed_part_keeps_what_it_had_and_the_others_move_on() {
    let mut cache = cache(None);
    cache.accept(&key(), answer(&[("a", &["10.0.0.1"]), ("b", &["10.0.0.2"])]), at(0));
    cache.accept(&key(), answer(&[("a", &["fails"]), ("b", &["10.0.0.3"])]), at(1));
    assert_eq!(now_trusted(&cache), ["10.0.0.1/32", "10.0.0.3/32"]);
    let state = cache.state(&key());
    assert_eq!(state.state, SourceState::Stale);
    assert_eq!(state.unresolved, [("a".to_owned(), error().to_string())]);
    cache.accept(&key(), answer(&[("b", &["10.0.0.3"])]), at(2));
    assert_eq!(now_trusted(&cache), ["10.0.0.3/32"], "a complete answer without it");
}

#[test]
fn gone_is_believed_after_a_while_of_nothing_else() {
    for outcome in [Outcome::Gone("404".to_owned()), answer(&[])] {
        let mut cache = cache(None);
        cache.accept(&key(), answer(&[("a", &["10.0.0.1"])]), at(0));
        assert!(!cache.accept(&key(), outcome.clone(), at(10)));
        assert_eq!(cache.state(&key()).state, SourceState::Gone);
        assert!(!cache.accept(&key(), outcome.clone(), at(129)));
        assert!(!cache.accept(&key(), Outcome::Failed(error()), at(130)), "begins anew");
        assert!(!cache.accept(&key(), outcome.clone(), at(131)));
        assert!(!cache.accept(&key(), outcome.clone(), at(250)));
        assert!(cache.accept(&key(), outcome.clone(), at(251)));
        assert_eq!(now_trusted(&cache), [""; 0]);
        assert!(cache.accept(&key(), answer(&[("a", &["10.0.0.1"])]), at(252)), "it is back");
        assert_eq!(cache.state(&key()).state, SourceState::Ok);
    }
}

#[test]
fn the_same_answer_again_lets_gone_ripen() {
    let mut cache = cache(None);
    cache.accept(&key(), answer(&[("a", &["10.0.0.1"]), ("b", &["10.0.0.2"])]), at(0));
    let again = answer(&[("a", &["empty"]), ("b", &["10.0.0.2"])]);
    cache.accept(&key(), again.clone(), at(10));
    assert!(!cache.accept(&key(), again.clone(), at(129)));
    assert!(cache.accept(&key(), again, at(130)));
    assert_eq!(now_trusted(&cache), ["10.0.0.2/32"]);
}

#[test]
fn max_stale_ends_what_cannot_be_refreshed() {
    let mut cache = cache(Some(3600));
    cache.accept(&key(), answer(&[("a", &["10.0.0.1"]), ("b", &["10.0.0.2"])]), at(0));
    cache.accept(&key(), answer(&[("a", &["fails"]), ("b", &["10.0.0.2"])]), at(10));
    assert!(!cache.drop_expired(at(3599)));
    assert!(cache.drop_expired(at(3600)));
    assert_eq!(now_trusted(&cache), ["10.0.0.2/32"], "only the part that failed");
    assert_eq!(*cache.resolution(&key()).lapsed, prefixes(&["10.0.0.1"]));
    cache.accept(&key(), Outcome::Failed(error()), at(3601));
    assert!(!cache.drop_expired(at(3609)));
    assert!(cache.drop_expired(at(3610)));
    assert_eq!(now_trusted(&cache), [""; 0]);
    assert_eq!(cache.state(&key()).state, SourceState::Expired);
    assert!(cache.accept(&key(), answer(&[("a", &["10.0.0.1"])]), at(3700)));
    assert_eq!(now_trusted(&cache), ["10.0.0.1/32"]);
    assert_eq!(cache.state(&key()).state, SourceState::Ok);
    assert!(cache.resolution(&key()).lapsed.is_empty());
}

#[test]
fn what_is_stored_comes_back() {
    let mut cache = cache(None);
    cache.accept(&key(), answer(&[("a", &["10.0.0.1"]), ("b", &["10.0.0.2"])]), at(0));
    let stored = cache.store();
    let text = serde_json::to_string(&stored).unwrap();
    let mut again = Cache::new(cache.limits);
    again.restore(serde_json::from_str(&text).unwrap(), at(50));
    assert_eq!(now_trusted(&again), ["10.0.0.1/32", "10.0.0.2/32"]);
    assert_eq!(again.state(&key()).state, SourceState::Stale);
    again.accept(&key(), answer(&[("a", &["fails"]), ("b", &["10.0.0.3"])]), at(60));
    assert_eq!(now_trusted(&again), ["10.0.0.1/32", "10.0.0.3/32"]);
}

#[test]
fn what_nobody_wants_is_forgotten() {
    let mut cache = cache(None);
    cache.accept(&key(), answer(&[("a", &["10.0.0.1"])]), at(0));
    cache.retain(&BTreeSet::from([key()]));
    assert!(cache.resolution(&key()).known);
    cache.retain(&BTreeSet::new());
    assert!(!cache.resolution(&key()).known);
    assert_eq!(cache.state(&key()).state, SourceState::Pending);
    assert!(cache.accept(&key(), answer(&[("a", &["10.0.0.1"])]), at(1)));
    assert_eq!(now_trusted(&cache), ["10.0.0.1/32"]);
}

#[test]
fn an_answer_in_other_words_is_not_the_same() {
    let mut cache = cache(None);
    let said = |from: &str| {
        let parts = [("a".to_owned(), Part::prefixes(prefixes(&["10.0.0.1"])))].into();
        Outcome::Answer(Answer { parts, from: from.to_owned(), ..Answer::default() }.into())
    };
    assert!(cache.accept(&key(), said("GET /a"), at(0)));
    assert!(!cache.accept(&key(), said("GET /a"), at(1)));
    assert_eq!(cache.state(&key()).answered_at, Some(at(1)));
    assert!(!cache.accept(&key(), said("GET /b"), at(2)));
    assert_eq!(cache.state(&key()).from.as_deref(), Some("GET /b"));
}

#[test]
fn parts_that_all_vanish_for_an_empty_one_go_after_a_while() {
    let mut cache = cache(None);
    cache.accept(&key(), answer(&[("IPs", &["10.0.0.1"])]), at(0));
    let nothing = || answer(&[("app", &["empty"])]);
    assert!(!cache.accept(&key(), nothing(), at(10)));
    assert!(!cache.accept(&key(), nothing(), at(129)));
    assert!(cache.accept(&key(), nothing(), at(130)));
    assert!(!cache.accept(&key(), nothing(), at(140)));
    assert_eq!(now_trusted(&cache), [""; 0]);
}

#[test]
fn what_an_earlier_state_knew_is_taken_back_and_replaces_nothing() {
    let other = SourceKey::new(SourceType::Tag, "other").unwrap();
    let mut cache = cache(None);
    for key in [&key(), &other] {
        cache.accept(key, answer(&[("droplet 1", &["10.0.0.1"])]), at(0));
    }
    let earlier = cache.clone();
    cache.retain(&BTreeSet::from([key()]));
    cache.accept(&key(), answer(&[("droplet 1", &["10.0.0.2"])]), at(1));
    cache.take_back(&earlier);
    assert_eq!(*cache.resolution(&key()).prefixes, prefixes(&["10.0.0.2"]));
    assert_eq!(*cache.resolution(&other).prefixes, prefixes(&["10.0.0.1"]));
    assert!(cache.resolution(&other).known);
}
