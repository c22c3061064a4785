//! [`Kept`]: what a host keeps of its control plane, on disk too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dbfw_core::{
    answers::{Edition, Resolved, SourceList, SourceState},
    source::{Location, PrefixSet, SourceKey, SourceType, TrustedSource},
};
use dbfw_wire::agent::{Bundle, BundleSource, Digest, Have, SetState};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Bytes of the longest value or description of a source.
const MAX_TEXT: usize = 4096;

/// Bytes of the longest name of who made a change.
const MAX_NAME: usize = 256;

/// A host's memory of its control plane. Joining again makes it another host, which keeps nothing
/// of this.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The host's id.
    pub host: Uuid,
    /// The store of the server that it first heard from; another one is not believed.
    pub store: Option<Uuid>,
    /// The authorities that the server's certificates come from now and in future, PEM, as it said
    /// over a stream that was verified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trust: Vec<String>,
    /// The newest list of each database, by its name at the server.
    pub lists: BTreeMap<Arc<str>, KeptList>,
}

/// The newest list of a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptList {
    /// The list, without sets.
    pub bundle: Arc<Bundle>,
    /// The sets that it names.
    pub sets: BTreeMap<Digest, PrefixSet>,
}

impl KeptList {
    /// The epoch, revision and digest of it.
    pub(crate) fn have(&self) -> Have {
        let Bundle { epoch, revision, digest, .. } = &*self.bundle;
        Have { epoch: *epoch, revision: *revision, digest: *digest }
    }

    /// The trusted sources.
    ///
    /// # Errors
    /// One of them means nothing to this version, or a set is missing: in words.
    pub(crate) fn source_list(&self) -> Result<SourceList, String> {
        let Bundle { epoch, revision, by, sources, .. } = &*self.bundle;
        let mut list = SourceList::default();
        let by = by.clone().filter(|by| by.len() <= MAX_NAME);
        let mut edition = Edition { epoch: *epoch, revision: *revision, by, ..Edition::default() };
        let mut seen = BTreeSet::new();
        for source in sources {
            let trusted = trusted_source(source)?;
            if !seen.insert(trusted.key().clone()) {
                return Err(format!("it has {trusted} twice"));
            }
            if let Some(set) = &source.set {
                let missing = || format!("the set of {trusted} is missing");
                let resolved = Resolved {
                    prefixes: self.sets.get(&set.digest).ok_or_else(missing)?.clone(),
                    state: match set.state {
                        SetState::Ok => SourceState::Ok,
                        SetState::Stale => SourceState::Stale,
                        SetState::Unresolved => SourceState::Unresolvable,
                    },
                    at: set.at,
                };
                edition.resolved.insert(trusted.key().clone(), resolved);
            }
            list.sources.push(Arc::new(trusted));
        }
        list.edition = Some(Arc::new(edition));
        Ok(list)
    }

    /// The ids of its sources.
    pub(crate) fn ids(&self) -> BTreeMap<SourceKey, Uuid> {
        let id = |source: &BundleSource| {
            let kind: SourceType = source.kind.parse().ok()?;
            Some((SourceKey::new(kind, &source.value).ok()?, source.uuid))
        };
        self.bundle.sources.iter().filter_map(id).collect()
    }
}

/// A source of a list.
///
/// # Errors
/// It means nothing to this version, or nothing that a server may name: in words.
fn trusted_source(source: &BundleSource) -> Result<TrustedSource, String> {
    let shown = || {
        let value: String = source.value.chars().take(80).collect();
        format!("{}:{value}", source.kind.chars().take(20).collect::<String>())
    };
    let kind: SourceType = source.kind.parse().map_err(|_| {
        format!("{} is of a type that this version does not know: update dbfw", shown())
    })?;
    let text = source.description.as_ref().map_or(0, String::len);
    if source.value.len().max(text) > MAX_TEXT {
        return Err(format!("{} has more than {MAX_TEXT} bytes of text", shown()));
    }
    let key = SourceKey::new(kind, &source.value).map_err(|error| error.to_string())?;
    if key.feed().is_some_and(|feed| matches!(feed.location, Location::Path(_))) {
        return Err(format!("{} is a file of this host, which no server may name", shown()));
    }
    if key.prefixes().is_some() && source.set.is_some() {
        return Err(format!("{} is an address and has a set of others", shown()));
    }
    let mut trusted = TrustedSource::from(key);
    (trusted.description, trusted.expires_at) = (source.description.clone(), source.expires_at);
    Ok(trusted)
}
