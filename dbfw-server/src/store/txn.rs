//! Reads and writes of a store, and their errors.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

/// Time for a store to answer.
pub(super) const PATIENCE: Duration = Duration::from_millis(1500);

/// A place in the order of changes of a store. 0 is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Arc<[u8]>,
    /// The commit that wrote it.
    pub revision: Revision,
}

/// Everything below a prefix, as of one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The last commit that it contains.
    pub revision: Revision,
    /// The entries by key, sorted.
    pub entries: Vec<(String, Entry)>,
}

/// A condition of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Require {
    /// The key is not there.
    Absent,
    /// It is there, as this commit wrote it.
    At(Revision),
}

impl Require {
    /// That a key is still as it was read.
    pub fn unchanged(read: Option<&Entry>) -> Self {
        read.map_or(Self::Absent, |entry| Self::At(entry.revision))
    }
}

/// A write of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets it.
    Put(String, Arc<[u8]>),
    /// Removes it; one that is not there is none the worse.
    Delete(String),
}

impl Write {
    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }

    /// Bytes of the key and the value.
    pub fn size(&self) -> usize {
        match self {
            Self::Put(key, value) => key.len() + value.len(),
            Self::Delete(key) => key.len(),
        }
    }
}

/// Writes that happen together, if all conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    pub(super) require: Vec<(String, Require)>,
    pub(super) writes: Vec<Write>,
}

impl Txn {
    /// A transaction that does nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    #[must_use]
    pub fn require(mut self, key: impl Into<String>, condition: Require) -> Self {
        self.require.push((key.into(), condition));
        self
    }

    /// Sets a key. A transaction writes a key once.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Arc<[u8]>>) -> Self {
        self.writes.push(Write::Put(key.into(), value.into()));
        self
    }

    /// Adds writes.
    #[must_use]
    pub fn with(mut self, writes: impl IntoIterator<Item = Write>) -> Self {
        self.writes.extend(writes);
        self
    }

    /// Removes a key.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.writes.push(Write::Delete(key.into()));
        self
    }
}

/// The writes of one commit that changed something, below the prefix that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The commit.
    pub revision: Revision,
    /// Its writes, in order.
    pub writes: Vec<Write>,
}

/// Reason why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("{} is open in another process: a running dbfw-server holds it", .0.display())]
    InUse(PathBuf),
    /// It is no store, or a damaged one.
    #[error("{} cannot be read as a store: {reason}; move it away, then load a backup with `dbfw-server store load`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: String,
    },
    /// Reading or writing failed: a full disk, a disk that is gone.
    #[error("the store failed: {0}")]
    Failed(String),
    /// It did not answer in time. Whether a commit took place is not known.
    #[error("the store did not answer in time")]
    Timeout,
}

/// Reason why a commit did not take place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A condition does not hold.
    #[error("{0} was changed meanwhile")]
    Conflict(String),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}
