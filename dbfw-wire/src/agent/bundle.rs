//! [`Bundle`]: the list of a database, and [`Delta`], what leads from one to the next.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use dbfw_core::source::Prefix;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Digest, MAX_SOURCES};

/// The whole list of a database, at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The database's id.
    pub database: Uuid,
    /// Its name at the server.
    pub name: String,
    /// The number of times that the store was loaded from a backup, and 1.
    pub epoch: u64,
    /// The revision; a later one of the same epoch is greater.
    pub revision: u64,
    /// [`list_digest`] of the sources.
    pub digest: Digest,
    /// The name of who made the last change, for the host's history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The trusted sources, in order.
    pub sources: Vec<BundleSource>,
    /// Sets that ride along.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sets: BTreeMap<Digest, Vec<Prefix>>,
}

/// A trusted source of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleSource {
    /// Its id.
    pub uuid: Uuid,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its value, as written.
    pub value: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The time from which on it is trusted no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The prefixes that the server found it to stand for. The host resolves a source without a
    /// set itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<SetReference>,
}

/// The prefixes that a source stands for, by their digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetReference {
    /// [`super::set_digest`] of the prefixes.
    pub digest: Digest,
    /// The number of prefixes.
    pub count: usize,
    /// The state of the answer.
    pub state: SetState,
    /// The time at which it was read last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// The state of what the server knows of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetState {
    /// The last answer is as of now.
    Ok,
    /// The provider did not answer lately; the prefixes are those of its last answer.
    Stale,
    /// The provider has never answered.
    Unresolved,
}

/// The digest of a list: of its sources in order, each as one line of JSON. The time at which a
/// set was read last is left out, so that an answer that stays the same changes no digest.
pub fn list_digest(sources: &[BundleSource]) -> Digest {
    Digest::of_lines(sources.iter().map(|source| {
        let mut source = Cow::Borrowed(source);
        if source.set.as_ref().is_some_and(|set| set.at.is_some())
            && let Some(set) = &mut source.to_mut().set
        {
            set.at = None;
        }
        // Strings, numbers and times always have a JSON form.
        serde_json::to_vec(&*source).unwrap_or_default()
    }))
}

/// A change of a list: from one revision to a later one of the same epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The database's id.
    pub database: Uuid,
    /// The epoch of both.
    pub epoch: u64,
    /// The revision that it changes.
    pub from: u64,
    /// The revision that it leads to.
    pub revision: u64,
    /// [`list_digest`] of the sources afterwards.
    pub digest: Digest,
    /// The name of who made the last change, for the host's history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Sources that are new or changed, whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub put: Vec<BundleSource>,
    /// Ids of sources that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<Uuid>,
    /// Whether new sources come first, and not last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub put_first: bool,
    /// The ids in their order afterwards, where new ones come neither all last nor all first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Vec<Uuid>>,
    /// Sets that ride along.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sets: BTreeMap<Digest, Vec<Prefix>>,
}

/// A change does not fit the list that it was applied to: the whole list has to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// It begins at another revision, or in another epoch.
    #[error("the change begins at another revision than the list has")]
    OtherRevision,
    /// It removes or orders sources that the list does not have.
    #[error("the change names sources that the list does not have")]
    UnknownSource,
    /// The list would be longer than any may be.
    #[error("the list would have more than {MAX_SOURCES} sources")]
    TooLong,
    /// The sources afterwards have another digest.
    #[error("the list has another digest than the server's after the change")]
    Digest,
}

impl Delta {
    /// The change from one list of a database to a later one; without sets.
    pub fn between(from: &Bundle, to: &Bundle) -> Self {
        let before: BTreeMap<Uuid, &BundleSource> =
            from.sources.iter().map(|source| (source.uuid, source)).collect();
        let after: BTreeSet<Uuid> = to.sources.iter().map(|source| source.uuid).collect();
        let is_put = |source: &&BundleSource| before.get(&source.uuid) != Some(source);
        let put: Vec<BundleSource> = to.sources.iter().filter(is_put).cloned().collect();
        let delete: Vec<Uuid> = from
            .sources
            .iter()
            .map(|source| source.uuid)
            .filter(|uuid| !after.contains(uuid))
            .collect();
        let mut delta = Self {
            database: to.database,
            epoch: to.epoch,
            from: from.revision,
            revision: to.revision,
            digest: to.digest,
            by: to.by.clone(),
            put,
            delete,
            put_first: false,
            order: None,
            sets: BTreeMap::new(),
        };
        let uuids = |sources: &[BundleSource]| -> Vec<Uuid> {
            sources.iter().map(|source| source.uuid).collect()
        };
        let order = uuids(&to.sources);
        let is_right = |delta: &Self| {
            delta.sources(&from.sources).is_ok_and(|sources| uuids(&sources) == order)
        };
        // doctl puts new ones first, other clients last.
        for put_first in [false, true] {
            delta.put_first = put_first;
            if is_right(&delta) {
                return delta;
            }
        }
        (delta.put_first, delta.order) = (false, Some(order));
        delta
    }

    /// The list after the change, verified by its digest.
    ///
    /// # Errors
    /// The change does not fit the list; the list is as it was.
    pub fn apply(&self, to: &Bundle) -> Result<Bundle, DeltaError> {
        if (to.database, to.epoch, to.revision) != (self.database, self.epoch, self.from) {
            return Err(DeltaError::OtherRevision);
        }
        let sources = self.sources(&to.sources)?;
        if list_digest(&sources) != self.digest {
            return Err(DeltaError::Digest);
        }
        Ok(Bundle {
            database: to.database,
            name: to.name.clone(),
            epoch: self.epoch,
            revision: self.revision,
            digest: self.digest,
            by: self.by.clone(),
            sources,
            sets: self.sets.clone(),
        })
    }

    /// The sources afterwards, in order.
    fn sources(&self, before: &[BundleSource]) -> Result<Vec<BundleSource>, DeltaError> {
        let mut gone: BTreeSet<Uuid> = self.delete.iter().copied().collect();
        let mut put: BTreeMap<Uuid, &BundleSource> =
            self.put.iter().map(|source| (source.uuid, source)).collect();
        let mut sources = Vec::with_capacity(before.len() + put.len());
        for source in before {
            if gone.remove(&source.uuid) {
                continue;
            }
            sources.push(put.remove(&source.uuid).unwrap_or(source).clone());
        }
        if !gone.is_empty() {
            return Err(DeltaError::UnknownSource);
        }
        let new = self.put.iter().filter_map(|source| put.remove(&source.uuid).cloned());
        if self.put_first {
            let new: Vec<BundleSource> = new.collect();
            sources.splice(0..0, new);
        } else {
            sources.extend(new);
        }
        if sources.len() > MAX_SOURCES {
            return Err(DeltaError::TooLong);
        }
        let Some(order) = &self.order else {
            return Ok(sources);
        };
        let mut by_id: BTreeMap<Uuid, BundleSource> =
            sources.into_iter().map(|source| (source.uuid, source)).collect();
        let ordered: Option<Vec<BundleSource>> =
            order.iter().map(|uuid| by_id.remove(uuid)).collect();
        ordered.filter(|_| by_id.is_empty()).ok_or(DeltaError::UnknownSource)
    }
}
