//! The thread that writes the history: a slow disk must not stop the loop.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};

use super::{Entry, files, log::HistoryLog};

/// The writer of the history.
pub(in crate::agent) struct History {
    sender: Option<Sender<Vec<Entry>>>,
    /// Until the writer is started.
    waiting: Option<(PathBuf, Receiver<Vec<Entry>>)>,
    writer: Option<JoinHandle<()>>,
    trouble: Arc<Mutex<Option<String>>>,
    errors: Arc<AtomicU64>,
}

impl History {
    /// Collects entries for the history in a state directory.
    pub(in crate::agent) fn new(state_dir: &Path) -> Self {
        let (sender, entries) = channel();
        Self {
            sender: Some(sender),
            waiting: Some((state_dir.to_owned(), entries)),
            writer: None,
            trouble: Arc::default(),
            errors: Arc::default(),
        }
    }

    /// Starts to write. A thread keeps the capabilities it is started with: this is for after
    /// they were dropped.
    pub(in crate::agent) fn start(&mut self) {
        let Some((state_dir, entries)) = self.waiting.take() else { return };
        let (trouble, errors) = (Arc::clone(&self.trouble), Arc::clone(&self.errors));
        self.writer = Some(std::thread::spawn(move || {
            files::rename_former(&state_dir);
            let mut log = HistoryLog::open(&state_dir);
            for batch in entries {
                let mut failed = None;
                for entry in &batch {
                    if let Err(error) = log.append(entry) {
                        errors.fetch_add(1, Ordering::Relaxed);
                        failed = Some(error);
                    }
                }
                if let Ok(mut trouble) = trouble.lock() {
                    *trouble =
                        failed.map(|error| format!("the history cannot be written: {error}"));
                }
            }
        }));
    }

    /// Queues entries.
    pub(super) fn write(&self, entries: Vec<Entry>) {
        if let Some(sender) = self.sender.as_ref().filter(|_| !entries.is_empty()) {
            // Fails only if the writer panicked; its thread has said so.
            let _ = sender.send(entries);
        }
    }

    /// Entries that could not be written.
    pub(in crate::agent) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Why the last entries were not written.
    pub(in crate::agent) fn trouble(&self) -> Option<String> {
        self.trouble.lock().ok()?.clone()
    }
}

impl Drop for History {
    /// Waits until everything is written.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}
