//! The entries of the history: from changes of the policy, source by source, and from requests.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dbfw_core::{
    policy::{Covering, DatabasePolicy, Policy, differing},
    source::{Origin, Prefix, PrefixMap, PrefixSet, Rule},
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
    /// The end of the source, if that is why it went.
    expired: Option<Timestamp>,
    /// Whether the source itself came or went, and not only what it stands for.
    is_edit: bool,
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

    /// Records what a change of the policy let in and cut off, by source. A source that has expired
    /// by `now` is why its prefixes went; its end is recorded also where others let them in. `author`
    /// is who last changed the list that a rule of a database comes from, where that is known.
    /// `observed` are the databases that let in everybody.
    pub(in crate::agent) fn record_change(
        &mut self,
        generation: u64,
        old: &Policy,
        new: &Policy,
        now: Timestamp,
        author: &dyn Fn(&str, &Origin) -> Option<String>,
        observed: &BTreeSet<&str>,
    ) {
        let entry = |change: SourceChange<'_>| {
            let edited = change.rule.filter(|_| change.is_edit && change.expired.is_none());
            let entry = Entry {
                by: edited.and_then(|rule| author(change.database, &rule.origin)),
                database: Some(change.database.to_owned()),
                source: change.rule.map(|rule| rule.kind.to_string()),
                origin: change.rule.map(|rule| rule.origin.to_string()),
                ..entry(Kind::Applied, generation)
            };
            let entry = match change.expired {
                None => entry,
                Some(at) => {
                    let description = change.rule.and_then(|rule| rule.kind.description());
                    expired(entry, description.map(str::to_owned), at)
                }
            };
            let entry = match observed.contains(change.database) {
                true => with_message(entry, "mode observe: everyone is let in"),
                false => entry,
            };
            with_prefixes(entry, &change.added, &change.removed).into()
        };
        self.queue(changes(old, new, now).into_iter().map(entry));
    }

    /// Records that a source added by hand has expired that no policy of this run had, with the
    /// prefixes that an earlier run had let in for it.
    pub(in crate::agent) fn record_expired(
        &mut self,
        generation: u64,
        local: &LocalSource,
        removed: &[Prefix],
    ) {
        let Some(at) = local.source.expires_at else { return };
        let entry = Entry {
            database: Some(local.database.clone()),
            source: Some(local.source.to_string()),
            origin: Some(Origin::Local.to_string()),
            ..entry(Kind::Applied, generation)
        };
        let entry = expired(entry, local.source.description.clone(), at);
        self.queue([with_prefixes(entry, &[], removed).into()]);
    }

    /// Records that the guards refused a change for the first time, or that `by` confirmed it.
    pub(in crate::agent) fn record_decision(
        &mut self,
        generation: u64,
        database: &DatabaseConfig,
        decision: &Decision,
        enforced: Option<&Enforced>,
        without_hook: &BTreeSet<u32>,
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
                    connections: CutQuery::of_refused(
                        database,
                        enforced,
                        without_hook.clone(),
                        Timestamp::now(),
                    ),
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

/// The entry as one of a source that reached its end.
fn expired(entry: Entry, why: Option<String>, at: Timestamp) -> Entry {
    Entry { kind: Kind::Expired, why, message: Some(format!("its end was {at:.0}")), ..entry }
}

/// The entry with one more thing to say.
fn with_message(entry: Entry, message: &str) -> Entry {
    let message = match &entry.message {
        Some(before) => format!("{before}; {message}"),
        None => message.to_owned(),
    };
    Entry { message: Some(message), ..entry }
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

/// The sources that let other addresses in than before, or do not any more, and those that expired.
fn changes<'a>(old: &'a Policy, new: &'a Policy, now: Timestamp) -> Vec<SourceChange<'a>> {
    let (mut before, after) = (by_name(old), by_name(new));
    let mut all = Vec::new();
    for (name, database) in after {
        all.extend(of_database(name, before.remove(name), Some(database), now));
    }
    for (name, database) in before {
        all.extend(of_database(name, Some(database), None, now));
    }
    all
}

fn by_name<'p>(policy: &'p Policy) -> BTreeMap<&'p str, Side<'p>> {
    let side = |database: &'p DatabasePolicy| (&*database.name, Side { policy, database });
    policy.databases().iter().map(side).collect()
}

/// A database in one of the two policies.
#[derive(Clone, Copy)]
struct Side<'a> {
    policy: &'a Policy,
    database: &'a DatabasePolicy,
}

impl Side<'_> {
    /// Whether the database lets in every address of a prefix, by whatever rules.
    fn lets_in(self, prefix: &Prefix) -> bool {
        lets_in(self.policy, self.database.id, prefix)
    }
}

/// Whether a database lets in every address of a prefix, by whatever rules.
pub(in crate::agent) fn lets_in(policy: &Policy, id: u8, prefix: &Prefix) -> bool {
    let bit = u32::from(id).checked_sub(1).and_then(|shift| 1_u64.checked_shl(shift)).unwrap_or(0);
    // Most prefixes that are not let in end here.
    if policy.verdict_mask(prefix.addr()) & bit == 0 || prefix.is_host() {
        return policy.verdict_mask(prefix.addr()) & bit != 0;
    }
    let covers = |rule: &Covering| rule.rule.database == id && rule.prefix.covers(prefix);
    if policy.covering(prefix.addr()).iter().any(covers) {
        return true;
    }
    [prefix.addr(), prefix.last_addr()]
        .iter()
        .all(|half| lets_in(policy, id, &Prefix::new(*half, prefix.len() + 1)))
}

fn of_database<'a>(
    database: &'a str,
    old: Option<Side<'a>>,
    new: Option<Side<'a>>,
    now: Timestamp,
) -> Vec<SourceChange<'a>> {
    let mut changed = differences(database, old, new, now);
    // Another spelling, origin or source that lets in the same addresses changes no access.
    for change in &mut changed {
        change.removed.retain(|prefix| !new.is_some_and(|new| new.lets_in(prefix)));
    }
    let was_let_in = |prefix: &Prefix| old.is_some_and(|old| old.lets_in(prefix));
    let went: PrefixMap<()> =
        changed.iter().flat_map(|change| change.removed.iter().copied()).collect();
    for change in &mut changed {
        // What stays of a wider prefix that went is named beside it.
        change.added.retain(|prefix| went.covering(prefix).is_some() || !was_let_in(prefix));
    }
    changed.retain(|change| {
        change.expired.is_some() || !change.added.is_empty() || !change.removed.is_empty()
    });
    if changed.len() > MAX_SOURCES {
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for change in changed.drain(MAX_SOURCES..) {
            added.extend(change.added);
            removed.extend(change.removed);
        }
        changed.push(SourceChange {
            database,
            rule: None,
            added,
            removed,
            expired: None,
            is_edit: false,
        });
    }
    changed
}

/// The sources whose prefixes differ, with those of their prefixes that do.
fn differences<'a>(
    database: &'a str,
    old: Option<Side<'a>>,
    new: Option<Side<'a>>,
    now: Timestamp,
) -> Vec<SourceChange<'a>> {
    let [old, new] = [old, new].map(|side| side.map_or(&[][..], |side| &side.database.rules[..]));
    let (old, new) = differing(old, new);
    let key = |rule: &'a Rule| (rule.kind.to_string(), &rule.origin);
    let mut before: HashMap<_, _> = old.iter().map(|rule| (key(rule), rule)).collect();
    let mut changed = Vec::new();
    for rule in new {
        let was = before.remove(&key(rule));
        if was.is_some_and(|was| was.prefixes == rule.prefixes) {
            continue;
        }
        let is_edit = was.is_none();
        let nothing = PrefixSet::default();
        let was = was.map_or(&nothing, |was| &was.prefixes);
        let (added, removed) = (rule.prefixes.minus(was), was.minus(&rule.prefixes));
        changed.push(SourceChange {
            database,
            rule: Some(rule),
            added,
            removed,
            expired: None,
            is_edit,
        });
    }
    for rule in before.into_values() {
        let expired = rule.kind.expires_at().filter(|at| *at <= now);
        let (added, removed) = (Vec::new(), rule.prefixes.to_vec());
        changed.push(SourceChange {
            database,
            rule: Some(rule),
            added,
            removed,
            expired,
            is_edit: true,
        });
    }
    changed
}

#[cfg(test)]
mod tests;
