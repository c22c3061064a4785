//! Identity: which rule an incoming source is.

use std::collections::HashMap;

use dbfw_core::source::SourceKey;
use jiff::Timestamp;
use uuid::Uuid;

use super::rule::{Details, Rule, Wanted};

/// The properties that a new rule gets.
pub struct Maker<'m> {
    /// The time of its making, in whole seconds.
    pub now: Timestamp,
    /// The name of the token that asks for it.
    pub by: &'m str,
    /// A uuid that no rule has.
    pub uuid: &'m mut dyn FnMut() -> Uuid,
}

impl std::fmt::Debug for Maker<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maker")
            .field("now", &self.now)
            .field("by", &self.by)
            .finish_non_exhaustive()
    }
}

/// The rules that `wanted`, which has each source once, stands for. A source that is in `current`
/// keeps its uuid, when and by whom it was made, and the details nothing is said of.
pub fn identify(current: &[Rule], wanted: &[Wanted], maker: &mut Maker<'_>) -> Vec<Rule> {
    let known: HashMap<&SourceKey, &Rule> = current.iter().map(|rule| (&rule.key, rule)).collect();
    let rule = |wanted: &Wanted| match known.get(&wanted.key) {
        Some(rule) => Rule { details: wanted.details(&rule.details), ..(*rule).clone() },
        None => Rule {
            uuid: (maker.uuid)(),
            key: wanted.key.clone(),
            details: wanted.details(&Details::default()),
            created_at: maker.now,
            created_by: maker.by.to_owned(),
        },
    };
    wanted.iter().map(rule).collect()
}
