//! What the rules of a database are for the guards. Pure.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::{
    config::DatabaseConfig,
    source::{Origin, Prefix, Rule, SourceType, TrustedSource},
};

/// Description of what was found in the maps.
pub(super) const ADOPTED: &str = "found in the maps at start, with no list to read";

/// Value of the one source that an empty list means with `on_empty = "open"`; no list can
/// hold it, since it is no address.
const EVERYBODY: &str = "0.0.0.0/0, ::/0";

/// What an empty list means with `on_empty = "open"`.
pub(in crate::agent) fn everybody(provider: Arc<str>) -> Rule {
    Rule {
        source: Arc::new(TrustedSource {
            kind: SourceType::IpAddr,
            value: EVERYBODY.to_owned(),
            description: Some("the provider's list is empty and on_empty is open".to_owned()),
            expires_at: None,
        }),
        origin: Origin::Provider(provider),
        prefixes: [Prefix::ANY4, Prefix::ANY6].into(),
    }
}

/// Whether this is what an empty list meant, whichever provider's it was.
pub(in crate::agent) fn is_everybody(rule: &Rule) -> bool {
    rule.source.value == EVERYBODY
}

/// Value of the one source that stands for the lines of a long list that say no more than an
/// address; no list can hold it.
const PLAIN_LINES: &str = "lines without a comment";

/// The rule of a long list's plain lines.
pub(in crate::agent) fn plain_lines(origin: Origin, prefixes: Arc<[Prefix]>) -> Rule {
    let source = TrustedSource {
        kind: SourceType::IpAddr,
        value: PLAIN_LINES.to_owned(),
        description: None,
        expires_at: None,
    };
    Rule { source: Arc::new(source), origin, prefixes }
}

/// Whether this is the rule of a long list's plain lines.
pub(in crate::agent) fn is_plain_lines(rule: &Rule) -> bool {
    rule.source.value == PLAIN_LINES
}

pub(super) fn min_len(database: &DatabaseConfig) -> [u8; 2] {
    [database.min_prefix.ipv4, database.min_prefix.ipv6]
}

/// What has expired is in force neither before a change nor afterwards.
pub(super) fn is_live(rule: &Rule, now: Timestamp) -> bool {
    rule.source.expires_at.is_none_or(|at| at > now)
}

/// Whether it is of the provider's list.
pub(in crate::agent) fn is_listed(rule: &Rule) -> bool {
    matches!(rule.origin, Origin::Provider(_))
}

pub(in crate::agent) fn is_adopted(rule: &Rule) -> bool {
    rule.source.description.as_deref() == Some(ADOPTED)
}

/// Adds to `new` what of `old` it does not hold: rules, or prefixes of rules.
pub(super) fn keep(old: &[Rule], new: &mut Vec<Rule>) {
    let places: HashMap<_, usize> = new
        .iter()
        .enumerate()
        .map(|(at, rule)| ((rule.source.clone(), rule.origin.clone()), at))
        .collect();
    for rule in old {
        match places.get(&(rule.source.clone(), rule.origin.clone())) {
            Some(at) if new[*at].prefixes != rule.prefixes => {
                new[*at].prefixes = prefixes([&new[*at], rule].into_iter()).into();
            }
            Some(_) => {}
            None => new.push(rule.clone()),
        }
    }
}

pub(super) fn prefixes<'r>(rules: impl Iterator<Item = &'r Rule>) -> Vec<Prefix> {
    let mut prefixes: Vec<Prefix> = rules.flat_map(|rule| rule.prefixes.iter().copied()).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

pub(super) fn plan_id(database: &str, rules: &[Rule]) -> String {
    let mut digest = Sha256::new();
    digest.update(database);
    digest.update([0]);
    for rule in rules {
        digest.update(rule.source.to_string());
        digest.update([0]);
        digest.update(rule.source.expires_at.map(|at| at.to_string()).unwrap_or_default());
        digest.update([0]);
        for prefix in rule.prefixes.iter() {
            digest.update(prefix.to_string());
            digest.update([0]);
        }
    }
    digest.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
