//! [`Workers`]: the running workers, one for each account that sources are asked of.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use dbfw_core::source::SourceKey;
use dbfw_provider::{
    budget::Budget,
    digitalocean::DigitalOcean,
    dns::Names,
    feed::Feeds,
    stats::Stats,
    worker::{Account, Command, Demand, Mailbox, Report, ReportSender},
};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use super::config::ResolveConfig;

/// Batches of reports that wait; a worker waits when there are as many.
const QUEUE: usize = 64;

/// Counters and budgets that outlive the workers.
#[derive(Debug)]
pub(super) struct Lasting {
    stats: BTreeMap<Account, Arc<Stats>>,
    budget: Option<Arc<Mutex<Budget>>>,
}

impl Lasting {
    pub(super) fn new(config: &ResolveConfig) -> Self {
        let accounts = config.resolvable().accounts();
        let budget = config.digitalocean.as_ref();
        let budget = budget.map(|account| Arc::new(Mutex::new(Budget::new(account.limits))));
        Self { stats: accounts.map(|account| (account, Arc::default())).collect(), budget }
    }

    /// The counters of each account.
    pub(super) fn stats(&self) -> impl Iterator<Item = (Account, &Stats)> {
        self.stats.iter().map(|(account, stats)| (*account, &**stats))
    }
}

/// The running workers. They end when dropped.
#[derive(Debug)]
pub(super) struct Workers {
    running: BTreeMap<Account, Running>,
    sender: mpsc::Sender<(Account, Vec<Report>)>,
    queue: mpsc::Receiver<(Account, Vec<Report>)>,
}

#[derive(Debug)]
struct Running {
    demand: watch::Sender<Demand>,
    /// Held open: nothing is asked out of turn.
    _commands: mpsc::Sender<Command>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Workers {
    /// None is running.
    pub(super) fn new() -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        Self { running: BTreeMap::new(), sender, queue }
    }

    /// Waits for the reports of a worker. Can be cancelled at any time.
    pub(super) async fn reports(&mut self) -> Vec<Report> {
        match self.queue.recv().await {
            Some((_, reports)) => reports,
            // There is always a sender: this struct has one.
            None => std::future::pending().await,
        }
    }

    /// Reports that wait already.
    pub(super) fn try_reports(&mut self) -> Option<Vec<Report>> {
        self.queue.try_recv().ok().map(|(_, reports)| reports)
    }

    /// Has every account asked for the sources that are wanted, and for nothing else.
    pub(super) fn follow(
        &mut self,
        config: &ResolveConfig,
        lasting: &Lasting,
        wanted: &BTreeSet<SourceKey>,
    ) {
        let resolvable = config.resolvable();
        let mut demands: BTreeMap<Account, Demand> = BTreeMap::new();
        for source in wanted {
            if let Some(account) = resolvable.account(source) {
                demands.entry(account).or_default().sources.insert(source.clone());
            }
        }
        self.running.retain(|account, _| demands.contains_key(account));
        for (account, demand) in demands {
            if let Some(running) = self.running.get(&account) {
                running.demand.send_if_modified(|current| {
                    let differs = *current != demand;
                    *current = demand;
                    differs
                });
            } else if let Some(running) = self.start(account, config, lasting, demand) {
                self.running.insert(account, running);
            }
        }
    }

    fn start(
        &self,
        account: Account,
        config: &ResolveConfig,
        lasting: &Lasting,
        demand: Demand,
    ) -> Option<Running> {
        let (demand, wanted) = watch::channel(demand);
        let (commands, orders) = mpsc::channel(1);
        let reports = ReportSender::new(account, self.sender.clone());
        let mailbox = Mailbox { demand: wanted, commands: orders, reports };
        let stats = Arc::clone(lasting.stats.get(&account)?);
        let task = match account {
            Account::DigitalOcean => {
                let (settings, budget) = config.digitalocean.clone().zip(lasting.budget.clone())?;
                tokio::spawn(DigitalOcean::new(settings, budget, stats).run(mailbox))
            }
            Account::Feeds => tokio::spawn(Feeds::new(config.feeds.clone(), stats).run(mailbox)),
            Account::Dns => tokio::spawn(Names::new(config.dns.clone(), stats).run(mailbox)),
            // They have lists, and resolve nothing.
            Account::Files | Account::Aptible | Account::Server => return None,
        };
        Some(Running { demand, _commands: commands, task: task.abort_handle() })
    }
}
