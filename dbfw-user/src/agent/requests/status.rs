//! `dbfw status`, and the metrics.

use std::time::Duration;

use super::documents;
use crate::{
    agent::{Agent, configuration::FilesState, connections::CutQuery},
    config::DatabaseConfig,
    metrics::Scrape,
    readers::{
        scrape,
        status::{add_openings, databases},
    },
};
use dbfw_provider::{stats::Stats, worker::Account};
use dbfw_wire::control::{self as wire, AccountStatus, AgentStatus, Enforced, Status};

/// Connections of a refused plan that are named.
const MAX_SHOWN: usize = 20;

/// The document of `dbfw status`, without the connections that refused plans would cut.
pub(super) fn status(agent: &Agent) -> Status {
    let Agent { config, trust, kernel, .. } = agent;
    let protection = agent.protection();
    let mut problems = protection.problems();
    problems.extend(agent.files.problem_on_disk());
    for database in &config.databases {
        problems.extend(trust.problems(config, database, kernel.rules(&database.name)));
    }
    problems.extend(trust.local().not_removed().map(|why| {
        format!("a source that was removed by hand is trusted again by a restart: {why}")
    }));
    problems.extend(trust.local().unreadable_problem());
    problems.extend(trust.without_database(config).into_values());
    problems.extend(agent.history.error());
    problems.extend(agent.disk.problems());
    problems.extend(kernel.own_addresses_problem().map(str::to_owned));
    let mut databases = databases(&kernel.view()).unwrap_or_else(|error| {
        problems.push(error.to_string());
        Vec::new()
    });
    for status in &mut databases {
        status.drops_per_second = agent.traffic.drops_per_second(&status.name);
        if let Some(database) = config.databases.iter().find(|known| known.name == status.name) {
            trust.fill_status(status, database, kernel.rules(&database.name));
        }
    }
    let unjudged = kernel.unjudged(&config.agent);
    problems.extend(add_openings(&mut databases, kernel.policy(), &unjudged));
    let enforced = Enforced::of(&databases);
    Status {
        version: crate::version().to_owned(),
        protected: protection.state() == wire::Protection::Yes && enforced == Enforced::Yes,
        protection: protection.state(),
        enforced,
        problems,
        agent: Some(AgentStatus {
            pid: std::process::id(),
            started_at: agent.started_at,
            ready: agent.readiness.is_ready(),
            detached: kernel.is_detached(),
            generation: kernel.generation(),
            config_ok: config_ok(agent),
            config_since: Some(agent.files.in_force_since()),
            config_files: config.files.iter().map(documents::config_file).collect(),
            trial: documents::trial(agent),
            programs: kernel.program_ids(),
        }),
        agent_absence: None,
        interfaces: kernel.interface_status(&config.agent, &protection),
        backstop: config.agent.backstop.then(|| kernel.backstop_status()),
        passed_on_unjudged: kernel.passed_on_unjudged(&config.agent),
        accounts: account_status(agent),
        databases,
    }
}

/// Whether the configuration in force is what its files said when they were last read.
fn config_ok(agent: &Agent) -> bool {
    *agent.files.files_state() == FilesState::Current
}

/// Every account that is asked over the network.
fn account_status(agent: &Agent) -> Vec<AccountStatus> {
    let status = |(account, stats, round): (Account, &Stats, Option<Duration>)| {
        let stats = stats.values();
        let limited = account == Account::DigitalOcean;
        AccountStatus {
            name: account.as_str().to_owned(),
            requests: stats.requests,
            failures: stats.failures.iter().sum(),
            budget_hour_left: limited.then_some(stats.left_hour),
            budget_minute_left: limited.then_some(stats.left_minute),
            interval_seconds: stats.interval.as_secs_f64(),
            last_round_seconds: round.map(|round| round.as_secs_f64()),
            error: agent.trust.account_error(&agent.config, account),
        }
    };
    agent.workers.accounts().map(status).collect()
}

/// The values of the metrics, read now.
pub(in crate::agent) fn scrape(agent: &mut Agent) -> Scrape {
    let protection = agent.protection();
    let interfaces = agent.kernel.interface_status(&agent.config.agent, &protection);
    let sync = agent.sync.clone();
    let (mut scrape, read) =
        scrape::scrape(&agent.kernel.view(), interfaces, sync, config_ok(agent));
    agent.kernel.counters_read(read);
    let Agent { config, trust, kernel, .. } = agent;
    scrape.protection = protection.state();
    let provider = |(account, stats, _): (_, &Stats, _)| (account, stats.values());
    scrape.providers = agent.workers.accounts().map(provider).collect();
    let databases = config.databases.iter();
    scrape.sources =
        databases.map(|database| trust.counts(database, kernel.rules(&database.name))).collect();
    scrape.history_errors = agent.history.errors();
    scrape.snapshot_unsaved = agent.disk.save_failed();
    scrape.configuration_unsaved = agent.disk.configuration_failed();
    scrape.audit = agent.audit.saved().cloned();
    scrape.audit_errors = agent.audit.errors();
    scrape
}

/// The questions which connections the refused plans would cut, by database.
pub(super) fn cut_queries(agent: &Agent) -> Vec<(String, CutQuery)> {
    let without_hook = agent.kernel.without_hook(&agent.config.agent);
    let query = |database: &DatabaseConfig| {
        let enforced = agent.trust.enforced(&database.name)?;
        let (now, without_hook) = (agent.trust.now(), without_hook.clone());
        let query = CutQuery::of_refused(database, enforced, without_hook, now)?;
        Some((database.name.clone(), query))
    };
    agent.config.databases.iter().filter_map(query).collect()
}

/// Adds to the refused plans of a status the connections that they would cut. It blocks.
pub(super) fn add_connections(status: &mut Status, queries: &[(String, CutQuery)]) {
    for (name, query) in queries {
        let database = status.databases.iter_mut().find(|database| database.name == *name);
        let Some(plan) = database.and_then(|database| database.refused.as_mut()) else { continue };
        match query.run() {
            Ok(cut) => {
                plan.connections_total = cut.len();
                plan.connections = cut.into_iter().take(MAX_SHOWN).collect();
            }
            Err(error) => plan.connections_error = Some(error.to_string()),
        }
    }
}
