//! The thread that writes the history, and the queue before it.
//!
//! An entry waits for the disk, and one about a refused plan for the kernel's list of
//! connections as well: neither may stop the loop.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::{
    mpsc::{self, Receiver, Sender},
    oneshot,
};

use super::{Entry, files, log::HistoryLog};
use crate::agent::connections::CutQuery;

/// Entries that may wait to be written: more than twice what a change of every source of every
/// database has.
const MAX_WAITING: usize = 16_384;

/// Time for which an answer waits until what it tells is in the history.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Pause between two log lines about lost entries.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// The writer of the history. Dropping it waits until everything is written.
pub(in crate::agent) struct History {
    queue: Option<Sender<Work>>,
    /// The other end of the queue, until the thread is started.
    idle: Option<(PathBuf, Receiver<Work>)>,
    thread: Option<JoinHandle<()>>,
    trouble: Arc<Mutex<Option<String>>>,
    errors: Arc<AtomicU64>,
    losses: Losses,
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
pub(super) struct Pending {
    pub(super) entry: Entry,
    /// The connections that its message is to count.
    pub(super) connections: Option<CutQuery>,
}

/// Entries that found no room in the queue.
#[derive(Debug, Default)]
struct Losses {
    /// Whether the last entries lost some of their number.
    now: bool,
    /// Entries that the log does not tell of yet.
    untold: u64,
    told_at: Option<Instant>,
}

impl History {
    /// A history in a state directory, which is not written yet.
    pub(in crate::agent) fn new(state_dir: &Path) -> Self {
        Self::with_room(state_dir, MAX_WAITING)
    }

    fn with_room(state_dir: &Path, entries: usize) -> Self {
        let (queue, waiting) = mpsc::channel(entries);
        Self {
            queue: Some(queue),
            idle: Some((state_dir.to_owned(), waiting)),
            thread: None,
            trouble: Arc::default(),
            errors: Arc::default(),
            losses: Losses::default(),
        }
    }

    /// Starts to write. A thread keeps the capabilities it is started with: this is for after
    /// they were dropped.
    pub(in crate::agent) fn start(&mut self) {
        let Some((state_dir, mut waiting)) = self.idle.take() else { return };
        let (trouble, errors) = (Arc::clone(&self.trouble), Arc::clone(&self.errors));
        self.thread = Some(std::thread::spawn(move || {
            files::rename_former(&state_dir);
            let mut log = HistoryLog::open(&state_dir);
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
                if let Ok(mut trouble) = trouble.lock() {
                    *trouble = error.map(|error| format!("the history cannot be written: {error}"));
                }
            }
        }));
    }

    /// Queues entries, and loses those for which there is no room.
    pub(super) fn queue(&mut self, entries: impl IntoIterator<Item = Pending>) {
        let Some(queue) = &self.queue else { return };
        let mut lost = 0;
        for pending in entries {
            // The queue is full; or the thread panicked, and has said so.
            lost += u64::from(queue.try_send(Work::Write(Box::new(pending))).is_err());
        }
        self.errors.fetch_add(lost, Ordering::Relaxed);
        self.losses.add(lost);
        if self.losses.told_at.is_none_or(|at| at.elapsed() >= TELL_AGAIN) {
            self.losses.tell();
        }
    }

    /// Waits until everything queued so far was written or could not be; at most two seconds.
    pub(in crate::agent) fn written(&self) -> impl Future<Output = ()> + Send + 'static {
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
    pub(in crate::agent) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// The error that kept the last entries from being written.
    pub(in crate::agent) fn trouble(&self) -> Option<String> {
        let lost = "the history is written too slowly: entries are lost";
        self.trouble.lock().ok()?.clone().or_else(|| self.losses.now.then(|| lost.to_owned()))
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.losses.tell();
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

impl Losses {
    fn add(&mut self, lost: u64) {
        self.now = lost > 0;
        self.untold += lost;
    }

    /// Logs what was lost since the last time.
    fn tell(&mut self) {
        if self.untold > 0 {
            tracing::error!(
                entries = self.untold,
                "the history is written too slowly: entries are lost"
            );
            self.untold = 0;
            self.told_at = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::agent::history::Kind;

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
    fn entries_wait_for_the_thread_and_are_written_in_order() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("audit.log"), "").unwrap();
        let mut history = History::new(directory.path());
        history.queue(entries(1..3));
        assert!(!directory.path().join("history.log").exists());
        history.start();
        history.queue(entries(3..5));
        drop(history);
        assert_eq!(written(&directory), [1, 2, 3, 4]);
        assert!(!directory.path().join("audit.log").exists(), "it was renamed");
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_until_there_is_room_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut history = History::with_room(directory.path(), 4);
        history.queue(entries(0..3));
        assert_eq!((history.errors(), history.trouble()), (0, None));
        history.queue(entries(3..6));
        assert_eq!(history.errors(), 2);
        assert!(history.trouble().unwrap().contains("too slowly"));
        assert_eq!(history.losses.untold, 0, "the first loss is logged at once");
        history.queue(entries(6..9));
        assert_eq!((history.errors(), history.losses.untold), (5, 3));

        history.start();
        while !written(&directory).contains(&3) {
            std::thread::yield_now();
        }
        history.queue(entries(9..10));
        assert_eq!((history.errors(), history.trouble()), (5, None));
        drop(history);
        assert_eq!(written(&directory), [0, 1, 2, 3, 9]);
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told_until_one_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("state");
        let mut history = History::new(&state_dir);
        history.start();
        history.queue(entries(0..2));
        while history.errors() < 2 {
            std::thread::yield_now();
        }
        while history.trouble().is_none() {
            std::thread::yield_now();
        }
        fs::create_dir(&state_dir).unwrap();
        history.queue(entries(2..3));
        while history.trouble().is_some() {
            std::thread::yield_now();
        }
        assert_eq!(history.errors(), 2);
    }

    #[test]
    fn a_thread_that_is_gone_loses_everything() {
        let directory = tempfile::tempdir().unwrap();
        let mut history = History::new(directory.path());
        history.idle = None;
        history.queue(entries(0..3));
        assert_eq!(history.errors(), 3);
    }
}
