//! The file that keeps refused sources over a restart, as JSON.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CAPACITY, MAX_PORTS, Refusals, RefusedSource, RefusedSources};

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    sources: Vec<Source>,
    /// The databases that are not configured any more, with the moment they went.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    away: BTreeMap<Arc<str>, Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct Source {
    #[serde(flatten)]
    key: RefusedSource,
    #[serde(flatten)]
    seen: Refusals,
}

impl RefusedSources {
    /// All of it, for a file.
    ///
    /// # Errors
    ///
    /// The sources have no form as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let sources = self.seen.iter();
        let sources = sources.map(|(key, seen)| Source { key: key.clone(), seen: seen.clone() });
        let (sources, away) = (sources.collect(), self.away.clone());
        serde_json::to_vec(&File { format: FORMAT, sources, away })
    }

    /// Reads a text of [`RefusedSources::to_json`].
    ///
    /// # Errors
    ///
    /// The text is of another version, or no such document: the message.
    pub fn from_json(text: &[u8]) -> Result<Self, String> {
        let file: File = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if file.format != FORMAT {
            return Err(format!("it has format {}, this version reads {FORMAT}", file.format));
        }
        let mut read = Self::default();
        for Source { key, mut seen } in file.sources.into_iter().take(CAPACITY) {
            if key.source != key.source.to_canonical() || read.seen.contains_key(&key) {
                continue;
            }
            seen.first_seen = seen.first_seen.min(seen.last_seen);
            // An older version counted these only as they lose worth.
            seen.active_minutes = seen.active_minutes.max(seen.minutes);
            seen.ports = seen.ports.into_iter().filter(|port| *port != 0).take(MAX_PORTS).collect();
            read.keep(key, seen);
        }
        read.away = file.away;
        read.away.retain(|name, _| read.seen.keys().any(|key| key.database == *name));
        Ok(read)
    }
}
