//! The file of the refused sources.

use std::{collections::BTreeSet, net::IpAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CAPACITY, Key, MAX_PORTS, RefusedSources, Seen};

const FORMAT: u32 = 1;

/// Reason why a text is not one of [`RefusedSources::to_json`].
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It is of another version.
    #[error("it has format {found}, this version reads {FORMAT}")]
    Version {
        /// Its format.
        found: u32,
    },
    /// It is no such document.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Version {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    sources: Vec<Source>,
}

#[derive(Serialize, Deserialize)]
struct Source {
    database: String,
    source: IpAddr,
    first_seen: Timestamp,
    last_seen: Timestamp,
    packets: u64,
    minutes: u32,
    ports: BTreeSet<u16>,
}

impl RefusedSources {
    /// All of it, for a file.
    ///
    /// # Errors
    ///
    /// The sources have no form as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut sources: Vec<Source> = self
            .seen
            .iter()
            .filter_map(|(key, seen)| {
                Some(Source {
                    database: self.databases.get(usize::from(key.database))?.clone(),
                    source: key.source,
                    first_seen: seen.first,
                    last_seen: seen.last,
                    packets: seen.packets,
                    minutes: seen.minutes,
                    ports: seen.ports.clone(),
                })
            })
            .collect();
        sources.sort_unstable_by(|a, b| (&a.database, a.source).cmp(&(&b.database, b.source)));
        serde_json::to_vec(&File { format: FORMAT, sources })
    }

    /// Reads a text of [`RefusedSources::to_json`].
    ///
    /// # Errors
    ///
    /// The text is of another version, or no such document.
    pub fn from_json(text: &[u8]) -> Result<Self, FormatError> {
        let Version { format } = serde_json::from_slice(text)?;
        if format != FORMAT {
            return Err(FormatError::Version { found: format });
        }
        let file: File = serde_json::from_slice(text)?;
        let mut read = Self::default();
        for source in file.sources.into_iter().take(CAPACITY) {
            let key = Key { database: read.database(&source.database), source: source.source };
            if source.source != source.source.to_canonical() || read.seen.contains_key(&key) {
                continue;
            }
            let seen = Seen {
                first: source.first_seen.min(source.last_seen),
                last: source.last_seen,
                packets: source.packets,
                minutes: source.minutes,
                ports: source.ports.into_iter().filter(|port| *port != 0).take(MAX_PORTS).collect(),
            };
            read.keep(key, seen);
        }
        Ok(read)
    }
}
