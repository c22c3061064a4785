//! Entries of the history.

use jiff::Timestamp;

use super::{
    enforced::Offer,
    history::{self, Entry, Kind, SourceChange, with_prefixes},
    local::LocalSource,
    state::Agent,
};
use crate::{config::DatabaseConfig, policy::DatabasePolicy};

impl Agent {
    /// Notes something that concerns no database.
    pub(super) fn note(&self, kind: Kind, by: &str, message: &str) {
        let message = Some(message).filter(|message| !message.is_empty()).map(str::to_owned);
        self.history.record(vec![Entry { by: Some(by.to_owned()), message, ..self.entry(kind) }]);
    }

    /// Notes what somebody did by hand.
    pub(super) fn note_trust(&self, kind: Kind, local: &LocalSource, by: &str) {
        self.history.record(vec![Entry {
            database: Some(local.database.clone()),
            source: Some(local.source.to_string()),
            by: Some(by.to_owned()),
            why: local.source.description.clone(),
            ..self.entry(kind)
        }]);
    }

    /// Notes a change that was carried out, and what expired with it.
    pub(super) fn note_applied(&self, old: &[DatabasePolicy], new: &[DatabasePolicy]) {
        let now = self.expiry.now();
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
                ..self.entry(kind)
            };
            with_prefixes(entry, &change.added, &change.removed)
        };
        self.history.record(history::changes(old, new).into_iter().map(entry).collect());
    }

    /// Notes what became of a change that the guards had a word in.
    pub(super) fn note_offer(&self, database: &DatabaseConfig, offer: &Offer) {
        let entry = match offer {
            Offer::Accepted { confirmed: Some(plan) } => {
                Entry { plan: Some(plan.clone()), ..self.entry(Kind::Confirmed) }
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
                    ..self.entry(Kind::Refused)
                };
                with_prefixes(entry, &[], &refused.lost)
            }
            _ => return,
        };
        let provider = database.provider.as_ref().map(crate::provider::provider_name);
        let database = Some(database.name.clone());
        self.history.record(vec![Entry { database, origin: provider, ..entry }]);
    }

    fn entry(&self, kind: Kind) -> Entry {
        Entry::new(Timestamp::now(), kind, self.generation)
    }
}
