//! Watching: the last commits, in memory.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::txn::{Batch, Revision, Write};

/// Commits that are kept for those who watch.
const KEPT: usize = 4096;

/// Bytes of these. The last is kept however large it is.
const MAX_BYTES: usize = 16 << 20;

/// The last commits, and the news that there are more.
#[derive(Debug)]
pub(super) struct Ring {
    batches: Mutex<Batches>,
    newest: watch::Sender<Revision>,
}

#[derive(Debug)]
struct Batches {
    kept: VecDeque<Arc<Batch>>,
    /// The size of all of them.
    bytes: usize,
    /// The last commit that is not kept.
    floor: Revision,
    /// The number of times that commits were missed.
    restarts: u64,
}

impl Ring {
    /// An empty one, at a store's last commit.
    pub(super) fn new(newest: Revision) -> Arc<Self> {
        let batches = Batches { kept: VecDeque::new(), bytes: 0, floor: newest, restarts: 0 };
        Arc::new(Self { batches: Mutex::new(batches), newest: watch::Sender::new(newest) })
    }

    /// Adds a commit.
    pub(super) fn push(&self, batch: Batch) {
        let revision = batch.revision;
        {
            let mut batches = self.lock();
            batches.bytes += size(&batch);
            batches.kept.push_back(Arc::new(batch));
            while (batches.kept.len() > KEPT || batches.bytes > MAX_BYTES)
                && batches.kept.len() > 1
                && let Some(oldest) = batches.kept.pop_front()
            {
                batches.bytes -= size(&oldest);
                batches.floor = oldest.revision;
            }
        }
        self.newest.send_replace(revision);
    }

    /// Begins anew after a revision: whoever watches has missed commits.
    #[cfg(feature = "etcd")]
    pub(super) fn restart(&self, newest: Revision) {
        {
            let mut batches = self.lock();
            let restarts = batches.restarts + 1;
            *batches = Batches { kept: VecDeque::new(), bytes: 0, floor: newest, restarts };
        }
        self.newest.send_replace(newest);
    }

    /// The number of times that it began anew.
    pub(super) fn restarts(&self) -> u64 {
        self.lock().restarts
    }

    /// Watches what is written below a prefix after a revision.
    pub(super) fn watch(self: &Arc<Self>, prefix: &str, after: Revision) -> Watch {
        let (ring, news) = (Arc::clone(self), self.newest.subscribe());
        let restarts = self.restarts();
        Watch { ring, news, prefix: prefix.to_owned(), after, restarts }
    }

    fn lock(&self) -> MutexGuard<'_, Batches> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next commit after a revision.
    fn next(&self, after: Revision, restarts: u64) -> Next {
        let batches = self.lock();
        if after < batches.floor || batches.restarts != restarts {
            return Next::Forgotten;
        }
        let at = batches.kept.partition_point(|batch| batch.revision <= after);
        batches.kept.get(at).map_or(Next::None, |batch| Next::Batch(Arc::clone(batch)))
    }
}

/// Bytes of the keys and values of a commit.
fn size(batch: &Batch) -> usize {
    batch.writes.iter().map(Write::size).sum()
}

enum Next {
    Batch(Arc<Batch>),
    None,
    Forgotten,
}

/// An event that a watch saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A commit.
    Batch(Batch),
    /// Commits were missed: list again, and watch from there.
    Resync,
}

/// The commits that write below a prefix. One that is slow costs nobody else anything.
#[derive(Debug)]
pub struct Watch {
    ring: Arc<Ring>,
    news: watch::Receiver<Revision>,
    prefix: String,
    after: Revision,
    /// Those of the ring when this began.
    restarts: u64,
}

impl Watch {
    /// The next event; waits until there is one. `None` once the store is closed.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            self.news.borrow_and_update();
            match self.ring.next(self.after, self.restarts) {
                Next::Forgotten => return Some(Event::Resync),
                Next::Batch(batch) => {
                    self.after = batch.revision;
                    let is_below = |write: &&Write| write.key().starts_with(&self.prefix);
                    let writes: Vec<Write> =
                        batch.writes.iter().filter(is_below).cloned().collect();
                    if !writes.is_empty() {
                        return Some(Event::Batch(Batch { revision: batch.revision, writes }));
                    }
                }
                Next::None => self.news.changed().await.ok()?,
            }
        }
    }
}
