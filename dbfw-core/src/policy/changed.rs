//! [`Changed`]: where two policies differ.

use std::collections::{HashMap, HashSet};

use super::database::DatabasePolicy;
use crate::source::{Origin, Prefix, Rule};

/// A change of more prefixes than this and one in [`MANY_PART`] is not told from a change of all.
const MANY: usize = 1_024;
const MANY_PART: usize = 8;

/// The part of all addresses where two policies may differ. Everywhere else every prefix reaches
/// the same databases by the same rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Everywhere.
    Everything,
    /// Within these prefixes: sorted, and none is in another.
    Within(Vec<Prefix>),
}

impl Changed {
    /// The part where the policies of these databases may differ.
    pub(super) fn between(before: &[DatabasePolicy], after: &[DatabasePolicy]) -> Self {
        if before.is_empty() || ![before, after].iter().all(|databases| are_distinct(databases)) {
            return Self::Everything;
        }
        let mut prefixes = Vec::new();
        for database in after {
            let was = before.iter().find(|was| was.name == database.name);
            match was.filter(|was| was.id == database.id) {
                Some(was) => add_differences(&was.rules, &database.rules, &mut prefixes),
                None => add_all(&database.rules, &mut prefixes),
            }
        }
        for was in before {
            if !after.iter().any(|database| (database.id, &database.name) == (was.id, &was.name)) {
                add_all(&was.rules, &mut prefixes);
            }
        }
        let all = after.iter().flat_map(|database| &database.rules);
        let all: usize = all.map(|rule| rule.prefixes.len()).sum();
        if prefixes.len() > MANY + all / MANY_PART {
            return Self::Everything;
        }
        prefixes.sort_unstable();
        // What a prefix covers comes directly after it.
        prefixes.dedup_by(|inner, outer| outer.covers(inner));
        Self::Within(prefixes)
    }
}

/// Whether no two databases have the same name or the same id.
fn are_distinct(databases: &[DatabasePolicy]) -> bool {
    let (mut names, mut ids) = (HashSet::new(), HashSet::new());
    databases.iter().all(|database| names.insert(&database.name) && ids.insert(database.id))
}

/// The rules of two lists without those that both begin with and end with.
pub fn differing<'r>(before: &'r [Rule], after: &'r [Rule]) -> (&'r [Rule], &'r [Rule]) {
    let same = |(a, b): &(&Rule, &Rule)| a == b;
    let head = before.iter().zip(after).take_while(same).count();
    let (before, after) = (&before[head..], &after[head..]);
    let tail = before.iter().rev().zip(after.iter().rev()).take_while(same).count();
    (&before[..before.len() - tail], &after[..after.len() - tail])
}

fn add_all(rules: &[Rule], prefixes: &mut Vec<Prefix>) {
    prefixes.extend(rules.iter().flat_map(|rule| rule.prefixes.iter().copied()));
}

/// Adds the prefixes that other rules name than before. Of a rule that stays and keeps its place
/// among those that stay, only the prefixes that came or went.
fn add_differences(before: &[Rule], after: &[Rule], prefixes: &mut Vec<Prefix>) {
    let (before, after) = differing(before, after);
    let Some(mut places) = places(before).filter(|_| places(after).is_some()) else {
        add_all(before, prefixes);
        return add_all(after, prefixes);
    };
    let mut next = 0;
    for rule in after {
        let stays = places.get(&key(rule)).copied().filter(|place| *place >= next);
        let Some(place) = stays else {
            add_all(std::slice::from_ref(rule), prefixes);
            continue;
        };
        places.remove(&key(rule));
        next = place + 1;
        let was = &before[place];
        prefixes.extend(was.prefixes.minus(&rule.prefixes));
        prefixes.extend(rule.prefixes.minus(&was.prefixes));
    }
    for place in places.into_values() {
        add_all(std::slice::from_ref(&before[place]), prefixes);
    }
}

/// The place of each rule by its key; `None` if two have the same.
fn places(rules: &[Rule]) -> Option<HashMap<(String, &Origin), usize>> {
    let places: HashMap<_, _> = rules.iter().map(key).zip(0..).collect();
    (places.len() == rules.len()).then_some(places)
}

/// The identity of a rule, as its counters know it.
fn key(rule: &Rule) -> (String, &Origin) {
    (rule.kind.to_string(), &rule.origin)
}
