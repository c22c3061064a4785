//! Helpers of the guards about rules.

use std::collections::HashMap;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::source::{Origin, PrefixUnion, Rule, RuleKind, SourceKey};

/// Whether this is what an empty list meant, whichever provider's it was.
pub(super) fn is_everybody(rule: &Rule) -> bool {
    rule.kind == RuleKind::Everybody
}

/// Whether a rule has not expired: one that has is in force neither before a change nor after it.
pub(super) fn is_live(rule: &Rule, now: Timestamp) -> bool {
    rule.kind.expires_at().is_none_or(|at| at > now)
}

/// Whether it is of the provider's list.
pub fn is_listed(rule: &Rule) -> bool {
    matches!(rule.origin, Origin::Provider(_))
}

/// Whether it was found in the maps.
pub(super) fn is_adopted(rule: &Rule) -> bool {
    matches!(rule.kind, RuleKind::Adopted(_))
}

/// Adds to `new` what of `old` it does not hold: rules, or prefixes of rules.
pub(super) fn keep(old: &[Rule], new: &mut Vec<Rule>) {
    let places: HashMap<_, usize> =
        new.iter().enumerate().map(|(at, rule)| (identity(rule), at)).collect();
    for rule in old {
        match places.get(&identity(rule)) {
            Some(at) if new[*at].prefixes != rule.prefixes => {
                new[*at].prefixes = prefixes([&new[*at], rule].into_iter()).flatten();
            }
            Some(_) => {}
            None => new.push(rule.clone()),
        }
    }
}

/// The identity of a rule, apart from its prefixes.
fn identity(rule: &Rule) -> (RuleKind, Origin) {
    (rule.kind.clone(), rule.origin.clone())
}

/// The key of its source, if it is the rule of one.
pub(super) fn key(rule: &Rule) -> Option<&SourceKey> {
    rule.source().map(|source| source.key())
}

/// The prefixes of rules together.
pub(super) fn prefixes<'r>(rules: impl Iterator<Item = &'r Rule>) -> PrefixUnion {
    rules.map(|rule| &rule.prefixes).collect()
}

pub(super) fn change_id(database: &str, rules: &[Rule]) -> String {
    let mut digest = Sha256::new();
    digest.update(database);
    digest.update([0]);
    for rule in rules {
        digest.update([match rule.kind {
            RuleKind::Source(_) => 0,
            RuleKind::PlainLines => 1,
            RuleKind::Everybody => 2,
            RuleKind::Adopted(_) => 3,
        }]);
        digest.update(rule.kind.to_string());
        digest.update([0]);
        digest.update(rule.kind.expires_at().map(|at| at.to_string()).unwrap_or_default());
        digest.update([0]);
        digest.update(rule.prefixes.len().to_be_bytes());
        for prefix in rule.prefixes.iter() {
            digest.update([prefix.family() as u8, prefix.len()]);
            digest.update(prefix.bounds().0.to_be_bytes());
        }
    }
    digest.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
