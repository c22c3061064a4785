//! Sequences that once gave or took too much.

use super::*;

fn cache(max_stale: Option<u64>) -> Cache {
    Cache::new(Limits { gone_after: GONE_AFTER, max_stale: max_stale.map(Duration::from_secs) })
}

fn hear(cache: &mut Cache, said: Said, now: i64) {
    cache.accept(&key(0), outcome(&said), at(now));
}

fn answer<const N: usize>(parts: [(&'static str, PartSaid); N]) -> Said {
    Said::Answer(parts.into(), 0)
}

fn address(text: &str) -> PartSaid {
    PartSaid::Prefixes(vec![text.parse().unwrap()])
}

fn trusted(cache: &Cache) -> Vec<String> {
    cache.resolution(&key(0)).prefixes.iter().map(ToString::to_string).collect()
}

#[test]
fn an_outage_does_not_let_empty_ripen() {
    let mut cache = cache(None);
    hear(&mut cache, answer([("a", address("10.0.0.1"))]), 0);
    hear(&mut cache, answer([("a", PartSaid::Empty)]), 1);
    hear(&mut cache, Said::Failed, 2);
    hear(&mut cache, answer([("a", PartSaid::Empty)]), 1000);
    assert_eq!(trusted(&cache), ["10.0.0.1/32"], "said once since the failure");
    hear(&mut cache, answer([("a", PartSaid::Empty)]), 1119);
    assert_eq!(trusted(&cache), ["10.0.0.1/32"]);
    hear(&mut cache, answer([("a", PartSaid::Empty)]), 1120);
    assert_eq!(trusted(&cache), [""; 0]);
}

#[test]
fn what_lapsed_comes_back_only_with_an_answer_that_has_it() {
    for said in [Said::Gone, answer([]), answer([("a", PartSaid::Empty)])] {
        for failure in [Said::Failed, answer([("a", PartSaid::Failed)])] {
            let mut cache = cache(Some(90));
            hear(&mut cache, answer([("a", address("10.0.0.1"))]), 0);
            hear(&mut cache, failure.clone(), 90);
            assert_eq!(trusted(&cache), [""; 0]);
            hear(&mut cache, said.clone(), 100);
            assert_eq!(trusted(&cache), [""; 0], "{failure:?}, then {said:?}");
            hear(&mut cache, answer([("a", address("10.0.0.1"))]), 110);
            assert_eq!(trusted(&cache), ["10.0.0.1/32"]);
        }
    }
}

#[test]
fn empty_answers_do_not_make_what_fails_younger() {
    let mut cache = cache(Some(90));
    hear(&mut cache, answer([("a", address("10.0.0.1"))]), 0);
    for time in (10..200).step_by(20) {
        hear(&mut cache, answer([("a", PartSaid::Empty)]), time);
        hear(&mut cache, answer([("a", PartSaid::Failed)]), time + 10);
    }
    assert_eq!(trusted(&cache), [""; 0], "no answer had it for 200 seconds");
}

#[test]
fn half_an_answer_takes_nothing_of_the_other_half() {
    let all = || [("a", address("10.0.0.1")), ("c1", address("10.0.0.2"))];
    let half =
        |parts: &[(&'static str, PartSaid)]| Said::Partly(parts.iter().cloned().collect(), 0);
    let mut cache = cache(None);
    hear(&mut cache, half(&[("a", address("10.0.0.1"))]), 0);
    assert_eq!(trusted(&cache), [""; 0], "nobody knows yet what the other half is");
    hear(&mut cache, answer(all()), 1);
    for time in (10..1000).step_by(10) {
        // The part that vanished is only held; nothing but the whole answer can let it go.
        hear(&mut cache, answer([("c2", PartSaid::Empty)]), time);
        hear(&mut cache, half(&[]), time + 1);
        hear(&mut cache, half(&[("b", PartSaid::Empty)]), time + 2);
        hear(&mut cache, half(&[("b", PartSaid::Failed)]), time + 3);
        assert_eq!(trusted(&cache), ["10.0.0.1/32", "10.0.0.2/32"]);
    }
    hear(&mut cache, half(&[("b", address("10.0.0.3"))]), 1000);
    assert_eq!(trusted(&cache), ["10.0.0.2/32", "10.0.0.3/32"]);
    let mut cache = restarted(&cache, 1001);
    hear(&mut cache, half(&[("b", address("10.0.0.3"))]), 1002);
    assert_eq!(trusted(&cache), ["10.0.0.2/32", "10.0.0.3/32"]);
    let state = cache.state(&key(0));
    assert_eq!(
        (state.state, state.unresolved),
        (SourceState::Stale, vec![("cs".to_owned(), error().to_string())])
    );
    hear(&mut cache, answer([("b", address("10.0.0.3"))]), 1003);
    assert_eq!(trusted(&cache), ["10.0.0.3/32"]);
    assert_eq!(cache.state(&key(0)).state, SourceState::Ok);
}

#[test]
fn a_part_that_fails_does_not_speak_for_those_that_vanished() {
    let mut cache = cache(None);
    hear(&mut cache, answer([("a", address("10.0.0.1"))]), 0);
    hear(&mut cache, answer([("b", PartSaid::Failed)]), 10);
    assert_eq!(trusted(&cache), ["10.0.0.1/32"]);
    hear(&mut cache, answer([("b", PartSaid::Failed)]), 129);
    assert_eq!(trusted(&cache), ["10.0.0.1/32"]);
    hear(&mut cache, answer([("b", PartSaid::Failed)]), 130);
    assert_eq!(trusted(&cache), [""; 0]);
}

#[test]
fn a_restart_gives_nothing_back_that_lapsed() {
    for failure in [Said::Failed, answer([("a", PartSaid::Failed)])] {
        let mut cache = cache(Some(90));
        hear(&mut cache, answer([("a", address("10.0.0.1"))]), 0);
        hear(&mut cache, failure.clone(), 100);
        assert_eq!(trusted(&cache), [""; 0]);
        assert_eq!(trusted(&restarted(&cache, 101)), [""; 0], "{failure:?}");
    }
}

#[test]
fn a_restart_makes_nothing_younger() {
    let mut cache = cache(Some(90));
    hear(&mut cache, answer([("a", address("10.0.0.1")), ("b", address("10.0.0.2"))]), 0);
    let partly = || answer([("a", PartSaid::Failed), ("b", address("10.0.0.2"))]);
    hear(&mut cache, partly(), 80);
    let mut cache = restarted(&cache, 85);
    assert_eq!(trusted(&cache), ["10.0.0.1/32", "10.0.0.2/32"]);
    hear(&mut cache, partly(), 90);
    assert_eq!(trusted(&cache), ["10.0.0.2/32"]);
}

#[test]
fn a_restart_keeps_what_is_held() {
    let mut cache = cache(None);
    let both = [("a", address("10.0.0.1")), ("b", address("10.0.0.2"))];
    hear(&mut cache, Said::Answer(both.into(), 60), 0);
    hear(&mut cache, Said::Answer([("b", address("10.0.0.2"))].into(), 60), 10);
    assert_eq!(trusted(&cache), ["10.0.0.1/32", "10.0.0.2/32"]);
    let mut cache = restarted(&cache, 20);
    assert_eq!(trusted(&cache), ["10.0.0.1/32", "10.0.0.2/32"]);
    cache.drop_expired(at(69));
    assert_eq!(trusted(&cache), ["10.0.0.1/32", "10.0.0.2/32"]);
    cache.drop_expired(at(70));
    assert_eq!(trusted(&cache), ["10.0.0.2/32"]);
}

#[test]
fn what_flaps_goes_at_once() {
    let mut cache = cache(None);
    for time in (0..1000).step_by(20) {
        let both = [("a", address("10.0.0.1")), ("b", address("10.0.0.2"))];
        hear(&mut cache, answer(both), time);
        assert_eq!(trusted(&cache), ["10.0.0.1/32", "10.0.0.2/32"]);
        hear(&mut cache, answer([("b", address("10.0.0.2"))]), time + 10);
        assert_eq!(trusted(&cache), ["10.0.0.2/32"]);
    }
}
