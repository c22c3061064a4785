//! The file that keeps refused sources over a restart, as JSON.

use serde::{Deserialize, Serialize};

use super::{CAPACITY, MAX_PORTS, RefusedSource, RefusedSources, Seen};

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
    #[serde(flatten)]
    key: RefusedSource,
    #[serde(flatten)]
    seen: Seen,
}

impl RefusedSources {
    /// All of it, for a file.
    ///
    /// # Errors
    ///
    /// The sources have no form as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let sources = self.all().map(|(key, seen)| Source { key: key.clone(), seen: seen.clone() });
        serde_json::to_vec(&File { format: FORMAT, sources: sources.collect() })
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
        for Source { key, mut seen } in file.sources.into_iter().take(CAPACITY) {
            if key.source != key.source.to_canonical() || read.seen.contains_key(&key) {
                continue;
            }
            seen.first_seen = seen.first_seen.min(seen.last_seen);
            seen.ports = seen.ports.into_iter().filter(|port| *port != 0).take(MAX_PORTS).collect();
            read.keep(key, seen);
        }
        Ok(read)
    }
}
