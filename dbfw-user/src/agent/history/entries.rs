//! The entries of the history.

use dbfw_core::{
    policy::DatabasePolicy,
    source::Prefix,
    trust::{Decision, Enforced},
};
use jiff::Timestamp;

use super::{
    Entry, History, Kind,
    diff::{SourceChange, changes},
    writer::Pending,
};
use crate::{
    agent::connections::CutQuery,
    config::{ConfigChange, DatabaseConfig},
    state::local::LocalSource,
};

/// Prefixes an entry names of those that came in, and of those that went out.
const MAX_PREFIXES: usize = 50;

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

    /// Records what a change of the configuration opened and closed.
    pub(in crate::agent) fn record_config_changes(
        &mut self,
        generation: u64,
        changes: &[ConfigChange],
        by: &str,
    ) {
        let entries = changes.iter().map(|change| {
            let entry = Entry {
                database: change.database().map(str::to_owned),
                by: Some(by.to_owned()),
                message: Some(change.to_string()),
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
        let entry = |change: SourceChange| {
            let expired = change
                .source
                .as_ref()
                .is_some_and(|(kind, _)| kind.expires_at().is_some_and(|at| at <= now));
            let kind = if expired { Kind::Expired } else { Kind::Applied };
            let entry = Entry {
                database: Some(change.database),
                source: change.source.as_ref().map(|(kind, _)| kind.to_string()),
                origin: change.source.as_ref().map(|(_, origin)| origin.to_string()),
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
    ) {
        let mut pending: Pending = match decision {
            Decision::Accepted { confirmed: Some(plan) } => {
                Entry { plan: Some(plan.clone()), ..entry(Kind::Confirmed, generation) }.into()
            }
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
                    entry: with_prefixes(entry, &[], refused.lost()),
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
