//! Keeps the refused sources over restarts, for `dbfw suggest`.

use std::{
    fs,
    future::pending,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::task::JoinHandle;

use super::state::Agent;
use crate::{state::files, traffic::refused::RefusedSources};

/// Time between two writings, if there are new ones.
const EVERY: Duration = Duration::from_secs(60);

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("refused.json")
}

/// Reads the sources that an earlier run saw. A file that cannot be used is set aside: it decides
/// nothing.
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
    /// Begins to write them every now and then.
    pub(super) fn keep_refused_sources(&mut self) {
        if self.refused_saved_at.elapsed() >= EVERY {
            self.refused_saved_at = std::time::Instant::now();
            self.begin_saving_refused();
        }
    }

    /// Begins to write them if there are new ones, unless that is under way already.
    fn begin_saving_refused(&mut self) {
        if self.saving_refused.is_some() || !self.refused_sources.dirty() {
            return;
        }
        let path = path(&self.config.agent.state_dir);
        let text = self.refused_sources.to_json().map_err(io::Error::other);
        self.refused_sources.clean();
        self.saving_refused = Some(tokio::task::spawn_blocking(move || {
            files::replace(&path, &text?, files::Readers::Group)
        }));
    }

    /// Takes note of whether they were written.
    pub(super) fn refused_saved(&mut self, result: io::Result<()>) {
        self.saving_refused = None;
        if let Err(error) = result {
            self.refused_sources.not_saved();
            tracing::warn!(%error, "cannot keep the refused sources: a restart would forget them");
        }
    }

    /// Leaves them on disk.
    pub(super) async fn finish_saving_refused(&mut self) {
        if self.saving_refused.is_some() {
            let result = saved(self.saving_refused.as_mut()).await;
            self.refused_saved(result);
        }
        self.begin_saving_refused();
        if self.saving_refused.is_some() {
            let result = saved(self.saving_refused.as_mut()).await;
            self.refused_saved(result);
        }
    }
}

/// Waits until they are written, for ever if they are not being written.
pub(super) async fn saved(saving: Option<&mut JoinHandle<io::Result<()>>>) -> io::Result<()> {
    match saving {
        Some(saving) => saving.await.unwrap_or_else(|error| Err(io::Error::other(error))),
        None => pending().await,
    }
}
