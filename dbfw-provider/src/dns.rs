//! `dns:` sources: the addresses of a host name.
//!
//! A name is fully qualified, whatever resolv.conf searches; the hosts file is not read.
//! Nothing is cached beyond asking again when the TTL is over.

mod client;
mod config;
mod judge;
mod resolvers;
mod runtime;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use dbfw_core::{
    answers::{Outcome, Part},
    source::{SourceKey, SourceType},
};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, join, ready},
};

pub use self::{config::DnsConfig, resolvers::nameservers};
use self::{
    judge::{FAMILIES, FamilyAnswer, judge},
    resolvers::Resolvers,
};
use crate::{
    backoff::Backoff,
    poller::{self, Task, Wanted},
    stats::Stats,
    worker::{Demand, Mailbox, Report},
};

/// Keeps the addresses of host names fresh.
#[derive(Debug)]
pub struct Names {
    config: DnsConfig,
    stats: Arc<Stats>,
    resolvers: Resolvers,
}

impl Names {
    /// Names that were not asked for yet.
    pub fn new(config: DnsConfig, stats: Arc<Stats>) -> Self {
        let resolvers = Resolvers::new(&config);
        Self::with(config, stats, resolvers)
    }

    fn with(config: DnsConfig, stats: Arc<Stats>, resolvers: Resolvers) -> Self {
        Self { config, stats, resolvers }
    }

    /// Works until the other end of the mailbox is gone.
    pub async fn run(self, mailbox: Mailbox) {
        poller::run(self, mailbox).await;
    }
}

impl Task for Names {
    type Key = SourceKey;
    type Reply = (FamilyAnswer, FamilyAnswer);

    fn want(&mut self, demand: &Demand) -> Wanted<SourceKey> {
        let names = demand.sources.iter().filter(|key| key.kind() == SourceType::Dns);
        Wanted { all: names.cloned().collect(), ..Wanted::default() }
    }

    fn ask(&mut self, key: &SourceKey) -> BoxFuture<'static, (FamilyAnswer, FamilyAnswer)> {
        for _ in FAMILIES {
            self.stats.request();
        }
        match self.resolvers.client() {
            Ok(client) => {
                let name = key.value().to_owned();
                async move {
                    let [v4, v6] = FAMILIES.map(|family| client.ask(&name, family));
                    join(v4, v6).await
                }
                .boxed()
            }
            Err(error) => {
                ready((FamilyAnswer::Failed(error.clone()), FamilyAnswer::Failed(error))).boxed()
            }
        }
    }

    fn handle_reply(
        &mut self,
        key: &SourceKey,
        (v4, v6): (FamilyAnswer, FamilyAnswer),
        backoff: &mut Backoff,
    ) -> (Vec<Report>, Duration) {
        let (outcome, next) = judge(key.value(), v4, v6, &self.config);
        match &outcome {
            Outcome::Failed(error) => self.stats.failure(error.cause),
            Outcome::Answer(answer) => {
                for part in answer.parts.values() {
                    if let Part::Failed(error) = part {
                        self.stats.failure(error.cause);
                    }
                }
            }
            Outcome::Gone(_) => {}
        }
        let backed_off = match next.failure {
            Some(cause) => Some(backoff.failed(self.config.min_ttl, cause, None)),
            None => {
                backoff.succeeded();
                None
            }
        };
        let wait = backed_off.into_iter().chain(next.ttl).min().unwrap_or(self.config.min_ttl);
        (vec![Report::Source { key: key.clone(), outcome }], wait)
    }
}
