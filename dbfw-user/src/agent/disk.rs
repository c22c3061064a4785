//! The files on disk (the snapshot, the configuration and the refused sources), written beside the
//! loop.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::anyhow;

use super::{configuration::Unsaved, process};
use crate::{
    lasting::LastingProblems,
    state::{
        files::{self, ReadError, Write},
        snapshot::Snapshot,
    },
    traffic::refused::RefusedSources,
};

/// Time between two snapshots that differ only in when answers were confirmed: an age that is
/// read back after a restart is wrong by no more.
const CONFIRMED_EVERY: Duration = Duration::from_secs(300);

/// Time between two writes of the refused sources.
const REFUSED_EVERY: Duration = Duration::from_secs(60);

/// Reads the refused sources of an earlier run. A file that cannot be used is set aside: it
/// decides nothing.
pub(super) fn load_refused(state_dir: &Path) -> RefusedSources {
    match files::read(refused_path(state_dir), RefusedSources::from_json) {
        Ok(refused) => return refused,
        Err(ReadError::Missing(_)) => {}
        Err(error) => {
            let problem = error.set_aside();
            tracing::warn!("{problem}");
        }
    }
    RefusedSources::default()
}

fn refused_path(state_dir: &Path) -> PathBuf {
    state_dir.join("refused.json")
}

/// The files that the agent keeps for its next run, and the problems with them.
#[derive(Debug)]
pub(super) struct Disk {
    /// The policy in force is not in the snapshot yet.
    changed: bool,
    /// Answers were confirmed since the last snapshot.
    confirmed: bool,
    /// The time at which the last snapshot was begun.
    snapshot_begun: Instant,
    snapshot: Write,
    /// The error of the last snapshot.
    snapshot_error: Option<String>,
    configuration: Write,
    /// The error of the last copy of the configuration.
    configuration_error: Option<String>,
    /// The note that the copy of the configuration is not of the one in force.
    note: Write,
    refused_begun: Instant,
    refused: Write,
    /// Writes that fail, as they were logged.
    lasting: LastingProblems,
    /// Problems that last until a restart.
    problems: Vec<String>,
}

/// A write that has ended.
#[derive(Debug)]
pub(super) enum Written {
    /// The snapshot's.
    Snapshot(anyhow::Result<()>),
    /// The configuration's.
    Configuration(anyhow::Result<()>),
    /// The note's that the configuration on disk is not the one in force.
    Note,
    /// The refused sources'.
    Refused(anyhow::Result<()>),
}

impl Disk {
    /// Nothing is written yet, and nothing has to be.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            changed: false,
            confirmed: false,
            snapshot_begun: now,
            snapshot: Write::default(),
            snapshot_error: None,
            configuration: Write::default(),
            configuration_error: None,
            note: Write::default(),
            refused_begun: now,
            refused: Write::default(),
            lasting: LastingProblems::default(),
            problems: Vec::new(),
        }
    }

    /// Logs a problem that lasts until a restart, and keeps it for the status.
    pub(super) fn add_problem(&mut self, problem: String) {
        tracing::error!("{problem}");
        self.problems.push(problem);
    }

    /// The problems, for the status.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let errors = self.snapshot_error.iter().chain(&self.configuration_error);
        errors.chain(&self.problems).cloned()
    }

    /// Notes that the policy in force is another than the snapshot's.
    pub(super) fn policy_changed(&mut self) {
        self.changed = true;
    }

    /// Notes that answers were confirmed.
    pub(super) fn answers_confirmed(&mut self) {
        self.confirmed = true;
    }

    /// Whether a snapshot is being written.
    pub(super) fn is_saving(&self) -> bool {
        self.snapshot.is_under_way()
    }

    /// Whether a copy of the configuration is being written, or what it has to tell.
    pub(super) fn is_saving_configuration(&self) -> bool {
        self.configuration.is_under_way() || self.note.is_under_way()
    }

    /// Whether anything is being written.
    pub(super) fn is_writing(&self) -> bool {
        self.is_saving() || self.is_saving_configuration() || self.refused.is_under_way()
    }

    /// Whether the last snapshot failed.
    pub(super) fn save_failed(&self) -> bool {
        self.snapshot_error.is_some()
    }

    /// Whether the last copy of the configuration failed.
    pub(super) fn configuration_failed(&self) -> bool {
        self.configuration_error.is_some()
    }

    /// Whether there is something new for a snapshot.
    pub(super) fn is_save_due(&self) -> bool {
        self.changed || (self.confirmed && self.snapshot_begun.elapsed() >= CONFIRMED_EVERY)
    }

    /// Begins to write a snapshot.
    pub(super) fn begin_save(&mut self, state_dir: &Path, snapshot: Snapshot) {
        (self.changed, self.confirmed) = (false, false);
        self.snapshot_begun = Instant::now();
        let state_dir = state_dir.to_owned();
        self.snapshot.begin(move || {
            snapshot.save(&state_dir).map_err(|error| {
                let path = Snapshot::path(&state_dir);
                anyhow!("cannot write the snapshot: {error:#} ({})", path.display())
            })
        });
    }

    /// Begins to write the configuration, whatever becomes of the snapshot: a start uses each
    /// without the other.
    pub(super) fn begin_save_configuration(&mut self, state_dir: &Path, unsaved: Unsaved) {
        let state_dir = state_dir.to_owned();
        self.configuration.begin(move || unsaved.save(&state_dir));
    }

    /// Begins to note that the configuration on disk is not the one in force.
    pub(super) fn begin_note(&mut self, state_dir: &Path, unsaved: Unsaved) {
        let state_dir = state_dir.to_owned();
        self.note.begin(move || {
            unsaved.note(&state_dir);
            Ok(())
        });
    }

    /// Waits until a write has ended, for ever if none is under way. Can be cancelled at any time.
    pub(super) async fn written(&mut self) -> Written {
        tokio::select! {
            result = self.snapshot.done() => Written::Snapshot(result),
            result = self.configuration.done() => Written::Configuration(result),
            _ = self.note.done() => Written::Note,
            result = self.refused.done() => Written::Refused(result),
        }
    }

    /// Notes whether the configuration was written. Returns whether it was.
    pub(super) fn configuration_saved(&mut self, result: anyhow::Result<()>) -> bool {
        self.configuration_error = result.err().map(|error| format!("{error:#}"));
        self.lasting.follow(
            "the configuration in force is not on disk",
            self.configuration_error.as_ref().map_or(Ok(()), Err),
        );
        self.configuration_error.is_none()
    }

    /// Notes whether the snapshot was written.
    pub(super) fn saved(&mut self, result: anyhow::Result<()>) {
        process::trim_memory();
        self.snapshot_error = result.err().map(|error| format!("{error:#}"));
        self.lasting.follow(
            "the policy is in force, but a restart would not know it",
            self.snapshot_error.as_ref().map_or(Ok(()), Err),
        );
        self.changed |= self.snapshot_error.is_some();
    }

    /// Begins to write the refused sources if there are new ones and it is time.
    pub(super) fn save_refused(&mut self, state_dir: &Path, refused: &mut RefusedSources) {
        if self.refused_begun.elapsed() >= REFUSED_EVERY {
            self.refused_begun = Instant::now();
            self.begin_save_refused(state_dir, refused);
        }
    }

    /// Begins to write the refused sources, unless a write is under way or there are no new ones.
    pub(super) fn begin_save_refused(&mut self, state_dir: &Path, refused: &mut RefusedSources) {
        if self.refused.is_under_way() || !refused.dirty() {
            return;
        }
        let path = refused_path(state_dir);
        let text = refused.to_json();
        refused.clean();
        self.refused.begin(move || Ok(files::replace(&path, &text?, files::Readers::Group)?));
    }

    /// Notes whether the refused sources were written.
    pub(super) fn refused_saved(
        &mut self,
        result: anyhow::Result<()>,
        refused: &mut RefusedSources,
    ) {
        if result.is_err() {
            refused.not_saved();
        }
        self.lasting.follow(
            "a restart would forget the refused sources of today",
            result.map_err(|error| format!("{error:#}")),
        );
    }
}

#[cfg(test)]
mod tests;
