//! Properties of lists for any lists and any order of changes.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use dbfw_core::{
    source::{SourceKey, SourceType},
    testing::cases,
};
use jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::subsequence};
use uuid::Uuid;

use super::*;

/// Few, so that lists share some.
fn key(number: u8) -> SourceKey {
    match number % 3 {
        0 => SourceKey::new(SourceType::IpAddr, &format!("10.0.0.{number}")),
        1 => SourceKey::new(
            SourceType::IpAddr,
            &format!("2001:db8::{number}-2001:db8::{}", number + 9),
        ),
        _ => SourceKey::new(SourceType::Tag, &format!("t{number}")),
    }
    .unwrap()
}

fn keys() -> impl Strategy<Value = Vec<SourceKey>> {
    let all: Vec<u8> = (0..24).collect();
    subsequence(all, 0..12)
        .prop_shuffle()
        .prop_map(|numbers| numbers.into_iter().map(key).collect())
}

fn setting() -> impl Strategy<Value = Setting<String>> {
    prop_oneof![Just(Setting::Keep), Just(Setting::Clear), "[a-c]{1,2}".prop_map(Setting::Set),]
}

fn wanted() -> impl Strategy<Value = Vec<Wanted>> {
    let expiry = prop_oneof![
        Just(Setting::Keep),
        Just(Setting::Clear),
        (1_i64..9).prop_map(|at| Setting::Set(Timestamp::from_second(at).unwrap())),
    ];
    let details = vec((setting(), expiry), 12);
    (keys(), details).prop_map(|(keys, details)| {
        let wanted = keys.into_iter().zip(details);
        wanted
            .map(|(key, (description, expires_at))| Wanted { key, description, expires_at })
            .collect()
    })
}

/// Makes rules with uuids that count up.
struct Made(u128);

impl Made {
    fn identify(&mut self, current: &[Rule], wanted: &[Wanted], now: i64) -> Vec<Rule> {
        let mut uuid = || {
            self.0 += 1;
            Uuid::from_u128(self.0)
        };
        let now = Timestamp::from_second(now).unwrap();
        identify(current, wanted, &mut Maker { now, by: "ana", uuid: &mut uuid })
    }

    fn list(&mut self, keys: &[SourceKey]) -> Vec<Rule> {
        let wanted: Vec<Wanted> = keys.iter().cloned().map(Wanted::from).collect();
        self.identify(&[], &wanted, 0)
    }
}

fn set<'k>(keys: impl IntoIterator<Item = &'k SourceKey>) -> BTreeSet<SourceKey> {
    keys.into_iter().cloned().collect()
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_merge_is_current_with_the_clients_difference(
        current in keys(), base in keys(), incoming in wanted(),
    ) {
        let rules = Made(0).list(&current);
        let merged = merge(&rules, Some(&base), &incoming);
        let [sent, read, now] = [set(incoming.iter().map(|w| &w.key)), set(&base), set(&current)];
        let mut expected = now.clone();
        expected.extend(sent.difference(&read).cloned());
        for gone in read.difference(&sent) {
            expected.remove(gone);
        }
        let found = set(merged.wanted.iter().map(|w| &w.key));
        if base != current {
            prop_assert_eq!(&found, &expected);
        } else {
            prop_assert_eq!(&found, &sent);
        }
        prop_assert_eq!(found.len(), merged.wanted.len(), "each once");
        prop_assert_eq!(merged.kept, found.difference(&sent).count());
        prop_assert_eq!(merged.left_out, sent.difference(&found).count());
    }

    #[test]
    fn without_a_base_or_with_the_current_list_as_base_what_is_sent_counts(
        current in keys(), incoming in wanted(),
    ) {
        let rules = Made(0).list(&current);
        for base in [None, Some(current.as_slice())] {
            let merged = merge(&rules, base, &incoming);
            prop_assert_eq!(&merged.wanted, &incoming);
            prop_assert_eq!(merged.count(), 0);
        }
    }

    #[test]
    fn appends_from_one_base_are_all_kept_in_any_order(
        base in keys(), added in subsequence((24_u8..60).collect::<Vec<_>>(), 1..20).prop_shuffle(),
    ) {
        let mut made = Made(0);
        let mut list = made.list(&base);
        for number in &added {
            let mut incoming: Vec<Wanted> = vec![key(*number).into()];
            incoming.extend(base.iter().cloned().map(Wanted::from));
            let merged = merge(&list, Some(&base), &incoming);
            list = made.identify(&list, &merged.wanted, 1);
        }
        let mut expected = set(&base);
        expected.extend(added.iter().copied().map(key));
        prop_assert_eq!(set(list.iter().map(|rule| &rule.key)), expected);
    }

    #[test]
    fn a_uuid_belongs_to_one_source_for_ever(lists in vec((wanted(), any::<bool>()), 1..12)) {
        let mut made = Made(0);
        let mut list: Vec<Rule> = Vec::new();
        let mut owners: BTreeMap<Uuid, (SourceKey, Timestamp)> = BTreeMap::new();
        for (now, (incoming, is_merged)) in (1..).zip(&lists) {
            let base: Option<Vec<SourceKey>> =
                is_merged.then(|| list.iter().skip(1).map(|rule| rule.key.clone()).collect());
            let merged = merge(&list, base.as_deref(), incoming);
            let next = made.identify(&list, &merged.wanted, now);
            for rule in &next {
                let owner = owners.entry(rule.uuid).or_insert((rule.key.clone(), rule.created_at));
                prop_assert_eq!(&*owner, &(rule.key.clone(), rule.created_at));
            }
            for old in &list {
                if let Some(new) = next.iter().find(|new| new.key == old.key) {
                    prop_assert_eq!(new.uuid, old.uuid);
                }
            }
            prop_assert_eq!(next.iter().map(|r| r.uuid).collect::<HashSet<_>>().len(), next.len());
            list = next;
        }
    }

    #[test]
    fn details_that_nothing_is_said_of_stay(current in keys(), said in wanted()) {
        let mut made = Made(0);
        let list = made.list(&current);
        let first = made.identify(&list, &said, 1);
        let silent: Vec<Wanted> = said.iter().map(|wanted| wanted.key.clone().into()).collect();
        prop_assert_eq!(made.identify(&first, &silent, 2), first);
    }

    #[test]
    fn a_difference_leads_there_and_back(one in wanted(), other in wanted()) {
        let mut made = Made(0);
        let old = made.identify(&[], &one, 1);
        let new = made.identify(&old, &other, 2);
        let difference = Difference::between(&old, &new);
        prop_assert_eq!(difference.is_empty(), old == new);
        prop_assert_eq!(difference.apply(&old), Ok(new.clone()));
        prop_assert_eq!(difference.inverse().apply(&new), Ok(old.clone()));
        prop_assert_eq!(difference.inverse().inverse(), difference.clone());
        let json = serde_json::to_string(&difference).unwrap();
        prop_assert_eq!(serde_json::from_str::<Difference>(&json).unwrap(), difference);
    }

    #[test]
    fn a_difference_never_panics_on_another_list(one in wanted(), two in wanted(), other in wanted()) {
        let mut made = Made(0);
        let old = made.identify(&[], &one, 1);
        let new = made.identify(&old, &two, 2);
        let third = made.identify(&new, &other, 3);
        let _ = Difference::between(&old, &new).apply(&third);
    }

    #[test]
    fn reading_never_panics(kind in ".{0,8}", value in ".{0,300}", text in ".{0,600}") {
        for kind in [kind.as_str(), "ip_addr", "feed", "dns", "tag"] {
            let _ = read(kind, &value, Setting::Set(text.clone()), &Setting::Set(text.clone()));
        }
    }
}

fn refused(limits: &Limits, sources: &[(&str, &str)]) -> Vec<String> {
    let read = |(kind, value): &(&str, &str)| read(kind, value, Setting::Keep, &Setting::Keep);
    let wanted: Vec<Wanted> = sources.iter().map(|source| read(source).unwrap()).collect();
    let violations = validate(&[], &wanted, limits, Timestamp::UNIX_EPOCH).err();
    violations.unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_too_wide_is_refused_with_rule_reason_and_fix() {
    let usual = Limits::default();
    assert_eq!(refused(&usual, &[("ip_addr", "10.0.0.0/8"), ("ip_addr", "fd00::/8")]), [""; 0]);
    let found = refused(&usual, &[("tag", "web"), ("ip_addr", "0.0.0.0/0")]);
    assert!(found[0].starts_with("rules[1].value: "), "{found:?}");
    assert!(found[0].ends_with("; set allow_any = true for the database"), "{found:?}");
    let found = refused(&usual, &[("ip_addr", "10.0.0.0/7")]);
    assert!(found[0].contains("set min_prefix = { ipv4 = 7 }"), "{found:?}");
    let halves: Vec<String> = (0..20).map(|n| format!("{}.0.0.0/8", n + 20)).collect();
    let halves: Vec<(&str, &str)> = halves.iter().map(|half| ("ip_addr", half.as_str())).collect();
    assert!(refused(&usual, &halves)[0].starts_with("rules: "));
    let open = Limits { allow_any: true, ..usual };
    assert_eq!(refused(&open, &[("ip_addr", "0.0.0.0/0"), ("ip_addr", "::/0")]), [""; 0]);
}

#[test]
fn a_feed_is_below_an_allowed_url() {
    let allowed = ["https://a.example/lists/", "https://b.example/meta"].map(str::to_owned);
    let limits = Limits { feeds: allowed.to_vec(), ..Limits::default() };
    for good in [
        "https://a.example/lists/x#$[*]",
        "https://b.example/meta#$.hooks[*]",
        "https://b.example/meta?x=1",
    ] {
        assert_eq!(refused(&limits, &[("feed", good)]), [""; 0], "{good}");
    }
    for bad in [
        "https://a.example/other",
        "https://b.example/metadata",
        "https://a.example.evil/lists/",
        "https://a.example/lists/../other",
        "/etc/passwd",
    ] {
        assert_eq!(refused(&limits, &[("feed", bad)]).len(), 1, "{bad}");
    }
}

#[test]
fn what_is_in_the_list_is_no_reason_to_refuse_a_removal() {
    let mut made = Made(0);
    let wide = SourceKey::new(SourceType::IpAddr, "0.0.0.0/0").unwrap();
    let list = made.list(&[wide, key(3), key(6)]);
    let fewer: Vec<Wanted> = list[..2].iter().map(Wanted::from).collect();
    let limits = Limits { rules: 1, ..Limits::default() };
    assert_eq!(validate(&list, &fewer, &limits, Timestamp::UNIX_EPOCH), Ok(()));
}

#[test]
fn texts_are_bounded_and_expiries_are_to_come() {
    let read_texts = |value: &str, description: &str, expiry: &str| {
        let (description, expiry) = (description.to_owned(), expiry.to_owned());
        read("ip_addr", value, Setting::Set(description), &Setting::Set(expiry))
    };
    let wanted = read_texts("10.0.0.1", "", "2026-12-01T00:00:00Z").unwrap();
    assert_eq!(wanted.description, Setting::Clear);
    let now: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
    let found = validate(&[], std::slice::from_ref(&wanted), &Limits::default(), now).unwrap_err();
    assert_eq!(found[0].field, Field::ExpiresAt);
    for (value, description, expiry, field) in [
        ("10.0.0.5/24", "", "", Field::Value),
        (" 10.0.0.5", "", "", Field::Value),
        (&"1".repeat(257), "", "", Field::Value),
        ("10.0.0.5", "a\u{202e}b", "", Field::Description),
        ("10.0.0.5", &"x".repeat(513), "", Field::Description),
        ("10.0.0.5", "", "tomorrow", Field::ExpiresAt),
    ] {
        let found = read_texts(value, description, expiry).unwrap_err();
        assert_eq!(found.field, field, "{found}");
    }
}

#[test]
fn edits_of_single_rules() {
    let mut made = Made(0);
    let list = made.list(&[key(0), key(3)]);
    let keys = |edit: Edit| {
        let wanted = edit.apply(&list)?;
        Ok::<_, NoSuchRule>(wanted.iter().map(|w| w.key.value().to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(keys(Edit::Add(key(6).into())).unwrap(), ["10.0.0.6", "10.0.0.0", "10.0.0.3"]);
    assert_eq!(keys(Edit::Add(key(3).into())).unwrap(), ["10.0.0.0", "10.0.0.3"]);
    assert_eq!(keys(Edit::Remove(list[0].uuid)).unwrap(), ["10.0.0.3"]);
    assert_eq!(keys(Edit::RemoveSource(key(3))).unwrap(), ["10.0.0.0"]);
    assert_eq!(keys(Edit::RemoveSource(key(9))), Err(NoSuchRule));
    assert_eq!(keys(Edit::Remove(Uuid::from_u128(99))), Err(NoSuchRule));
    let mut expiring = list.clone();
    let at = Timestamp::from_second(5).unwrap();
    expiring[0].details.expires_at = Some(at);
    let left = |now: i64| {
        Edit::Expire(Timestamp::from_second(now).unwrap()).apply(&expiring).unwrap().len()
    };
    assert_eq!((left(4), left(5)), (2, 1));
}
