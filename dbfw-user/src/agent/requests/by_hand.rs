//! `dbfw trust`: sources added and removed by hand.

use std::io;

use dbfw_core::source::{GrammarError, TrustedSource};
use dbfw_wire::control::{self as wire, ControlErrorKind, TrustList};
use jiff::Timestamp;

use crate::{
    agent::{
        history::Kind,
        kernel::Kernel,
        open_calls::Change,
        state::Agent,
        trust::{Trust, can_resolve},
    },
    control::server::Call,
    state::local::{LocalChange, LocalSource},
};

/// The reason why a change is refused, for the caller.
type Invalid = String;

/// Begins a change by hand, or queues it behind the one that is being written. It is answered
/// by [`saved`].
pub(super) fn change(agent: &mut Agent, call: Call, change: Change) {
    if agent.trust.local().is_saving() {
        return agent.calls.queue(call, change);
    }
    match begin_change(agent, change) {
        Ok(()) => agent.calls.begin_change(call),
        Err(message) => call.fail(ControlErrorKind::Invalid, message),
    }
}

fn begin_change(agent: &mut Agent, change: Change) -> Result<(), Invalid> {
    match change {
        Change::Add { database, source, expires_at, why } => {
            let added = source_to_add(agent, database, &source, expires_at, why)?;
            agent.trust.local_mut().begin_add(added);
        }
        Change::Remove { database, source } => {
            let source = parse(&source)?;
            if !agent.trust.local_mut().begin_remove(&database, &source) {
                return Err(format!(
                    "{source} was not added by hand to database {database}: dbfw trust list \
                     shows what was, dbfw sources where the others come from"
                ));
            }
        }
    }
    Ok(())
}

fn source_to_add(
    agent: &Agent,
    database: String,
    text: &str,
    expires_at: Option<Timestamp>,
    why: Option<String>,
) -> Result<LocalSource, Invalid> {
    if !agent.kernel.ids().contains_key(&database) {
        return Err(unknown_database(&agent.kernel, &database));
    }
    let now = agent.trust.now();
    if let Some(at) = expires_at.filter(|at| *at <= now) {
        return Err(format!("{at} has passed"));
    }
    let mut source = parse(text)?;
    source.description = why;
    source.expires_at = expires_at;
    if !can_resolve(&agent.config, source.kind()) {
        return Err(format!(
            "{source} needs DigitalOcean's API: write [digitalocean] with a token_file in the \
             configuration"
        ));
    }
    Ok(LocalSource { database, source, added_at: now })
}

/// Puts a change by hand in force if it was written, answers whoever asked for it, and begins
/// the next one.
pub(in crate::agent) fn saved(agent: &mut Agent, done: LocalChange, written: io::Result<()>) {
    match done {
        LocalChange::Added(local) => {
            let written = written.map_err(|error| format!("cannot remember it: {error}"));
            finish(agent, Kind::TrustAdded, &local, written);
        }
        LocalChange::Removed(local) => {
            let written = written.map_err(|error| format!("cannot forget it: {error}"));
            finish(agent, Kind::TrustRemoved, &local, written);
        }
        LocalChange::Swept => {
            if let Err(error) = written {
                tracing::warn!(
                    %error,
                    "cannot forget expired local sources; they are not in force"
                );
            }
        }
    }
    while !agent.trust.local().is_saving()
        && let Some((call, next)) = agent.calls.next()
    {
        change(agent, call, next);
    }
}

fn finish(agent: &mut Agent, kind: Kind, local: &LocalSource, written: Result<(), String>) {
    let call = agent.calls.end_change();
    let result = written.and_then(|()| {
        let asked = if kind == Kind::TrustAdded { "trusted" } else { "no longer trusted" };
        tracing::info!(database = %local.database, source = %local.source, "{asked} by hand");
        let by = call.as_ref().map(Call::user).unwrap_or_default();
        agent.history.record_trust(agent.kernel.generation(), kind, local, &by);
        agent.reevaluate([&*local.database], &[].into());
        agent.converge()
    });
    // The end of expired sources may have had to wait for this change.
    agent.trust.end_expired(&agent.config);
    match (call, result) {
        (Some(call), Ok(_)) => call.answer(&TrustList { sources: vec![to_wire(local)] }),
        (Some(call), Err(message)) => call.fail(ControlErrorKind::Failed, message),
        (None, _) => {}
    }
}

/// Carries out the changes that were asked for before the end.
pub(in crate::agent) async fn finish_all(agent: &mut Agent) {
    while agent.trust.local().is_saving() {
        let (change, written) = agent.trust.local_mut().saved().await;
        saved(agent, change, written);
    }
}

/// The sources added by hand. What has expired stays on disk until that is sure.
pub(super) fn list(trust: &Trust) -> TrustList {
    let now = trust.now();
    let is_live = |local: &&LocalSource| local.source.expires_at.is_none_or(|at| at > now);
    TrustList { sources: trust.local().all().iter().filter(is_live).map(to_wire).collect() }
}

/// The message that there is no such database, and which there are.
pub(super) fn unknown_database(kernel: &Kernel, name: &str) -> String {
    let known: Vec<&str> = kernel.ids().keys().map(String::as_str).collect();
    format!("there is no database {name}; there are: {}", known.join(", "))
}

fn parse(text: &str) -> Result<TrustedSource, Invalid> {
    text.parse().map_err(|error: GrammarError| error.with_fix())
}

fn to_wire(local: &LocalSource) -> wire::LocalSource {
    wire::LocalSource {
        database: local.database.clone(),
        source: local.source.to_string(),
        why: local.source.description.clone(),
        added_at: local.added_at,
        expires_at: local.source.expires_at,
    }
}
