//! Resolving: the prefixes that trusted sources stand for, asked for once for all lists and hosts.
//!
//! One server asks, the leader: with the agent's workers, one token and one budget. What it finds
//! goes into the store, whose watch brings it to the hosts; so neither a restart nor another
//! leader takes anything away.

mod config;
mod sources;
mod stored;
mod workers;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dbfw_core::source::SourceKey;
use dbfw_provider::{
    stats::{Stats, StatsValues},
    worker::{Account, Report},
};
use jiff::Timestamp;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use uuid::Uuid;

pub(crate) use self::stored::read_set;
pub use self::{
    config::{Resolvable, ResolveConfig},
    sources::{Loss, SourceStatus},
};
use self::{
    sources::Sources,
    stored::Stored,
    workers::{Lasting, Workers},
};
use crate::{
    list::List,
    model::{Confirmed, keys},
    service::{Service, ServiceError, parse},
    store::{Event, Leader, Revision, Write},
};

/// Time between two looks at the ages of answers.
const TICK: Duration = Duration::from_secs(1);

/// Time until the store is asked again after it failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Time between two writes of when answers were last confirmed.
const CONFIRM: Duration = Duration::from_secs(300);

/// The resolver.
#[derive(Debug)]
pub struct Resolver {
    service: Arc<Service>,
    config: ResolveConfig,
    lasting: Lasting,
    state: Mutex<State>,
    /// Told when a loss was confirmed.
    confirmed: Notify,
}

#[derive(Debug)]
struct State {
    sources: Sources,
    /// The sources of all lists that the server resolves.
    wanted: BTreeSet<SourceKey>,
    /// Whether this server asks.
    leads: bool,
}

impl State {
    /// The state of a server that does not ask.
    fn new(config: &ResolveConfig) -> Self {
        Self { sources: Sources::new(config), wanted: BTreeSet::new(), leads: false }
    }
}

/// An account that sources are asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountStatus {
    /// The account.
    pub account: Account,
    /// Its sources.
    pub sources: usize,
    /// Those of which the last answer could not be confirmed.
    pub failing: usize,
    /// Those of which a loss is held.
    pub held: usize,
    /// The time at which the source whose answer is the oldest was last confirmed; `None`: there is
    /// no source, or one that nobody answered for.
    pub oldest: Option<Timestamp>,
    /// Counters of its requests.
    pub requests: StatsValues,
}

/// The sources of each list.
type Lists = HashMap<Uuid, BTreeSet<SourceKey>>;

impl Resolver {
    /// One that has not asked yet.
    pub fn new(service: Arc<Service>, config: ResolveConfig) -> Self {
        Self {
            service,
            lasting: Lasting::new(&config),
            state: Mutex::new(State::new(&config)),
            config,
            confirmed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sources that the server resolves.
    pub fn resolvable(&self) -> Resolvable {
        self.config.resolvable()
    }

    /// The state of a source; `None`: the server does not resolve it, or another server does.
    pub fn status(&self, source: &SourceKey) -> Option<SourceStatus> {
        let state = self.lock();
        (state.leads && state.wanted.contains(source)).then(|| state.sources.status(source))
    }

    /// The accounts that sources are asked of.
    pub fn accounts(&self) -> Vec<AccountStatus> {
        let state = self.lock();
        let resolvable = self.resolvable();
        let of = |(account, stats): (Account, &Stats)| {
            let own = state.wanted.iter().filter(|key| resolvable.account(key) == Some(account));
            let own: Vec<SourceStatus> = own.map(|key| state.sources.status(key)).collect();
            let is_failing =
                |status: &&SourceStatus| state.sources.failure(&status.source).is_some();
            let ages = own.iter().map(|status| status.report.answered_at);
            AccountStatus {
                account,
                sources: own.len(),
                failing: own.iter().filter(is_failing).count(),
                held: own.iter().filter(|status| status.held.is_some()).count(),
                // `None` is the least.
                oldest: ages.min().flatten(),
                requests: stats.values(),
            }
        };
        self.lasting.stats().map(of).collect()
    }

    /// Every source that the server resolves; `None`: it does not ask, another server does.
    pub fn all(&self) -> Option<Vec<SourceStatus>> {
        let state = self.lock();
        let all = || state.wanted.iter().map(|source| state.sources.status(source)).collect();
        state.leads.then(all)
    }

    /// The source of which a loss with this id is held.
    pub fn held(&self, id: &str) -> Option<SourceKey> {
        self.lock().sources.held(id).cloned()
    }

    /// Lets a loss count that is held; what is known of its source then. `None`: it is not held any
    /// more, or is another by now.
    pub fn confirm(&self, id: &str) -> Option<SourceStatus> {
        let status = {
            let mut state = self.lock();
            let source = state.sources.confirm(id)?;
            state.sources.status(&source)
        };
        tracing::info!(source = %status.source, id, "the loss was confirmed");
        self.confirmed.notify_one();
        Some(status)
    }

    /// Asks while this server leads, until it is dropped. Failures of the store are told, and tried
    /// again.
    pub async fn run(self: Arc<Self>, mut leader: Leader) {
        loop {
            leader.elected().await;
            let result = tokio::select! {
                result = self.lead() => result,
                () = leader.deposed() => Ok(()),
            };
            // The next leader judges; a loss that this one held is none to confirm any more.
            *self.lock() = State::new(&self.config);
            if let Err(error) = result {
                tracing::error!(%error, "trusted sources are not resolved; trying again");
                sleep(PAUSE).await;
            }
        }
    }

    /// Asks; returns when everything has to be read anew.
    async fn lead(&self) -> Result<(), ServiceError> {
        let store = self.service.store();
        let (mut stored, found) = Stored::read(store).await?;
        let (mut lists, revision) = self.read_lists().await?;
        let mut sources = Sources::new(&self.config);
        let now = Timestamp::now();
        for (resolved, prefixes) in found {
            sources.restore(resolved.source, prefixes, resolved.state, resolved.at, now);
        }
        {
            let mut state = self.lock();
            state.sources = sources;
            state.leads = true;
        }
        let mut workers = Workers::new();
        self.want(&lists, &mut workers);
        let mut watch = store.watch(keys::LISTS, revision);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_confirm = Instant::now() + CONFIRM;
        let mut has_failed = false;
        loop {
            tokio::select! {
                event = watch.next() => match event {
                    Some(Event::Batch(batch)) => {
                        batch.writes.iter().for_each(|write| self.note(&mut lists, write));
                        self.want(&lists, &mut workers);
                    }
                    Some(Event::Resync) | None => return Ok(()),
                },
                reports = workers.reports() => {
                    let mut all = reports;
                    while let Some(more) = workers.try_reports() {
                        all.extend(more);
                    }
                    self.learn(all);
                }
                _ = ticks.tick() => self.lock().sources.tick(Timestamp::now()),
                () = self.confirmed.notified() => {}
            }
            let mut written = self.write(&mut stored).await;
            if written.is_ok() && Instant::now() >= next_confirm {
                next_confirm = Instant::now() + CONFIRM;
                written = stored.write_confirmed(store, &self.confirmed_at()).await;
            }
            match written {
                Ok(()) => has_failed = false,
                Err(error) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        tracing::error!(%error, "what sources stand for is not stored; trying again");
                    }
                }
            }
        }
    }

    /// The sources of all lists, and of which revision they are.
    async fn read_lists(&self) -> Result<(Lists, Revision), ServiceError> {
        let snapshot = self.service.store().list(keys::LISTS).await?;
        let mut lists = Lists::new();
        for (key, entry) in snapshot.entries {
            self.note(&mut lists, &Write::Put(key, entry.value));
        }
        Ok((lists, snapshot.revision))
    }

    /// Takes the sources of a list that was written.
    fn note(&self, lists: &mut Lists, write: &Write) {
        let Some(database) = keys::database_of_list(write.key()) else { return };
        match write {
            Write::Delete(_) => {
                lists.remove(&database);
            }
            Write::Put(key, value) => match parse::<List>(key, value) {
                Ok(list) => {
                    let resolvable = self.resolvable();
                    let keys = list.rules.into_iter().map(|rule| rule.key);
                    let own = keys.filter(|key| resolvable.account(key).is_some());
                    lists.insert(database, own.collect());
                }
                // What it had is asked for further on.
                Err(error) => tracing::error!(%error, "new sources of a list are not resolved"),
            },
        }
    }

    /// Has the sources of all lists asked for.
    fn want(&self, lists: &Lists, workers: &mut Workers) {
        let wanted: BTreeSet<SourceKey> = lists.values().flatten().cloned().collect();
        workers.follow(&self.config, &self.lasting, &wanted);
        let mut state = self.lock();
        state.sources.retain(&wanted);
        state.wanted = wanted;
    }

    fn learn(&self, reports: Vec<Report>) {
        let now = Timestamp::now();
        let mut state = self.lock();
        for report in reports {
            // One that was asked for before it went.
            if let Report::Source { key, outcome } = report
                && state.wanted.contains(&key)
            {
                state.sources.learn(&key, outcome, now);
            }
        }
    }

    /// Writes what is another than what is stored.
    async fn write(&self, stored: &mut Stored) -> Result<(), ServiceError> {
        let (changed, gone) = {
            let state = self.lock();
            let answered = state.sources.keys().filter_map(|key| {
                let answered = state.sources.answered(key)?;
                stored.differs(key, &answered).then(|| (key.clone(), answered))
            });
            let gone = stored.keys().filter(|key| !state.wanted.contains(key));
            (answered.collect::<Vec<_>>(), gone.cloned().collect::<Vec<_>>())
        };
        for (source, answered) in &changed {
            let prefixes = answered.accepted.prefixes.len();
            tracing::info!(%source, prefixes, "a trusted source stands for other addresses, or its answer has another state");
        }
        stored.write(self.service.store(), changed, gone).await
    }

    /// The times at which answers were last confirmed.
    fn confirmed_at(&self) -> Confirmed {
        let state = self.lock();
        let at = |key: &SourceKey| Some((keys::resolved(key), state.sources.answered(key)?.at));
        state.sources.keys().filter_map(at).collect()
    }
}
