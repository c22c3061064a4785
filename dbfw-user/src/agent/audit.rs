//! [`AuditReader`]: the audit that `dbfw audit --save` wrote, read beside the loop.

use std::{
    future::pending,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::{JoinHandle, spawn_blocking};

use crate::state::{
    audit::{self, SavedAudit, Version},
    files::ReadError,
};

/// Time between two looks for another file.
const EVERY: Duration = Duration::from_secs(10);

/// The audit that was saved last, and the look for a later one that is under way.
#[derive(Debug, Default)]
pub(super) struct AuditReader {
    saved: Option<Arc<SavedAudit>>,
    /// Files that could not be used.
    errors: u64,
    /// The file that was read last.
    version: Option<Version>,
    begun: Option<Instant>,
    looking: Option<JoinHandle<AuditLook>>,
}

/// The result of a look.
#[derive(Debug)]
pub(super) enum AuditLook {
    /// It is the file that was read last.
    Same,
    /// There is none.
    Missing,
    /// There is another.
    Read(Option<Version>, Result<SavedAudit, ReadError>),
    /// The thread ended early.
    Failed(io::Error),
}

impl AuditReader {
    /// The audit that was saved last.
    pub(super) fn saved(&self) -> Option<&Arc<SavedAudit>> {
        self.saved.as_ref()
    }

    /// The number of files that could not be used.
    pub(super) fn errors(&self) -> u64 {
        self.errors
    }

    /// Begins to look for another file if it is time.
    pub(super) fn begin_look(&mut self, state_dir: &Path) {
        if self.looking.is_some() || self.begun.is_some_and(|begun| begun.elapsed() < EVERY) {
            return;
        }
        self.begun = Some(Instant::now());
        let (state_dir, known) = (state_dir.to_owned(), self.version);
        self.looking = Some(spawn_blocking(move || {
            let version = Version::read(&state_dir);
            if version.is_some() && version == known {
                return AuditLook::Same;
            }
            match audit::load(&state_dir) {
                Err(ReadError::Missing(_)) => AuditLook::Missing,
                read => AuditLook::Read(version, read),
            }
        }));
    }

    /// Waits until a look has ended, for ever if none is under way. Can be cancelled at any time.
    pub(super) async fn looked(&mut self) -> AuditLook {
        let Some(looking) = &mut self.looking else { return pending().await };
        let look = looking.await.unwrap_or_else(|error| AuditLook::Failed(io::Error::other(error)));
        self.looking = None;
        look
    }

    /// Takes in a look. A file that cannot be used is told and counted, and changes nothing else.
    pub(super) fn take(&mut self, look: AuditLook) {
        match look {
            AuditLook::Same => {}
            AuditLook::Missing => (self.saved, self.version) = (None, None),
            AuditLook::Read(version, Ok(saved)) => {
                self.version = version;
                self.saved = Some(Arc::new(saved));
            }
            AuditLook::Read(version, Err(error)) => {
                self.version = version;
                self.errors += 1;
                tracing::warn!("{error}; the audit before it stays: dbfw audit --save writes anew");
            }
            AuditLook::Failed(error) => {
                self.errors += 1;
                tracing::warn!(%error, "the saved audit cannot be read");
            }
        }
    }
}
