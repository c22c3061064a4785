//! The sources that could connect to ports and cannot any more, by a change of the configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use dbfw_common::Mode;
use dbfw_core::policy::Policy;
use dbfw_datapath::connections::established;
use dbfw_wire::control::{CutOff, Reloaded};
use jiff::Timestamp;

use super::Agent;
use crate::{
    config::{ConfigChange, Effect},
    traffic::refused::RefusedSource,
};

/// Age of the last packet of a source that is told.
const RECENT: Duration = Duration::from_secs(24 * 3600);
/// Sources that the log names.
const MAX_NAMED: usize = 20;

/// The question who is cut off by databases that a change closed, to be asked on another thread.
#[derive(Debug)]
pub(super) struct CutOffQuery {
    closed: Vec<Closed>,
    /// The sources that observe mode let in of late.
    seen: Vec<(RefusedSource, Timestamp)>,
    policy_before: Policy,
    policy: Policy,
}

/// Ports that a database closed to sources that it does not trust.
#[derive(Debug)]
struct Closed {
    database: String,
    /// The TCP ports.
    ports: BTreeSet<u16>,
    before: Before,
}

/// The sources that could connect to ports before they were closed.
#[derive(Debug)]
enum Before {
    /// Everyone. Observe mode let them in for a database of this name.
    Everyone(Option<String>),
    /// Those that the database of this name trusted.
    TrustedBy(String),
}

impl Closed {
    /// What `change` closed to somebody who could connect; `None`: nothing.
    fn of(change: &ConfigChange) -> Option<Self> {
        let ConfigChange::Ports { ports, before, after: Some(after) } = change else { return None };
        let before = match (change.effect(), before) {
            (Effect::Closes, before) => {
                Before::Everyone(before.as_ref().map(|owner| owner.database.clone()))
            }
            // From one database in enforce mode to another.
            (Effect::Other, Some(owner)) if after.mode == Mode::Enforce => {
                Before::TrustedBy(owner.database.clone())
            }
            _ => return None,
        };
        Some(Self {
            database: after.database.clone(),
            ports: ports.iter().filter(|port| !port.udp).map(|port| port.port).collect(),
            before,
        })
    }

    /// Whether observe mode let in a source for what is closed now.
    fn was_observed(&self, key: &RefusedSource) -> bool {
        match &self.before {
            Before::Everyone(before) => {
                *key.database == *self.database || before.as_deref() == Some(&*key.database)
            }
            Before::TrustedBy(_) => false,
        }
    }
}

impl CutOffQuery {
    /// The question about `changes`, which are in force; `None`: they closed nothing.
    /// `policy_before` was in force before.
    pub(super) fn of_changes(
        agent: &Agent,
        changes: &[ConfigChange],
        policy_before: &Policy,
    ) -> Option<Self> {
        let closed: Vec<Closed> = changes.iter().filter_map(Closed::of).collect();
        if closed.is_empty() {
            return None;
        }
        let now = Timestamp::now();
        let is_recent = |at: &Timestamp| {
            Duration::try_from(now.duration_since(*at)).map_or(true, |age| age < RECENT)
        };
        let let_in = agent.traffic.refused().all().filter_map(|(key, seen)| {
            let at = seen.last_let_in().filter(is_recent)?;
            closed.iter().any(|closed| closed.was_observed(key)).then(|| (key.clone(), at))
        });
        Some(Self {
            seen: let_in.collect(),
            closed,
            policy_before: policy_before.clone(),
            policy: agent.kernel.policy().clone(),
        })
    }

    /// Tells who is cut off, in the answer and in the log. Lists connections, which takes its
    /// time.
    pub(super) fn run(self, reloaded: &mut Reloaded) {
        let mut found = BTreeMap::new();
        for closed in &self.closed {
            for (key, at) in self.seen.iter().filter(|(key, _)| closed.was_observed(key)) {
                if self.cuts_off(closed, key.source) {
                    let last_seen = &mut entry(&mut found, &closed.database, key.source).last_seen;
                    *last_seen = (*last_seen).max(Some(*at));
                }
            }
            let connections = established(&closed.ports).unwrap_or_else(|error| {
                reloaded.connections_error = Some(error.to_string());
                Vec::new()
            });
            for connection in connections {
                let source = connection.peer.ip().to_canonical();
                if self.cuts_off(closed, source) {
                    entry(&mut found, &closed.database, source).connections += 1;
                }
            }
        }
        let databases: BTreeSet<&str> =
            self.closed.iter().map(|closed| &*closed.database).collect();
        for database in databases {
            let of = found.values().filter(|cut_off| cut_off.database == *database);
            let names: Vec<String> = of.map(|cut_off| cut_off.source.to_string()).collect();
            if !names.is_empty() {
                tracing::warn!(
                    database,
                    "{database}: sources that were let in are not trusted and cut off now ({}): {}",
                    names.len(),
                    names[..names.len().min(MAX_NAMED)].join(", "),
                );
            }
        }
        reloaded.cut_off = found.into_values().collect();
        reloaded.cut_off.sort_by_key(|cut_off| std::cmp::Reverse(cut_off.connections));
    }

    /// Whether a source could connect, and cannot any more. Loopback is never judged.
    fn cuts_off(&self, closed: &Closed, source: IpAddr) -> bool {
        let could = match &closed.before {
            Before::Everyone(_) => true,
            Before::TrustedBy(database) => self.policy_before.lets_in(database, source),
        };
        could && !source.is_loopback() && !self.policy.lets_in(&closed.database, source)
    }
}

fn entry<'a>(
    found: &'a mut BTreeMap<(String, IpAddr), CutOff>,
    database: &str,
    source: IpAddr,
) -> &'a mut CutOff {
    found.entry((database.to_owned(), source)).or_insert_with(|| CutOff {
        database: database.to_owned(),
        source,
        connections: 0,
        last_seen: None,
    })
}
