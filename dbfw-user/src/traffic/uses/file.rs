//! The file that keeps the use of sources over a restart and a reboot.

use std::io;

use serde::{Deserialize, Serialize};

use super::{CAPACITY, SourceUses, Use, UsedSource};
use crate::state::checked;

const FORMAT: u32 = 1;

/// Sources read at most: as many as have slots, and as many that are not in force.
const MAX_SOURCES: usize = 2 * CAPACITY;

#[derive(Serialize, Deserialize)]
struct Body {
    sources: Vec<Source>,
}

#[derive(Serialize, Deserialize)]
struct Source {
    #[serde(flatten)]
    key: UsedSource,
    #[serde(flatten)]
    known: Use,
}

impl SourceUses {
    /// Name of the file in a state directory.
    pub const FILE: &str = "uses.json";

    /// All of it, for a file.
    ///
    /// # Errors
    ///
    /// It has no form as JSON.
    pub fn to_json(&self) -> io::Result<Vec<u8>> {
        let sources = self.uses.iter();
        let sources = sources.map(|(key, known)| Source { key: key.clone(), known: *known });
        checked::encode(FORMAT, &Body { sources: sources.collect() })
    }

    /// Reads a text of [`SourceUses::to_json`].
    ///
    /// # Errors
    ///
    /// The reason why the text cannot be used, in words.
    pub fn from_json(text: &[u8]) -> Result<Self, String> {
        let body: Body = checked::decode(FORMAT, text)?;
        let sources = body.sources.into_iter().take(MAX_SOURCES);
        Ok(Self { uses: sources.map(|one| (one.key, one.known)).collect(), dirty: false })
    }
}
