//! The tasks that ask the outside world: which are running, what they are asked for, and what
//! they report.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use dbfw_core::answers::{FetchError, ListId};
use dbfw_provider::{
    aptible::{Aptible, AptibleConfig},
    budget::Budget,
    digitalocean::{DigitalOcean, DigitalOceanConfig},
    dns::{DnsConfig, Names},
    feed::{Feeds, FeedsConfig},
    file::Files,
    inventory::Inventory,
    server::{Lasting, Server, ServerConfig},
    stats::Stats,
    worker::{Account, Command, Demand, Mailbox, Report, ReportSender},
};
use dbfw_wire::agent::{HostDatabase, HostGuards};
use nix::unistd::gethostname;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::control_plane::ControlPlane;
use crate::config::Config;

/// Batches of reports waiting for the loop; a task waits when it is full.
const QUEUE: usize = 64;

/// Settings of an account's worker. When they change, the worker is started anew.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Settings {
    Files,
    DigitalOcean(DigitalOceanConfig),
    Aptible(AptibleConfig),
    Feeds(FeedsConfig),
    Dns(DnsConfig),
    Server(ServerConfig, Vec<HostDatabase>),
}

impl Settings {
    fn of(account: Account, config: &Config) -> Option<Self> {
        match account {
            Account::Files => Some(Self::Files),
            Account::DigitalOcean => config.digitalocean.clone().map(Self::DigitalOcean),
            Account::Aptible => config.aptible.clone().map(Self::Aptible),
            Account::Feeds => Some(Self::Feeds(config.feeds.clone())),
            Account::Dns => Some(Self::Dns(config.dns.clone())),
            Account::Server => {
                config.server.clone().map(|server| Self::Server(server, host_databases(config)))
            }
        }
    }
}

/// The databases whose lists a control plane keeps, as it is told of them.
fn host_databases(config: &Config) -> Vec<HostDatabase> {
    let databases = config.databases.iter().filter_map(|database| {
        let Some(ListId::Server(list)) = &database.provider else { return None };
        let guards = database.guards(config.server.as_ref());
        Some(HostDatabase {
            name: database.name.clone(),
            database: list.to_string(),
            ports: database.ports.texts(),
            mode: database.mode.as_str().to_owned(),
            guards: HostGuards {
                allow_any: guards.allow_any,
                min_prefix: guards.min_prefix,
                within: guards.within.map(|within| within.to_vec()),
            },
            have: None,
        })
    });
    databases.collect()
}

/// A running task.
struct Task {
    settings: Settings,
    demand: watch::Sender<Demand>,
    commands: mpsc::Sender<Command>,
    handle: JoinHandle<()>,
}

/// The running workers, their counters, and the queue of their reports.
pub(super) struct Workers {
    tasks: BTreeMap<Account, Task>,
    /// They outlive the tasks, as the requests they count do.
    stats: BTreeMap<Account, Arc<Stats>>,
    budget: Option<Arc<Mutex<Budget>>>,
    rounds: BTreeMap<Account, Duration>,
    /// State that the worker of a control plane leaves to the next one.
    lasting: Lasting,
    sender: mpsc::Sender<(Account, Vec<Report>)>,
    queue: mpsc::Receiver<(Account, Vec<Report>)>,
}

impl Workers {
    /// None is running.
    pub(super) fn new(control_plane: &ControlPlane) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        Self {
            tasks: BTreeMap::new(),
            stats: BTreeMap::new(),
            budget: None,
            rounds: BTreeMap::new(),
            lasting: control_plane.lasting(),
            sender,
            queue,
        }
    }

    /// Waits for reports of a worker. Can be cancelled at any time.
    pub(super) async fn reports(&mut self) -> (Account, Vec<Report>) {
        match self.queue.recv().await {
            Some(reports) => reports,
            // There is always a sender: this struct has one.
            None => pending().await,
        }
    }

    /// Reports that are waiting already.
    pub(super) fn try_reports(&mut self) -> Option<(Account, Vec<Report>)> {
        self.queue.try_recv().ok()
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
        let reports = ReportSender::new(account, self.sender.clone());
        let mailbox = Mailbox { demand: wanted, commands: orders, reports };
        let stats = Arc::clone(self.stats.entry(account).or_default());
        let handle = match settings.clone() {
            Settings::Files => tokio::spawn(Files::new().run(mailbox)),
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
            Settings::Server(config, databases) => {
                let hostname = gethostname()
                    .map_or_else(|_| "?".to_owned(), |name| name.to_string_lossy().into_owned());
                let lasting = self.lasting.clone();
                let worker = Server::new(config, hostname, databases, lasting, stats);
                tokio::spawn(worker.run(mailbox))
            }
        };
        Task { settings, demand, commands, handle }
    }

    /// Has every account asked now.
    pub(super) fn poll(&self) {
        for task in self.tasks.values() {
            // Full: a round is about to begin anyway.
            let _ = task.commands.try_send(Command::Poll);
        }
    }

    /// Has every file of a list read now; done with the reply. `None`: there is no such list.
    pub(super) fn refresh_files(&self) -> Option<oneshot::Receiver<()>> {
        let task = self.tasks.get(&Account::Files)?;
        let (reply, done) = oneshot::channel();
        task.commands.try_send(Command::Refresh(reply)).ok()?;
        Some(done)
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

    /// Every account that is asked over the network, with its counters and how long its last
    /// round took.
    pub(super) fn accounts(&self) -> impl Iterator<Item = (Account, &Stats, Option<Duration>)> {
        let accounts = self.tasks.keys().filter(|account| **account != Account::Files);
        accounts.filter_map(|account| {
            let stats = self.stats.get(account)?;
            Some((*account, &**stats, self.rounds.get(account).copied()))
        })
    }
}
