//! Messages between the agent's loop and the workers that ask the outside world.
//!
//! A worker is told what is wanted and reports what it learned; it holds no policy. It reports
//! on every wanted thing in every round, whatever happens, within the request timeout, and sends
//! the whole answer even if it is the same: the loop compares.

use std::{collections::BTreeSet, time::Duration};

use dbfw_core::{
    answers::{FetchError, ListId, ListOutcome, Outcome},
    source::{SourceKey, SourceType},
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::inventory::Inventory;

/// Lists and sources that a worker keeps fresh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Lists of the worker's account.
    pub lists: BTreeSet<ListId>,
    /// Sources, of the types it resolves.
    pub sources: BTreeSet<SourceKey>,
}

/// Something that a worker learned.
#[derive(Debug)]
pub enum Report {
    /// The result of asking for a list.
    List {
        /// The list.
        list: ListId,
        /// The result.
        outcome: ListOutcome,
    },
    /// The result of asking for a source.
    Source {
        /// The source.
        key: SourceKey,
        /// The result.
        outcome: Outcome,
    },
    /// A round over everything wanted has ended.
    Round {
        /// From its first request to its last answer.
        took: Duration,
    },
}

/// A request to a worker, out of turn.
#[derive(Debug)]
pub enum Command {
    /// Begin a round now, whatever the schedule and the back-off say; the budget still holds.
    Poll,
    /// The same, and reply once everything that is wanted was reported on.
    Refresh(oneshot::Sender<()>),
    /// Reply with what is known of the account's machines, for `dbfw suggest`.
    Inventory(oneshot::Sender<Result<Inventory, FetchError>>),
}

/// A worker's end of its channels. The worker ends when the sender of `demand` is gone.
#[derive(Debug)]
pub struct Mailbox {
    /// The demand; a new value asks at once for what was not wanted before.
    pub demand: watch::Receiver<Demand>,
    /// Requests out of turn.
    pub commands: mpsc::Receiver<Command>,
    /// Reports, in batches.
    pub reports: ReportSender,
}

/// An account that a worker asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// Lists in files.
    Files,
    /// DigitalOcean's API.
    DigitalOcean,
    /// Aptible's API.
    Aptible,
    /// Documents of `feed:` sources.
    Feeds,
    /// Name servers, for `dns:` sources.
    Dns,
    /// A control plane, dbfw-server.
    Server,
}

impl Account {
    /// The name in status and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::DigitalOcean => "digitalocean",
            Self::Aptible => "aptible",
            Self::Feeds => "feeds",
            Self::Dns => "dns",
            Self::Server => "server",
        }
    }

    /// The account that resolves sources of a type; `None`: their own text does.
    pub const fn resolving(kind: SourceType) -> Option<Self> {
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

    /// The account that has a list.
    pub const fn listing(list: &ListId) -> Self {
        match list {
            ListId::File(_) => Self::Files,
            ListId::DigitalOcean(_) => Self::DigitalOcean,
            ListId::Aptible(_) => Self::Aptible,
            ListId::Server(_) => Self::Server,
        }
    }
}

/// A worker's way to the loop.
#[derive(Clone, Debug)]
pub struct ReportSender {
    account: Account,
    queue: mpsc::Sender<(Account, Vec<Report>)>,
}

impl ReportSender {
    /// A sender of one account's reports.
    pub fn new(account: Account, queue: mpsc::Sender<(Account, Vec<Report>)>) -> Self {
        Self { account, queue }
    }

    /// Sends a batch; waits while the queue is full.
    ///
    /// # Errors
    /// The loop has ended, and the worker may end as well.
    pub async fn send(&self, reports: Vec<Report>) -> Result<(), Ended> {
        self.queue.send((self.account, reports)).await.map_err(|_| Ended)
    }
}

/// The loop that a report was meant for has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;
