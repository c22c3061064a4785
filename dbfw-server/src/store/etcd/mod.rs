//! The store in etcd, version 3.4 and newer.
//!
//! etcd's revisions are the store's: those of a shared etcd have gaps, where others write. One watch,
//! on a connection of its own, feeds the last commits to everybody who watches here: a large read on
//! the same connection holds it up under TLS in etcd before 3.5.10.

mod follow;
mod kv;
mod lease;
mod members;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use etcd_client::{Compare, CompareOp, GetOptions, Txn as EtcdTxn, TxnOp, TxnOpResponse};

use self::{
    follow::{Follower, follow},
    kv::{LEASES, end_of, entry, header, kv, own, revision, signed, unsigned},
    members::{Members, Repeat},
};
use super::{
    lease::Lease,
    settings::EtcdSettings,
    txn::{CommitError, Entry, PATIENCE, Require, Revision, Snapshot, StoreError, Txn, Write},
    watch::{Ring, Watch},
};

/// Entries of a page of a list.
const PAGE: i64 = 100;

/// Operations of a transaction, of 128 that etcd takes unless it is told otherwise, with those of the
/// transactions around it.
const OPERATIONS: usize = 60;

/// Writes of a commit that is made of several parts.
pub(super) const MAX_WRITES: usize = 100;

/// Bytes of such a commit.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// Times that a list is begun again because etcd was compacted meanwhile.
const ATTEMPTS: u32 = 3;

/// A store in etcd. Cheap to clone; it is left with the last clone.
#[derive(Clone, Debug)]
pub struct EtcdStore {
    members: Arc<Members>,
    /// With the slash behind it.
    prefix: Arc<str>,
    ring: Arc<Ring>,
    _follower: Arc<Follower>,
}

impl EtcdStore {
    /// Connects. Must be called within a runtime.
    ///
    /// # Errors
    /// No member answers, a file cannot be read, or etcd refuses the user.
    pub async fn connect(settings: &EtcdSettings) -> Result<Self, StoreError> {
        let prefix: Arc<str> = format!("{}/", settings.prefix).into();
        let members = Members::new(settings.clone());
        let newest = revision(&members, &prefix).await?;
        let ring = Ring::new(newest);
        // A connection of its own.
        let watched = Members::new(settings.clone());
        let follower = follow(watched, Arc::clone(&prefix), Arc::clone(&ring), newest);
        Ok(Self { members, prefix, ring, _follower: Arc::new(follower) })
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let key = self.key(key);
        let get = |client| {
            let key = key.clone();
            async move { kv(&client).get(key, None).await }
        };
        let found = self.members.ask(Repeat::Safe, PATIENCE, get).await?;
        Ok(found.kvs().first().map(entry))
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        let mut snapshot = self.list_all(prefix).await?;
        snapshot.entries.retain(|(key, _)| !key.starts_with(LEASES));
        Ok(snapshot)
    }

    /// Everything below a prefix, what is held too.
    async fn list_all(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        let mut last = StoreError::Timeout;
        for _ in 0..ATTEMPTS {
            match self.pages(prefix).await {
                Err(StoreError::Failed(reason)) if reason.contains("compacted") => {
                    last = StoreError::Failed(reason);
                }
                done => return done,
            }
        }
        Err(last)
    }

    /// The pages of a list, all as of the revision of the first.
    async fn pages(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        let (mut from, end) = (self.key(prefix).into_bytes(), end_of(&self.key(prefix)));
        let mut snapshot = Snapshot::default();
        loop {
            let at = signed(snapshot.revision);
            let get = |client| {
                let options = GetOptions::new().with_range(end.clone()).with_limit(PAGE);
                // 0 is now.
                let (from, options) = (from.clone(), options.with_revision(at));
                async move { kv(&client).get(from, Some(options)).await }
            };
            let page = self.members.ask(Repeat::Safe, PATIENCE, get).await?;
            if at == 0 {
                snapshot.revision = page.header().map_or_else(Revision::default, header);
            }
            for found in page.kvs() {
                if let Some(key) = self.own(found.key()) {
                    snapshot.entries.push((key, entry(found)));
                }
            }
            match page.kvs().last() {
                Some(last) if page.more() => {
                    from = [last.key(), b"\0"].concat();
                }
                _ => return Ok(snapshot),
            }
        }
    }

    /// A key without the prefix.
    fn own(&self, key: &[u8]) -> Option<String> {
        own(&self.prefix, key)
    }

    pub(super) async fn commit(&self, txn: Txn) -> Result<Revision, CommitError> {
        let conditions = txn.require.iter().map(|(key, condition)| match condition {
            Require::Absent => Compare::version(self.key(key), CompareOp::Equal, 0),
            Require::At(at) => Compare::mod_revision(self.key(key), CompareOp::Equal, signed(*at)),
        });
        // Asked at the same time, to name the one that does not hold.
        let looks = txn
            .require
            .iter()
            .map(|(key, _)| TxnOp::get(self.key(key), Some(GetOptions::new().with_keys_only())));
        let etcd_txn = EtcdTxn::new()
            .when(conditions.collect::<Vec<_>>())
            .and_then(operations(self.writes(txn.writes)))
            .or_else(looks.collect::<Vec<_>>());
        let commit = |client| {
            let txn = etcd_txn.clone();
            async move { kv(&client).txn(txn).await }
        };
        let done = self.members.ask(Repeat::Unsafe, PATIENCE, commit).await?;
        if done.succeeded() {
            return Ok(done.header().map_or_else(Revision::default, header));
        }
        let found = done.op_responses();
        let violated = txn.require.iter().zip(found).find(|((_, condition), found)| {
            let TxnOpResponse::Get(found) = found else { return true };
            let there = found.kvs().first().map(|found| Revision(unsigned(found.mod_revision())));
            there
                != match condition {
                    Require::Absent => None,
                    Require::At(at) => Some(*at),
                }
        });
        let key = violated.map(|((key, _), _)| key.clone()).unwrap_or_default();
        Err(CommitError::Conflict(key))
    }

    fn writes(&self, writes: Vec<Write>) -> Vec<TxnOp> {
        let write = |write| match write {
            Write::Put(key, value) => TxnOp::put(self.key(&key), &*value, None),
            Write::Delete(key) => TxnOp::delete(self.key(&key), None),
        };
        writes.into_iter().map(write).collect()
    }

    pub(super) fn watch(&self, prefix: &str, after: Revision) -> Watch {
        self.ring.watch(prefix, after)
    }

    pub(super) fn restarts(&self) -> u64 {
        self.ring.restarts()
    }

    pub(super) async fn lease(
        &self,
        key: &str,
        value: &[u8],
        ttl: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        let key = format!("{}{LEASES}{key}", self.prefix);
        lease::take(&self.members, key, value, ttl).await
    }

    pub(super) async fn holders(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, Arc<[u8]>)>, StoreError> {
        let held = self.list_all(&format!("{LEASES}{prefix}")).await?.entries.into_iter();
        let bare = |key: &str| key.strip_prefix(LEASES).unwrap_or_default().to_owned();
        Ok(held.map(|(key, entry)| (bare(&key), entry.value)).collect())
    }
}

/// Operations as one transaction takes them: more than a few are put into transactions within it.
fn operations(mut operations: Vec<TxnOp>) -> Vec<TxnOp> {
    while operations.len() > OPERATIONS {
        let mut parts = Vec::new();
        let mut rest = operations.into_iter().peekable();
        while rest.peek().is_some() {
            let part: Vec<_> = rest.by_ref().take(OPERATIONS).collect();
            parts.push(TxnOp::txn(EtcdTxn::new().and_then(part)));
        }
        operations = parts;
    }
    operations
}
