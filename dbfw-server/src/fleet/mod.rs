//! The fleet: the hosts that joined, their streams, and what they say of themselves.
//!
//! Nothing here is stored. Lists and hosts come from the store's watch; what hosts enforce is what
//! they report, and is reported anew after every start of the server.

mod at_host;
mod follow;
mod hello;
mod published;
mod sets;
mod state;
mod status;
mod stream;
mod text;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::body::Bytes;
use dbfw_wire::agent::{Digest, Report};
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use self::state::State;
use crate::{
    model::{Host, Meta},
    resolve::Resolvable,
};

pub use self::{
    hello::{HelloError, MAX_DATABASES},
    state::Activity,
    status::{Enforcement, EnforcementState, SourceUse, Standings},
    stream::{Frames, Stream, StreamError},
};

/// Seconds between two signs of life of a stream.
pub const BEAT: u64 = 15;

/// Settings of the fleet.
#[derive(Clone, Debug)]
pub struct FleetSettings {
    /// The server's name.
    pub server: String,
    /// The store, as it was when the server started.
    pub meta: Meta,
    /// The certificate of the server's own authority, PEM.
    pub authority: Option<String>,
    /// The most streams at a time.
    pub max_agents: usize,
    /// The sources that the server resolves.
    pub resolvable: Resolvable,
}

/// The fleet.
#[derive(Debug)]
pub struct Fleet {
    settings: FleetSettings,
    state: Mutex<State>,
    /// Counts up when databases or hosts come or go.
    directory: watch::Sender<u64>,
    /// Counts up when a host says or does something.
    active: watch::Sender<u64>,
    /// Whether the server is going to stop.
    stopping: watch::Sender<bool>,
    /// Bytes that were sent to hosts.
    sent: AtomicU64,
}

/// A report is none of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("host: is the id of another host than the token's; use the one that joining gave")]
pub struct ForeignReport;

impl Fleet {
    /// A fleet of which nothing is known yet. [`Fleet::follow`] keeps it.
    pub fn new(settings: FleetSettings) -> Self {
        Self {
            settings,
            state: Mutex::default(),
            directory: watch::Sender::default(),
            active: watch::Sender::default(),
            stopping: watch::Sender::default(),
            sent: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a report of a host.
    ///
    /// # Errors
    /// It is one of another host.
    pub fn report(&self, host: &Host, report: Report) -> Result<(), ForeignReport> {
        if report.host != host.id {
            return Err(ForeignReport);
        }
        self.lock().report(report, Timestamp::now(), Instant::now());
        self.note();
        Ok(())
    }

    /// Notes that a host said or did something.
    fn note(&self) {
        self.active.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The news that hosts say or do something; [`Fleet::activity`] has about which databases.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.active.subscribe()
    }

    /// The activity of hosts and strangers about each database.
    pub fn activity(&self) -> BTreeMap<Uuid, Activity> {
        self.lock().activity()
    }

    /// A set of prefixes that a list refers to which a host may read, one prefix a line.
    pub fn set(&self, host: &Host, digest: Digest) -> Option<Bytes> {
        let lists: Vec<_> = {
            let state = self.lock();
            host.databases.iter().filter_map(|id| state.published(*id)).collect()
        };
        lists.iter().find_map(|list| list.set(digest))
    }

    /// A host that joined, as far as the store was followed.
    pub fn host(&self, id: Uuid) -> Option<Host> {
        self.lock().host(id).map(|joined| joined.host.clone())
    }

    /// The number of hosts that may read a database's list.
    pub fn joined(&self, database: Uuid) -> u32 {
        u32::try_from(self.lock().joined(database)).unwrap_or(u32::MAX)
    }

    /// The number of open streams.
    pub fn streams(&self) -> usize {
        self.lock().streams()
    }

    /// The most streams at a time.
    pub fn max_streams(&self) -> usize {
        self.settings.max_agents
    }

    /// Bytes that were sent to hosts since the start.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends every stream with a farewell, and opens no more.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }
}
