//! [`Set`]: the prefixes that a source stands for, as they are sent, and [`Sets`], all of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use axum::body::Bytes;
use dbfw_core::source::{Prefix, PrefixSet};
use dbfw_wire::agent::{Digest, MAX_INLINE_SET, SetReference, SetState};

use crate::{
    model::Resolved,
    resolve::read_set,
    service::ServiceError,
    store::{Revision, Store},
};

/// Bytes of all sets that ride along with one frame.
const MAX_INLINE: usize = 256 << 10;

/// Prefixes, and how they are written: once, for all hosts.
#[derive(Debug)]
pub(super) struct Set {
    prefixes: PrefixSet,
    text: OnceLock<Bytes>,
}

impl Set {
    pub(super) fn new(prefixes: PrefixSet) -> Self {
        Self { prefixes, text: OnceLock::new() }
    }

    /// One prefix a line.
    pub(super) fn text(&self) -> Bytes {
        let write = || {
            let lines = self.prefixes.iter().map(|prefix| format!("{prefix}\n"));
            lines.collect::<String>().into()
        };
        self.text.get_or_init(write).clone()
    }
}

/// Those of the sets that are small enough to ride along with a frame.
pub(super) fn inline(sets: &BTreeMap<Digest, Arc<Set>>) -> BTreeMap<Digest, Vec<Prefix>> {
    let mut left = MAX_INLINE;
    let fits = |(_, set): &(&Digest, &Arc<Set>)| {
        let size = set.text().len();
        let fits = size > 0 && size <= MAX_INLINE_SET.min(left);
        if fits {
            left -= size;
        }
        fits
    };
    sets.iter().filter(fits).map(|(digest, set)| (*digest, set.prefixes.to_vec())).collect()
}

/// The resolution of a source, as it is sent to hosts.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The commit that said so.
    pub(super) revision: Revision,
    pub(super) reference: SetReference,
    pub(super) set: Arc<Set>,
}

/// The resolutions of all sources, by `type:value`.
#[derive(Debug, Default)]
pub(super) struct Sets {
    found: BTreeMap<String, Found>,
    /// The sources by their keys in the store.
    keys: BTreeMap<String, String>,
}

impl Sets {
    pub(super) fn get(&self, source: &str) -> Option<&Found> {
        self.found.get(source)
    }

    /// Takes the resolution of a source; the source. `None`: it has changed again since,
    /// which is going to come too.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn put(
        &mut self,
        store: &Store,
        key: &str,
        resolved: Resolved,
        revision: Revision,
    ) -> Result<Option<String>, ServiceError> {
        let known = self.found.values().find(|found| found.reference.digest == resolved.digest);
        let set = match known {
            Some(known) => Arc::clone(&known.set),
            None => match read_set(store, &resolved).await? {
                Some(prefixes) => Arc::new(Set::new(prefixes)),
                None => return Ok(None),
            },
        };
        let Resolved { source, digest, count, state, at, .. } = resolved;
        // One that is as of now is confirmed by the stream, as the list is.
        let at = (state != SetState::Ok).then_some(at);
        let reference = SetReference { digest, count, state, at };
        let source = source.to_string();
        self.keys.insert(key.to_owned(), source.clone());
        self.found.insert(source.clone(), Found { revision, reference, set });
        Ok(Some(source))
    }

    /// Forgets a source by its key in the store.
    pub(super) fn remove(&mut self, key: &str) {
        if let Some(source) = self.keys.remove(key) {
            self.found.remove(&source);
        }
    }
}
