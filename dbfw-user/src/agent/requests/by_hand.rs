//! `dbfw trust`: sources added and removed by hand.

use std::collections::BTreeSet;

use anyhow::Context as _;
use dbfw_common::Mode;
use dbfw_core::{
    Destinations,
    policy::Policy,
    source::{GrammarError, Prefix, RuleKind, TrustedSource},
};
use dbfw_datapath::{
    Routes,
    connections::{Connection, established},
};
use dbfw_wire::control::{self as wire, ControlErrorKind, CoveringSource, Request, TrustList};

use crate::{
    agent::{
        Agent,
        history::Kind,
        kernel::Kernel,
        trust::{Trust, can_resolve},
    },
    control::server::Call,
    protection::Opening,
    readers::explain::covering_source,
    state::local::{LocalChange, LocalSource},
};

/// The reason why a change is refused, for the caller.
type Invalid = String;

/// Queues a change by hand. It is answered by [`saved`].
pub(super) fn change(agent: &mut Agent, call: Call) {
    agent.calls.changes.push_back(call);
    begin_next(agent);
}

/// Begins the next change that can be made, unless one is being written.
fn begin_next(agent: &mut Agent) {
    while !agent.trust.local().is_saving()
        && let Some(call) = agent.calls.changes.front()
    {
        let (request, by) = (call.request.clone(), call.user());
        if let Err(message) = begin(agent, request, &by)
            && let Some(call) = agent.calls.changes.pop_front()
        {
            call.fail(ControlErrorKind::Invalid, message);
        }
    }
}

fn begin(agent: &mut Agent, request: Request, by: &str) -> Result<(), Invalid> {
    match request {
        Request::TrustAdd { database, source, expires_at, why } => {
            if !agent.kernel.ids().contains_key(&database) {
                return Err(unknown_database(&agent.kernel, &database));
            }
            if let Some(problem) = agent.trust.local().unreadable_problem() {
                return Err(problem);
            }
            let mut source = parse(&source)?;
            (source.description, source.expires_at) = (why, expires_at);
            let added_at = agent.trust.now();
            if let Some(at) = expires_at.filter(|at| *at <= added_at) {
                return Err(format!("{at} has passed"));
            }
            if !can_resolve(&agent.config, source.kind()) {
                return Err(format!(
                    "{source} needs DigitalOcean's API: write [digitalocean] with a token_file \
                     in the configuration"
                ));
            }
            agent.trust.local_mut().begin_add(LocalSource { database, source, added_at });
        }
        Request::TrustRemove { database, source } => {
            let source = parse(&source)?;
            let removed = agent.trust.local_mut().begin_remove(&database, &source);
            let removed = removed.ok_or_else(|| {
                format!(
                    "{source} was not added by hand to database {database}: dbfw trust list \
                     shows what was, dbfw sources where the others come from"
                )
            })?;
            let generation = agent.kernel.generation();
            agent.history.record_trust(generation, Kind::TrustRemoved, &removed, by);
            // In force before it is on disk: a full disk must not keep anybody in.
            agent.reevaluate([&*database], None);
            if let Err(error) = agent.converge() {
                tracing::error!(%error, "cannot take away what was trusted by hand; will retry");
            }
        }
        _ => {}
    }
    Ok(())
}

/// Puts a change by hand in force if it was written, answers whoever asked for it, and begins
/// the next one.
pub(in crate::agent) fn saved(agent: &mut Agent, done: LocalChange, written: anyhow::Result<()>) {
    match done {
        LocalChange::Added(local) => {
            finish(agent, Kind::TrustAdded, &local, written.context("cannot remember it"));
        }
        LocalChange::Removed(local) => {
            if let Err(error) = written {
                tracing::error!(
                    error = format!("{error:#}"),
                    "{} is not trusted any more, but a restart trusts it again until that can be \
                     written; will retry",
                    local.source
                );
            }
            finish(agent, Kind::TrustRemoved, &local, Ok(()));
        }
        // A failure is a problem of the status until it is over.
        LocalChange::Retried => {
            if written.is_ok() {
                tracing::info!("what was removed by hand is off the disk now");
            }
        }
        // The problem is one of the status until it is over.
        LocalChange::ReadAgain => {
            if written.is_ok() {
                tracing::info!("the sources added by hand could be read again");
                agent.reevaluate_all(None);
            }
        }
        LocalChange::Expired => {
            if let Err(error) = written {
                tracing::warn!(
                    %error,
                    "cannot forget expired local sources; they are not in force"
                );
            }
        }
    }
    begin_next(agent);
}

fn finish(agent: &mut Agent, kind: Kind, local: &LocalSource, written: anyhow::Result<()>) {
    let Some(call) = agent.calls.changes.pop_front() else { return };
    let result = written.map_err(|error| format!("{error:#}")).and_then(|()| {
        let asked = if kind == Kind::TrustAdded { "trusted" } else { "no longer trusted" };
        tracing::info!(database = %local.database, source = %local.source, "{asked} by hand");
        if kind == Kind::TrustAdded {
            let generation = agent.kernel.generation();
            agent.history.record_trust(generation, kind, local, &call.user());
        }
        agent.reevaluate([&*local.database], None);
        agent.converge()
    });
    // The end of expired sources may have had to wait for this change.
    agent.trust.end_expired(&agent.config);
    match result {
        Ok(_) if kind == Kind::TrustRemoved => {
            let list = TrustList {
                still_trusted_by: still_trusted_by(agent, local),
                still_open: still_open(agent, &local.database),
                not_written: agent.trust.local().not_removed().map(str::to_owned),
                ..list_of([local])
            };
            let query = GoingOnQuery::of(agent, local);
            // Listing connections takes its time.
            tokio::task::spawn_blocking(move || {
                let going_on = query.map_or(0, |query| query.run());
                call.answer(&TrustList { going_on, ..list });
            });
        }
        Ok(_) => call.answer(&list_of([local])),
        Err(message) => call.fail(ControlErrorKind::Failed, message),
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
    list_of(trust.local().all().iter().filter(is_live))
}

fn list_of<'a>(sources: impl IntoIterator<Item = &'a LocalSource>) -> TrustList {
    TrustList {
        sources: sources.into_iter().map(to_wire).collect(),
        still_trusted_by: Vec::new(),
        still_open: Vec::new(),
        going_on: 0,
        not_written: None,
    }
}

/// The question which connections of a source that was removed go on, to be asked on another
/// thread.
struct GoingOnQuery {
    database: String,
    ports: BTreeSet<u16>,
    destinations: Destinations,
    prefixes: Vec<Prefix>,
    policy: Policy,
    /// Interfaces whose open connections go on: only new ones are judged there.
    without_hook: BTreeSet<u32>,
}

impl GoingOnQuery {
    /// The question about `removed`; `None`: its database refuses nobody, or it is not known which
    /// addresses it had.
    fn of(agent: &Agent, removed: &LocalSource) -> Option<Self> {
        let mut databases = agent.config.databases.iter();
        let database = databases.find(|known| known.name == removed.database)?;
        if database.mode != Mode::Enforce {
            return None;
        }
        Some(Self {
            database: database.name.clone(),
            ports: database.ports.tcp().collect(),
            destinations: database.destinations.clone(),
            prefixes: removed.source.key().prefixes()?.to_vec(),
            policy: agent.kernel.policy().clone(),
            without_hook: agent.kernel.without_hook(&agent.config.agent),
        })
    }

    fn run(&self) -> usize {
        let Ok(connections) = established(&self.ports) else { return 0 };
        let Ok(mut routes) = Routes::open() else { return 0 };
        let goes_on = |connection: &&Connection| {
            let (local, peer) = (connection.local.ip(), connection.peer.ip().to_canonical());
            self.destinations.include(local, true)
                && self.prefixes.iter().any(|prefix| prefix.contains(peer))
                && !self.policy.lets_in(&self.database, peer)
                && routes.lead_by(connection, &self.without_hook)
        };
        connections.iter().filter(goes_on).count()
    }
}

/// Ways in which a database lets strangers in, in words.
fn still_open(agent: &Agent, name: &str) -> Vec<String> {
    let Some(database) = agent.config.databases.iter().find(|known| known.name == name) else {
        return Vec::new();
    };
    let policy = agent.kernel.policy();
    let of_database = policy.databases().iter().find(|known| known.name == name);
    let unjudged = agent.kernel.unjudged(&agent.config.agent);
    let openings = Opening::of(database.mode.into(), policy, of_database, &unjudged);
    let detached = agent.kernel.is_detached().then(|| "everything is detached".to_owned());
    detached.into_iter().chain(openings.iter().map(ToString::to_string)).collect()
}

/// The rules that let in a source that was removed: those that name the same, and those that cover
/// the first address of a prefix of it.
fn still_trusted_by(agent: &Agent, removed: &LocalSource) -> Vec<CoveringSource> {
    let policy = agent.kernel.policy();
    let Some(&id) = agent.kernel.ids().get(&removed.database) else { return Vec::new() };
    let addresses =
        removed.source.key().prefixes().into_iter().flat_map(|prefixes| prefixes.iter());
    let covering = addresses
        .flat_map(|prefix| policy.covering(prefix.addr()))
        .filter(|covering| covering.rule.database == id)
        .filter_map(|covering| Some((policy.rule(covering.rule)?.1, covering.prefix)));
    let database = policy.databases().iter().find(|database| database.id == id);
    let same = database.into_iter().flat_map(|database| &database.rules).filter_map(|rule| {
        let is_same = matches!(&rule.kind, RuleKind::Source(source)
            if source.key().names_the_same(removed.source.key()));
        rule.prefixes.first().filter(|_| is_same).map(|prefix| (rule, *prefix))
    });
    let mut found: Vec<CoveringSource> = Vec::new();
    for (rule, prefix) in covering.chain(same) {
        let source = covering_source(rule, prefix);
        let is_same = |known: &CoveringSource| {
            (&known.source, &known.origin) == (&source.source, &source.origin)
        };
        if !found.iter().any(is_same) {
            found.push(source);
        }
    }
    found
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
