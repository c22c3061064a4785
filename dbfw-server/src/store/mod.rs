//! The store: a key-value store with one order of changes.
//!
//! Everything that is written goes `get` → a pure function → [`Store::commit`], which takes the
//! revisions it was computed from as conditions, and is tried again on a conflict.

#[cfg(test)]
mod contract;
mod dump;
#[cfg(feature = "etcd")]
mod etcd;
mod file;
mod leader;
mod lease;
mod settings;
mod tally;
mod txn;
mod watch;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use self::tally::Tally;

#[cfg(feature = "etcd")]
pub use self::etcd::EtcdStore;
pub use self::{
    dump::{DumpError, Dumped, dump, read_dump},
    file::FileStore,
    leader::{Leader, Presence},
    lease::Lease,
    settings::{EtcdSettings, Identity, Login},
    tally::{Operation, Operations},
    txn::{Batch, CommitError, Entry, Require, Revision, Snapshot, StoreError, Txn, Write},
    watch::{Event, Watch},
};

/// A key-value store with one order of changes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    kind: Kind,
    tally: Arc<Tally>,
}

/// The place of a store.
#[derive(Clone, Debug)]
enum Kind {
    /// In a file of this machine.
    File(FileStore),
    /// In etcd, which several servers share.
    #[cfg(feature = "etcd")]
    Etcd(EtcdStore),
}

impl From<FileStore> for Store {
    fn from(file: FileStore) -> Self {
        Self { kind: Kind::File(file), tally: Arc::default() }
    }
}

#[cfg(feature = "etcd")]
impl From<EtcdStore> for Store {
    fn from(etcd: EtcdStore) -> Self {
        Self { kind: Kind::Etcd(etcd), tally: Arc::default() }
    }
}

/// The most that a store commits at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion {
    /// Writes.
    pub writes: usize,
    /// Bytes of their keys and values.
    pub bytes: usize,
}

impl Store {
    /// The value of a key, with every commit that was answered before.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let began = Instant::now();
        let found = match &self.kind {
            Kind::File(file) => file.get(key).await,
            #[cfg(feature = "etcd")]
            Kind::Etcd(etcd) => etcd.get(key).await,
        };
        self.tally.add(Operation::Read, began, found.is_err());
        found
    }

    /// Everything below a prefix, as of one revision.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn list(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        let began = Instant::now();
        let found = match &self.kind {
            Kind::File(file) => file.list(prefix).await,
            #[cfg(feature = "etcd")]
            Kind::Etcd(etcd) => etcd.list(prefix).await,
        };
        self.tally.add(Operation::Read, began, found.is_err());
        found
    }

    /// Does all of a transaction, durably, or nothing.
    ///
    /// # Errors
    /// A condition does not hold, or the store does not answer.
    pub async fn commit(&self, txn: Txn) -> Result<Revision, CommitError> {
        let began = Instant::now();
        let done = match &self.kind {
            Kind::File(file) => file.commit(txn).await,
            #[cfg(feature = "etcd")]
            Kind::Etcd(etcd) => etcd.commit(txn).await,
        };
        self.tally.add(Operation::Commit, began, matches!(done, Err(CommitError::Store(_))));
        done
    }

    /// The commits after a revision that write below a prefix, one by one.
    pub fn watch(&self, prefix: &str, after: Revision) -> Watch {
        match &self.kind {
            Kind::File(file) => file.watch(prefix, after),
            #[cfg(feature = "etcd")]
            Kind::Etcd(etcd) => etcd.watch(prefix, after),
        }
    }

    /// Holds a key until what is returned is dropped or lost; `None` if another holds it. Keys that are
    /// held are no content: no list, dump or watch has them. A holder that died has lost it after
    /// `ttl`. In a file, where nobody else writes, none is ever lost. Must be called within a runtime.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn lease(
        &self,
        key: &str,
        value: &[u8],
        ttl: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        match &self.kind {
            Kind::File(file) => Ok(file.leases().take(key, value, ttl)),
            #[cfg(feature = "etcd")]
            Kind::Etcd(etcd) => etcd.lease(key, value, ttl).await,
        }
    }

    /// The keys that are held below a prefix, and what their holders say.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn holders(&self, prefix: &str) -> Result<Vec<(String, Arc<[u8]>)>, StoreError> {
        match &self.kind {
            Kind::File(file) => Ok(file.leases().holders(prefix)),
            #[cfg(feature = "etcd")]
            Kind::Etcd(etcd) => etcd.holders(prefix).await,
        }
    }

    /// The most that it commits at once, of what is large: a backup.
    pub fn portion(&self) -> Portion {
        match &self.kind {
            Kind::File(_) => Portion { writes: usize::MAX, bytes: usize::MAX },
            #[cfg(feature = "etcd")]
            Kind::Etcd(_) => Portion { writes: etcd::MAX_WRITES, bytes: etcd::MAX_BYTES },
        }
    }

    /// The number of times that commits were missed, and whoever watches had to read anew.
    pub fn resyncs(&self) -> u64 {
        match &self.kind {
            Kind::File(file) => file.restarts(),
            #[cfg(feature = "etcd")]
            Kind::Etcd(etcd) => etcd.restarts(),
        }
    }

    /// The operations so far.
    pub fn tally(&self) -> [(Operation, Operations); 2] {
        self.tally.values()
    }
}
