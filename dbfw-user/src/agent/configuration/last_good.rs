//! The copy of the configuration that was last in force.

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    config::ConfigFile,
    state::{
        checked,
        files::{self, ReadError},
    },
};

const FORMAT: u32 = 1;

/// The files that were last in force, as `state_dir` keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastGood {
    /// The moment they were put in force.
    pub(super) in_force_since: Timestamp,
    /// The main file first.
    pub(super) files: Vec<ConfigFile>,
}

impl LastGood {
    /// Its file in a state directory.
    fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("config.json")
    }

    pub(super) fn load(state_dir: &Path) -> Result<Self, ReadError> {
        files::read(Self::path(state_dir), |content| checked::decode(FORMAT, content))
    }

    /// Writes it in place of the one before, for root alone.
    ///
    /// # Errors
    ///
    /// The system's reason; what was there before stays.
    pub(super) fn save(&self, state_dir: &Path) -> io::Result<()> {
        let bytes = checked::encode(FORMAT, self)?;
        files::replace(&Self::path(state_dir), &bytes, files::Readers::Owner)
    }
}
