//! The store as a whole: its first documents, and those of a backup.

use uuid::Uuid;

use super::{
    documents::{commit, get, parse, write},
    error::ServiceError,
    now,
    tokens::{NewToken, make},
};
use crate::{
    model::{Databases, FORMAT, Meta, Preset, Secret, Token, keys},
    store::{Dumped, Require, Store, Txn},
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
        if meta.format == FORMAT { Ok(meta) } else { Err(InitError::Format(meta.format)) }
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

/// Fills a store from a backup, in one transaction; its document afterwards. The epoch counts up:
/// versions that agents have seen may be given anew.
///
/// # Errors
/// The store is not empty and is not to be replaced, or does not answer.
pub async fn load(store: &Store, dumped: Dumped, replace: bool) -> Result<Meta, InitError> {
    let present = store.list("").await.map_err(ServiceError::from)?;
    if !present.entries.is_empty() && !replace {
        return Err(InitError::NotEmpty);
    }
    let mut txn = Txn::new();
    let mut epoch = 0;
    for (key, entry) in present.entries {
        if key == keys::META {
            epoch = parse::<Meta>(&key, &entry.value)?.epoch;
        }
        txn = txn.require(key.clone(), Require::At(entry.revision)).delete(key);
    }
    let mut loaded = None;
    for (key, value) in dumped {
        if key == keys::META {
            let meta: Meta = parse(&key, &value)?;
            if meta.format != FORMAT {
                return Err(InitError::Format(meta.format));
            }
            let meta = Meta { epoch: meta.epoch.max(epoch) + 1, ..meta };
            txn = txn.put(key, write(&meta)?);
            loaded = Some(meta);
        } else {
            txn = txn.put(key, value);
        }
    }
    let meta = loaded.ok_or(InitError::NoMeta)?;
    commit(store, txn).await?.ok_or(ServiceError::Busy)?;
    Ok(meta)
}
