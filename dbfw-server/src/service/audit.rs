//! The fleet's history: who logged in, and who changed tokens, hosts and databases.

use std::{net::IpAddr, sync::atomic::Ordering};

use dbfw_core::source::SourceKey;
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Service,
    documents::{commit, list, write},
    error::ServiceError,
    lists::Author,
};
use crate::{
    model::{AuditAction, AuditEntry, Via, keys},
    store::{Store, Txn},
};

/// Entries that are kept.
const KEPT: usize = 2000;

/// Entries between two looks at how many there are.
const LOOK: u64 = 50;

/// Adds an entry of the history to a transaction: it is there if what it tells of is done.
pub(super) fn add(
    txn: Txn,
    action: AuditAction,
    author: &Author,
    subject: &str,
) -> Result<Txn, ServiceError> {
    let Author { by, via, from, .. } = author.clone();
    let subject = subject.to_owned();
    let entry = AuditEntry { at: Timestamp::now(), action, by: Some(by), via, from, subject };
    put(txn, &entry)
}

/// Adds to a transaction that a host joined.
pub(super) fn add_join(txn: Txn, host: &str, from: Option<IpAddr>) -> Result<Txn, ServiceError> {
    let (at, action, subject) = (Timestamp::now(), AuditAction::HostJoined, host.to_owned());
    put(txn, &AuditEntry { at, action, by: None, via: Via::Api, from, subject })
}

fn put(txn: Txn, entry: &AuditEntry) -> Result<Txn, ServiceError> {
    Ok(txn.put(keys::audit(entry.at, Uuid::new_v4()), write(entry)?))
}

/// Removes all but the newest entries.
async fn prune(store: &Store, kept: usize) -> Result<(), ServiceError> {
    let entries = store.list(keys::AUDIT).await?.entries;
    let old = entries.len().saturating_sub(kept);
    let txn = entries.into_iter().take(old).fold(Txn::new(), |txn, (key, _)| txn.delete(key));
    if old > 0 {
        commit(store, txn).await?;
    }
    Ok(())
}

impl Service {
    /// Writes down that a token was refused. Nobody waits for it; of many within a minute some are
    /// left out.
    pub fn record_refusal(&self, action: AuditAction, via: Via, from: IpAddr) {
        let now = Timestamp::now();
        if !self.refusals.take(action, from, now.as_second()) {
            return;
        }
        let subject = String::new();
        let entry = AuditEntry { at: now, action, by: None, via, from: Some(from), subject };
        let Ok(txn) = put(Txn::new(), &entry) else { return };
        let store = self.store.clone();
        tokio::spawn(async move { store.commit(txn).await });
        self.look();
    }

    /// Writes down that a loss of addresses of a trusted source is confirmed.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn record_confirmed(
        &self,
        source: &SourceKey,
        author: &Author,
    ) -> Result<(), ServiceError> {
        let txn = add(Txn::new(), AuditAction::LossConfirmed, author, &source.to_string())?;
        commit(&self.store, txn).await?;
        self.look();
        Ok(())
    }

    /// Notes that an entry was written: from time to time old ones are removed.
    pub(super) fn look(&self) {
        if self.audited.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK) {
            let store = self.store.clone();
            tokio::spawn(async move {
                if let Err(error) = prune(&store, KEPT).await {
                    tracing::warn!(%error, "old entries of the fleet's history stay");
                }
            });
        }
    }

    /// The last entries of the fleet's history, the newest first; those before `before` if that is
    /// given, and at most `limit`.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn audit(
        &self,
        before: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, ServiceError> {
        let found = list::<AuditEntry>(&self.store, keys::AUDIT).await?.into_iter().rev();
        let entries = found.map(|(_, read)| read.document);
        let is_before = |entry: &AuditEntry| before.is_none_or(|before| entry.at < before);
        Ok(entries.filter(is_before).take(limit).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::By, service::Bounds, store::FileStore};

    fn author() -> Author {
        Author { by: By::User { uid: 0 }, via: Via::Admin, agent: None, from: None, reason: None }
    }

    #[tokio::test]
    async fn the_newest_entries_are_kept_and_read_first() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::from(FileStore::open(&directory.path().join("s.redb")).unwrap());
        let service = Service::new(store.clone(), Bounds { rules: 10, feeds: Vec::new() });
        for n in 0..20 {
            let entry = AuditEntry {
                at: Timestamp::from_second(1000 + n).unwrap(),
                action: AuditAction::TokenAdded,
                by: Some(author().by),
                via: Via::Admin,
                from: None,
                subject: n.to_string(),
            };
            store.commit(put(Txn::new(), &entry).unwrap()).await.unwrap();
        }
        prune(&store, 15).await.unwrap();
        let subjects = async |before, limit| -> Vec<String> {
            let entries = service.audit(before, limit).await.unwrap();
            entries.into_iter().map(|entry| entry.subject).collect()
        };
        assert_eq!(subjects(None, 2).await, ["19", "18"]);
        assert_eq!(subjects(None, 99).await.len(), 15);
        let before = Timestamp::from_second(1007).unwrap();
        assert_eq!(subjects(Some(before), 99).await, ["6", "5"]);
    }
}
