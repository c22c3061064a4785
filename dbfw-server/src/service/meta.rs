//! The store as a whole: its first documents, and those of a backup.

use std::collections::HashSet;

use uuid::Uuid;

use super::{
    documents::{commit, get, parse, write},
    error::ServiceError,
    now,
    tokens::{NewToken, make},
};
use crate::{
    model::{Databases, FORMAT, LOADING, Meta, Preset, Secret, Token, keys},
    store::{Dumped, Portion, Presence, Require, Store, Txn, Write},
};

/// Reason why a store was not set up, or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// It was set up before.
    #[error("the store was set up before: `dbfw-server token add` makes another token")]
    Exists,
    /// It was never set up.
    #[error(
        "there is no store yet, or it is empty: run `dbfw-server init`, or load a backup with \
         `dbfw-server store load`"
    )]
    Empty,
    /// A later version wrote it.
    #[error(
        "the store has format {0}, and this version knows {FORMAT}: use the version that wrote it"
    )]
    Format(u32),
    /// A backup was loaded into it, and not to its end.
    #[error("a backup was not loaded to its end: repeat `dbfw-server store load --replace`")]
    Unfinished,
    /// Servers run on it.
    #[error(
        "{} run{} on the store: stop {} first; one that was killed counts for 10 more seconds",
        .0.join(" and "), if .0.len() == 1 { "s" } else { "" }, if .0.len() == 1 { "it" } else { "them" }
    )]
    InUse(Vec<String>),
    /// It has entries, and a backup would be mixed with them.
    #[error("the store is not empty: --replace removes what is in it")]
    NotEmpty,
    /// The backup is none of a store that was set up.
    #[error("the dump has no entry {}", keys::META)]
    NoMeta,
    /// The store does not answer.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl Meta {
    /// The store's own document.
    ///
    /// # Errors
    /// The store was never set up, or a later version wrote it.
    pub async fn read(store: &Store) -> Result<Self, InitError> {
        let read = get::<Self>(store, keys::META).await?;
        let meta = read.ok_or(InitError::Empty)?.document;
        match meta.format {
            FORMAT => Ok(meta),
            LOADING => Err(InitError::Unfinished),
            other => Err(InitError::Format(other)),
        }
    }
}

/// Sets an empty store up; its first token, which may do everything.
///
/// # Errors
/// It was set up before, or does not answer.
pub async fn initialize(store: &Store) -> Result<(Token, Secret), InitError> {
    let meta = Meta { format: FORMAT, store_id: Uuid::new_v4(), epoch: 1, created_at: now() };
    let txn = Txn::new().require(keys::META, Require::Absent).put(keys::META, write(&meta)?);
    if commit(store, txn).await?.is_none() {
        return Err(InitError::Exists);
    }
    let new = NewToken {
        name: "admin".to_owned(),
        scopes: Preset::Admin.scopes(),
        databases: Databases::All,
        expires_at: None,
    };
    Ok(make(store, &new, "init", Txn::new()).await?)
}

/// Fills a store from a backup; its document afterwards. The epoch counts up: versions that agents
/// have seen may be given anew. It is one transaction, unless that would be more than the store takes:
/// then one that was interrupted is no store until it is repeated.
///
/// # Errors
/// A server runs on the store, it is not empty and is not to be replaced, or does not answer.
pub async fn load(store: &Store, dumped: Dumped, replace: bool) -> Result<Meta, InitError> {
    let running = Presence::all(store).await.map_err(ServiceError::from)?;
    if !running.is_empty() {
        return Err(InitError::InUse(running));
    }
    let present = store.list("").await.map_err(ServiceError::from)?.entries;
    if !present.is_empty() && !replace {
        return Err(InitError::NotEmpty);
    }
    let before = present.iter().find(|(key, _)| key == keys::META).map(|(_, entry)| entry);
    let condition = Require::unchanged(before);
    let epoch = match before {
        Some(entry) => parse::<Meta>(keys::META, &entry.value)?.epoch,
        None => 0,
    };
    let kept: HashSet<&str> = dumped.iter().map(|(key, _)| key.as_str()).collect();
    let goes = |key: &&String| *key != keys::META && !kept.contains(key.as_str());
    let gone = present.iter().map(|(key, _)| key).filter(goes);
    let mut writes: Vec<Write> = gone.cloned().map(Write::Delete).collect();
    let mut loaded = None;
    for (key, value) in dumped {
        if key == keys::META {
            let meta: Meta = parse(&key, &value)?;
            if meta.format != FORMAT {
                return Err(InitError::Format(meta.format));
            }
            loaded = Some(Meta { epoch: meta.epoch.max(epoch) + 1, ..meta });
        } else {
            writes.push(Write::Put(key, value));
        }
    }
    let meta = loaded.ok_or(InitError::NoMeta)?;
    let last = write(&meta)?;
    let mut parts = parts(writes, store.portion());
    let txn = if parts.len() > 1 {
        let marked = write(&Meta { format: LOADING, ..meta.clone() })?;
        let txn = Txn::new().require(keys::META, condition).put(keys::META, marked);
        let mark = commit(store, txn).await?.ok_or(ServiceError::Busy)?;
        let is_marked = Txn::new().require(keys::META, Require::At(mark));
        for part in parts {
            let txn = is_marked.clone().with(part);
            commit(store, txn).await?.ok_or(ServiceError::Busy)?;
        }
        is_marked
    } else {
        Txn::new().require(keys::META, condition).with(parts.pop().unwrap_or_default())
    };
    commit(store, txn.put(keys::META, last)).await?.ok_or(ServiceError::Busy)?;
    Ok(meta)
}

/// Writes in parts that a store takes at once.
fn parts(writes: Vec<Write>, portion: Portion) -> Vec<Vec<Write>> {
    let mut parts: Vec<Vec<Write>> = Vec::new();
    let mut bytes = 0;
    for write in writes {
        let size = write.size();
        let fits = |part: &&mut Vec<Write>| {
            part.len() < portion.writes && size <= portion.bytes.saturating_sub(bytes)
        };
        match parts.last_mut().filter(fits) {
            Some(part) => {
                bytes += size;
                part.push(write);
            }
            None => {
                bytes = size;
                parts.push(vec![write]);
            }
        }
    }
    parts
}
