//! DigitalOcean: the trusted sources of database clusters, and the addresses of droplets,
//! tags, Kubernetes clusters, apps and VPC networks.
//!
//! [`DigitalOcean`] is the task; `round` one round of it; `plan` says which requests that
//! takes, `fetch` makes them through `lists` and `api`, `facts` holds the answers, and
//! `outcome_cache` what was made of them. [`dbfw_wire::digitalocean`] has the JSON.

mod api;
mod config;
mod cursor;
pub(crate) mod facts;
mod fetch;
mod inventory;
pub(crate) mod listing;
mod lists;
mod outcome_cache;
pub(crate) mod plan;
pub(crate) mod resource;
mod round;
mod rules;
mod schedule;
mod session;
pub(crate) mod sources;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use dbfw_wire::digitalocean::Vpc;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

pub use self::config::{API_URL, AddressKinds, DigitalOceanConfig};
use self::{
    api::{Api, lock},
    cursor::Cursor,
    listing::Listing,
    outcome_cache::OutcomeCache,
    plan::Known,
    schedule::Schedule,
    session::Course,
};
use crate::{
    budget::Budget,
    stats::Stats,
    worker::{Command, Demand, Mailbox, Report},
};

/// Time between two looks at the token's file.
const LOOK: Duration = Duration::from_secs(1);

/// Asks DigitalOcean for what is wanted.
#[derive(Debug)]
pub struct DigitalOcean {
    account: Account,
}

/// State that is kept between rounds.
#[derive(Debug)]
struct Account {
    api: Api,
    known: Mutex<Known>,
    outcomes: Mutex<OutcomeCache>,
    networks: Mutex<Networks>,
    cursor: Mutex<Cursor>,
}

/// The VPC networks that addresses are compared with.
#[derive(Debug, Default)]
struct Networks {
    list: Option<Arc<Listing<Vpc>>>,
    /// The time of the next request for them.
    next: Option<Timestamp>,
}

/// Something that runs beside the loop.
enum Done {
    /// A round over everything.
    Round(Course, Duration),
    /// Anything else.
    Errand,
}

type Job<'a> = Pin<Box<dyn Future<Output = Done> + Send + 'a>>;

impl DigitalOcean {
    /// The task of an account. The budget is shared with whoever else spends from it.
    pub fn new(config: DigitalOceanConfig, budget: Arc<Mutex<Budget>>, stats: Arc<Stats>) -> Self {
        let account = Account {
            api: Api::new(config, budget, stats),
            known: Mutex::default(),
            outcomes: Mutex::default(),
            networks: Mutex::default(),
            cursor: Mutex::default(),
        };
        Self { account }
    }

    /// Runs until nobody sends demands any more.
    pub async fn run(self, mailbox: Mailbox) {
        let Mailbox { mut demand, mut commands, reports } = mailbox;
        let account = &self.account;
        let mut schedule = Schedule::new(account.api.config.poll, Instant::now());
        let mut jobs: FuturesUnordered<Job<'_>> = FuturesUnordered::new();
        let mut running = false;
        let mut commanding = true;
        let mut look = interval_at(Instant::now() + LOOK, LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked = demand.borrow_and_update().clone();
        loop {
            if !running && schedule.is_due(Instant::now()) {
                running = true;
                asked = demand.borrow().clone();
                account.begin(&asked);
                let wanted = asked.clone();
                let (careful, reports) = (schedule.is_careful(), &reports);
                schedule.began(Instant::now());
                jobs.push(Box::pin(async move {
                    let begun = Instant::now();
                    let course = round::run(account, &wanted, careful, reports).await;
                    Done::Round(course, begun.elapsed())
                }));
            }
            tokio::select! {
                changed = demand.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = demand.borrow_and_update().clone();
                    let new = added(&asked, &now);
                    asked = now;
                    lock(&account.outcomes).retain(&asked);
                    if new != Demand::default() {
                        let (careful, reports) = (schedule.is_careful(), &reports);
                        jobs.push(Box::pin(async move {
                            round::run(account, &new, careful, reports).await;
                            Done::Errand
                        }));
                    }
                }
                command = commands.recv(), if commanding => match command {
                    Some(Command::Poll | Command::Refresh(_)) => schedule.at_once(Instant::now()),
                    Some(Command::Inventory(answer)) => jobs.push(Box::pin(async move {
                        // Who asked may have stopped waiting.
                        let _ = answer.send(inventory::take(account).await);
                        Done::Errand
                    })),
                    None => commanding = false,
                },
                Some(done) = jobs.next(), if !jobs.is_empty() => {
                    if let Done::Round(course, took) = done {
                        running = false;
                        account.api.end();
                        let interval = account.api.interval(course.requests);
                        schedule.ended(&course, interval, Instant::now());
                        if reports.send(vec![Report::Round { took }]).await.is_err() {
                            return;
                        }
                    }
                }
                _ = look.tick() => {
                    if account.api.token_changed() {
                        schedule.at_once(Instant::now());
                    }
                }
                () = sleep_until(schedule.due()), if !running => {}
            }
        }
    }
}

impl Account {
    /// A round over `demand` begins: what is not in it is forgotten.
    fn begin(&self, demand: &Demand) {
        self.api.begin();
        lock(&self.outcomes).retain(demand);
        lock(&self.known).retain(demand);
    }
}

impl Networks {
    fn is_due(&self, now: Timestamp) -> bool {
        self.next.is_none_or(|next| now >= next)
    }

    fn set(&mut self, list: &Arc<Listing<Vpc>>, now: Timestamp) {
        self.list = Some(Arc::clone(list));
        self.next = now.checked_add(Duration::from_secs(3600)).ok();
    }

    /// They could not be asked for.
    fn put_off(&mut self, now: Timestamp) {
        self.next = now.checked_add(Duration::from_secs(300)).ok();
    }
}

/// The part of a demand that was not there before.
fn added(before: &Demand, now: &Demand) -> Demand {
    Demand {
        lists: now.lists.difference(&before.lists).cloned().collect(),
        sources: now.sources.difference(&before.sources).cloned().collect(),
    }
}
