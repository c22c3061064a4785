//! The history: a record of every change of who may connect, and of who asked for it.
//!
//! A thread writes it: an entry waits for the disk, and one about a refused plan for the kernel's
//! list of connections as well. Neither may stop the loop.

mod entries;
mod files;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

pub(super) use dbfw_wire::control::{HistoryEntry as Entry, HistoryKind as Kind};
use tokio::sync::{
    mpsc::{self, Receiver, Sender},
    oneshot,
};

use self::files::HistoryLog;
use super::{connections::CutQuery, process};
use crate::lasting::LastingProblems;

pub(super) use self::entries::lets_in;
pub(crate) use self::files::{HistoryFiles, append, path};

/// Entries that may wait to be written: more than twice what a change of every source of every
/// database has.
const MAX_WAITING: usize = 16_384;

/// Time for which an answer waits until what it tells is in the history.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The problem while entries are made and cannot be written.
const UNWRITTEN: &str = "the history cannot be written";

/// The problem while entries find no room in the queue.
const TOO_SLOW: &str = "the history is written too slowly: entries are lost";

/// The writer of the history. Dropping it waits until everything is written.
pub(super) struct History {
    queue: Option<Sender<Work>>,
    thread: Option<JoinHandle<()>>,
    error: Arc<Mutex<Option<String>>>,
    errors: Arc<AtomicU64>,
    /// Whether the last entries found no room in the queue.
    is_losing: bool,
}

/// The work of the thread, in its order.
#[derive(Debug)]
enum Work {
    Write(Box<Pending>),
    /// Tells that everything before it was written, or could not be.
    Tell(oneshot::Sender<()>),
}

/// An entry that waits to be written.
#[derive(Debug)]
struct Pending {
    entry: Entry,
    /// The connections that its message is to count.
    connections: Option<CutQuery>,
}

impl History {
    /// Starts to write the history of a state directory.
    pub(super) fn new(state_dir: &Path) -> Self {
        let (mut history, waiting) = Self::with_room(MAX_WAITING);
        history.start(state_dir.to_owned(), waiting);
        history
    }

    /// A history without a thread, and its queue, which has room for so many entries.
    fn with_room(entries: usize) -> (Self, Receiver<Work>) {
        let (queue, waiting) = mpsc::channel(entries);
        let history = Self {
            queue: Some(queue),
            thread: None,
            error: Arc::default(),
            errors: Arc::default(),
            is_losing: false,
        };
        (history, waiting)
    }

    fn start(&mut self, state_dir: PathBuf, mut waiting: Receiver<Work>) {
        let (last_error, errors) = (Arc::clone(&self.error), Arc::clone(&self.errors));
        self.thread = Some(std::thread::spawn(move || {
            process::drop_capabilities();
            files::rename_former(&state_dir);
            let mut log = HistoryLog::open(&state_dir);
            let mut lasting = LastingProblems::default();
            while let Some(work) = waiting.blocking_recv() {
                let pending = match work {
                    Work::Write(pending) => pending,
                    Work::Tell(told) => {
                        // Fails only if nobody waits any more.
                        let _ = told.send(());
                        continue;
                    }
                };
                let error = log.append(&pending.complete()).err();
                if error.is_some() {
                    errors.fetch_add(1, Ordering::Relaxed);
                }
                lasting.follow(UNWRITTEN, error.as_ref().map_or(Ok(()), Err));
                if let Ok(mut last) = last_error.lock() {
                    *last = error.map(|error| format!("{UNWRITTEN}: {error}"));
                }
            }
        }));
    }

    /// Queues entries, and loses those for which there is no room.
    fn queue(&mut self, entries: impl IntoIterator<Item = Pending>) {
        let Some(queue) = &self.queue else { return };
        let (mut queued, mut lost) = (0, 0);
        for pending in entries {
            queued += 1;
            // The queue is full; or the thread panicked, and has said so.
            lost += u64::from(queue.try_send(Work::Write(Box::new(pending))).is_err());
        }
        self.errors.fetch_add(lost, Ordering::Relaxed);
        match (lost > 0, self.is_losing) {
            (true, false) => tracing::error!(entries = lost, "{TOO_SLOW}"),
            (false, true) if queued > 0 => tracing::info!("resolved: {TOO_SLOW}"),
            _ => {}
        }
        if queued > 0 {
            self.is_losing = lost > 0;
        }
    }

    /// Waits until everything queued so far was written or could not be; at most two seconds.
    pub(super) fn written(&self) -> impl Future<Output = ()> + Send + 'static {
        let (tell, told) = oneshot::channel();
        let queued =
            self.queue.as_ref().is_some_and(|queue| queue.try_send(Work::Tell(tell)).is_ok());
        async move {
            if queued {
                let _ = tokio::time::timeout(MAX_WAIT, told).await;
            }
        }
    }

    /// Entries that are not in the file.
    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// The error that kept the last entries from being written.
    pub(super) fn error(&self) -> Option<String> {
        let error = self.error.lock().ok()?.clone();
        error.or_else(|| self.is_losing.then(|| TOO_SLOW.to_owned()))
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Pending {
    /// The entry as it is written. Lists the connections, which takes its time.
    fn complete(self) -> Entry {
        let mut entry = self.entry;
        // Without the number the entry is still true.
        let cut = self.connections.and_then(|query| query.run().ok()).map_or(0, |cut| cut.len());
        if cut > 0 {
            // Writing to a string cannot fail.
            let _ = write!(entry.message.get_or_insert_default(), " ({cut} live connections)");
        }
        entry
    }
}

impl From<Entry> for Pending {
    fn from(entry: Entry) -> Self {
        Self { entry, connections: None }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn entries(generations: std::ops::Range<u64>) -> impl Iterator<Item = Pending> {
        let at = "2026-03-01T12:00:00Z".parse().unwrap();
        generations.map(move |generation| {
            Entry { time: at, kind: Kind::Applied, generation, ..Entry::default() }.into()
        })
    }

    /// The generations in the file of a directory.
    fn written(directory: &tempfile::TempDir) -> Vec<u64> {
        let text = fs::read_to_string(directory.path().join("history.log")).unwrap_or_default();
        let entry = |line: &str| serde_json::from_str::<Entry>(line).unwrap().generation;
        text.lines().map(entry).collect()
    }

    #[test]
    fn entries_are_written_in_order_after_those_of_an_earlier_version() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("audit.log"), "").unwrap();
        let mut history = History::new(directory.path());
        history.queue(entries(1..3));
        history.queue(entries(3..5));
        drop(history);
        assert_eq!(written(&directory), [1, 2, 3, 4]);
        assert!(!directory.path().join("audit.log").exists(), "it was renamed");
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_until_there_is_room_again() {
        let directory = tempfile::tempdir().unwrap();
        let (mut history, waiting) = History::with_room(4);
        history.queue(entries(0..3));
        assert_eq!((history.errors(), history.error()), (0, None));
        history.queue(entries(3..6));
        assert_eq!(history.errors(), 2);
        assert!(history.error().unwrap().contains("too slowly"));
        history.queue(entries(6..9));
        assert_eq!(history.errors(), 5);
        history.queue(entries(9..9));
        assert!(history.error().is_some(), "no entry has found room");

        history.start(directory.path().to_owned(), waiting);
        while !written(&directory).contains(&3) {
            std::thread::yield_now();
        }
        history.queue(entries(9..10));
        assert_eq!((history.errors(), history.error()), (5, None));
        drop(history);
        assert_eq!(written(&directory), [0, 1, 2, 3, 9]);
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told_until_one_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("state");
        let mut history = History::new(&state_dir);
        history.queue(entries(0..2));
        while history.errors() < 2 {
            std::thread::yield_now();
        }
        while history.error().is_none() {
            std::thread::yield_now();
        }
        fs::create_dir(&state_dir).unwrap();
        history.queue(entries(2..3));
        while history.error().is_some() {
            std::thread::yield_now();
        }
        assert_eq!(history.errors(), 2);
    }

    #[test]
    fn a_thread_that_is_gone_loses_everything() {
        let (mut history, waiting) = History::with_room(4);
        drop(waiting);
        history.queue(entries(0..3));
        assert_eq!(history.errors(), 3);
    }
}
