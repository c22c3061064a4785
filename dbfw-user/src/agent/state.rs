//! The agent's state.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rtnetlink::Handle;
use tokio::{
    sync::{Semaphore, broadcast},
    task::JoinHandle,
};

use super::{
    configuration::ConfigurationFiles, enforced::Enforced, history::History, lists::List,
    own::OwnAddresses, trust::TrustCalls, workers::Workers,
};
use crate::{
    answers::{Cache, Limits, ListId},
    config::{Config, DatabaseConfig},
    control::wire::DropEvent,
    datapath::{Datapath, Events, HookMode, Interface, Reader},
    metrics::{SyncCounters, http::Health},
    policy::{Policy, SlotTable},
    protection::Told,
    provider::worker::Account,
    state::{
        expiry::{Expiry, Reading},
        local::LocalSources,
        snapshot::SnapshotError,
    },
    traffic::{
        drops::{RateMeter, TopSources},
        refused::RefusedSources,
    },
};

/// Over how long `dbfw status` averages drops.
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// Drop events a slow follower may fall behind before it misses some.
const FOLLOW_BUFFER: usize = 1024;
/// Dumps of the maps at once: each holds a thread for as long as its client reads.
pub(super) const MAX_DUMPS: usize = 4;

/// The agent's state; its loop is the only one to touch it.
pub(super) struct Agent {
    pub(super) files: ConfigurationFiles,
    pub(super) config: Config,
    pub(super) started_at: Timestamp,
    pub(super) netlink: Handle,
    pub(super) own: OwnAddresses,
    pub(super) datapath: Datapath,
    pub(super) reader: Arc<Reader>,

    /// Database ids by name, as the maps know them.
    pub(super) ids: BTreeMap<String, u8>,
    /// Provider lists by database.
    pub(super) lists: BTreeMap<String, List>,
    /// Answers about the sources that have to be asked for.
    pub(super) cache: Cache,
    /// Rules in force, by database.
    pub(super) enforced: BTreeMap<String, Enforced>,
    /// The workers.
    pub(super) workers: Workers,
    /// Databases whose file was read since the round of the files' worker began.
    pub(super) read_files: BTreeSet<String>,
    /// Lists that `max_stale` has ended, by database.
    pub(super) lapsed: BTreeSet<String>,
    /// The problem of each list that was last logged, by database.
    pub(super) told: BTreeMap<String, String>,
    /// Something was confirmed since the snapshot was written.
    pub(super) ages_changed: bool,
    /// The time at which the snapshot was last begun.
    pub(super) saved_at: Instant,
    pub(super) history: History,
    /// Sources that were or would have been refused.
    pub(super) refused_sources: RefusedSources,
    pub(super) refused_saved_at: Instant,
    /// Writes the refused sources, beside the loop.
    pub(super) saving_refused: Option<JoinHandle<io::Result<()>>>,
    pub(super) local: LocalSources,
    /// Calls that ask for a change of the local sources.
    pub(super) trust_calls: TrustCalls,
    pub(super) slots: SlotTable,
    /// The policy in force.
    pub(super) policy: Policy,
    /// Entries of each set.
    pub(super) sizes: BTreeMap<&'static str, u64>,
    pub(super) generation: u64,
    /// The time by which sources end.
    pub(super) expiry: Expiry,
    /// The time at which the next source in force expires.
    pub(super) next_expiry: Option<Timestamp>,

    /// Every interface of the namespace, as of the last look.
    pub(super) interfaces: Vec<Interface>,
    /// The error that kept the interfaces from being listed.
    pub(super) list_error: Option<String>,
    /// The error of each covered interface that is not attached, by name.
    pub(super) attach_errors: BTreeMap<String, String>,
    /// Modes that an interface could not be moved to, by its index.
    pub(super) refused_moves: BTreeMap<u32, Vec<HookMode>>,
    /// Interfaces where somebody else's program may stand before ours.
    pub(super) preceded: BTreeSet<String>,
    pub(super) backstop_error: Option<String>,
    /// Somebody else's socket lookup programs, as of the start.
    pub(super) beside_backstop: Vec<u32>,
    /// The map's content; `None`: an earlier agent's.
    pub(super) exempt: Option<Vec<u32>>,
    /// Degradations that were logged.
    pub(super) told_degraded: Told,
    /// The operator detached everything.
    pub(super) detached: bool,
    /// Whether the rules in force may have changed since the last [`Agent::converge`].
    pub(super) must_converge: bool,
    /// The error of the last change, if it was not carried out.
    pub(super) apply_error: Option<String>,
    /// The policy in force is not on disk yet.
    pub(super) unsaved: bool,
    /// Writes the snapshot, beside the loop: a large one takes longer than a change may.
    pub(super) saving: Option<JoinHandle<Result<(), SnapshotError>>>,
    /// The error of the last snapshot, if it was not written.
    pub(super) snapshot_error: Option<String>,
    /// Problems that stay until a restart.
    pub(super) standing: Vec<String>,

    pub(super) events: Option<tokio::io::unix::AsyncFd<Events>>,
    /// Events were read since the budget was last refilled.
    pub(super) events_seen: bool,
    pub(super) top: TopSources,
    pub(super) rates: RateMeter,
    pub(super) follow: broadcast::Sender<DropEvent>,
    /// One permit for every dump of the maps under way.
    pub(super) dumps: Arc<Semaphore>,
    /// One permit: connections are listed for one reader at a time.
    pub(super) listing: Arc<Semaphore>,
    pub(super) sync: SyncCounters,
    pub(super) health: Arc<Health>,
}

/// The parts of a new [`Agent`].
pub(super) struct Parts {
    pub(super) files: ConfigurationFiles,
    pub(super) config: Config,
    pub(super) netlink: Handle,
    pub(super) own: OwnAddresses,
    pub(super) datapath: Datapath,
    pub(super) reader: Reader,
    pub(super) ids: BTreeMap<String, u8>,
    pub(super) local: LocalSources,
    pub(super) history: History,
    pub(super) refused_sources: RefusedSources,
}

impl Agent {
    /// An agent that has read nothing and changed nothing yet.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            files,
            config,
            netlink,
            own,
            datapath,
            reader,
            ids,
            local,
            history,
            refused_sources,
        } = parts;
        let cache = Cache::new(limits(&config));
        let mut sync = SyncCounters::default();
        sync.set_databases(synced(&config));
        Self {
            files,
            config,
            started_at: Timestamp::now(),
            netlink,
            own,
            datapath,
            reader: Arc::new(reader),
            ids,
            lists: BTreeMap::new(),
            cache,
            enforced: BTreeMap::new(),
            workers: Workers::new(),
            read_files: BTreeSet::new(),
            lapsed: BTreeSet::new(),
            told: BTreeMap::new(),
            ages_changed: false,
            saved_at: Instant::now(),
            history,
            refused_sources,
            refused_saved_at: Instant::now(),
            saving_refused: None,
            local,
            trust_calls: TrustCalls::default(),
            slots: SlotTable::default(),
            policy: Policy::default(),
            sizes: BTreeMap::new(),
            generation: 0,
            expiry: Expiry::new(Reading::now()),
            next_expiry: None,
            interfaces: Vec::new(),
            list_error: None,
            attach_errors: BTreeMap::new(),
            refused_moves: BTreeMap::new(),
            preceded: BTreeSet::new(),
            backstop_error: None,
            beside_backstop: Vec::new(),
            exempt: None,
            told_degraded: Told::default(),
            detached: false,
            must_converge: false,
            apply_error: None,
            unsaved: false,
            saving: None,
            snapshot_error: None,
            standing: Vec::new(),
            events: None,
            events_seen: true,
            top: TopSources::new(Timestamp::now()),
            rates: RateMeter::new(RATE_WINDOW),
            follow: broadcast::channel(FOLLOW_BUFFER).0,
            dumps: Arc::new(Semaphore::new(MAX_DUMPS)),
            listing: Arc::new(Semaphore::new(1)),
            sync,
            health: Arc::new(Health::new()),
        }
    }

    /// Name of a database by its id.
    pub(super) fn database_name(&self, id: u32) -> Option<String> {
        self.ids.iter().find(|(_, known)| u32::from(**known) == id).map(|(name, _)| name.clone())
    }

    /// Name of an interface by its index.
    pub(super) fn interface_name(&self, index: u32) -> Option<String> {
        self.interfaces
            .iter()
            .find(|interface| interface.index == index)
            .map(|interface| interface.name.clone())
    }

    /// Records how fast each database drops.
    pub(super) fn measure_rates(&mut self) {
        let now = Instant::now();
        for (name, id) in &self.ids {
            if let Ok(dropped) = crate::readers::status::dropped_packets(&self.reader, *id) {
                self.rates.record(name, now, dropped);
            }
        }
        self.rates.retain(self.ids.keys().map(String::as_str));
    }
}

/// Databases that have a provider.
pub(super) fn with_provider(config: &Config) -> impl Iterator<Item = (&DatabaseConfig, &ListId)> {
    config
        .databases
        .iter()
        .filter_map(|database| database.provider.as_ref().map(|provider| (database, provider)))
}

/// Names of the databases whose trusted sources have to be read or asked for.
pub(super) fn synced(config: &Config) -> impl Iterator<Item = &str> {
    let asks = |database: &&DatabaseConfig| {
        database.provider.is_some()
            || database
                .trusted_sources
                .iter()
                .any(|source| Account::resolving(source.kind()).is_some())
    };
    config.databases.iter().filter(asks).map(|database| database.name.as_str())
}

/// Limits on the age of answers.
pub(super) fn limits(config: &Config) -> Limits {
    Limits { gone_after: config.agent.gone_after, max_stale: config.agent.max_stale }
}
