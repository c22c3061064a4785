//! A task under test, with the agent's end of the wire.

pub(crate) mod web;

use std::collections::BTreeMap;

use dbfw_core::{
    answers::{ClusterId, ListId, ListOutcome, Outcome},
    source::{SourceKey, SourceType},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::worker::{Account, Command, Demand, Mailbox, Report, ReportSender};

/// The agent's end. The task ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Bench {
    demand: watch::Sender<Demand>,
    pub(crate) commands: mpsc::Sender<Command>,
    reports: mpsc::Receiver<(Account, Vec<Report>)>,
    running: JoinHandle<()>,
}

/// Reports up to the end of a round.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// By source, in the order of the reports.
    pub(crate) sources: BTreeMap<String, Vec<Outcome>>,
    /// By list.
    pub(crate) lists: BTreeMap<String, Vec<ListOutcome>>,
}

/// A demand for sources of a type.
pub(crate) fn sources(kind: SourceType, values: &[&str]) -> Demand {
    let key = |value: &&str| SourceKey::new(kind, value).unwrap();
    Demand { sources: values.iter().map(key).collect(), ..Demand::default() }
}

/// A demand for lists.
pub(crate) fn lists(names: &[&str]) -> Demand {
    Demand { lists: names.iter().map(|name| list_id(name)).collect(), ..Demand::default() }
}

/// The list that is shown by this name.
pub(crate) fn list_id(name: &str) -> ListId {
    match name.split_once(':').unwrap() {
        ("file", path) => ListId::File(path.into()),
        ("digitalocean", cluster) => ListId::DigitalOcean(ClusterId::new(cluster).unwrap()),
        ("aptible", vhost) => ListId::Aptible(vhost.parse().unwrap()),
        _ => panic!("no list is called {name}"),
    }
}

impl Bench {
    /// Begins a task that wants `demand`.
    pub(crate) fn new<F>(demand: Demand, run: impl FnOnce(Mailbox) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (demand, wanted) = watch::channel(demand);
        let (commands, orders) = mpsc::channel(4);
        let (sender, reports) = mpsc::channel(4);
        let mailbox = Mailbox {
            demand: wanted,
            commands: orders,
            reports: ReportSender::new(Account::Feeds, sender),
        };
        Self { demand, commands, reports, running: tokio::spawn(run(mailbox)) }
    }

    /// Wants something else.
    pub(crate) fn want(&self, demand: Demand) {
        self.demand.send_replace(demand);
    }

    /// Orders a round.
    pub(crate) async fn poll(&self) {
        self.commands.send(Command::Poll).await.unwrap();
    }

    /// The next batch of reports.
    pub(crate) async fn reports(&mut self) -> Vec<Report> {
        self.reports.recv().await.unwrap().1
    }

    /// Everything reported up to the end of the next round.
    pub(crate) async fn round(&mut self) -> Heard {
        let mut heard = Heard::default();
        loop {
            for report in self.reports().await {
                match report {
                    Report::Source { key, outcome } => {
                        heard.sources.entry(key.value().to_owned()).or_default().push(outcome);
                    }
                    Report::List { list, outcome } => {
                        heard.lists.entry(list.to_string()).or_default().push(outcome);
                    }
                    Report::Round { .. } => return heard,
                }
            }
        }
    }

    /// Orders a round and hears it to its end.
    pub(crate) async fn polled(&mut self) -> Heard {
        self.poll().await;
        self.round().await
    }

    /// Drops the demand and waits for the task to end.
    pub(crate) async fn end(self) {
        drop(self.demand);
        self.running.await.unwrap();
    }
}

impl Heard {
    /// The one outcome of a source; said again it is the same.
    pub(crate) fn source(&self, value: &str) -> &Outcome {
        match self.sources.get(value).map(Vec::as_slice) {
            Some([outcome, again @ ..]) if again.iter().all(|said| said == outcome) => outcome,
            other => panic!("{value}: not one report: {other:?} of {self:?}"),
        }
    }

    /// The one outcome of a list.
    pub(crate) fn list(&self, name: &str) -> &ListOutcome {
        match self.lists.get(name).map(Vec::as_slice) {
            Some([outcome]) => outcome,
            other => panic!("{name}: not one report: {other:?} of {self:?}"),
        }
    }
}
