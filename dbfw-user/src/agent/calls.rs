//! Calls over the control socket that are not answered yet.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::Semaphore;

use crate::control::server::Call;

/// Dumps of the maps at once: each holds a thread for as long as its client reads.
pub(super) const MAX_DUMPS: usize = 4;

/// The calls that are answered beside the loop, or later.
#[derive(Debug)]
pub(super) struct OpenCalls {
    /// One permit for every dump of the maps under way.
    pub(super) dumps: Arc<Semaphore>,
    /// One permit: connections are listed for one caller at a time.
    pub(super) listing: Arc<Semaphore>,
    /// Changes by hand: each is on disk before the next begins, and answered then.
    pub(super) changes: VecDeque<Call>,
}

impl OpenCalls {
    /// No calls.
    pub(super) fn new() -> Self {
        Self {
            dumps: Arc::new(Semaphore::new(MAX_DUMPS)),
            listing: Arc::new(Semaphore::new(1)),
            changes: VecDeque::new(),
        }
    }
}
