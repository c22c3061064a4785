//! The tasks that ask the outside world: which are running, what they are asked for, and what
//! they report.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    answers::FetchError,
    config::{AptibleConfig, Config, DigitalOceanConfig, DnsConfig, FeedsConfig},
    provider::{
        aptible::Aptible,
        budget::Budget,
        digitalocean::DigitalOcean,
        dns::Names,
        feed::Feeds,
        inventory::Inventory,
        stats::Stats,
        worker::{Command, Demand, Mailbox, Report},
    },
    source::SourceType,
};

/// Batches of reports waiting for the loop; a task waits when it is full.
const QUEUE: usize = 64;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Account {
    DigitalOcean,
    Aptible,
    Feeds,
    Dns,
}

impl Account {
    /// The name in status and metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::DigitalOcean => "digitalocean",
            Self::Aptible => "aptible",
            Self::Feeds => "feeds",
            Self::Dns => "dns",
        }
    }

    /// Who resolves sources of a type; `None`: they need nobody.
    pub(super) const fn of(kind: SourceType) -> Option<Self> {
        match kind {
            SourceType::IpAddr => None,
            SourceType::Droplet
            | SourceType::K8s
            | SourceType::Tag
            | SourceType::App
            | SourceType::Vpc => Some(Self::DigitalOcean),
            SourceType::Feed => Some(Self::Feeds),
            SourceType::Dns => Some(Self::Dns),
        }
    }
}

/// How an account is asked. Where it changes the task begins anew.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Settings {
    DigitalOcean(DigitalOceanConfig),
    Aptible(AptibleConfig),
    Feeds(FeedsConfig),
    Dns(DnsConfig),
}

impl Settings {
    fn of(account: Account, config: &Config) -> Option<Self> {
        match account {
            Account::DigitalOcean => config.digitalocean.clone().map(Self::DigitalOcean),
            Account::Aptible => config.aptible.clone().map(Self::Aptible),
            Account::Feeds => Some(Self::Feeds(config.feeds.clone())),
            Account::Dns => Some(Self::Dns(config.dns.clone())),
        }
    }
}

/// A running task.
struct Task {
    settings: Settings,
    demand: watch::Sender<Demand>,
    commands: mpsc::Sender<Command>,
    handle: JoinHandle<()>,
}

/// All of them.
pub(super) struct Remote {
    tasks: BTreeMap<Account, Task>,
    /// They outlive the tasks, as the requests they count do.
    stats: BTreeMap<Account, Arc<Stats>>,
    budget: Option<Arc<Mutex<Budget>>>,
    rounds: BTreeMap<Account, Duration>,
    sender: mpsc::Sender<(Account, Vec<Report>)>,
    /// Where the loop hears from the tasks.
    pub(super) reports: mpsc::Receiver<(Account, Vec<Report>)>,
}

impl Remote {
    /// None is running.
    pub(super) fn new() -> Self {
        let (sender, reports) = mpsc::channel(QUEUE);
        Self {
            tasks: BTreeMap::new(),
            stats: BTreeMap::new(),
            budget: None,
            rounds: BTreeMap::new(),
            sender,
            reports,
        }
    }

    /// Has every account asked for what is wanted of it, and nothing else.
    pub(super) fn follow(&mut self, config: &Config, demands: &BTreeMap<Account, Demand>) {
        self.tasks.retain(|account, task| {
            let settings = Settings::of(*account, config);
            let stays = demands.contains_key(account)
                && settings.as_ref() == Some(&task.settings)
                && !task.handle.is_finished();
            if !stays {
                task.handle.abort();
            }
            stays
        });
        for (account, demand) in demands {
            if let Some(task) = self.tasks.get(account) {
                task.demand.send_if_modified(|current| {
                    let differs = current != demand;
                    if differs {
                        current.clone_from(demand);
                    }
                    differs
                });
            } else if let Some(settings) = Settings::of(*account, config) {
                let task = self.start(*account, settings, demand.clone());
                self.tasks.insert(*account, task);
            }
        }
    }

    fn start(&mut self, account: Account, settings: Settings, demand: Demand) -> Task {
        let (demand, wanted) = watch::channel(demand);
        let (commands, orders) = mpsc::channel(4);
        let (reports, mut learned) = mpsc::channel(QUEUE);
        let mailbox = Mailbox { demand: wanted, commands: orders, reports };
        let stats = Arc::clone(self.stats.entry(account).or_default());
        let loop_end = self.sender.clone();
        let work = match settings.clone() {
            Settings::DigitalOcean(config) => {
                let budget = self
                    .budget
                    .get_or_insert_with(|| Arc::new(Mutex::new(Budget::new(config.limits))));
                if let Ok(mut budget) = budget.lock() {
                    budget.set_limits(config.limits);
                }
                let worker = DigitalOcean::new(config, Arc::clone(budget), stats);
                tokio::spawn(worker.run(mailbox))
            }
            Settings::Aptible(config) => tokio::spawn(Aptible::new(config, stats).run(mailbox)),
            Settings::Feeds(config) => tokio::spawn(Feeds::new(config, stats).run(mailbox)),
            Settings::Dns(config) => tokio::spawn(Names::new(config, stats).run(mailbox)),
        };
        // Aborting the outer task must end the inner one too.
        let work = AbortOnDrop(work);
        let handle = tokio::spawn(async move {
            let _work = work;
            while let Some(batch) = learned.recv().await {
                if loop_end.send((account, batch)).await.is_err() {
                    return;
                }
            }
        });
        Task { settings, demand, commands, handle }
    }

    /// Has every account asked now.
    pub(super) fn poll(&self) {
        for task in self.tasks.values() {
            // Full: a round is about to begin anyway.
            let _ = task.commands.try_send(Command::Poll);
        }
    }

    /// Starts to ask what the DigitalOcean account holds; `None` if it is not used.
    pub(super) fn inventory(&self) -> Option<oneshot::Receiver<Result<Inventory, FetchError>>> {
        let task = self.tasks.get(&Account::DigitalOcean)?;
        let (reply, answer) = oneshot::channel();
        task.commands.try_send(Command::Inventory(reply)).ok()?;
        Some(answer)
    }

    /// Notes how long a round took.
    pub(super) fn round(&mut self, account: Account, took: Duration) {
        self.rounds.insert(account, took);
    }

    /// Every account in use, with its counters and how long its last round took.
    pub(super) fn accounts(&self) -> impl Iterator<Item = (Account, &Stats, Option<Duration>)> {
        self.tasks.keys().filter_map(|account| {
            let stats = self.stats.get(account)?;
            Some((*account, &**stats, self.rounds.get(account).copied()))
        })
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
