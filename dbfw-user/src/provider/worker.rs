//! What goes between the agent's loop and the tasks that ask the outside world.
//!
//! A task is told what is wanted and reports what it learned; it holds no policy. Every
//! wanted thing is reported on in every round, whatever happens, within the request timeout.

use std::{collections::BTreeSet, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};

use super::inventory::Inventory;
use crate::{
    answers::{FetchError, Outcome},
    source::{SourceKey, TrustedSource},
};

/// What a task is to keep fresh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Lists, by the provider's name ("digitalocean:9cc10173-…").
    pub lists: BTreeSet<String>,
    /// Sources of the types it resolves.
    pub sources: BTreeSet<SourceKey>,
}

/// What a task learned.
#[derive(Debug)]
pub enum Report {
    /// Of a list.
    List {
        /// The provider's name.
        provider: String,
        /// What became of asking for it.
        outcome: ListOutcome,
    },
    /// Of a source.
    Source {
        /// Which.
        key: SourceKey,
        /// What became of asking for it.
        outcome: Outcome,
    },
    /// A round over everything wanted has ended.
    Round {
        /// From its first request to its last answer.
        took: Duration,
    },
}

/// What became of asking for a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListOutcome {
    /// All of it.
    List {
        /// The rules, in the provider's order.
        sources: Vec<TrustedSource>,
        /// Rules that mean nothing here (an unknown type, a value that is no address), in
        /// words that name the provider, the rule and the field.
        problems: Vec<String>,
    },
    /// The same as the last one.
    Unchanged,
    /// No usable answer.
    Failed(FetchError),
    /// The provider says that there is no such thing (404).
    Gone(String),
}

/// What a task may be asked to do out of turn.
#[derive(Debug)]
pub enum Command {
    /// Begin a round now, whatever the schedule and the back-off say; the budget still holds.
    Poll,
    /// Tell what is known of the account's machines, for `dbfw suggest`.
    Inventory(oneshot::Sender<Result<Inventory, FetchError>>),
}

/// A task's end of the wire. It ends when the sender of `demand` is gone.
#[derive(Debug)]
pub struct Mailbox {
    /// What is wanted; a new value asks at once for what was not wanted before.
    pub demand: watch::Receiver<Demand>,
    /// Orders out of turn.
    pub commands: mpsc::Receiver<Command>,
    /// What was learned, in batches.
    pub reports: mpsc::Sender<Vec<Report>>,
}
