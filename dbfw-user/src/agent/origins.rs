//! States of the policy's sources, for `dbfw status`, `dbfw sources` and the metrics.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    connections::{Cut, CutQuery},
    enforced::{Refused, is_listed},
    state::{Agent, with_provider},
};
use crate::{
    answers,
    config::DatabaseConfig,
    control::wire::{
        AccountStatus, DatabaseStatus, ListState, LiveConnection, ProviderStatus, RefusedPlan,
        SourceState, Status,
    },
    metrics::{ProviderScrape, SourceScrape},
    provider::{stats::Stats, worker::Account},
    readers::sources::SourceDetail,
    source::SourceKey,
};

/// Prefixes and connections a refused plan names.
const MAX_SHOWN: usize = 20;

/// Counts of a database's sources by state.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    stale: usize,
    unresolved: usize,
    oldest: Option<Duration>,
}

impl Agent {
    /// The state of a source that has to be asked for; `None`: it is an address.
    pub(super) fn detail(&self, key: &SourceKey) -> Option<SourceDetail> {
        let state = self.cache.state(key);
        if Account::resolving(key.kind()).is_none() {
            let noted = !state.notes.is_empty();
            return noted.then(|| SourceDetail { notes: state.notes, ..SourceDetail::default() });
        }
        if !self.can_ask(key.kind()) {
            let error = "write [digitalocean] with a token_file in the configuration".to_owned();
            return Some(SourceDetail {
                state: SourceState::Unresolvable,
                error: Some(error),
                ..SourceDetail::default()
            });
        }
        Some(SourceDetail {
            state: state.state.into(),
            resolved_from: state.from,
            age_seconds: state.answered_at.map(|at| age(at).as_secs()),
            unresolved: state.unresolved,
            error: state.error.map(|error| error.message),
            notes: state.notes,
        })
    }

    /// The problems of a database's sources, in words.
    pub(super) fn database_problems(&self, database: &DatabaseConfig) -> Vec<String> {
        let name = &database.name;
        let mut problems: Vec<String> = Vec::new();
        problems.extend(self.trouble(name).map(|trouble| format!("{name}: {trouble}")));
        let tally = self.tally(name);
        if tally.stale + tally.unresolved > 0 {
            let told = |count: usize, what: &str| {
                let noun = if count == 1 { "source" } else { "sources" };
                (count > 0).then(|| format!("{count} {noun} {what}"))
            };
            let parts: Vec<String> = [
                told(tally.stale, "could not be confirmed"),
                told(tally.unresolved, "without an address"),
            ]
            .into_iter()
            .flatten()
            .collect();
            problems
                .push(format!("{name}: {}: dbfw sources tells which and why", parts.join(", ")));
        }
        if let Some(list) = self.lists.get(name) {
            problems.extend(
                list.answer()
                    .into_iter()
                    .flat_map(|list| &list.problems)
                    .map(|problem| format!("{name}: {problem}")),
            );
        }
        problems
    }

    fn tally(&self, database: &str) -> Tally {
        use answers::SourceState::{Expired, Gone, Ok, Pending, Stale, Unresolvable};

        let mut tally = Tally::default();
        let databases = self.policy.databases().iter();
        let rules = databases.filter(|policy| policy.name == database).flat_map(|d| &d.rules);
        let asked = rules.filter_map(|rule| rule.source());
        for source in asked.filter(|source| Account::resolving(source.kind()).is_some()) {
            let state = self.cache.state(source.key());
            match state.state {
                Stale | Gone | Expired => tally.stale += 1,
                Unresolvable => tally.unresolved += 1,
                Pending | Ok => {}
            }
            let old = state.answered_at.map(age);
            tally.oldest = tally.oldest.max(old);
        }
        // A file is looked at all the time: when it was read last says nothing.
        let asked = with_provider(&self.config).any(|(config, provider)| {
            config.name == database && Account::listing(provider) != Account::Files
        });
        let list = self.lists.get(database).filter(|_| asked);
        let list = list.and_then(|list| list.read_at).map(age);
        tally.oldest = tally.oldest.max(list);
        tally
    }

    /// Fills in what the agent alone knows of a database.
    pub(super) fn add_sources(&self, status: &mut DatabaseStatus) {
        let Some(database) = self.config.databases.iter().find(|d| d.name == status.name) else {
            return;
        };
        let tally = self.tally(&status.name);
        status.stale_sources = tally.stale;
        status.unresolved_sources = tally.unresolved;
        status.oldest_age_seconds = tally.oldest.map(|age| age.as_secs());
        status.provider = self.provider_status(database);
        let refused = self.enforced.get(&status.name).and_then(|e| e.refused.as_ref());
        status.refused = refused.map(refused_plan);
    }

    fn provider_status(&self, database: &DatabaseConfig) -> Option<ProviderStatus> {
        let name = database.provider.as_ref()?.to_string();
        let list = self.lists.get(&database.name);
        let enforced = self.enforced.get(&database.name);
        let last_success = enforced.and_then(|enforced| enforced.accepted_at);
        let state = if enforced.is_some_and(|enforced| enforced.refused.is_some()) {
            ListState::Refused
        } else if last_success.is_none()
            && enforced.is_none_or(|e| !e.guarded().iter().any(is_listed))
        {
            ListState::Never
        } else if list.is_none_or(|list| list.error.is_some() || list.from_snapshot)
            || last_success.is_none()
        {
            ListState::Stale
        } else {
            ListState::Ok
        };
        Some(ProviderStatus {
            name,
            state,
            last_success,
            age_seconds: last_success.map(|at| age(at).as_secs()),
            error: self.trouble(&database.name),
        })
    }

    /// The questions which connections the refused plans would cut, by database.
    pub(super) fn cut_queries(&self) -> Vec<(String, CutQuery)> {
        let query = |database: &DatabaseConfig| {
            let enforced = self.enforced.get(&database.name)?;
            Some((database.name.clone(), CutQuery::of_refused(database, enforced)?))
        };
        self.config.databases.iter().filter_map(query).collect()
    }

    /// The error of an account that answered nothing of what it was asked.
    fn account_error(&self, account: Account) -> Option<String> {
        let now = Timestamp::now();
        let asked =
            self.written(now).filter(|source| Account::resolving(source.kind()) == Some(account));
        let listed = with_provider(&self.config)
            .filter(|(_, provider)| Account::listing(provider) == account);
        let lists = listed.filter_map(|(database, _)| self.lists.get(&database.name));
        let of_lists = lists.map(|list| list.error.as_ref().map(|(_, error)| error.clone()));
        let of_sources = asked.map(|source| self.cache.trouble(source.key()).map(str::to_owned));
        let mut troubles: Vec<Option<String>> = of_lists.chain(of_sources).collect();
        if troubles.iter().any(Option::is_none) { None } else { troubles.pop().flatten() }
    }

    /// Every account that is asked.
    pub(super) fn account_status(&self) -> Vec<AccountStatus> {
        let status = |(account, stats, round): (Account, &Stats, _)| {
            let stats = stats.snapshot();
            let limited = account == Account::DigitalOcean;
            AccountStatus {
                name: account.as_str().to_owned(),
                requests: stats.requests,
                failures: stats.failures.iter().sum(),
                budget_hour_left: limited.then_some(stats.left_hour),
                budget_minute_left: limited.then_some(stats.left_minute),
                interval_seconds: stats.interval.as_secs_f64(),
                last_round_seconds: Option::<Duration>::map(round, |round| round.as_secs_f64()),
                error: self.account_error(account),
            }
        };
        self.workers.accounts().map(status).collect()
    }

    /// Requests, for the metrics.
    pub(super) fn provider_scrape(&self) -> Vec<ProviderScrape> {
        let scrape = |(account, stats, _): (Account, &Stats, _)| ProviderScrape {
            name: account.as_str().to_owned(),
            stats: stats.snapshot(),
            limits_known: account == Account::DigitalOcean,
        };
        self.workers.accounts().map(scrape).collect()
    }

    /// States of the sources, for the metrics.
    pub(super) fn source_scrape(&self) -> Vec<SourceScrape> {
        let scrape = |database: &DatabaseConfig| {
            let tally = self.tally(&database.name);
            let enforced = self.enforced.get(&database.name);
            SourceScrape {
                database: database.name.clone(),
                stale: tally.stale as u64,
                unresolved: tally.unresolved as u64,
                oldest_age_seconds: tally.oldest.map_or(0.0, |age| age.as_secs_f64()),
                refused: enforced.is_some_and(|enforced| enforced.refused.is_some()),
            }
        };
        self.config.databases.iter().map(scrape).collect()
    }
}

/// A refused plan, without the connections that it would cut.
fn refused_plan(refused: &Refused) -> RefusedPlan {
    RefusedPlan {
        id: refused.id.clone(),
        guard: refused.guard().into(),
        message: refused.message(),
        lost: refused.lost.iter().take(MAX_SHOWN).map(ToString::to_string).collect(),
        lost_total: refused.lost.len(),
        connections: Vec::new(),
        connections_total: 0,
        connections_error: None,
        command: refused.command(),
    }
}

/// Adds to the refused plans of a status the connections that they would cut. It blocks.
pub(super) fn add_connections(status: &mut Status, queries: &[(String, CutQuery)]) {
    for (name, query) in queries {
        let database = status.databases.iter_mut().find(|database| database.name == *name);
        let Some(plan) = database.and_then(|database| database.refused.as_mut()) else { continue };
        match query.run() {
            Ok(cut) => {
                plan.connections_total = cut.len();
                plan.connections = cut.iter().take(MAX_SHOWN).map(live_connection).collect();
            }
            Err(error) => plan.connections_error = Some(error.to_string()),
        }
    }
}

fn live_connection(cut: &Cut) -> LiveConnection {
    LiveConnection {
        peer: cut.connection.peer.to_string(),
        port: cut.connection.local_port,
        source_prefix: cut.prefix.to_string(),
    }
}

fn age(at: Timestamp) -> Duration {
    Timestamp::now().duration_since(at).try_into().unwrap_or_default()
}
