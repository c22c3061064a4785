mod found;
mod properties;

use std::sync::Arc;

use super::*;
use crate::{
    answers::ListId,
    policy::USUAL_MIN_LEN,
    source::{RuleKind, TrustedSource},
};

fn prefixes<'r>(rules: impl Iterator<Item = &'r Rule>) -> Vec<Prefix> {
    super::prefixes(rules).flatten().to_vec()
}

fn database(on_empty: OnEmpty) -> Guards {
    Guards {
        database: "orders".to_owned(),
        provider: Some(ListId::File("/orders.list".into())),
        on_empty,
        max_shrink: 50,
        allow_any: false,
        min_prefix: USUAL_MIN_LEN,
        within: None,
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn rule(text: &str, origin: &Origin, prefixes: &[&str]) -> Rule {
    let source: TrustedSource = text.parse().unwrap();
    let prefixes: Vec<Prefix> = prefixes.iter().map(|text| text.parse().unwrap()).collect();
    Rule::of_source(source.into(), origin.clone(), prefixes)
}

fn provider() -> Origin {
    Origin::Provider("file:/orders.list".into())
}

fn listed(values: &[&str]) -> Candidate {
    let list = if values.is_empty() { ListPart::Empty(at(0)) } else { ListPart::Read(at(0)) };
    let rules = values.iter().map(|value| rule(&format!("ip_addr:{value}"), &provider(), &[value]));
    Candidate { guarded: rules.collect(), list, ..Candidate::default() }
}

fn opened() -> Candidate {
    Candidate { guarded: vec![Rule::everybody("file:/orders.list".into())], ..listed(&[]) }
}

fn resolved(rules: &[(&str, &[&str])]) -> Candidate {
    let rules = rules.iter().map(|(text, prefixes)| rule(text, &Origin::Config, prefixes));
    Candidate { guarded: rules.collect(), ..Candidate::default() }
}

const NONE: &BTreeSet<String> = &BTreeSet::new();
const ACCEPTED: Decision = Decision::Accepted { confirmed: None };

fn refused(guard: Guard) -> Decision {
    Decision::Refused { guard, new: true }
}

fn trusted(enforced: &Enforced) -> Vec<String> {
    prefixes(enforced.rules()).iter().map(ToString::to_string).collect()
}

fn plan(enforced: &Enforced) -> BTreeSet<String> {
    enforced.refused.iter().map(|refused| refused.id.clone()).collect()
}

#[test]
fn an_empty_list_is_confirmed_once() {
    let database = database(OnEmpty::Keep);
    let mut enforced = Enforced::default();
    let empty = || listed(&[]);
    let guard = Guard::OnEmpty;
    assert_eq!(enforced.decide(&database, empty(), NONE, at(0)), refused(guard), "none to keep");
    assert_eq!(enforced.decide(&database, listed(&["10.0.0.1"]), NONE, at(0)), ACCEPTED);
    assert_eq!(enforced.decide(&database, empty(), NONE, at(0)), refused(guard));
    let again = Decision::Refused { guard, new: false };
    assert_eq!(enforced.decide(&database, empty(), NONE, at(0)), again);
    let plan = plan(&enforced);
    let accepted = enforced.decide(&database, empty(), &plan, at(0));
    assert!(matches!(accepted, Decision::Accepted { confirmed: Some(_) }));
    assert_eq!(enforced.decide(&database, empty(), NONE, at(0)), Decision::Unchanged);
    assert!(enforced.refused.is_none());
}

#[test]
fn a_confirmation_lets_one_plan_through_and_no_other() {
    let database = database(OnEmpty::Keep);
    let mut enforced = Enforced::default();
    let five = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"];
    enforced.decide(&database, listed(&five), NONE, at(0));
    let (one, other) = (|| listed(&five[..1]), || listed(&five[1..2]));
    let guard = Guard::MaxShrink;
    assert_eq!(enforced.decide(&database, one(), NONE, at(0)), refused(guard));
    let seen = plan(&enforced);
    let message = enforced.refused.as_ref().map(Refused::message).unwrap();
    let command = format!("dbfw reload --confirm {}", seen.first().unwrap());
    assert!(message.contains(&command), "{message}");
    assert_eq!(enforced.refused.as_ref().map(Refused::command), Some(command));
    assert_eq!(
        enforced.decide(&database, other(), &seen, at(0)),
        refused(guard),
        "not the one seen"
    );
    assert_eq!(trusted(&enforced).len(), 5);
    assert!(matches!(enforced.decide(&database, one(), &seen, at(0)), Decision::Accepted { .. }));
    assert_eq!(trusted(&enforced), ["10.0.0.1/32"]);
}

/// What others write in a refusal is no place for the number of the plan.
#[test]
fn a_provider_that_is_named_like_the_command_is_named_as_it_is() {
    let mut database = database(OnEmpty::Keep);
    database.provider = Some(ListId::File("/l --confirm/x".into()));
    let mut enforced = Enforced::default();
    assert_eq!(enforced.decide(&database, listed(&[]), NONE, at(0)), refused(Guard::OnEmpty));
    let id = plan(&enforced).pop_first().unwrap();
    assert_eq!(
        enforced.refused.as_ref().map(Refused::message).unwrap(),
        format!(
            "file:/l --confirm/x has an empty list, and there is no earlier one to keep, so it lets \
             in nobody; run `dbfw reload --confirm {id}` if that is meant, or set on_empty = \
             \"close\" for database orders"
        )
    );
}

/// The office has a new address: the list of one address that names it is replaced.
#[test]
fn one_address_of_a_short_list_is_replaced_without_a_word() {
    for on_empty in [OnEmpty::Keep, OnEmpty::Close, OnEmpty::Open] {
        let database = database(on_empty);
        let mut enforced = Enforced::default();
        for list in [
            &["192.0.2.10"][..],
            &["192.0.2.11"],
            &["192.0.2.12", "192.0.2.13", "192.0.2.14"],
            &["192.0.2.15"],
        ] {
            assert_eq!(enforced.decide(&database, listed(list), NONE, at(0)), ACCEPTED, "{list:?}");
            assert_eq!(trusted(&enforced).len(), list.len());
        }
        let tag = |prefixes: &[&str]| resolved(&[("tag:a", prefixes)]);
        let mut enforced = Enforced::default();
        assert_eq!(enforced.decide(&database, tag(&["192.0.2.1"]), NONE, at(0)), ACCEPTED);
        assert_eq!(enforced.decide(&database, tag(&["192.0.2.2"]), NONE, at(0)), ACCEPTED);
    }
    // Nothing at all is on_empty's, however short the list was.
    let database = database(OnEmpty::Keep);
    let mut enforced = Enforced::default();
    assert_eq!(enforced.decide(&database, listed(&["192.0.2.10"]), NONE, at(0)), ACCEPTED);
    assert_eq!(enforced.decide(&database, listed(&[]), NONE, at(0)), refused(Guard::OnEmpty));
    assert_eq!(trusted(&enforced), ["192.0.2.10/32"]);
}

#[test]
fn an_empty_list_means_what_the_configuration_says() {
    for (on_empty, empty, expected, rules) in [
        (OnEmpty::Keep, listed(&[]), refused(Guard::OnEmpty), 1),
        (OnEmpty::Close, listed(&[]), ACCEPTED, 0),
        (OnEmpty::Open, opened(), ACCEPTED, 2),
    ] {
        let database = database(on_empty);
        let mut enforced = Enforced::default();
        enforced.decide(&database, listed(&["10.0.0.1"]), NONE, at(0));
        assert_eq!(enforced.decide(&database, empty, NONE, at(0)), expected);
        assert_eq!(trusted(&enforced).len(), rules);
    }
}

#[test]
fn a_list_that_is_gone_never_opens() {
    for on_empty in [OnEmpty::Keep, OnEmpty::Open, OnEmpty::Close] {
        let database = database(on_empty);
        let mut enforced = Enforced::default();
        enforced.decide(&database, listed(&["10.0.0.1"]), NONE, at(0));
        let gone = || Candidate { list: ListPart::Gone(at(1)), ..Candidate::default() };
        for second in [1, 2, 50] {
            enforced.decide(&database, gone(), NONE, at(second));
            // Not when something else is evaluated.
            let said_at = if on_empty == OnEmpty::Close { at(1) } else { at(0) };
            assert_eq!(enforced.accepted_at(), Some(said_at));
        }
        let expected: &[&str] = if on_empty == OnEmpty::Close { &[] } else { &["10.0.0.1/32"] };
        assert_eq!(trusted(&enforced), expected);
    }
}

#[test]
fn open_ends_with_a_list_or_with_the_word_that_said_so() {
    let open = database(OnEmpty::Open);
    let mut enforced = Enforced::default();
    assert_eq!(enforced.decide(&open, opened(), NONE, at(0)), ACCEPTED);
    let mut other = enforced.clone();
    assert_eq!(enforced.decide(&open, listed(&["10.0.0.1"]), NONE, at(0)), ACCEPTED);
    assert_eq!(trusted(&enforced), ["10.0.0.1/32"]);
    let keep = database(OnEmpty::Keep);
    assert_eq!(other.decide(&keep, listed(&[]), NONE, at(0)), refused(Guard::OnEmpty));
    assert!(trusted(&other).is_empty());
}

#[test]
fn nobody_but_the_configuration_lets_in_everybody() {
    let mut database = database(OnEmpty::Keep);
    let mut enforced = Enforced::default();
    for wide in ["0.0.0.0/0", "::/0", "10.0.0.0/7"] {
        let any = || listed(&[wide]);
        assert_eq!(enforced.decide(&database, any(), NONE, at(0)), refused(Guard::AllowAny));
        let seen = plan(&enforced);
        let again = enforced.decide(&database, any(), &seen, at(0));
        assert_eq!(again, Decision::Refused { guard: Guard::AllowAny, new: false }, "not by hand");
        assert!(trusted(&enforced).is_empty());
    }
    database.min_prefix[0] = 7;
    assert_eq!(enforced.decide(&database, listed(&["10.0.0.0/7"]), NONE, at(0)), ACCEPTED);
    database.allow_any = true;
    assert_eq!(enforced.decide(&database, listed(&["0.0.0.0/0"]), NONE, at(0)), ACCEPTED);
}

#[test]
fn what_the_operator_writes_waits_for_no_guard() {
    let database = database(OnEmpty::Keep);
    let mut enforced = Enforced::default();
    let full = || resolved(&[("tag:a", &["10.0.0.1", "10.0.0.2", "10.0.0.3"])]);
    assert_eq!(enforced.decide(&database, full(), NONE, at(0)), ACCEPTED);
    let mut shrunk = resolved(&[
        ("tag:a", &["10.0.0.1"]),
        ("tag:b", &["10.9.0.1"]),
        ("dns:x.y", &["8.0.0.0/6"]),
    ]);
    shrunk.plain.push(rule("ip_addr:10.7.0.0/16", &Origin::Local, &["10.7.0.0/16"]));
    assert_eq!(enforced.decide(&database, shrunk, NONE, at(0)), refused(Guard::AllowAny));
    let kept = ["10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32"];
    let plus: Vec<&str> = kept.into_iter().chain(["10.7.0.0/16", "10.9.0.1/32"]).collect();
    assert_eq!(trusted(&enforced), plus, "not the one that is too wide");
    assert_eq!(enforced.decide(&database, Candidate::default(), NONE, at(0)), ACCEPTED);
    assert!(trusted(&enforced).is_empty(), "taken out of the configuration");
}

#[test]
fn what_replaces_something_is_waited_for() {
    let database = database(OnEmpty::Keep);
    let mut enforced = Enforced::default();
    enforced.decide(&database, listed(&["10.0.0.1", "10.0.0.2"]), NONE, at(0));
    let replaced = |pending, prefixes: &[&str]| {
        let mut candidate = listed(&["10.0.0.1"]);
        candidate.guarded.push(rule("tag:new", &provider(), prefixes));
        Candidate { pending, ..candidate }
    };
    assert_eq!(enforced.decide(&database, replaced(true, &[]), NONE, at(1)), ACCEPTED);
    assert_eq!(trusted(&enforced), ["10.0.0.1/32", "10.0.0.2/32"]);
    assert!(enforced.is_waiting());
    assert_eq!(enforced.decide(&database, replaced(false, &["10.0.0.3"]), NONE, at(2)), ACCEPTED);
    assert_eq!(trusted(&enforced), ["10.0.0.1/32", "10.0.0.3/32"]);
    enforced.decide(&database, replaced(true, &[]), NONE, at(10));
    assert_eq!(trusted(&enforced), ["10.0.0.1/32", "10.0.0.3/32"]);
    enforced.decide(&database, replaced(true, &[]), NONE, at(40));
    assert_eq!(trusted(&enforced), ["10.0.0.1/32"], "but not for ever");
}

#[test]
fn what_was_found_in_the_maps_stays_until_everything_is_known() {
    let database = database(OnEmpty::Keep);
    let found = ["10.0.0.1/32", "10.0.0.2/32"].map(|text| text.parse().unwrap()).to_vec();
    let mut enforced = Enforced::adopt(&provider(), found);
    let unread = || Candidate { list: ListPart::Unread, ..Candidate::default() };
    enforced.decide(&database, unread(), NONE, at(0));
    assert_eq!(trusted(&enforced), ["10.0.0.1/32", "10.0.0.2/32"]);
    let half = |unanswered| {
        let mut candidate = listed(&["10.0.0.1"]);
        candidate.guarded.push(rule("tag:a", &provider(), &[]));
        Candidate { unanswered, ..candidate }
    };
    enforced.decide(&database, half(true), NONE, at(1));
    assert_eq!(trusted(&enforced), ["10.0.0.1/32", "10.0.0.2/32"]);
    enforced.decide(&database, half(false), NONE, at(2));
    assert_eq!(trusted(&enforced), ["10.0.0.1/32"]);
}

#[test]
fn max_stale_is_the_operators_word() {
    let mut database = database(OnEmpty::Keep);
    database.max_shrink = 0;
    let mut enforced = Enforced::default();
    enforced.decide(&database, listed(&["10.0.0.1"]), NONE, at(0));
    let lapsed = vec!["10.0.0.1/32".parse().unwrap()];
    let candidate = Candidate { list: ListPart::Lapsed, lapsed, ..Candidate::default() };
    assert_eq!(enforced.decide(&database, candidate, NONE, at(1)), ACCEPTED);
    assert!(trusted(&enforced).is_empty());
}

/// A source of the provider's list with this description.
fn described(value: &str, description: &str) -> Rule {
    let mut source: TrustedSource = format!("ip_addr:{value}").parse().unwrap();
    source.description = Some(description.to_owned());
    let prefixes = source.key().prefixes().unwrap().clone();
    Rule::of_source(source.into(), provider(), prefixes)
}

#[test]
fn no_description_keeps_a_source_trusted() {
    let texts = [
        Rule::adopted(provider(), Prefix::ANY4),
        Rule::everybody("file:/orders.list".into()),
        Rule::plain_lines(provider(), [].into()),
    ];
    for text in texts.iter().filter_map(|rule| rule.kind.description()).chain([""]) {
        for (pending, unanswered) in [(false, true), (true, false), (true, true)] {
            let database = database(OnEmpty::Keep);
            let mut enforced = Enforced::default();
            let others = || ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|v| described(v, "app"));
            let with = |rules: Vec<Rule>| Candidate {
                guarded: rules,
                list: ListPart::Read(at(0)),
                unanswered,
                ..Candidate::default()
            };
            let all = [described("203.0.113.9", text)].into_iter().chain(others()).collect();
            enforced.decide(&database, with(all), NONE, at(0));
            let mut less = with(others().into());
            less.pending = pending;
            // A source nobody asked for yet is waited for, and no longer.
            enforced.decide(&database, less.clone(), NONE, at(1));
            enforced.decide(&database, less, NONE, at(100));
            assert_eq!(enforced.guarded(), others(), "{text:?} {pending} {unanswered}");
        }
    }
}

#[test]
fn rules_in_force_do_not_grow_with_changes() {
    let database = database(OnEmpty::Keep);
    let found: Vec<Prefix> = ["192.0.2.1/32", "192.0.2.2/32"].map(|p| p.parse().unwrap()).into();
    let mut enforced = Enforced::adopt(&provider(), found);
    for round in 0..10 {
        let mut candidate = listed(&["192.0.2.1", "192.0.2.2", "198.51.100.7"]);
        candidate.guarded.truncate(2 + round % 2);
        candidate.unanswered = true;
        candidate.pending = round % 3 == 0;
        enforced.decide(&database, candidate, NONE, at(round as i64));
        let adopted = enforced.guarded().iter().filter(|rule| is_adopted(rule)).count();
        assert_eq!(adopted, 2, "round {round}");
        assert!(enforced.guarded().len() <= 5, "round {round}: {}", enforced.guarded().len());
    }
    enforced.decide(&database, listed(&["192.0.2.1", "192.0.2.2"]), NONE, at(100));
    assert!(enforced.guarded().iter().all(|rule| rule.source().is_some()));
}

#[test]
fn what_has_expired_is_not_among_what_a_refused_change_takes_away() {
    let mut enforced = Enforced::default();
    let mut spare = rule("tag:spare", &Origin::Local, &["198.51.100.9"]);
    if let RuleKind::Source(source) = &mut spare.kind {
        Arc::make_mut(source).expires_at = Some(at(10));
    }
    let five = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"];
    let with_spare = |values: &[&str]| {
        let mut candidate = listed(values);
        candidate.guarded.push(spare.clone());
        candidate
    };
    enforced.decide(&database(OnEmpty::Keep), with_spare(&five), NONE, at(0));
    let decision = enforced.decide(&database(OnEmpty::Keep), with_spare(&five[..1]), NONE, at(20));
    assert_eq!(decision, refused(Guard::MaxShrink));
    let lost: Vec<_> = enforced.refused.unwrap().lost.iter().map(ToString::to_string).collect();
    assert_eq!(lost, ["10.0.0.2/32", "10.0.0.3/32", "10.0.0.4/32", "10.0.0.5/32"]);
}

#[test]
fn what_a_refused_change_would_bring_is_told_beside_what_it_would_take() {
    let database = database(OnEmpty::Keep);
    let mut enforced = Enforced::default();
    let five = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"];
    enforced.decide(&database, listed(&five), NONE, at(0));
    let told = |enforced: &Enforced| {
        let refused = enforced.refused().unwrap();
        let texts = |prefixes: &[Prefix]| -> Vec<String> {
            prefixes.iter().map(ToString::to_string).collect()
        };
        (texts(refused.lost()), texts(refused.gained()))
    };
    // What the operator wrote, or holds in other pieces, is in force already.
    let mut other = listed(&["10.0.0.1", "192.0.2.128/25", "10.1.0.0/16", "2001:db8::/48"]);
    other.plain = vec![rule("ip_addr:192.0.2.0/24", &Origin::Config, &["192.0.2.0/24"])];
    assert_eq!(enforced.decide(&database, other, NONE, at(0)), refused(Guard::MaxShrink));
    let lost = ["10.0.0.2/32", "10.0.0.3/32", "10.0.0.4/32", "10.0.0.5/32"];
    let gained = ["10.1.0.0/16", "2001:db8::/48"];
    assert_eq!(told(&enforced), (lost.map(str::to_owned).into(), gained.map(str::to_owned).into()));

    let wide = listed(&["10.0.0.1", "0.0.0.0/0"]);
    assert_eq!(enforced.decide(&database, wide, NONE, at(0)), refused(Guard::AllowAny));
    assert_eq!(told(&enforced), (Vec::new(), vec!["0.0.0.0/0".to_owned()]));
    assert_eq!(enforced.decide(&database, listed(&[]), NONE, at(0)), refused(Guard::OnEmpty));
    assert_eq!(told(&enforced).1, [""; 0]);
}

fn written(values: &[&str]) -> Candidate {
    let plain =
        values.iter().map(|value| rule(&format!("ip_addr:{value}"), &Origin::Config, &[value]));
    Candidate { plain: plain.collect(), ..Candidate::default() }
}

fn with_list(list: ListPart, values: &[&str]) -> Candidate {
    Candidate { list, ..written(values) }
}

#[test]
fn sources_that_a_provider_takes_over_stay_until_there_is_its_list() {
    let with_provider = database(OnEmpty::Keep);
    let without = Guards { provider: None, ..with_provider.clone() };
    for (list, is_refused) in
        [(ListPart::Unread, false), (ListPart::Empty(at(1)), true), (ListPart::Gone(at(1)), true)]
    {
        let mut enforced = Enforced::default();
        enforced.decide(&without, written(&["10.0.0.1", "10.0.0.2"]), NONE, at(0));
        for second in 1..40 {
            enforced.decide(&with_provider, with_list(list, &["10.0.0.2"]), NONE, at(second));
            assert_eq!(trusted(&enforced), ["10.0.0.1/32", "10.0.0.2/32"], "{list:?}");
            assert_eq!(enforced.refused.is_some(), is_refused, "{list:?}");
        }
        // A restart knows what is guarded only.
        let mut restored = Enforced::restore(enforced.guarded.clone(), None, None);
        restored.decide(&with_provider, with_list(list, &["10.0.0.2"]), NONE, at(41));
        assert_eq!(trusted(&restored), ["10.0.0.1/32", "10.0.0.2/32"], "{list:?}");
        assert_eq!(enforced.decide(&with_provider, listed(&["10.0.0.1"]), NONE, at(42)), ACCEPTED);
        assert_eq!(trusted(&enforced), ["10.0.0.1/32"]);
    }
    // The configuration says what an empty list means.
    for (on_empty, expected) in
        [(OnEmpty::Close, vec![]), (OnEmpty::Open, vec!["0.0.0.0/0", "::/0"])]
    {
        let mut enforced = Enforced::default();
        enforced.decide(&without, written(&["10.0.0.1"]), NONE, at(0));
        let empty = if on_empty == OnEmpty::Open { opened() } else { listed(&[]) };
        enforced.decide(&database(on_empty), empty, NONE, at(1));
        assert_eq!(trusted(&enforced), expected);
    }
    // A list that can be read counts at once.
    let mut enforced = Enforced::default();
    enforced.decide(&without, written(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]), NONE, at(0));
    assert_eq!(enforced.decide(&with_provider, listed(&["10.0.0.9"]), NONE, at(1)), ACCEPTED);
    assert_eq!(trusted(&enforced), ["10.0.0.9/32"]);
    // And what the operator takes out without a provider goes at once.
    enforced.decide(&without, written(&["10.0.0.1"]), NONE, at(2));
    enforced.decide(&without, written(&[]), NONE, at(3));
    assert_eq!(trusted(&enforced), Vec::<String>::new());
}

#[test]
fn an_empty_list_of_a_provider_that_came_back_is_not_taken_for_the_one_that_was_confirmed() {
    let with_provider = database(OnEmpty::Keep);
    let without = Guards { provider: None, ..with_provider.clone() };
    let mut enforced = Enforced::default();
    enforced.decide(&with_provider, listed(&["10.0.0.1"]), NONE, at(0));
    enforced.decide(&without, written(&["10.0.0.1"]), NONE, at(1));
    assert_eq!(enforced.accepted_at(), None);
    let decision =
        enforced.decide(&with_provider, with_list(ListPart::Empty(at(2)), &[]), NONE, at(2));
    assert_eq!(decision, refused(Guard::OnEmpty));
    assert_eq!(trusted(&enforced), ["10.0.0.1/32"]);
}

#[test]
fn sources_that_are_taken_over_settle_at_once() {
    let keep = database(OnEmpty::Keep);
    let without = Guards { provider: None, ..keep.clone() };
    let pending = |list| Candidate { pending: true, ..with_list(list, &[]) };
    // Everybody was let in, and is no more.
    let mut enforced = Enforced::default();
    let both = Candidate { plain: written(&["10.0.0.1"]).plain, ..opened() };
    enforced.decide(&database(OnEmpty::Open), both, NONE, at(0));
    assert_eq!(enforced.decide(&keep, pending(ListPart::Unread), NONE, at(1)), ACCEPTED);
    assert_eq!(enforced.decide(&keep, pending(ListPart::Unread), NONE, at(1)), Decision::Unchanged);
    // What is too wide is not taken over.
    let narrow = Guards { min_prefix: [24, 48], ..keep.clone() };
    let mut enforced = Enforced::default();
    enforced.decide(&without, written(&["10.0.0.0/8"]), NONE, at(0));
    enforced.decide(&narrow, with_list(ListPart::Unread, &[]), NONE, at(1));
    assert_eq!(trusted(&enforced), Vec::<String>::new());
    assert_eq!(
        enforced.decide(&narrow, with_list(ListPart::Unread, &[]), NONE, at(1)),
        Decision::Unchanged
    );
    // Confirmed away while something else is awaited.
    let mut enforced = Enforced::default();
    enforced.decide(&without, written(&["10.0.0.1"]), NONE, at(0));
    let gone = || pending(ListPart::Gone(at(1)));
    assert_eq!(enforced.decide(&keep, gone(), NONE, at(1)), refused(Guard::OnEmpty));
    let confirmed = plan(&enforced);
    enforced.decide(&keep, gone(), &confirmed, at(1));
    assert_eq!(enforced.decide(&keep, gone(), NONE, at(1)), Decision::Unchanged);
    let after = Candidate { list: ListPart::Gone(at(60)), ..Candidate::default() };
    enforced.decide(&keep, after, NONE, at(60));
    assert_eq!(trusted(&enforced), Vec::<String>::new());
}
