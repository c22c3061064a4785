//! Verdicts on packets while a plan is carried out, step by step.

use dbfw_common::Entry;
use proptest::{collection::btree_map, prelude::*};

use super::support::{Step, any_prefix, apply, assign, databases, edges, steps, verdict};
use crate::policy::{Entries, Policy, SlotTable, diff, union};

fn entries() -> impl Strategy<Value = Entries> {
    let entry = (1u64..8, 0u32..3).prop_map(|(mask, rules)| Entry::new(mask, rules));
    btree_map(any_prefix(), entry, 0..8)
}

/// Both share some entries, so that plans also keep and change.
fn change() -> impl Strategy<Value = (Entries, Entries)> {
    (entries(), entries(), entries()).prop_map(|(shared, mut old, mut new)| {
        old.extend(shared.clone());
        for (prefix, entry) in shared {
            new.entry(prefix).or_insert(entry);
        }
        (old, new)
    })
}

/// Carries out the steps and fails if some address sees anything but its old verdict, then
/// its new one.
fn check_way(
    from: &Entries,
    to: &Entries,
    steps: impl Iterator<Item = Step>,
) -> Result<(), TestCaseError> {
    let mut now = from.clone();
    let mut probes: Vec<_> = edges(from.keys().chain(to.keys()))
        .into_iter()
        .map(|addr| (addr, verdict(from, addr), verdict(to, addr), false))
        .collect();
    for step in steps {
        apply(&mut now, step);
        for (addr, old, new, done) in &mut probes {
            let seen = verdict(&now, *addr);
            prop_assert!(seen == *old || seen == *new, "{addr}: {seen} at {step:?}");
            prop_assert!(!*done || seen == *new, "{addr} went back at {step:?}");
            *done = seen == *new;
        }
    }
    prop_assert_eq!(&now, to);
    Ok(())
}

proptest! {
    #[test]
    fn every_address_changes_once((current, desired) in change()) {
        let plan = diff(&current, &desired);
        prop_assert_eq!(plan.is_empty(), current == desired);
        check_way(&current, &desired, steps(&plan))?;
        for (prefix, entry) in &plan.writes {
            prop_assert_ne!(current.get(prefix), Some(entry));
        }
    }

    #[test]
    fn undo_restores_from_every_step((current, desired) in change()) {
        let plan = diff(&current, &desired);
        let mut now = current.clone();
        let mut inverses = Vec::new();
        for step in steps(&plan) {
            inverses.push(step.inverse(&now));
            apply(&mut now, step);
            check_way(&now, &current, inverses.iter().rev().copied())?;
        }
    }

    #[test]
    fn either_is_the_union_of_both((old, new) in change()) {
        prop_assert_eq!(diff(&old, &new).result(&old), new.clone());
        let both = union(&old, &new);
        for addr in edges(old.keys().chain(new.keys())) {
            prop_assert_eq!(verdict(&both, addr), verdict(&old, addr) | verdict(&new, addr));
        }
    }

    #[test]
    fn from_policy_to_policy(old in databases(), new in databases()) {
        let mut slots = SlotTable::default();
        let [old, new] = [old, new].map(Policy::build);
        let [current, desired] = [&old, &new].map(|policy| assign(&mut slots, policy).0);
        check_way(&current, &desired, steps(&diff(&current, &desired)))?;
        for addr in edges(current.keys().chain(desired.keys())) {
            prop_assert_eq!(verdict(&desired, addr), new.verdict_mask(addr));
        }
    }
}
