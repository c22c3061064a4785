//! The worker: rounds over everything, and requests for what is new between them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use dbfw_core::answers::{Cause, FetchError};
use dbfw_wire::digitalocean::ErrorBody;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, ready},
};
use tokio::time::Instant;

use super::{DigitalOceanConfig, inventory, round, sources::k8s::Options};
use crate::{
    api::{Client, Progress, Provider},
    backoff::Backoff,
    budget::Budget,
    inventory::Inventory,
    poller::{self, Task, Wanted, jittered},
    stats::Stats,
    worker::{Demand, Mailbox, Report, ReportSender},
};

const PROVIDER: Provider = Provider {
    name: "DigitalOcean",
    accept: "application/json",
    is_own_error: |body| serde_json::from_slice::<ErrorBody>(body).is_ok(),
};

/// Asks DigitalOcean for what is wanted.
#[derive(Debug)]
pub struct DigitalOcean {
    client: Arc<Client>,
    poll: Duration,
    options: Options,
}

impl DigitalOcean {
    /// The worker of an account. The budget is shared with whoever else spends from it.
    pub fn new(config: DigitalOceanConfig, budget: Arc<Mutex<Budget>>, stats: Arc<Stats>) -> Self {
        let DigitalOceanConfig { api_url, token, http, poll, .. } = config;
        let options = Options { kinds: config.addresses, pod_subnets: config.pod_subnets };
        let client = Client::new(PROVIDER, api_url, token, &http, Some(budget), stats);
        Self { client: Arc::new(client), poll, options }
    }

    /// Runs until nobody sends demands any more.
    pub async fn run(self, mailbox: Mailbox) {
        let reports = mailbox.reports.clone();
        let rounds = Rounds { worker: self, reports, demand: Demand::default(), begun: 0 };
        poller::run(rounds, mailbox).await;
    }
}

/// Rounds over everything that is wanted.
struct Rounds {
    worker: DigitalOcean,
    reports: ReportSender,
    demand: Demand,
    /// Rounds so far.
    begun: usize,
}

impl Rounds {
    /// Asks for all of `demand`, and reports as answers come.
    fn ask_for(&self, demand: Demand) -> BoxFuture<'static, (Progress, Duration)> {
        let client = Arc::clone(&self.worker.client);
        let (reports, begun, options) = (self.reports.clone(), self.begun, self.worker.options);
        async move {
            let now = Instant::now();
            let progress = round::run(&client, &demand, begun, options, &reports).await;
            (progress, now.elapsed())
        }
        .boxed()
    }
}

impl Task for Rounds {
    /// There is one thing to ask for: everything.
    type Key = ();
    type Reply = (Progress, Duration);

    fn want(&mut self, demand: &Demand) -> Wanted<()> {
        let new = added(&self.demand, demand);
        self.demand = demand.clone();
        // The first round asks for all of it.
        let is_asked = self.begun == 0 || new == Demand::default();
        let errand = (!is_asked).then(|| self.ask_for(new).map(drop).boxed());
        Wanted { all: [()].into(), errand, ..Wanted::default() }
    }

    fn ask(&mut self, (): &()) -> BoxFuture<'static, (Progress, Duration)> {
        self.begun += 1;
        self.ask_for(self.demand.clone())
    }

    /// The reports are sent already.
    fn handle_reply(
        &mut self,
        (): &(),
        (progress, took): (Progress, Duration),
        backoff: &mut Backoff,
    ) -> (Vec<Report>, Duration) {
        let poll = self.worker.poll;
        let interval = self.worker.client.interval(poll, progress.requests);
        (Vec::new(), wait(&progress, took, poll, interval, backoff))
    }

    fn look(&mut self) -> Option<BoxFuture<'static, BTreeSet<()>>> {
        let due = self.worker.client.token_changed().then_some(());
        Some(ready(due.into_iter().collect()).boxed())
    }

    fn inventory(&self) -> BoxFuture<'static, Result<Inventory, FetchError>> {
        let (client, options) = (Arc::clone(&self.worker.client), self.worker.options);
        async move { inventory::take(&client, options).await }.boxed()
    }
}

/// The time from the end of a round to the next one. That begins `interval` after this one
/// began, sooner or later by a tenth, or later if all of it failed or the server wants to be
/// left alone.
fn wait(
    progress: &Progress,
    took: Duration,
    poll: Duration,
    interval: Duration,
    backoff: &mut Backoff,
) -> Duration {
    let is_refusal = |error: &&FetchError| {
        matches!(error.cause, Cause::Unauthorized | Cause::RateLimited)
            || error.retry_after.is_some()
    };
    let failed = match progress.answered {
        true => progress.broken.as_ref().filter(is_refusal),
        false => progress.broken.as_ref().or(progress.failure.as_ref()),
    };
    match failed {
        Some(error) => backoff.failed(poll, error.cause, error.retry_after).max(interval),
        None => {
            backoff.succeeded();
            jittered(interval).saturating_sub(took)
        }
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

    fn failed(cause: Cause, retry_after: Option<Duration>) -> Progress {
        let error = FetchError { retry_after, ..FetchError::new(cause, "x") };
        Progress { failure: Some(error), ..Progress::default() }
    }

    fn after(progress: &Progress, interval: Duration, backoff: &mut Backoff) -> Duration {
        wait(progress, Duration::ZERO, POLL, interval, backoff)
    }

    #[test]
    fn rounds_keep_their_distance() {
        let good = Progress { answered: true, ..failed(Cause::Server, None) };
        let took = Duration::from_secs(2);
        for interval in [POLL, POLL * 3] {
            for _ in 0..50 {
                let wait = wait(&good, took, POLL, interval, &mut Backoff::default()) + took;
                assert!(wait >= interval.mul_f64(0.9) && wait <= interval.mul_f64(1.1), "{wait:?}");
            }
        }
        let late = wait(&good, POLL * 2, POLL, POLL, &mut Backoff::default());
        assert_eq!(late, Duration::ZERO);
    }

    #[test]
    fn failures_put_rounds_off() {
        let backoff = &mut Backoff::default();
        assert_eq!(after(&failed(Cause::Server, None), POLL, backoff), POLL);
        assert!(after(&failed(Cause::Server, None), POLL, backoff) >= POLL.mul_f64(1.6));
        // The budget's interval holds all the same.
        assert_eq!(after(&failed(Cause::Server, None), POLL * 50, backoff), POLL * 50);
        let backoff = &mut Backoff::default();
        assert!(after(&failed(Cause::Unauthorized, None), POLL, backoff) >= POLL * 3);
        let asked = Some(Duration::from_secs(100));
        assert!(after(&failed(Cause::RateLimited, asked), POLL, backoff) >= POLL * 10);
        // A refusal counts even if something was answered before it.
        let broken = Progress {
            answered: true,
            broken: failed(Cause::RateLimited, asked).failure,
            ..Progress::default()
        };
        assert!(after(&broken, POLL, backoff) >= POLL * 10);
        // A few slow resources do not put off the others.
        let broken = Progress {
            answered: true,
            broken: failed(Cause::Timeout, None).failure,
            ..Progress::default()
        };
        assert!(after(&broken, POLL, backoff) <= POLL.mul_f64(1.1));
    }
}
