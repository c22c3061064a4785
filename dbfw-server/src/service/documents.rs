//! Documents of the store: from its bytes and back.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use super::error::ServiceError;
use crate::store::{CommitError, Entry, Revision, Store, Txn};

/// A document, and the entry it was read from.
pub(super) struct Read<T> {
    pub(super) document: T,
    pub(super) entry: Entry,
}

/// Reads the document of a key.
pub(super) async fn get<T: DeserializeOwned>(
    store: &Store,
    key: &str,
) -> Result<Option<Read<T>>, ServiceError> {
    let Some(entry) = store.get(key).await? else { return Ok(None) };
    let document = parse(key, &entry.value)?;
    Ok(Some(Read { document, entry }))
}

/// Reads every document below a prefix, with its key.
pub(super) async fn list<T: DeserializeOwned>(
    store: &Store,
    prefix: &str,
) -> Result<Vec<(String, Read<T>)>, ServiceError> {
    let entries = store.list(prefix).await?.entries.into_iter();
    let read = |(key, entry): (String, Entry)| {
        let document = parse(&key, &entry.value)?;
        Ok((key, Read { document, entry }))
    };
    entries.map(read).collect()
}

/// The document that bytes are.
pub(crate) fn parse<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, ServiceError> {
    serde_json::from_slice(value)
        .map_err(|error| ServiceError::Unreadable(format!("{key}: {error}")))
}

/// The bytes of a document.
pub(super) fn write(document: &impl Serialize) -> Result<Arc<[u8]>, ServiceError> {
    let bytes = serde_json::to_vec(document);
    bytes.map(Arc::from).map_err(|error| ServiceError::Unreadable(error.to_string()))
}

/// Adds a document to a transaction.
pub(crate) fn put(txn: Txn, key: String, document: &impl Serialize) -> Result<Txn, ServiceError> {
    Ok(txn.put(key, write(document)?))
}

/// Commits; `None` if a condition does not hold.
pub(super) async fn commit(store: &Store, txn: Txn) -> Result<Option<Revision>, ServiceError> {
    match store.commit(txn).await {
        Ok(revision) => Ok(Some(revision)),
        Err(CommitError::Conflict(_)) => Ok(None),
        Err(CommitError::Store(error)) => Err(error.into()),
    }
}
