//! An agent's own worker against the server: what its loop would get.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use dbfw_core::{
    answers::{ListId, ListOutcome, Resolved, SourceList},
    source::SourceKey,
};
use dbfw_provider::{
    http::HttpConfig,
    server::{Facts, Kept, Lasting, Server as Following, ServerConfig},
    stats::Stats,
    token::TokenSource,
    worker::{Account, Command, Demand, Mailbox, Report, ReportSender},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use uuid::Uuid;

use crate::{
    agent::Agent,
    digitalocean::write_secret,
    support::{PATIENCE, Server},
};

/// A host with the agent's worker.
pub(crate) struct Worker {
    queue: mpsc::Receiver<(Account, Vec<Report>)>,
    list: Option<Arc<SourceList>>,
    pub(crate) stats: Arc<Stats>,
    task: JoinHandle<()>,
    _demand: watch::Sender<Demand>,
    _commands: mpsc::Sender<Command>,
    _facts: watch::Sender<Facts>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Worker {
    /// One that joins, and follows one list.
    pub(crate) async fn join(server: &Server, name: &str, database: &str) -> Self {
        let agent = Agent::join(server, name, &[database]).await;
        let token = server.path(&format!("{name}-token"));
        write_secret(&token, &agent.token);
        let config = ServerConfig {
            urls: vec![format!("https://{}", server.address()).parse().unwrap()],
            token: TokenSource::File(token),
            http: HttpConfig {
                ca_file: Some(server.ca()),
                only_ca_file: true,
                ..HttpConfig::default()
            },
            within: None,
        };
        let (facts, facts_seen) = watch::channel(Facts::default());
        let lasting = Lasting {
            kept: Arc::new(Mutex::new(Kept::default())),
            keep: Arc::new(|_| Ok(())),
            facts: facts_seen,
            boot: Uuid::new_v4(),
        };
        let lists = [ListId::Server(database.into())].into();
        let (demand, wanted) = watch::channel(Demand { lists, ..Demand::default() });
        let (commands, orders) = mpsc::channel(1);
        let (sender, queue) = mpsc::channel(64);
        let reports = ReportSender::new(Account::Server, sender);
        let mailbox = Mailbox { demand: wanted, commands: orders, reports };
        let stats = Arc::new(Stats::default());
        let databases = agent.hello().databases;
        let worker =
            Following::new(config, name.to_owned(), databases, lasting, Arc::clone(&stats));
        let task = tokio::spawn(worker.run(mailbox));
        Self { queue, list: None, stats, task, _demand: demand, _commands: commands, _facts: facts }
    }

    /// The resolved prefixes of the list that came last.
    pub(crate) fn resolved(&self) -> BTreeMap<SourceKey, Resolved> {
        let edition = self.list.as_ref().and_then(|list| list.edition.clone());
        edition.map(|edition| edition.resolved.clone()).unwrap_or_default()
    }

    /// The number of prefixes of all sources that the server resolved.
    pub(crate) fn prefixes(&self) -> usize {
        self.resolved().values().map(|resolved| resolved.prefixes.len()).sum()
    }

    fn take(&mut self, reports: Vec<Report>) {
        for report in reports {
            if let Report::List { outcome: ListOutcome::Answer(list), .. } = report {
                self.list = Some(list);
            }
        }
    }

    /// Takes lists until one is as it should be.
    pub(crate) async fn wait(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let so = async {
            while !is_so(self) {
                let (_, reports) = self.queue.recv().await.expect("it works");
                self.take(reports);
            }
        };
        let is_in_time = timeout(PATIENCE, so).await.is_ok();
        assert!(is_in_time, "waited in vain for {what}: {:?}", self.list);
    }

    /// Takes every list that comes within a time.
    pub(crate) async fn listen(&mut self, time: Duration, mut see: impl FnMut(&Self)) {
        let listen = async {
            loop {
                let (_, reports) = self.queue.recv().await.expect("it works");
                self.take(reports);
                see(self);
            }
        };
        // It goes on for ever.
        let _: Result<(), _> = timeout(time, listen).await;
        see(self);
    }
}
