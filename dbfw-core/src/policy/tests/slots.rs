//! Slots over sequences of policies.

use std::collections::{BTreeMap, BTreeSet};

use dbfw_common::RULE_SLOTS;
use proptest::{collection::vec, prelude::*};

use super::support::{assign, database, databases, entries, named_rule, rule};
use crate::{
    policy::{Assigned, Entries, Policy, RuleKey, SlotTable},
    source::Prefix,
};

fn used(table: &SlotTable) -> BTreeSet<u32> {
    table.slots().map(|(slot, _)| slot).collect()
}

fn fresh(assigned: &Assigned) -> Vec<u32> {
    assigned.fresh.iter().cloned().flatten().collect()
}

/// First slot of every group of rules that some entry counts for.
fn runs(policy: &Policy, assigned: &Entries) -> BTreeMap<Vec<RuleKey>, u32> {
    let mut runs = BTreeMap::new();
    for (prefix, _, rules) in entries(policy) {
        let keys: Vec<_> = rules.iter().map(|rule| policy.key(*rule).unwrap()).collect();
        let first = assigned[&prefix].rules;
        assert_eq!(*runs.entry(keys).or_insert(first), first, "equal rules share a run");
    }
    runs
}

/// As many rules as asked for, each with one address.
fn many(count: u32) -> Policy {
    let rules = (0..count).map(|index| {
        let host = Prefix::host(std::net::IpAddr::V4((0x0a00_0000 + index).into()));
        named_rule(&index.to_string(), vec![host])
    });
    Policy::build([database(1, rules.collect())])
}

proptest! {
    #[test]
    fn a_sequence_of_policies(sequence in vec(databases(), 1..6)) {
        let mut table = SlotTable::default();
        let mut before = BTreeMap::new();
        for list in sequence {
            let policy = Policy::build(list);
            let held = used(&table);
            let (stored, assigned) = assign(&mut table, &policy);
            prop_assert_eq!(table.validate(), Ok(()));
            prop_assert_eq!(assigned.unattributed, 0);
            prop_assert_eq!(stored.len(), entries(&policy).len());

            let slots: BTreeMap<_, _> = table.slots().collect();
            for (prefix, mask, rules) in entries(&policy) {
                let stored = stored[&prefix];
                prop_assert_eq!(stored.mask(), mask);
                prop_assert_eq!(stored.mask().count_ones() as usize, rules.len());
                for (slot, rule) in (stored.rules..).zip(rules) {
                    let key = policy.key(rule).unwrap();
                    prop_assert_eq!(slots[&slot], &key);
                }
            }

            let now = runs(&policy, &stored);
            for (keys, first) in &now {
                match before.get(keys) {
                    Some(earlier) => prop_assert_eq!(first, earlier, "kept runs do not move"),
                    None => for slot in (*first..).take(keys.len()) {
                        prop_assert!(!held.contains(&slot), "slot {} is still counted into", slot);
                    },
                }
            }
            let fresh = fresh(&assigned);
            let unique: BTreeSet<_> = fresh.iter().copied().collect();
            prop_assert_eq!(unique.len(), fresh.len());
            let in_use: BTreeSet<u32> =
                now.iter().flat_map(|(keys, first)| (*first..).take(keys.len())).collect();
            prop_assert_eq!(&used(&table), &in_use, "runs of nobody are free");
            let stayed: BTreeSet<u32> = now
                .iter()
                .filter(|(keys, _)| before.contains_key(*keys))
                .flat_map(|(keys, first)| (*first..).take(keys.len()))
                .collect();
            prop_assert_eq!(unique, &in_use - &stayed, "new runs are fresh and no other");

            let json = serde_json::to_string(&table).unwrap();
            prop_assert_eq!(serde_json::from_str::<SlotTable>(&json).unwrap(), table.clone());
            prop_assert_eq!(assign(&mut table.clone(), &policy).1.fresh, vec![]);
            before = now;
        }
    }
}

#[test]
fn a_freed_run_waits_for_the_next_assignment() {
    let policy = |name| Policy::build([database(1, vec![rule(name, &["10.0.0.0/8"])])]);
    let mut table = SlotTable::default();
    let firsts = ["a", "b", "c"].map(|name| {
        let (stored, _) = assign(&mut table, &policy(name));
        stored.into_values().map(|entry| entry.rules).collect::<Vec<_>>()
    });
    assert_eq!(firsts, [[1], [2], [1]]);
}

#[test]
fn one_database_more_moves_the_entry_to_a_run_of_its_own() {
    let mut table = SlotTable::default();
    let one = database(1, vec![rule("a", &["10.0.0.0/8", "11.0.0.0/8"])]);
    let (_, assigned) = assign(&mut table, &Policy::build([one.clone()]));
    assert_eq!(fresh(&assigned), [1]);
    let two = database(2, vec![rule("b", &["10.0.0.0/8"])]);
    let policy = Policy::build([one, two]);
    let (_, assigned) = assign(&mut table, &policy);
    assert_eq!(fresh(&assigned), [2, 3]);
    let key = policy.key(entries(&policy)[0].2[0]).unwrap();
    let slots = table.slots().filter(|(_, rule)| **rule == key);
    assert_eq!(slots.map(|(slot, _)| slot).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn without_room_slot_0_counts() {
    let mut table = SlotTable::default();
    let room = RULE_SLOTS - 1;
    let (stored, assigned) = assign(&mut table, &many(room + 10));
    assert_eq!(assigned.unattributed, 10);
    assert_eq!(stored.values().filter(|entry| entry.rules == 0).count(), 10);
    assert_eq!(table.validate(), Ok(()));
    assert_eq!(used(&table).len(), room as usize);
    assert_eq!(assign(&mut table, &many(room - 10)).1.unattributed, 0);
    // The ten freed just now take the ten that come.
    let (_, assigned) = assign(&mut table, &many(room));
    assert_eq!(assigned.unattributed, 0);
    assert_eq!(fresh(&assigned).len(), 10);
}

#[test]
fn a_bad_table_is_not_read() {
    let run = |first: u32, names: &[&str]| {
        let rules = names.iter().map(
            |name| serde_json::json!({ "database": "db", "origin": "config", "source": name }),
        );
        serde_json::json!({ "first": first, "rules": rules.collect::<Vec<_>>() })
    };
    let read = |runs: Vec<serde_json::Value>| {
        serde_json::from_value::<SlotTable>(runs.into()).map_err(|error| error.to_string())
    };
    let last = RULE_SLOTS - 1;
    assert!(read(vec![run(last, &["a"]), run(1, &["b", "c"]), run(3, &["b"])]).is_ok());
    let many = vec!["a"; 65];
    for (runs, first) in [
        (vec![run(1, &[])], 1),
        (vec![run(1, &many)], 1),
        (vec![run(0, &["a"])], 0),
        (vec![run(last, &["a", "b"])], last),
        (vec![run(u32::MAX, &["a", "b"])], u32::MAX),
        (vec![run(1, &["a", "b"]), run(2, &["c"])], 2),
        (vec![run(5, &["a"]), run(1, &["a"])], 5),
    ] {
        let found = read(runs).unwrap_err();
        assert!(found.starts_with(&format!("the run at slot {first} with ")), "{found}");
    }
}
