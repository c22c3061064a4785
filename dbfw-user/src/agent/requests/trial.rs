//! The end of a trial: it is kept, or the configuration before it is in force again.

use dbfw_wire::control::{ControlError, ControlErrorKind, Text};

use super::reload::{Activation, Answer, load, log_cut_off, put_in_force, record, refuse};
use crate::{
    agent::{Agent, history::Kind},
    state::expiry::Reading,
};

/// Keeps the configuration on trial: from now on a restart uses it.
///
/// # Errors
/// None is on trial, or that cannot be written: the trial goes on.
pub(super) async fn keep(agent: &mut Agent, by: &str) -> Result<Text, ControlError> {
    if agent.files.trial().is_none() {
        return Err(none_on_trial(agent));
    }
    let kept = agent.files.kept(&agent.config);
    if let Err(error) = agent.write_state(move |state_dir| kept.keep(state_dir)).await {
        let message = format!("the configuration is not kept, and its trial goes on: {error}");
        return Err(ControlError { kind: ControlErrorKind::Failed, message });
    }
    let on_disk = load(agent).await;
    let is_late = on_disk.is_none();
    agent.files.keep_trial(&agent.config, on_disk);
    agent.trust.end_trial();
    let mut text = match agent.kernel.is_detached() {
        true => {
            "The configuration that was on trial is kept. dbfw is detached, and every port is \
                 open: dbfw reload attaches again."
        }
        false => "The configuration that was on trial stays in force.",
    }
    .to_owned();
    let Some(mut other) = agent.files.kept_other() else {
        record(agent, Kind::TrialKept, by, "");
        tracing::info!(name: "trial_kept", by, "the configuration that was on trial stays in force");
        return Ok(Text { text });
    };
    if is_late {
        other = "the files on disk could not be read in time: if they are not those that were on \
                 trial, the next start or reload takes those on disk"
            .to_owned();
    }
    record(agent, Kind::TrialKept, by, &other);
    tracing::warn!(
        name: "trial_kept",
        by,
        "the configuration that was on trial stays in force, but {other}"
    );
    text.push_str(&format!(" But {other}."));
    Ok(Text { text })
}

/// Goes back to the configuration before the trial.
///
/// # Errors
/// None is on trial, or the kernel refused the policy: the trial goes on.
pub(super) async fn revert(agent: &mut Agent, by: &str) -> Result<Answer, ControlError> {
    go_back(agent, Activation::Back { why: "it was asked for", attaches: true }, by).await
}

/// Goes back if the time of a trial is over.
pub(in crate::agent) async fn end_if_over(agent: &mut Agent) {
    if agent.files.trial().is_some_and(|trial| trial.left(Reading::now()).is_zero()) {
        let activation =
            Activation::Back { why: "its time is over, and nobody kept it", attaches: false };
        log_cut_off(go_back(agent, activation, "trial").await);
    }
}

/// Goes back where the agent stops: no agent would be there when the time is over.
pub(in crate::agent) async fn end_at_stop(agent: &mut Agent) {
    if agent.files.trial().is_some() {
        let activation =
            Activation::Back { why: "the agent stops, and nobody kept it", attaches: false };
        log_cut_off(go_back(agent, activation, "trial").await);
    }
}

/// The error of a request to end a trial when there is none.
fn none_on_trial(agent: &Agent) -> ControlError {
    let ended = if agent.files.trial_ended() { ": the last trial has ended" } else { "" };
    let message =
        format!("no configuration is on trial{ended}; dbfw history tells what is in force");
    ControlError { kind: ControlErrorKind::Failed, message }
}

async fn go_back(
    agent: &mut Agent,
    activation: Activation<'_>,
    by: &str,
) -> Result<Answer, ControlError> {
    let Some(before) = agent.files.trial().map(|trial| trial.before().clone()) else {
        return Err(none_on_trial(agent));
    };
    match put_in_force(agent, before, activation, by).await {
        Ok(answer) => Ok(answer),
        Err(error) => {
            let message = format!(
                "the configuration before the trial cannot be put in force, and the one on trial \
                 stays: {error}; once the time is over it is tried again every 10 s, and at the next \
                 start"
            );
            if agent.files.going_back_failed(Reading::now()) {
                return Err(refuse(agent, ControlErrorKind::Failed, by, message));
            }
            Err(ControlError { kind: ControlErrorKind::Failed, message })
        }
    }
}
