//! The difference between two versions of a list, which the history keeps.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::rule::{Details, Rule};

/// The way from one list to another, and back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Rules of the new list alone, by their places in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Placed>,
    /// Rules of the old list alone, by their places in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Placed>,
    /// Rules whose details changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edited: Vec<Edited>,
    /// The order of the rules of both, if it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

/// A rule and its place in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The place, from 0.
    pub at: usize,
    /// The rule.
    pub rule: Rule,
}

/// A change of a rule's details.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// The rule.
    pub uuid: Uuid,
    /// The details before.
    pub before: Details,
    /// The details afterwards.
    pub after: Details,
}

/// A change of order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The rules in the order before.
    pub before: Vec<Uuid>,
    /// The same rules in the order afterwards.
    pub after: Vec<Uuid>,
}

/// A list is not the one that a difference begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list is not the one that the change was made to")]
pub struct Misfit;

impl Difference {
    /// The difference from `old` to `new`. Each has a uuid once.
    pub fn between(old: &[Rule], new: &[Rule]) -> Self {
        let before: HashMap<Uuid, &Rule> = old.iter().map(|rule| (rule.uuid, rule)).collect();
        let after: HashSet<Uuid> = new.iter().map(|rule| rule.uuid).collect();
        let placed = |rules: &[Rule], is_there: &dyn Fn(&Uuid) -> bool| {
            let here = rules.iter().enumerate().filter(|(_, rule)| !is_there(&rule.uuid));
            here.map(|(at, rule)| Placed { at, rule: rule.clone() }).collect()
        };
        let edited = new.iter().filter_map(|rule| {
            let old = before.get(&rule.uuid).filter(|old| old.details != rule.details)?;
            let (before, after) = (old.details.clone(), rule.details.clone());
            Some(Edited { uuid: rule.uuid, before, after })
        });
        let uuids = |rules: &[Rule], is_there: &dyn Fn(&Uuid) -> bool| -> Vec<Uuid> {
            rules.iter().map(|rule| rule.uuid).filter(is_there).collect()
        };
        let (was, is) =
            (|uuid: &Uuid| before.contains_key(uuid), |uuid: &Uuid| after.contains(uuid));
        let order = Order { before: uuids(old, &is), after: uuids(new, &was) };
        Self {
            added: placed(new, &was),
            removed: placed(old, &is),
            edited: edited.collect(),
            order: (order.before != order.after).then_some(order),
        }
    }

    /// Whether both lists are equal.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The way back.
    pub fn inverse(&self) -> Self {
        let Self { added, removed, edited, order } = self.clone();
        let edited = edited.into_iter().map(|Edited { uuid, before, after }| Edited {
            uuid,
            before: after,
            after: before,
        });
        let order = order.map(|Order { before, after }| Order { before: after, after: before });
        Self { added: removed, removed: added, edited: edited.collect(), order }
    }

    /// The list after it.
    ///
    /// # Errors
    /// The list is not the one that it begins at.
    pub fn apply(&self, list: &[Rule]) -> Result<Vec<Rule>, Misfit> {
        if self.removed.iter().any(|placed| list.get(placed.at) != Some(&placed.rule)) {
            return Err(Misfit);
        }
        let gone: HashSet<Uuid> = self.removed.iter().map(|placed| placed.rule.uuid).collect();
        let mut rules: Vec<Rule> =
            list.iter().filter(|rule| !gone.contains(&rule.uuid)).cloned().collect();
        if let Some(Order { before, after }) = &self.order {
            if !rules.iter().map(|rule| &rule.uuid).eq(before) || after.len() != before.len() {
                return Err(Misfit);
            }
            let mut by_uuid: HashMap<Uuid, Rule> =
                rules.into_iter().map(|rule| (rule.uuid, rule)).collect();
            let ordered = after.iter().map(|uuid| by_uuid.remove(uuid).ok_or(Misfit));
            rules = ordered.collect::<Result<_, _>>()?;
        }
        let places: HashMap<Uuid, usize> =
            rules.iter().enumerate().map(|(at, rule)| (rule.uuid, at)).collect();
        for Edited { uuid, before, after } in &self.edited {
            let rule = places.get(uuid).and_then(|at| rules.get_mut(*at)).ok_or(Misfit)?;
            if rule.details != *before {
                return Err(Misfit);
            }
            rule.details = after.clone();
        }
        self.insert(rules, &places)
    }

    /// The added rules in their places among the others.
    fn insert(&self, rules: Vec<Rule>, known: &HashMap<Uuid, usize>) -> Result<Vec<Rule>, Misfit> {
        let mut whole = Vec::with_capacity(rules.len() + self.added.len());
        let mut others = rules.into_iter();
        for Placed { at, rule } in &self.added {
            if known.contains_key(&rule.uuid) {
                return Err(Misfit);
            }
            let before = at.checked_sub(whole.len()).ok_or(Misfit)?;
            whole.extend(others.by_ref().take(before));
            if whole.len() != *at {
                return Err(Misfit);
            }
            whole.push(rule.clone());
        }
        whole.extend(others);
        Ok(whole)
    }
}
