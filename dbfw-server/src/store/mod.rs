//! The store: a key-value store with one order of changes.
//!
//! Everything that is written goes `get` → a pure function → [`Store::commit`], which takes the
//! revisions it was computed from as conditions, and is tried again on a conflict.

#[cfg(test)]
mod contract;
mod dump;
mod file;
mod txn;
mod watch;

pub use self::{
    dump::{DumpError, Dumped, dump, read_dump},
    file::FileStore,
    txn::{Batch, CommitError, Entry, Require, Revision, Snapshot, StoreError, Txn, Write},
    watch::{Event, Watch},
};

/// A key-value store with one order of changes. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Store {
    /// In a file of this machine.
    File(FileStore),
}

impl Store {
    /// The value of a key, with every commit that was answered before.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        match self {
            Self::File(file) => file.get(key).await,
        }
    }

    /// Everything below a prefix, as of one revision.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn list(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        match self {
            Self::File(file) => file.list(prefix).await,
        }
    }

    /// Does all of a transaction, durably, or nothing.
    ///
    /// # Errors
    /// A condition does not hold, or the store does not answer.
    pub async fn commit(&self, txn: Txn) -> Result<Revision, CommitError> {
        match self {
            Self::File(file) => file.commit(txn).await,
        }
    }

    /// The commits after a revision that write below a prefix, one by one.
    pub fn watch(&self, prefix: &str, after: Revision) -> Watch {
        match self {
            Self::File(file) => file.watch(prefix, after),
        }
    }
}
