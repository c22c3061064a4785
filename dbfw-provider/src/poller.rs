//! The loop that the workers share: it asks for each thing when that is due.
//!
//! Several are asked for at once, so one that fails does not delay the others. The worker's
//! [`Task`] says what a request is, and after each answer when the next one is due.

#[cfg(test)]
pub(crate) mod bench;
mod schedule;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

use dbfw_core::answers::FetchError;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, pending, ready},
    stream::FuturesUnordered,
};
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use self::schedule::Schedule;
use crate::{
    backoff::Backoff,
    inventory::Inventory,
    worker::{Command, Demand, Mailbox, Report},
};

/// Things asked for at once.
pub(crate) const AT_ONCE: usize = 16;

/// Time between two looks at files.
const LOOK: Duration = Duration::from_secs(1);

/// No wait is longer, whatever is configured: times are added to the clock's.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// A worker's requests, and its use of the answers.
pub(crate) trait Task {
    /// The subject of one request.
    type Key: Ord + Clone + Send + 'static;
    /// The result of a request.
    type Reply;

    /// Takes over what is wanted. What is no longer wanted is forgotten.
    fn want(&mut self, demand: &Demand) -> Wanted<Self::Key>;

    /// Asks. The future runs among others and must not block.
    fn ask(&mut self, key: &Self::Key) -> BoxFuture<'static, Self::Reply>;

    /// Handles the reply: returns the reports, and the time after which the key is due again.
    /// `backoff` has its failures since somebody last wanted to know at once.
    fn handle_reply(
        &mut self,
        key: &Self::Key,
        reply: Self::Reply,
        backoff: &mut Backoff,
    ) -> (Vec<Report>, Duration);

    /// Looks, once a second, at the files that decide: the keys that are due by them. `None`:
    /// there are no such files.
    fn look(&mut self) -> Option<BoxFuture<'static, BTreeSet<Self::Key>>> {
        None
    }

    /// Waits for something that makes keys due at once; those keys.
    fn events(&mut self) -> BoxFuture<'static, BTreeSet<Self::Key>> {
        pending().boxed()
    }

    /// Asks what is known of the account's machines.
    fn inventory(&self) -> BoxFuture<'static, Result<Inventory, FetchError>> {
        ready(Ok(Inventory::default())).boxed()
    }
}

/// The demand, as keys of a worker.
pub(crate) struct Wanted<K> {
    /// All of it.
    pub(crate) all: BTreeSet<K>,
    /// Those to ask for at once, though they may be known.
    pub(crate) now: BTreeSet<K>,
    /// Something else to do at once, whose result is nobody's key.
    pub(crate) errand: Option<BoxFuture<'static, ()>>,
}

impl<K> Default for Wanted<K> {
    fn default() -> Self {
        Self { all: BTreeSet::new(), now: BTreeSet::new(), errand: None }
    }
}

/// Runs a task until nobody can tell it any more what is wanted.
pub(crate) async fn run<T: Task>(mut task: T, mailbox: Mailbox) {
    let Mailbox { mut demand, mut commands, reports } = mailbox;
    let mut schedule = Schedule::default();
    let mut asked = FuturesUnordered::new();
    let mut errands: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look: Option<BoxFuture<'static, BTreeSet<T::Key>>> = None;
    let mut events = task.events();
    let mut round: Option<Instant> = None;
    let mut refreshed: Vec<oneshot::Sender<()>> = Vec::new();
    demand.mark_changed();
    loop {
        let now = Instant::now();
        for (key, number) in schedule.take(now, AT_ONCE - asked.len()) {
            round.get_or_insert(now);
            let reply = task.ask(&key);
            asked.push(reply.map(move |reply| (key, number, reply)));
        }
        if asked.is_empty()
            && let Some(began) = round.take()
        {
            if reports.send(vec![Report::Round { took: began.elapsed() }]).await.is_err() {
                return;
            }
            for reply in refreshed.drain(..) {
                // Whoever asked may have gone.
                let _ = reply.send(());
            }
        }
        let next = schedule.next_due();
        tokio::select! {
            // What is wanted comes first: a refresh is about all of it.
            biased;
            changed = demand.changed() => {
                if changed.is_err() {
                    return;
                }
                let Wanted { all, now: at_once, errand } = task.want(&demand.borrow_and_update());
                schedule.want(all, Instant::now());
                schedule.make_due(&at_once, Instant::now());
                errands.extend(errand);
            }
            Some(command) = commands.recv() => match command {
                command @ (Command::Poll | Command::Refresh(_)) => {
                    let now = Instant::now();
                    schedule.make_all_due(now);
                    // A round of nothing ends too.
                    round.get_or_insert(now);
                    if let Command::Refresh(reply) = command {
                        refreshed.push(reply);
                    }
                }
                Command::Inventory(answer) => {
                    let inventory = task.inventory();
                    errands.push(inventory.map(|found| drop(answer.send(found))).boxed());
                }
            },
            Some(()) = errands.next() => {}
            Some(first) = asked.next() => {
                let mut batch = Vec::new();
                let mut reply = Some(first);
                while let Some((key, number, answer)) = reply {
                    if let Some(backoff) = schedule.asked(&key, number) {
                        let (reports, wait) = task.handle_reply(&key, answer, backoff);
                        batch.extend(reports);
                        schedule.done(&key, Instant::now() + wait.min(LONGEST));
                    }
                    reply = asked.next().now_or_never().flatten();
                }
                if !batch.is_empty() && reports.send(batch).await.is_err() {
                    return;
                }
            }
            () = sleep_until(next.unwrap_or(now)), if next.is_some() && asked.len() < AT_ONCE => {}
            _ = looks.tick(), if look.is_none() => look = task.look(),
            due = wait_for(&mut look), if look.is_some() => {
                look = None;
                schedule.make_due(&due, Instant::now());
            }
            due = &mut events => {
                events = task.events();
                schedule.make_due(&due, Instant::now());
            }
        }
    }
}

async fn wait_for<K>(look: &mut Option<BoxFuture<'static, BTreeSet<K>>>) -> BTreeSet<K> {
    match look {
        Some(look) => look.await,
        None => pending().await,
    }
}

/// The interval, up to a tenth longer or shorter: many agents do not ask at the same moment.
pub(crate) fn jittered(interval: Duration) -> Duration {
    interval.min(LONGEST).mul_f64(0.9 + 0.2 * fastrand::f64())
}
