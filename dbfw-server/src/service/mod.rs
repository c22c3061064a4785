//! The work of the server, whoever asks: lists and their history, databases, hosts, tokens.
//!
//! Everything is read from the store, changed by a pure function, and committed on the condition
//! that it is still as it was read.

mod audit;
mod databases;
mod documents;
mod error;
mod etag;
mod expiry;
mod hosts;
mod lists;
mod meta;
mod refusals;
mod sessions;
mod tokens;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use uuid::Uuid;

use crate::{model::Via, store::Store};

pub(crate) use self::documents::{parse, put};
use self::refusals::Refusals;
pub use self::{
    databases::{DatabasePatch, NewDatabase},
    error::ServiceError,
    etag::{ETag, IfMatch},
    expiry::remove_expired,
    hosts::NewJoinToken,
    lists::{Author, Base, Changed, Request, Stored},
    meta::{InitError, initialize, load},
    sessions::SESSION_LASTS,
    tokens::NewToken,
};

/// Limits that hold for all databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most rules of a list.
    pub rules: usize,
    /// URLs that a feed's may begin with.
    pub feeds: Vec<String>,
}

/// The server's documents and what can be done with them.
#[derive(Debug)]
pub struct Service {
    store: Store,
    bounds: Bounds,
    /// One change of a list at a time: those of one process do not conflict, and many that come at
    /// once are all made.
    locks: Mutex<HashMap<Uuid, Weak<tokio::sync::Mutex<()>>>>,
    changes: [AtomicU64; Via::ALL.len()],
    merged: AtomicU64,
    refusals: Refusals,
    /// Entries of the fleet's history that were written.
    audited: AtomicU64,
}

impl Service {
    /// A service on a store that was initialized.
    pub fn new(store: Store, bounds: Bounds) -> Self {
        Self {
            store,
            bounds,
            locks: Mutex::default(),
            changes: Default::default(),
            merged: AtomicU64::new(0),
            refusals: Refusals::default(),
            audited: AtomicU64::new(0),
        }
    }

    /// The store, for a backup.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Versions of lists that were made since the start, by each kind of client.
    pub fn changes_made(&self) -> impl Iterator<Item = (Via, u64)> {
        let counts = self.changes.iter().map(|count| count.load(Ordering::Relaxed));
        Via::ALL.iter().copied().zip(counts)
    }

    /// Those in which changes of others were kept.
    pub fn merges_made(&self) -> u64 {
        self.merged.load(Ordering::Relaxed)
    }

    /// Counts a version of a list.
    fn count_change(&self, via: Via, is_merged: bool) {
        if let Some(count) = self.changes.get(via as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.merged.fetch_add(u64::from(is_merged), Ordering::Relaxed);
    }

    /// The lock of a database's list.
    fn lock(&self, database: Uuid) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(&database).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        locks.insert(database, Arc::downgrade(&lock));
        lock
    }
}

/// The time, in whole seconds.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Bits that nobody can guess.
///
/// # Errors
/// The system has none.
fn random() -> Result<[u8; 32], ServiceError> {
    let mut bits = [0; 32];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut bits).map_err(|_| ServiceError::NoRandomness)?;
    Ok(bits)
}
