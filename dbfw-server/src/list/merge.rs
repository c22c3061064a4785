//! The three-way merge: what a client changed, applied to a list that others changed meanwhile.

use std::collections::{HashMap, HashSet};

use dbfw_core::source::SourceKey;

use super::rule::{Rule, Wanted};

/// The wanted list after a merge, and how it differs from what the client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The sources, each once.
    pub wanted: Vec<Wanted>,
    /// Sources kept that the client did not send: others added them.
    pub kept: usize,
    /// Sources left out that the client sent: others removed them.
    pub left_out: usize,
}

impl Merged {
    /// The number of sources in which the result differs from what was sent.
    pub fn count(&self) -> usize {
        self.kept + self.left_out
    }
}

/// Merges `incoming` into `current`. `base` is the list that the client last read, if that is
/// known: then only the difference between base and incoming is applied, what it adds first.
/// Without it the incoming list is what is wanted.
///
/// A source that is sent twice counts once, where it is first. Of what is said about it, the
/// first word counts.
pub fn merge(current: &[Rule], base: Option<&[SourceKey]>, incoming: &[Wanted]) -> Merged {
    let incoming = each_once(incoming);
    let Some(base) = base else { return Merged { wanted: incoming, kept: 0, left_out: 0 } };
    let is_base =
        base.len() == current.len() && base.iter().zip(current).all(|(key, rule)| *key == rule.key);
    if is_base {
        return Merged { wanted: incoming, kept: 0, left_out: 0 };
    }
    let base: HashSet<&SourceKey> = base.iter().collect();
    let present: HashSet<&SourceKey> = current.iter().map(|rule| &rule.key).collect();
    let sent: HashMap<&SourceKey, &Wanted> =
        incoming.iter().map(|wanted| (&wanted.key, wanted)).collect();

    let added =
        incoming.iter().filter(|w| !base.contains(&w.key) && !present.contains(&w.key)).cloned();
    let mut wanted: Vec<Wanted> = added.collect();
    let mut kept = 0;
    for rule in current {
        match sent.get(&rule.key) {
            Some(said) => wanted.push((*said).clone()),
            None if base.contains(&rule.key) => {}
            None => {
                kept += 1;
                wanted.push(rule.into());
            }
        }
    }
    let left_out =
        incoming.iter().filter(|w| base.contains(&w.key) && !present.contains(&w.key)).count();
    // Without another's change in between, the client's order is as good as ours.
    if kept == 0 && left_out == 0 {
        return Merged { wanted: incoming, kept, left_out };
    }
    Merged { wanted, kept, left_out }
}

fn each_once(incoming: &[Wanted]) -> Vec<Wanted> {
    let mut places: HashMap<&SourceKey, usize> = HashMap::new();
    let mut once: Vec<Wanted> = Vec::with_capacity(incoming.len());
    for wanted in incoming {
        match places.get(&wanted.key).and_then(|at| once.get_mut(*at)) {
            Some(first) => {
                first.description = first.description.or(&wanted.description);
                first.expires_at = first.expires_at.or(&wanted.expires_at);
            }
            None => {
                places.insert(&wanted.key, once.len());
                once.push(wanted.clone());
            }
        }
    }
    once
}
