//! The entries of the history: from changes of the policy, source by source, and from requests.

use std::collections::{BTreeMap, HashMap};

use dbfw_core::{
    policy::DatabasePolicy,
    source::{Prefix, Rule},
    trust::{Decision, Enforced},
};
use jiff::Timestamp;

use super::{Entry, History, Kind, Pending};
use crate::{
    agent::connections::CutQuery,
    config::{ConfigChange, DatabaseConfig},
    state::local::LocalSource,
};

/// Prefixes an entry names of those that came in, and of those that went out.
const MAX_PREFIXES: usize = 50;

/// Sources of one change that get an entry of their own; the rest share one.
const MAX_SOURCES: usize = 100;

/// The change of one source of one database.
struct SourceChange<'a> {
    database: &'a str,
    /// `None`: of all further sources of the change together.
    rule: Option<&'a Rule>,
    added: Vec<Prefix>,
    removed: Vec<Prefix>,
}

impl History {
    /// Records an action that concerns no database.
    pub(in crate::agent) fn record_action(
        &mut self,
        generation: u64,
        kind: Kind,
        by: &str,
        message: &str,
    ) {
        let message = Some(message).filter(|message| !message.is_empty()).map(str::to_owned);
        let entry = Entry { by: Some(by.to_owned()), message, ..entry(kind, generation) };
        self.queue([entry.into()]);
    }

    /// Records what a change of the configuration opened and closed; `when`, if that is not known
    /// to be now.
    pub(in crate::agent) fn record_config_changes(
        &mut self,
        generation: u64,
        changes: &[ConfigChange],
        by: &str,
        when: Option<&str>,
    ) {
        let when = when.map(|when| format!(" ({when})")).unwrap_or_default();
        let entries = changes.iter().map(|change| {
            let entry = Entry {
                database: change.database().map(str::to_owned),
                by: Some(by.to_owned()),
                message: Some(format!("{change}{when}")),
                ..entry(Kind::ConfigChanged, generation)
            };
            entry.into()
        });
        self.queue(entries);
    }

    /// Records that a source was added or removed by hand.
    pub(in crate::agent) fn record_trust(
        &mut self,
        generation: u64,
        kind: Kind,
        local: &LocalSource,
        by: &str,
    ) {
        let entry = Entry {
            database: Some(local.database.clone()),
            source: Some(local.source.to_string()),
            by: Some(by.to_owned()),
            why: local.source.description.clone(),
            ..entry(kind, generation)
        };
        self.queue([entry.into()]);
    }

    /// Records a change of the policy, by source. A source that has expired by `now` is why its
    /// prefixes went.
    pub(in crate::agent) fn record_change(
        &mut self,
        generation: u64,
        old: &[DatabasePolicy],
        new: &[DatabasePolicy],
        now: Timestamp,
    ) {
        let description = |rule: &Rule| rule.kind.description().map(str::to_owned);
        let entry = |change: SourceChange<'_>| {
            let ends_at = change.rule.and_then(|rule| rule.kind.expires_at());
            let expired = ends_at.is_some_and(|at| at <= now);
            let kind = if expired { Kind::Expired } else { Kind::Applied };
            let entry = Entry {
                database: Some(change.database.to_owned()),
                source: change.rule.map(|rule| rule.kind.to_string()),
                origin: change.rule.map(|rule| rule.origin.to_string()),
                why: change.rule.filter(|_| expired).and_then(description),
                ..entry(kind, generation)
            };
            with_prefixes(entry, &change.added, &change.removed).into()
        };
        self.queue(changes(old, new).into_iter().map(entry));
    }

    /// Records that the guards refused a change for the first time, or that it was confirmed.
    pub(in crate::agent) fn record_decision(
        &mut self,
        generation: u64,
        database: &DatabaseConfig,
        decision: &Decision,
        enforced: Option<&Enforced>,
        by: Option<&str>,
    ) {
        let mut pending: Pending = match decision {
            Decision::Accepted { confirmed: Some(plan) } => Entry {
                plan: Some(plan.clone()),
                by: by.map(str::to_owned),
                ..entry(Kind::Confirmed, generation)
            }
            .into(),
            Decision::Refused { new: true, .. } => {
                let Some(enforced) = enforced else { return };
                let Some(refused) = enforced.refused() else { return };
                let entry = Entry {
                    guard: Some(refused.guard().into()),
                    plan: Some(refused.id().to_owned()),
                    message: Some(refused.message()),
                    ..entry(Kind::Refused, generation)
                };
                Pending {
                    entry: with_prefixes(entry, refused.gained(), refused.lost()),
                    connections: CutQuery::of_refused(database, enforced),
                }
            }
            _ => return,
        };
        pending.entry.database = Some(database.name.clone());
        pending.entry.origin = database.provider.as_ref().map(ToString::to_string);
        self.queue([pending]);
    }
}

/// An entry of this moment that says nothing else yet.
fn entry(kind: Kind, generation: u64) -> Entry {
    Entry { time: Timestamp::now(), kind, generation, ..Entry::default() }
}

/// The entry with the prefixes that came in and went out.
pub(super) fn with_prefixes(entry: Entry, added: &[Prefix], removed: &[Prefix]) -> Entry {
    let first = |prefixes: &[Prefix]| {
        prefixes.iter().take(MAX_PREFIXES).map(ToString::to_string).collect::<Vec<_>>()
    };
    Entry {
        prefixes_in: added.len(),
        prefixes_out: removed.len(),
        added: first(added),
        removed: first(removed),
        ..entry
    }
}

/// The sources whose prefixes differ between two policies.
fn changes<'a>(old: &'a [DatabasePolicy], new: &'a [DatabasePolicy]) -> Vec<SourceChange<'a>> {
    let (mut before, after) = (by_name(old), by_name(new));
    let mut all = Vec::new();
    for (name, rules) in after {
        all.extend(of_database(name, before.remove(name).unwrap_or_default(), rules));
    }
    for (name, rules) in before {
        all.extend(of_database(name, rules, &[]));
    }
    all
}

fn by_name(databases: &[DatabasePolicy]) -> BTreeMap<&str, &[Rule]> {
    databases.iter().map(|database| (&*database.name, &*database.rules)).collect()
}

fn of_database<'a>(database: &'a str, old: &'a [Rule], new: &'a [Rule]) -> Vec<SourceChange<'a>> {
    let key = |rule: &'a Rule| (rule.kind.to_string(), &rule.origin);
    let mut before: HashMap<_, _> = old.iter().map(|rule| (key(rule), rule)).collect();
    let mut changed = Vec::new();
    let mut push = |rule: &'a Rule, added: Vec<Prefix>, removed: Vec<Prefix>| {
        if !added.is_empty() || !removed.is_empty() {
            changed.push(SourceChange { database, rule: Some(rule), added, removed });
        }
    };
    for rule in new {
        let was = before.remove(&key(rule));
        if was.is_some_and(|was| was.prefixes == rule.prefixes) {
            continue;
        }
        let was = was.map_or(&[][..], |was| &was.prefixes);
        push(rule, minus(&rule.prefixes, was), minus(was, &rule.prefixes));
    }
    for rule in before.into_values() {
        push(rule, Vec::new(), rule.prefixes.to_vec());
    }
    if changed.len() > MAX_SOURCES {
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for change in changed.drain(MAX_SOURCES..) {
            added.extend(change.added);
            removed.extend(change.removed);
        }
        changed.push(SourceChange { database, rule: None, added, removed });
    }
    changed
}

/// The prefixes of one sorted list that another does not have.
fn minus(from: &[Prefix], what: &[Prefix]) -> Vec<Prefix> {
    from.iter().filter(|prefix| what.binary_search(prefix).is_err()).copied().collect()
}

#[cfg(test)]
mod tests {
    use dbfw_core::source::{Origin, TrustedSource};

    use super::*;

    fn rule(text: &str, prefixes: &[&str]) -> Rule {
        let source: TrustedSource = text.parse().unwrap();
        let prefixes: Vec<Prefix> = prefixes.iter().map(|text| text.parse().unwrap()).collect();
        Rule::of_source(source.into(), Origin::Config, prefixes)
    }

    fn policy(name: &str, rules: Vec<Rule>) -> DatabasePolicy {
        DatabasePolicy { id: 1, name: name.to_owned(), rules }
    }

    fn told(old: &[DatabasePolicy], new: &[DatabasePolicy]) -> Vec<String> {
        let line = |change: SourceChange<'_>| {
            let kind = change.rule.map(|rule| rule.kind.to_string());
            let source = kind.unwrap_or_else(|| "rest".to_owned());
            format!(
                "{} {source} +{} -{}",
                change.database,
                change.added.len(),
                change.removed.len()
            )
        };
        let mut lines: Vec<String> = changes(old, new).into_iter().map(line).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn tells_what_came_and_went_by_source() {
        let old = [
            policy(
                "a",
                vec![rule("tag:x", &["10.0.0.1", "10.0.0.2"]), rule("tag:y", &["10.0.0.9"])],
            ),
            policy("b", vec![rule("ip_addr:10.1.0.0/16", &["10.1.0.0/16"])]),
        ];
        let new = [policy("a", vec![rule("tag:x", &["10.0.0.2", "10.0.0.3", "10.0.0.4"])])];
        assert_eq!(
            told(&old, &new),
            ["a tag:x +2 -1", "a tag:y +0 -1", "b ip_addr:10.1.0.0/16 +0 -1"]
        );
        assert_eq!(told(&new, &new), [""; 0]);
    }

    #[test]
    fn a_long_list_is_summed_up() {
        let rules = |range: std::ops::Range<u32>| {
            range
                .map(|i| {
                    let address = std::net::Ipv4Addr::from(0x0a00_0000 + i).to_string();
                    rule(&format!("ip_addr:{address}"), &[&address])
                })
                .collect()
        };
        let told = told(&[], &[policy("a", rules(0..5000))]);
        assert_eq!(told.len(), 101);
        assert!(told.contains(&"a rest +4900 -0".to_owned()), "{told:?}");
    }
}
