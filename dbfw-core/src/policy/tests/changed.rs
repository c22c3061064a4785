//! A policy that follows another against the same policy made from scratch.

use dbfw_common::Family;
use proptest::{collection::vec, prelude::*, sample::Index};

use super::support::{any_prefix, any_rule, assign, database, databases, entries, named_rule};
use crate::{
    policy::{Changed, DatabasePolicy, Entries, Policy, SlotTable},
    source::{Prefix, PrefixSet, Rule},
};

/// One change of the databases that a policy is of.
#[derive(Clone, Debug)]
enum Edit {
    Insert(Index, Index, Rule),
    Remove(Index, Index),
    Replace(Index, Index, Rule),
    /// One prefix more or one less.
    Toggle(Index, Index, Prefix),
    Swap(Index, Index, Index),
    Renumber(Index, u8),
    Drop(Index),
    All(Vec<DatabasePolicy>),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), at(), any_rule()).prop_map(|(d, r, rule)| Edit::Insert(d, r, rule)),
        3 => (at(), at()).prop_map(|(d, r)| Edit::Remove(d, r)),
        3 => (at(), at(), any_rule()).prop_map(|(d, r, rule)| Edit::Replace(d, r, rule)),
        6 => (at(), at(), any_prefix()).prop_map(|(d, r, p)| Edit::Toggle(d, r, p)),
        2 => (at(), at(), at()).prop_map(|(d, a, b)| Edit::Swap(d, a, b)),
        1 => (at(), 1u8..=64).prop_map(|(d, id)| Edit::Renumber(d, id)),
        1 => at().prop_map(Edit::Drop),
        1 => databases().prop_map(Edit::All),
    ]
}

fn apply(databases: &mut Vec<DatabasePolicy>, edit: Edit) {
    if let Edit::All(all) = edit {
        *databases = all;
        return;
    }
    if databases.is_empty() {
        databases.push(database(7, Vec::new()));
    }
    let count = databases.len();
    let at = |index: &Index, len: usize| index.index(len.max(1));
    match edit {
        Edit::Insert(d, r, rule) => {
            let rules = &mut databases[at(&d, count)].rules;
            rules.insert(at(&r, rules.len() + 1), rule);
        }
        Edit::Remove(d, r) => {
            let rules = &mut databases[at(&d, count)].rules;
            if !rules.is_empty() {
                rules.remove(at(&r, rules.len()));
            }
        }
        Edit::Replace(d, r, rule) => {
            let rules = &mut databases[at(&d, count)].rules;
            let place = at(&r, rules.len());
            if let Some(replaced) = rules.get_mut(place) {
                *replaced = rule;
            }
        }
        Edit::Toggle(d, r, prefix) => {
            let rules = &mut databases[at(&d, count)].rules;
            let place = at(&r, rules.len());
            if let Some(rule) = rules.get_mut(place) {
                let mut prefixes = rule.prefixes.to_vec();
                match prefixes.iter().position(|own| *own == prefix) {
                    Some(place) => drop(prefixes.remove(place)),
                    None => prefixes.push(prefix),
                }
                rule.prefixes = prefixes.into();
            }
        }
        Edit::Swap(d, a, b) => {
            let rules = &mut databases[at(&d, count)].rules;
            if !rules.is_empty() {
                let (a, b) = (at(&a, rules.len()), at(&b, rules.len()));
                rules.swap(a, b);
            }
        }
        Edit::Renumber(d, id) => {
            if databases.iter().all(|database| database.id != id) {
                databases[at(&d, count)].id = id;
            }
        }
        Edit::Drop(d) => drop(databases.remove(at(&d, count))),
        Edit::All(_) => {}
    }
}

proptest! {
    #[test]
    fn a_policy_that_follows_is_the_one_from_scratch(
        first in databases(),
        edits in vec(vec(edit(), 1..3), 1..8),
    ) {
        let mut databases = first;
        let (mut policy, mut table, mut held) =
            (Policy::default(), SlotTable::default(), Entries::new());
        for edits in edits {
            let (next, changed) = policy.follow(databases.clone());
            let scratch = Policy::build(databases.clone());
            prop_assert_eq!(entries(&next), entries(&scratch));
            for id in 0..=64 {
                for family in Family::ALL {
                    prop_assert_eq!(next.prefixes(id, family), scratch.prefixes(id, family));
                    prop_assert_eq!(next.share(id, family), scratch.share(id, family));
                }
            }
            prop_assert_eq!(
                policy.count_changes(&next, &changed),
                policy.count_changes(&scratch, &Changed::Everything)
            );
            let mut whole = table.clone();
            let expected = whole.assign(&policy, &scratch, &Changed::Everything, &held);
            let assigned = table.assign(&policy, &next, &changed, &held);
            prop_assert_eq!(&assigned, &expected, "{:?}", changed);
            prop_assert_eq!(&table, &whole);
            held = assigned.plan.result(&held);
            prop_assert_eq!(&held, &assign(&mut whole, &next).0);
            policy = next;
            for edit in edits {
                apply(&mut databases, edit);
            }
        }
    }

    /// Entries outside the changed part are the same before and after.
    #[test]
    fn nothing_changes_outside(list in databases(), edits in vec(edit(), 1..4)) {
        let before = Policy::build(list.clone());
        let mut databases = list;
        for edit in edits {
            apply(&mut databases, edit);
        }
        let (after, changed) = before.follow(databases);
        let Changed::Within(roots) = changed else { return Ok(()) };
        prop_assert!(roots.is_sorted());
        let is_outside = |prefix: &Prefix| !roots.iter().any(|root| root.covers(prefix));
        let outside = |policy: &Policy| -> Vec<_> {
            let entries = entries(policy).into_iter().filter(|(prefix, ..)| is_outside(prefix));
            let keys = |rules: Vec<_>| -> Vec<_> {
                rules.into_iter().map(|rule| policy.key(rule).unwrap()).collect()
            };
            entries.map(|(prefix, mask, rules)| (prefix, mask, keys(rules))).collect()
        };
        prop_assert_eq!(outside(&before), outside(&after));
    }
}

#[test]
fn a_source_beside_a_long_list_is_the_only_change() {
    let hosts = |count: u32| -> PrefixSet {
        (0..count).map(|host| Prefix::host(std::net::IpAddr::V4(host.into()))).collect()
    };
    let long = |count| named_rule("long", hosts(count).to_vec());
    let before = Policy::build([database(1, vec![long(100)])]);
    let new = named_rule("new", vec!["192.0.2.1".parse().unwrap()]);
    let (_, changed) = before.follow(vec![database(1, vec![new, long(100)])]);
    assert_eq!(changed, Changed::Within(vec!["192.0.2.1/32".parse().unwrap()]));
    let (_, changed) = before.follow(vec![database(1, vec![long(101)])]);
    assert_eq!(changed, Changed::Within(vec!["0.0.0.100/32".parse().unwrap()]));
    let (_, changed) = before.follow(vec![database(1, vec![long(100)])]);
    assert_eq!(changed, Changed::Within(vec![]));
}
