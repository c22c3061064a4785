//! `dbfw reload` and SIGHUP: reads the configuration again.

use std::{collections::BTreeSet, time::Duration};

use dbfw_core::toml::Problems;
use dbfw_wire::control::{ControlError, ControlErrorKind, Reloaded};
use jiff::Timestamp;

use super::documents;
use crate::{
    agent::{
        Agent,
        cut_off::CutOffQuery,
        history::Kind,
        kernel::Applied,
        openings::Openings,
        trust::{Confirmed, synced},
    },
    config::{self, Config, ConfigChange, DatabaseConfig, Effect},
    state::{expiry::Reading, trial::TrialRecord},
};

/// Time that reading the files of the configuration may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The answer to who asked, and the question who is cut off, which is not for the loop's thread.
pub(super) type Answer = (Reloaded, Option<CutOffQuery>);

/// The way in which a configuration comes in force.
#[derive(Clone, Copy, Debug)]
pub(super) enum Activation<'a> {
    /// For good, with these refused plans.
    Reload { confirmed: &'a BTreeSet<String> },
    /// Until the end of a trial, with these refused plans.
    Trial { confirmed: &'a BTreeSet<String>, lasts: Duration },
    /// By going back to the one before a trial.
    Back {
        why: &'a str,
        /// Whether it attaches what the operator detached.
        attaches: bool,
    },
}

/// Reloads where nobody waits for an answer.
pub(in crate::agent) async fn reload_from_disk(agent: &mut Agent, by: &str) {
    agent.readiness.reloading();
    let result = reload(agent, Activation::Reload { confirmed: &BTreeSet::new() }, by).await;
    log_cut_off(result);
    agent.readiness.reloaded();
}

/// Puts files in force that were bad at the start and are good now.
pub(in crate::agent) async fn take_good_files(agent: &mut Agent, config: Config) {
    agent.readiness.reloading();
    match take(agent, config, Activation::Reload { confirmed: &BTreeSet::new() }, "agent").await {
        Ok(answer) => log_cut_off(Ok(answer)),
        // It is tried again every minute, and told when it begins and when its reason changes.
        Err(message) if agent.files.not_taken(&message) => {
            refuse(agent, ControlErrorKind::Failed, "agent", message);
        }
        Err(_) => {}
    }
    agent.readiness.reloaded();
}

/// Logs who is cut off where nobody waits for an answer. What went wrong was logged.
pub(super) fn log_cut_off(result: Result<Answer, ControlError>) {
    if let Ok((mut reloaded, Some(query))) = result {
        tokio::task::spawn_blocking(move || query.run(&mut reloaded));
    }
}

/// Reads the configuration again and puts it in force.
///
/// # Errors
/// The files are bad, a configuration is on trial, or the kernel refused the policy. Nothing
/// changes then.
pub(super) async fn reload(
    agent: &mut Agent,
    activation: Activation<'_>,
    by: &str,
) -> Result<Answer, ControlError> {
    if let (Activation::Reload { .. }, Some(trial)) = (activation, agent.files.trial()) {
        let message = format!(
            "a configuration is on trial until {:.0}, and nothing was read: dbfw reload --keep \
             keeps it, dbfw reload --revert goes back to the one before; reload after that, or \
             try what is on disk now with dbfw reload --trial{}",
            trial.ends_at(Reading::now()),
            while_detached(agent, "--revert and --trial attach again")
        );
        return Err(refuse(agent, ControlErrorKind::Failed, by, message));
    }
    match load(agent).await {
        Some(Ok(config)) => match take(agent, config, activation, by).await {
            Ok(answer) => Ok(answer),
            Err(message) => Err(refuse(agent, ControlErrorKind::Failed, by, message)),
        },
        None => {
            let message = format!(
                "the configuration could not be read within {} s; the one in force stays",
                LOAD_TIMEOUT.as_secs()
            );
            agent.files.refused(None);
            Err(refuse(agent, ControlErrorKind::Failed, by, message))
        }
        Some(Err(problems)) => {
            record(agent, Kind::ReloadFailed, by, "the configuration is bad");
            let detached = while_detached(agent, "a reload that succeeds attaches again");
            let message = format!(
                "the configuration is bad, the last good one stays in force{detached}:\n{problems}"
            );
            agent.files.refused(Some(problems));
            Err(failed(ControlErrorKind::BadConfig, message))
        }
    }
}

/// The rest of the message of a reload that fails while dbfw is detached, where no policy judges
/// anything.
fn while_detached(agent: &Agent, remedy: &str) -> String {
    match agent.kernel.is_detached() {
        true => format!(". dbfw is detached, and every port is open: {remedy}"),
        false => String::new(),
    }
}

/// Reads the configuration's files; `None`: not in time.
pub(super) async fn load(agent: &Agent) -> Option<Result<Config, Problems>> {
    // Off the loop's thread: a file, or one that it names, may be on a file system that hangs.
    let path = agent.files.path().to_owned();
    let load = tokio::task::spawn_blocking(move || config::load(&path));
    tokio::time::timeout(LOAD_TIMEOUT, load).await.ok()?.ok()
}

/// Puts a configuration in force that was read.
///
/// # Errors
/// The reason in words. Nothing changed.
async fn take(
    agent: &mut Agent,
    config: Config,
    activation: Activation<'_>,
    by: &str,
) -> Result<Answer, String> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let at_start = agent.config.agent.changed_at_start(&config.agent).join(", ");
    let result = match activation {
        Activation::Trial { .. } if !at_start.is_empty() => Err(format!(
            "a change of {at_start} takes effect at a restart of the agent and cannot be tried; \
             nothing changed"
        )),
        Activation::Trial { .. } => {
            let record = match agent.files.trial() {
                Some(trial) => trial.record(&config),
                None => TrialRecord::new(&agent.config, agent.files.in_force_since(), &config),
            };
            agent.write_trial(Some(record)).await.map_err(|error| {
                format!("the way back cannot be kept over a restart, and nothing changed: {error}")
            })
        }
        Activation::Reload { .. } | Activation::Back { .. } => Ok(()),
    };
    result?;
    let result = put_in_force(agent, config, activation, by).await;
    if result.is_ok() && !at_start.is_empty() {
        tracing::warn!("the change of {at_start} takes effect at a restart of the agent");
    }
    if let Activation::Trial { .. } = activation {
        // What is in force is certain now.
        let record = agent.files.trial_record(&agent.config);
        if let Err(error) = agent.write_trial(record).await {
            let begun = if result.is_ok() {
                "does not know that the trial began"
            } else {
                "takes the trial for one that may have begun"
            };
            tracing::warn!("a restart {begun}: {error}");
        }
    }
    if result.is_err() {
        agent.files.refused(None);
    }
    result
}

/// Puts a configuration in force, tells what it opens and closes, and reads it back.
///
/// # Errors
/// The kernel refused the policy. Nothing changes then.
pub(super) async fn put_in_force(
    agent: &mut Agent,
    config: Config,
    activation: Activation<'_>,
    by: &str,
) -> Result<Answer, String> {
    // By the ids that databases have until now.
    agent.take_drops();
    let before = std::mem::replace(&mut agent.config, config);
    let checkpoint = agent.trust.checkpoint();
    agent.trust.follow_config(&agent.config);
    let confirmed = match activation {
        Activation::Reload { confirmed } | Activation::Trial { confirmed, .. } => {
            agent.follow_demand();
            agent.read_files().await;
            Some(Confirmed { plans: confirmed, by })
        }
        Activation::Back { .. } => {
            // Waits for nothing: the lists of both went on, and the others are known.
            agent.trust.take_back(&before, &agent.config);
            agent.follow_demand();
            None
        }
    };
    agent.reevaluate_all(confirmed);
    let applied = match agent.converge() {
        Ok(applied) => applied,
        Err(message) => {
            agent.config = before;
            agent.trust.roll_back(checkpoint);
            agent.follow_demand();
            agent.workers.poll();
            return Err(message);
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
    let mut changes = agent.kernel.changes(&before, &agent.kernel.attached(), &agent.config);
    let openings = Openings::find(&agent.config, &agent.kernel);
    changes.extend(agent.openings.take_over(openings));
    let was_detached = agent.kernel.is_detached();
    let query = CutOffQuery::of_change(agent, &before, &applied.before);
    let generation = agent.kernel.generation();
    let (added, removed) = (applied.added, applied.removed);
    match activation {
        Activation::Reload { .. } => {
            let was_tried = agent.files.trial_ended();
            agent.files.accepted(before.files == agent.config.files, Timestamp::now());
            if was_tried && let Err(error) = agent.write_trial(None).await {
                tracing::error!("a restart goes back to the configuration before: {error}");
            }
            let unread = unread(agent);
            let reasons = unread.as_ref().map_or("", |[reasons, _]| reasons);
            record(agent, Kind::Reloaded, by, reasons);
            match unread {
                None => tracing::info!(
                    by,
                    generation,
                    added,
                    removed,
                    "the configuration was loaded again"
                ),
                Some([_, lists]) => tracing::warn!(
                    by,
                    generation,
                    added,
                    removed,
                    "the configuration was loaded again; {lists}"
                ),
            }
        }
        Activation::Trial { lasts, .. } => {
            let now = Reading::now();
            agent.trust.begin_trial(checkpoint);
            agent.files.begin_trial(before, now.boot.saturating_add(lasts), now.wall);
            let ends_at = agent.files.trial().map_or(now.wall, |trial| trial.ends_at(now));
            let unread = unread(agent).map(|texts| texts.map(|text| format!("; {text}")));
            let [reasons, lists] = unread.unwrap_or_default();
            record(agent, Kind::Reloaded, by, &format!("on trial until {ends_at:.0}{reasons}"));
            tracing::warn!(
                name: "trial_began",
                by,
                generation,
                added,
                removed,
                "the configuration is on trial until {ends_at:.0}: dbfw reload --keep keeps it, \
                 dbfw reload --revert goes back to the one before{lists}"
            );
        }
        Activation::Back { why, .. } => {
            agent.trust.end_trial();
            agent.files.went_back(Timestamp::now());
            record(agent, Kind::TrialEnded, by, why);
            tracing::warn!(
                name: "trial_ended",
                by,
                generation,
                added,
                removed,
                "the configuration before the trial is in force again: {why}"
            );
        }
    }
    // Time alone attaches nothing that the operator detached.
    let stays_detached =
        was_detached && matches!(activation, Activation::Back { attaches: false, .. });
    let (changes, query) = if stays_detached {
        tracing::warn!("everything stays detached: the ports are open to everyone");
        (Vec::new(), None)
    } else {
        if was_detached {
            changes.extend(config::attached_again(&agent.config));
        }
        (changes, query)
    };
    record_changes(agent, &changes, by);
    agent.workers.poll();
    if !stays_detached {
        agent.kernel.follow_config(&agent.config.agent);
    }
    agent.verify().await;
    let mut reloaded = reloaded(agent, &applied, &changes);
    if let Activation::Reload { confirmed } | Activation::Trial { confirmed, .. } = activation {
        reloaded.unconfirmed = agent.trust.unconfirmed(confirmed);
    }
    Ok((reloaded, query))
}

/// The lists that could not be read, for the history with the reasons and for the log, which has
/// those already; `None`: there are none.
fn unread(agent: &Agent) -> Option<[String; 2]> {
    let reasons = agent.trust.list_errors().join("; ").replace('\n', ", ");
    let lists = agent.trust.failed_lists();
    let not_read = |lists: &str| format!("not read, and as before: {lists}");
    (!lists.is_empty()).then(|| [not_read(&reasons), not_read(&lists.join(", "))])
}

/// Writes to log and history what a change of the configuration opened and closed.
pub(in crate::agent) fn record_changes(agent: &mut Agent, changes: &[ConfigChange], by: &str) {
    for change in changes {
        match change.effect() {
            Effect::Opens => {
                tracing::warn!(name: "opened", database = change.database(), "{change}");
            }
            Effect::Closes | Effect::Other => {
                tracing::info!(database = change.database(), "{change}");
            }
        }
    }
    agent.history.record_config_changes(agent.kernel.generation(), changes, by, None);
}

/// Writes to log and history changes that were made at a time that is not known; `when` says what
/// is known of it.
pub(in crate::agent) fn record_unsure_changes(
    agent: &mut Agent,
    changes: &[ConfigChange],
    by: &str,
    when: &str,
) {
    for change in changes {
        tracing::warn!(database = change.database(), "{change} ({when})");
    }
    agent.history.record_config_changes(agent.kernel.generation(), changes, by, Some(when));
}

/// The databases that have another name: one with the same ports went and came.
fn renamed<'a>(
    before: &'a [DatabaseConfig],
    after: &'a [DatabaseConfig],
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let went = before.iter().filter(move |database| !is_in(after, &database.name));
    went.filter_map(move |from| {
        let mut came = after.iter().filter(|database| !is_in(before, &database.name));
        let to = came.find(|database| {
            (&database.ports, &database.destinations) == (&from.ports, &from.destinations)
        })?;
        Some((&*from.name, &*to.name))
    })
}

fn is_in(databases: &[DatabaseConfig], name: &str) -> bool {
    databases.iter().any(|database| database.name == name)
}

/// Records and logs that a reload was refused.
pub(super) fn refuse(
    agent: &mut Agent,
    kind: ControlErrorKind,
    by: &str,
    message: String,
) -> ControlError {
    record(agent, Kind::ReloadFailed, by, &message);
    failed(kind, message)
}

/// Logs that a reload was refused, whoever asked for it.
fn failed(kind: ControlErrorKind, message: String) -> ControlError {
    tracing::error!(name: "reload_failed", "{message}");
    ControlError { kind, message }
}

pub(in crate::agent) fn record(agent: &mut Agent, kind: Kind, by: &str, message: &str) {
    agent.history.record_action(agent.kernel.generation(), kind, by, message);
}

fn reloaded(agent: &Agent, applied: &Applied, changes: &[ConfigChange]) -> Reloaded {
    Reloaded {
        changes: changes.iter().map(documents::config_change).collect(),
        cut_off: Vec::new(),
        connections_error: None,
        generation: agent.kernel.generation(),
        added: applied.added,
        removed: applied.removed,
        refused: agent.trust.refusals(),
        confirmable: agent.trust.confirmable(),
        unconfirmed: Vec::new(),
        failed: agent.trust.list_errors(),
        pending: agent.trust.unanswered(&agent.config),
        restart: agent
            .at_start
            .changed_at_start(&agent.config.agent)
            .into_iter()
            .map(str::to_owned)
            .collect(),
        trial: documents::trial(agent),
    }
}
