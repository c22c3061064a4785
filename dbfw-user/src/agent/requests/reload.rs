//! `dbfw reload` and SIGHUP: reads the configuration again.

use std::{collections::BTreeSet, time::Duration};

use dbfw_wire::control::{self as wire, ChangeEffect, ControlError, ControlErrorKind, Reloaded};
use jiff::Timestamp;

use crate::{
    agent::{Agent, cut_off::CutOffQuery, history::Kind, kernel::Applied, trust::synced},
    config::{self, ConfigChange, DatabaseConfig, Effect},
};

/// Time that reading the files of the configuration may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Reloads where nobody waits for an answer.
pub(in crate::agent) async fn reload_from_disk(agent: &mut Agent, by: &str) {
    agent.readiness.reloading();
    // What went wrong was logged.
    if let Ok((mut reloaded, Some(query))) = reload(agent, &BTreeSet::new(), by).await {
        tokio::task::spawn_blocking(move || query.run(&mut reloaded));
    }
    agent.readiness.reloaded();
}

/// Reads the configuration again and puts it in force, with the refused plans in `confirmed`.
/// Returns what changed, and the question who is cut off by it, which is not for the loop's thread.
///
/// # Errors
/// The files are bad, or the kernel refused the policy. Nothing changes then.
pub(super) async fn reload(
    agent: &mut Agent,
    confirmed: &BTreeSet<String>,
    by: &str,
) -> Result<(Reloaded, Option<CutOffQuery>), ControlError> {
    // Off the loop's thread: a file, or one that it names, may be on a file system that hangs.
    let path = agent.files.path().to_owned();
    let load = tokio::task::spawn_blocking(move || config::load(&path));
    let config = match tokio::time::timeout(LOAD_TIMEOUT, load).await {
        Ok(Ok(Ok(config))) => config,
        Err(_) | Ok(Err(_)) => {
            let message = format!(
                "the configuration could not be read within {} s; the one in force stays",
                LOAD_TIMEOUT.as_secs()
            );
            record(agent, Kind::ReloadFailed, by, &message);
            agent.files.refused(None);
            return Err(refused(ControlErrorKind::Failed, message));
        }
        Ok(Ok(Err(problems))) => {
            record(agent, Kind::ReloadFailed, by, "the configuration is bad");
            let message =
                format!("the configuration is bad, the last good one stays in force:\n{problems}");
            agent.files.refused(Some(problems));
            return Err(refused(ControlErrorKind::BadConfig, message));
        }
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let (old, new) = (&agent.config.agent, &config.agent);
    if (&old.state_dir, &old.run_dir, &old.pin_dir, old.metrics_listen)
        != (&new.state_dir, &new.run_dir, &new.pin_dir, new.metrics_listen)
    {
        tracing::warn!("a changed directory or metrics_listen takes effect at the next start");
    }
    // By the ids that databases have until now.
    agent.take_drops();
    let before = std::mem::replace(&mut agent.config, config);
    let checkpoint = agent.trust.checkpoint();
    agent.trust.follow_config(&agent.config);
    agent.follow_demand();
    agent.read_files().await;
    agent.reevaluate_all(confirmed);
    let applied = match agent.converge() {
        Ok(applied) => applied,
        Err(message) => {
            agent.config = before;
            agent.files.refused(None);
            agent.trust.roll_back(checkpoint);
            agent.follow_demand();
            agent.workers.poll();
            record(agent, Kind::ReloadFailed, by, &message);
            return Err(refused(ControlErrorKind::Failed, message));
        }
    };
    agent.sync.set_databases(synced(&agent.config).map(|database| &*database.name));
    for (from, to) in renamed(&before.databases, &agent.config.databases) {
        agent.traffic.rename_database(from, to);
    }
    agent.traffic.follow_databases(&agent.config.databases, agent.trust.now());
    let went = agent.trust.without_database(&agent.config).into_iter();
    for (_, text) in went.filter(|(name, _)| is_in(&before.databases, name)) {
        tracing::warn!("{text}");
    }
    agent.files.accepted(before.files == agent.config.files, Timestamp::now());
    record(agent, Kind::Reloaded, by, "");
    let changes = config::changes(&before, &agent.config);
    for change in &changes {
        match change.effect() {
            Effect::Opens => {
                tracing::warn!(name: "opened", database = change.database(), "{change}");
            }
            Effect::Closes | Effect::Other => {
                tracing::info!(database = change.database(), "{change}");
            }
        }
    }
    let generation = agent.kernel.generation();
    let (added, removed) = (applied.added, applied.removed);
    tracing::info!(by, generation, added, removed, "the configuration was loaded again");
    agent.history.record_config_changes(agent.kernel.generation(), &changes, by);
    agent.workers.poll();
    agent.kernel.follow_config(&agent.config.agent);
    agent.verify().await;
    let query = CutOffQuery::of_changes(agent, &changes);
    Ok((reloaded(agent, &applied, &changes), query))
}

/// The databases that have another name: one with the same ports went and came.
fn renamed<'a>(
    before: &'a [DatabaseConfig],
    after: &'a [DatabaseConfig],
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let ports = |database: &DatabaseConfig| BTreeSet::from_iter(database.ports.iter().copied());
    let went = before.iter().filter(move |database| !is_in(after, &database.name));
    went.filter_map(move |from| {
        let mut came = after.iter().filter(|database| !is_in(before, &database.name));
        let to = came.find(|database| ports(database) == ports(from))?;
        Some((&*from.name, &*to.name))
    })
}

fn is_in(databases: &[DatabaseConfig], name: &str) -> bool {
    databases.iter().any(|database| database.name == name)
}

/// Logs that a reload was refused, whoever asked for it.
fn refused(kind: ControlErrorKind, message: String) -> ControlError {
    tracing::error!(name: "reload_failed", "{message}");
    ControlError { kind, message }
}

fn record(agent: &mut Agent, kind: Kind, by: &str, message: &str) {
    agent.history.record_action(agent.kernel.generation(), kind, by, message);
}

fn reloaded(agent: &Agent, applied: &Applied, changes: &[ConfigChange]) -> Reloaded {
    let change = |change: &ConfigChange| wire::ConfigChange {
        effect: match change.effect() {
            Effect::Opens => ChangeEffect::Opens,
            Effect::Closes => ChangeEffect::Closes,
            Effect::Other => ChangeEffect::Other,
        },
        database: change.database().map(str::to_owned),
        text: change.to_string(),
    };
    Reloaded {
        changes: changes.iter().map(change).collect(),
        cut_off: Vec::new(),
        connections_error: None,
        generation: agent.kernel.generation(),
        added: applied.added,
        removed: applied.removed,
        refused: agent.trust.refusals(),
        failed: agent.trust.list_errors(),
        pending: agent.trust.unanswered(&agent.config),
    }
}
