//! The worker: rounds at their time, and what is asked for between them.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use dbfw_core::answers::{Cause, FetchError};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::{
    DigitalOceanConfig,
    client::{Client, Course},
    inventory, round,
};
use crate::{
    backoff::Backoff,
    budget::Budget,
    poller::jittered,
    stats::Stats,
    worker::{Command, Demand, Mailbox, Report},
};

/// Time between two looks at the token's file.
const LOOK: Duration = Duration::from_secs(1);

/// Later than any round takes.
const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Asks DigitalOcean for what is wanted.
#[derive(Debug)]
pub struct DigitalOcean {
    client: Client,
}

/// Something that runs beside the loop.
enum Done {
    /// A round over everything.
    Round(Course, Duration),
    /// Anything else.
    Errand,
}

type Job<'a> = Pin<Box<dyn Future<Output = Done> + Send + 'a>>;

/// The times of rounds.
#[derive(Debug)]
struct Schedule {
    poll: Duration,
    backoff: Backoff,
    begun: Instant,
    due: Instant,
}

impl DigitalOcean {
    /// The worker of an account. The budget is shared with whoever else spends from it.
    pub fn new(config: DigitalOceanConfig, budget: Arc<Mutex<Budget>>, stats: Arc<Stats>) -> Self {
        Self { client: Client::new(config, budget, stats) }
    }

    /// Runs until nobody sends demands any more.
    pub async fn run(self, mailbox: Mailbox) {
        let Mailbox { mut demand, mut commands, reports } = mailbox;
        let (client, reports) = (&self.client, &reports);
        let mut schedule = Schedule::new(client.config.poll, Instant::now());
        let mut jobs: FuturesUnordered<Job<'_>> = FuturesUnordered::new();
        let mut rounds = 0_usize;
        let mut running = false;
        let mut commanding = true;
        let mut look = interval_at(Instant::now() + LOOK, LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked = demand.borrow_and_update().clone();
        loop {
            if !running && schedule.is_due(Instant::now()) {
                running = true;
                rounds += 1;
                asked = demand.borrow().clone();
                let wanted = asked.clone();
                schedule.began(Instant::now());
                jobs.push(Box::pin(async move {
                    let begun = Instant::now();
                    let course = round::run(client, &wanted, rounds, reports).await;
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
                    if new != Demand::default() {
                        jobs.push(Box::pin(async move {
                            round::run(client, &new, rounds, reports).await;
                            Done::Errand
                        }));
                    }
                }
                command = commands.recv(), if commanding => match command {
                    Some(Command::Poll | Command::Refresh(_)) => schedule.at_once(Instant::now()),
                    Some(Command::Inventory(answer)) => jobs.push(Box::pin(async move {
                        // Who asked may have stopped waiting.
                        let _ = answer.send(inventory::take(client).await);
                        Done::Errand
                    })),
                    None => commanding = false,
                },
                Some(done) = jobs.next(), if !jobs.is_empty() => {
                    if let Done::Round(course, took) = done {
                        running = false;
                        client.forget_old();
                        let interval = client.interval(course.requests);
                        schedule.ended(&course, interval, Instant::now());
                        if reports.send(vec![Report::Round { took }]).await.is_err() {
                            return;
                        }
                    }
                }
                _ = look.tick() => {
                    if client.token_changed() {
                        schedule.at_once(Instant::now());
                    }
                }
                () = sleep_until(schedule.due), if !running => {}
            }
        }
    }
}

impl Schedule {
    /// The first round is due `now`.
    fn new(poll: Duration, now: Instant) -> Self {
        Self { poll, backoff: Backoff::default(), begun: now, due: now }
    }

    fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// A round begins. The one after it is due once this one has ended, unless somebody asks
    /// for it meanwhile.
    fn began(&mut self, now: Instant) {
        self.begun = now;
        self.due = now + FAR;
    }

    /// Somebody wants a round now, whatever failed before.
    fn at_once(&mut self, now: Instant) {
        self.backoff.succeeded();
        self.due = now;
    }

    /// A round ended; the next one begins `interval` after it began, sooner or later by a
    /// tenth, or later if all of it failed or the server wants to be left alone.
    fn ended(&mut self, course: &Course, interval: Duration, now: Instant) {
        let is_refusal = |error: &&FetchError| {
            matches!(error.cause, Cause::Unauthorized | Cause::RateLimited)
                || error.retry_after.is_some()
        };
        let failed = match course.answered {
            true => course.broken.as_ref().filter(is_refusal),
            false => course.broken.as_ref().or(course.failure.as_ref()),
        };
        let next = match failed {
            Some(error) => {
                now + self.backoff.failed(self.poll, error.cause, error.retry_after).max(interval)
            }
            None => {
                self.backoff.succeeded();
                self.begun + jittered(interval)
            }
        };
        self.due = self.due.min(next);
    }
}

/// The part of a demand that was not there before.
fn added(before: &Demand, now: &Demand) -> Demand {
    Demand {
        lists: now.lists.difference(&before.lists).cloned().collect(),
        sources: now.sources.difference(&before.sources).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(10);

    fn failed(cause: Cause, retry_after: Option<Duration>) -> Course {
        let error = FetchError { retry_after, ..FetchError::new(cause, "x") };
        Course { failure: Some(error), ..Course::default() }
    }

    fn wait(schedule: &mut Schedule, course: &Course, interval: Duration) -> Duration {
        let now = Instant::now();
        schedule.began(now);
        assert!(!schedule.is_due(now + Duration::from_secs(86_400)));
        schedule.ended(course, interval, now);
        schedule.due - now
    }

    #[test]
    fn rounds_keep_their_distance() {
        let mut schedule = Schedule::new(POLL, Instant::now());
        assert!(schedule.is_due(Instant::now()));
        let good = Course { answered: true, ..failed(Cause::Server, None) };
        for interval in [POLL, POLL * 3] {
            for _ in 0..50 {
                let wait = wait(&mut schedule, &good, interval);
                assert!(wait >= interval.mul_f64(0.9) && wait <= interval.mul_f64(1.1), "{wait:?}");
            }
        }
    }

    #[test]
    fn failures_put_rounds_off() {
        let mut schedule = Schedule::new(POLL, Instant::now());
        assert_eq!(wait(&mut schedule, &failed(Cause::Server, None), POLL), POLL);
        assert!(wait(&mut schedule, &failed(Cause::Server, None), POLL) >= POLL.mul_f64(1.6));
        // The budget's interval holds all the same.
        assert_eq!(wait(&mut schedule, &failed(Cause::Server, None), POLL * 50), POLL * 50);
        let mut schedule = Schedule::new(POLL, Instant::now());
        assert!(wait(&mut schedule, &failed(Cause::Unauthorized, None), POLL) >= POLL * 3);
        let asked = Some(Duration::from_secs(100));
        assert!(wait(&mut schedule, &failed(Cause::RateLimited, asked), POLL) >= POLL * 10);
        // A refusal counts even if something was answered before it.
        let broken = Course {
            answered: true,
            broken: failed(Cause::RateLimited, asked).failure,
            ..Course::default()
        };
        assert!(wait(&mut schedule, &broken, POLL) >= POLL * 10);
        // A few slow resources do not put off the others.
        let broken = Course {
            answered: true,
            broken: failed(Cause::Timeout, None).failure,
            ..Course::default()
        };
        assert!(wait(&mut schedule, &broken, POLL) <= POLL.mul_f64(1.1));
    }

    #[test]
    fn a_wish_goes_before_the_schedule() {
        let now = Instant::now();
        let mut schedule = Schedule::new(POLL, now);
        for _ in 0..5 {
            wait(&mut schedule, &failed(Cause::Unauthorized, None), POLL);
        }
        schedule.at_once(now);
        assert!(schedule.is_due(now));
        // During a round, for right after it.
        schedule.began(now);
        schedule.at_once(now);
        schedule.ended(&failed(Cause::Unauthorized, None), POLL, now);
        assert!(schedule.is_due(now));
        assert!(wait(&mut schedule, &failed(Cause::Unauthorized, None), POLL) <= POLL * 8);
    }
}
