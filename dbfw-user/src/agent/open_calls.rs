//! Calls over the control socket that are answered beside the loop, or later.

use std::{collections::VecDeque, sync::Arc};

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::control::server::Call;

/// Dumps of the maps at once: each holds a thread for as long as its client reads.
pub(super) const MAX_DUMPS: usize = 4;

/// A change by hand that a caller asks for.
#[derive(Debug)]
pub(super) enum Change {
    /// `dbfw trust add`.
    Add { database: String, source: String, expires_at: Option<Timestamp>, why: Option<String> },
    /// `dbfw trust rm`.
    Remove { database: String, source: String },
}

/// The calls that are open.
#[derive(Debug)]
pub(super) struct OpenCalls {
    /// One permit for every dump of the maps under way.
    dumps: Arc<Semaphore>,
    /// One permit: connections are listed for one caller at a time.
    listing: Arc<Semaphore>,
    /// The call whose change by hand is being written.
    changing: Option<Call>,
    /// Changes by hand behind it: each is on disk before the next begins.
    waiting: VecDeque<(Call, Change)>,
}

impl OpenCalls {
    /// No calls.
    pub(super) fn new() -> Self {
        Self {
            dumps: Arc::new(Semaphore::new(MAX_DUMPS)),
            listing: Arc::new(Semaphore::new(1)),
            changing: None,
            waiting: VecDeque::new(),
        }
    }

    /// A permit for one more dump of the maps; `None`: [`MAX_DUMPS`] are under way.
    pub(super) fn begin_dump(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.dumps).try_acquire_owned().ok()
    }

    /// The permits to list connections.
    pub(super) fn listing(&self) -> Arc<Semaphore> {
        Arc::clone(&self.listing)
    }

    /// Queues a change by hand behind the one that is being written.
    pub(super) fn queue(&mut self, call: Call, change: Change) {
        self.waiting.push_back((call, change));
    }

    /// The change by hand that is next.
    pub(super) fn next(&mut self) -> Option<(Call, Change)> {
        self.waiting.pop_front()
    }

    /// Keeps the call whose change is being written, to answer it.
    pub(super) fn begin_change(&mut self, call: Call) {
        self.changing = Some(call);
    }

    /// The call whose change was written.
    pub(super) fn end_change(&mut self) -> Option<Call> {
        self.changing.take()
    }
}
