//! Keeps the refused sources over restarts, for `dbfw suggest`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{files, state::Agent};
use crate::observe::refused::RefusedSources;

/// How often they are written, if there are new ones.
const EVERY: Duration = Duration::from_secs(60);

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("refused.json")
}

/// What an earlier run saw. A file that cannot be used is set aside: it decides nothing.
pub(super) fn load(state_dir: &Path) -> RefusedSources {
    let path = path(state_dir);
    let Ok(text) = fs::read(&path) else { return RefusedSources::default() };
    RefusedSources::from_json(&text).unwrap_or_else(|error| {
        tracing::warn!("{} cannot be used and is set aside: {error}", path.display());
        let _ = files::set_aside(&path);
        RefusedSources::default()
    })
}

impl Agent {
    /// Writes them every now and then.
    pub(super) fn keep_refused_sources(&mut self) {
        if self.refused_saved_at.elapsed() >= EVERY {
            self.refused_saved_at = std::time::Instant::now();
            self.save_refused_sources();
        }
    }

    /// Writes them if there are new ones.
    pub(super) fn save_refused_sources(&mut self) {
        if !self.refused_sources.dirty() {
            return;
        }
        let path = path(&self.config.agent.state_dir);
        let written = self
            .refused_sources
            .to_json()
            .map_err(std::io::Error::other)
            .and_then(|text| files::replace(&path, text.as_slice(), files::Readers::Group));
        match written {
            Ok(()) => self.refused_sources.clean(),
            Err(error) => {
                tracing::warn!(%error, "cannot keep the refused sources: a restart would forget them");
            }
        }
    }
}
