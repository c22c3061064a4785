//! Answers in the store: which prefixes each source stands for, and the sets of those in pieces.

use std::collections::{BTreeMap, BTreeSet};

use dbfw_core::source::{PrefixSet, SourceKey};
use dbfw_wire::agent::{Digest, set_digest};

use super::sources::Answered;
use crate::{
    model::{Confirmed, Piece, Resolved, keys},
    service::{ServiceError, parse, put},
    store::{CommitError, Store, Txn},
};

/// Prefixes in a piece of a set: less than 1 MiB of them.
const IN_A_PIECE: usize = 20_000;

/// Sources whose answers are written at once.
const AT_ONCE: usize = 64;

/// The sources that the store has answers for, as they were last written here.
#[derive(Debug, Default)]
pub(super) struct Stored {
    sources: BTreeMap<SourceKey, Resolved>,
}

/// The prefixes of a set; `None`: they are not there any more, or damaged.
///
/// # Errors
/// The store does not answer.
pub(crate) async fn read_set(
    store: &Store,
    resolved: &Resolved,
) -> Result<Option<PrefixSet>, ServiceError> {
    let mut prefixes = Vec::with_capacity(resolved.count);
    for at in 0..resolved.pieces {
        let key = keys::piece(resolved.digest, at);
        let Some(entry) = store.get(&key).await? else { return Ok(None) };
        prefixes.extend(parse::<Piece>(&key, &entry.value)?);
    }
    let prefixes = PrefixSet::from(prefixes);
    let is_whole = prefixes.len() == resolved.count;
    Ok((is_whole && set_digest(prefixes.iter()) == resolved.digest).then_some(prefixes))
}

impl Stored {
    /// Reads every answer; what cannot be read is told and left out. Pieces that no answer has any
    /// more go.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn read(
        store: &Store,
    ) -> Result<(Self, Vec<(Resolved, PrefixSet)>), ServiceError> {
        let mut stored = Self::default();
        let mut found = Vec::new();
        let confirmed = match store.get(keys::CONFIRMED).await? {
            Some(entry) => parse::<Confirmed>(keys::CONFIRMED, &entry.value)?,
            None => Confirmed::new(),
        };
        for (key, entry) in store.list(keys::RESOLVED).await?.entries {
            let read = match parse::<Resolved>(&key, &entry.value) {
                Ok(resolved) => read_set(store, &resolved).await?.map(|set| (resolved, set)),
                Err(error) => {
                    tracing::error!(%error, "a source is resolved anew");
                    None
                }
            };
            let Some((mut resolved, set)) = read else {
                tracing::error!(key, "what a source stands for is damaged: it is resolved anew");
                continue;
            };
            stored.sources.insert(resolved.source.clone(), resolved.clone());
            resolved.at = confirmed.get(&key).map_or(resolved.at, |at| resolved.at.max(*at));
            found.push((resolved, set));
        }
        stored.sweep(store).await?;
        Ok((stored, found))
    }

    /// Removes pieces that no answer has.
    async fn sweep(&self, store: &Store) -> Result<(), ServiceError> {
        let known: BTreeSet<String> =
            self.sources.values().map(|resolved| keys::set(resolved.digest)).collect();
        let mut txn = Txn::new();
        let mut is_empty = true;
        for (key, _) in store.list(keys::SETS).await?.entries {
            let set = key.rfind('/').and_then(|at| key.get(..=at));
            if !set.is_some_and(|set| known.contains(set)) {
                is_empty = false;
                txn = txn.delete(key);
            }
        }
        if is_empty { Ok(()) } else { commit(store, txn).await }
    }

    /// Whether an answer is another than the one that is stored.
    pub(super) fn differs(&self, source: &SourceKey, answered: &Answered) -> bool {
        self.sources.get(source).is_none_or(|stored| {
            stored.digest != answered.accepted.digest || stored.state != answered.state
        })
    }

    /// The sources that the store has answers for.
    pub(super) fn keys(&self) -> impl Iterator<Item = &SourceKey> {
        self.sources.keys()
    }

    /// Writes answers, and forgets sources. A set is there before any answer refers to it.
    ///
    /// # Errors
    /// The store does not answer. What was written is known; the rest can be tried again.
    pub(super) async fn write(
        &mut self,
        store: &Store,
        answers: Vec<(SourceKey, Answered)>,
        gone: Vec<SourceKey>,
    ) -> Result<(), ServiceError> {
        for some in answers.chunks(AT_ONCE) {
            let mut next = Vec::new();
            let mut txn = Txn::new();
            for (source, answered) in some {
                let resolved = self.write_set(store, source, answered).await?;
                txn = put(txn, keys::resolved(source), &resolved)?;
                next.push(resolved);
            }
            let before = next.iter().filter_map(|new| self.sources.get(&new.source)).cloned();
            let before: Vec<Resolved> = before.collect();
            let mut after = self.sources.clone();
            after.extend(next.into_iter().map(|new| (new.source.clone(), new)));
            self.switch(store, txn, &before, after).await?;
        }
        for some in gone.chunks(AT_ONCE) {
            let mut txn = Txn::new();
            let mut before = Vec::new();
            let mut after = self.sources.clone();
            for source in some {
                let Some(resolved) = after.remove(source) else { continue };
                txn = txn.delete(keys::resolved(source));
                before.push(resolved);
            }
            if !before.is_empty() {
                self.switch(store, txn, &before, after).await?;
            }
        }
        Ok(())
    }

    /// Commits answers together with the removal of sets that none has any more.
    async fn switch(
        &mut self,
        store: &Store,
        mut txn: Txn,
        before: &[Resolved],
        after: BTreeMap<SourceKey, Resolved>,
    ) -> Result<(), ServiceError> {
        let used: BTreeSet<Digest> = after.values().map(|resolved| resolved.digest).collect();
        let unused: BTreeMap<Digest, usize> =
            before.iter().map(|resolved| (resolved.digest, resolved.pieces)).collect();
        for (digest, pieces) in unused {
            if !used.contains(&digest) {
                for at in 0..pieces {
                    txn = txn.delete(keys::piece(digest, at));
                }
            }
        }
        commit(store, txn).await?;
        self.sources = after;
        Ok(())
    }

    /// Writes the set of an answer, unless it is there.
    async fn write_set(
        &self,
        store: &Store,
        source: &SourceKey,
        answered: &Answered,
    ) -> Result<Resolved, ServiceError> {
        let Answered { accepted, state, at } = answered;
        let pieces = accepted.prefixes.chunks(IN_A_PIECE);
        let resolved = Resolved {
            source: source.clone(),
            digest: accepted.digest,
            count: accepted.prefixes.len(),
            pieces: pieces.len(),
            state: *state,
            at: *at,
        };
        if !self.sources.values().any(|known| known.digest == accepted.digest) {
            for (at, piece) in pieces.enumerate() {
                commit(store, put(Txn::new(), keys::piece(accepted.digest, at), &piece)?).await?;
            }
        }
        Ok(resolved)
    }

    /// Writes the times at which answers were last confirmed.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn write_confirmed(
        &self,
        store: &Store,
        confirmed: &Confirmed,
    ) -> Result<(), ServiceError> {
        commit(store, put(Txn::new(), keys::CONFIRMED.to_owned(), confirmed)?).await
    }
}

/// Commits what has no condition.
async fn commit(store: &Store, txn: Txn) -> Result<(), ServiceError> {
    match store.commit(txn).await {
        Ok(_) => Ok(()),
        Err(CommitError::Conflict(_)) => Err(ServiceError::Busy),
        Err(CommitError::Store(error)) => Err(error.into()),
    }
}
