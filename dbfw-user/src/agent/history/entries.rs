//! The entries of the history.

use jiff::Timestamp;

use super::{
    Entry, History, Kind,
    diff::{SourceChange, changes},
};
use crate::{
    agent::{enforced::Offer, local::LocalSource, state::Agent},
    config::DatabaseConfig,
    policy::DatabasePolicy,
    provider::provider_name,
    source::Prefix,
};

/// Prefixes an entry names of those that came in, and of those that went out.
const MAX_PREFIXES: usize = 50;

impl History {
    /// Records an action that concerns no database.
    pub(in crate::agent) fn record_action(
        &self,
        generation: u64,
        kind: Kind,
        by: &str,
        message: &str,
    ) {
        let message = Some(message).filter(|message| !message.is_empty()).map(str::to_owned);
        self.write(vec![Entry { by: Some(by.to_owned()), message, ..entry(kind, generation) }]);
    }

    /// Records that a source was added or removed by hand.
    pub(in crate::agent) fn record_trust(
        &self,
        generation: u64,
        kind: Kind,
        local: &LocalSource,
        by: &str,
    ) {
        self.write(vec![Entry {
            database: Some(local.database.clone()),
            source: Some(local.source.to_string()),
            by: Some(by.to_owned()),
            why: local.source.description.clone(),
            ..entry(kind, generation)
        }]);
    }

    /// Records a change of the policy, by source. A source that has expired by `now` is why its
    /// prefixes went.
    pub(in crate::agent) fn record_change(
        &self,
        generation: u64,
        old: &[DatabasePolicy],
        new: &[DatabasePolicy],
        now: Timestamp,
    ) {
        let entry = |change: SourceChange| {
            let expired = change
                .source
                .as_ref()
                .is_some_and(|(source, _)| source.expires_at.is_some_and(|at| at <= now));
            let kind = if expired { Kind::Expired } else { Kind::Applied };
            let entry = Entry {
                database: Some(change.database),
                source: change.source.as_ref().map(|(source, _)| source.to_string()),
                origin: change.source.as_ref().map(|(_, origin)| origin.to_string()),
                ..entry(kind, generation)
            };
            with_prefixes(entry, &change.added, &change.removed)
        };
        self.write(changes(old, new).into_iter().map(entry).collect());
    }
}

impl Agent {
    /// Records that the guards refused a change for the first time, or that it was confirmed.
    pub(in crate::agent) fn record_decision(&self, database: &DatabaseConfig, offer: &Offer) {
        let entry = match offer {
            Offer::Accepted { confirmed: Some(plan) } => {
                Entry { plan: Some(plan.clone()), ..entry(Kind::Confirmed, self.generation) }
            }
            Offer::Refused { new: true, .. } => {
                let refused = self.enforced.get(&database.name).and_then(|e| e.refused.as_ref());
                let Some(refused) = refused else { return };
                let message = match self.cut_connections(database, refused) {
                    Ok(cut) if !cut.is_empty() => {
                        format!("{} ({} live connections)", refused.message(), cut.len())
                    }
                    _ => refused.message(),
                };
                let entry = Entry {
                    guard: Some(refused.guard().as_str().to_owned()),
                    plan: Some(refused.id.clone()),
                    message: Some(message),
                    ..entry(Kind::Refused, self.generation)
                };
                with_prefixes(entry, &[], &refused.lost)
            }
            _ => return,
        };
        let origin = database.provider.as_ref().map(provider_name);
        let database = Some(database.name.clone());
        self.history.write(vec![Entry { database, origin, ..entry }]);
    }
}

/// An entry of this moment that says nothing else yet.
fn entry(kind: Kind, generation: u64) -> Entry {
    Entry::new(Timestamp::now(), kind, generation)
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
