//! The sources that could connect to ports and cannot any more, by a change of the configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use dbfw_common::Mode;
use dbfw_core::{Destinations, Port, policy::Policy};
use dbfw_datapath::{
    Routes,
    connections::{Connection, established},
};
use dbfw_wire::control::{CutOff, Reloaded};
use jiff::Timestamp;

use super::{
    Agent,
    connection_watch::{from_elsewhere, own_addresses},
};
use crate::{
    config::{Config, DatabaseConfig},
    traffic::refused::RefusedSource,
};

/// Age of the last packet of a source that is told.
const RECENT: Duration = Duration::from_secs(24 * 3600);
/// Sources that the log names.
const MAX_NAMED: usize = 20;

/// The question who is cut off by a change, to be asked on another thread.
#[derive(Debug)]
pub(super) struct CutOffQuery {
    /// The TCP ports that are closed to sources that are not trusted.
    closed: BTreeMap<u16, Vec<ClosedPort>>,
    /// The sources that observe mode let in of late, to the ports of a database that it was of.
    seen: Vec<Observed>,
    policy_before: Policy,
    policy: Policy,
    /// Interfaces by which everybody could connect before.
    unjudged_before: BTreeSet<u32>,
    /// Interfaces by which everybody can connect now.
    unjudged: BTreeSet<u32>,
    /// Interfaces whose open connections went on before: only new ones were judged there.
    without_hook_before: BTreeSet<u32>,
    /// Interfaces whose open connections go on: only new ones are judged there.
    without_hook: BTreeSet<u32>,
}

/// A source that observe mode let in of late.
#[derive(Debug)]
struct Observed {
    key: RefusedSource,
    ports: BTreeSet<u16>,
    at: Timestamp,
    /// The interface by which it came in, where that is known.
    interface: Option<u32>,
}

/// A port that a database closes to sources that it does not trust.
#[derive(Debug)]
struct ClosedPort {
    database: String,
    /// The destinations at which it does.
    destinations: Destinations,
    before: FormerSources,
}

/// The sources that could connect to a port before.
#[derive(Debug)]
enum FormerSources {
    /// Everyone. Observe mode let them in for a database that is called so now.
    Everyone(Option<String>),
    /// Those that the database of this name trusted, and at other destinations everyone.
    TrustedBy(String, Destinations),
}

impl FormerSources {
    /// Those of a port that is of `database` now.
    fn of(before: &Config, now: &Config, port: u16, database: &DatabaseConfig) -> Self {
        let port = Port { udp: false, port };
        let mut owners: Vec<&DatabaseConfig> = before
            .databases
            .iter()
            .filter(|known| {
                known.ports.contains(port) && known.destinations.overlap(&database.destinations)
            })
            .collect();
        owners.sort_by_key(|owner| owner.name != database.name);
        match owners.first().copied() {
            Some(owner) if owner.mode == Mode::Enforce => {
                Self::TrustedBy(owner.name.clone(), owner.destinations.clone())
            }
            Some(owner) if owner.mode == Mode::Observe => {
                // What was seen of a database that is renamed is of its new name.
                let is_there = now.databases.iter().any(|known| known.name == owner.name);
                let name = if is_there { &owner.name } else { &database.name };
                Self::Everyone(Some(name.clone()))
            }
            _ => Self::Everyone(None),
        }
    }
}

impl ClosedPort {
    /// Whether observe mode let in a source for what is closed now.
    fn was_observed(&self, key: &RefusedSource) -> bool {
        match &self.before {
            FormerSources::Everyone(before) => before.as_deref() == Some(&*key.database),
            FormerSources::TrustedBy(..) => false,
        }
    }
}

impl CutOffQuery {
    /// The question about the change from `before`, which is in force; `None`: nothing is closed.
    /// `policy_before` was in force before.
    pub(super) fn of_change(
        agent: &Agent,
        before: &Config,
        policy_before: &Policy,
    ) -> Option<Self> {
        let was_detached = agent.kernel.is_detached();
        let mut closed = BTreeMap::new();
        let enforced = agent.config.databases.iter().filter(|known| known.mode == Mode::Enforce);
        for database in enforced {
            for port in database.ports.tcp() {
                let before = match was_detached {
                    true => FormerSources::Everyone(None),
                    false => FormerSources::of(before, &agent.config, port, database),
                };
                let (name, destinations) = (database.name.clone(), database.destinations.clone());
                let of_port: &mut Vec<_> = closed.entry(port).or_default();
                of_port.push(ClosedPort { database: name, destinations, before });
            }
        }
        if closed.is_empty() {
            return None;
        }
        let now = Timestamp::now();
        let is_recent = |at: &Timestamp| {
            Duration::try_from(now.duration_since(*at)).map_or(true, |age| age < RECENT)
        };
        let is_present = |index| agent.kernel.interfaces().iter().any(|known| known.index == index);
        let let_in = agent.traffic.refused().all().filter_map(|(key, seen)| {
            let at = seen.last_let_in().filter(is_recent)?;
            let was_observed =
                closed.values().flatten().any(|closed: &ClosedPort| closed.was_observed(key));
            was_observed.then(|| Observed {
                key: key.clone(),
                ports: seen.ports().clone(),
                at,
                interface: seen.last_interface().filter(|index| is_present(*index)),
            })
        });
        let now_covered = agent.kernel.coverage(&agent.config.agent);
        let covered_before = agent.kernel.coverage(&before.agent);
        Some(Self {
            seen: let_in.collect(),
            unjudged_before: covered_before.unjudged_indexes(&covered_before.wanted()),
            unjudged: now_covered.unjudged_indexes(&now_covered.wanted()),
            without_hook_before: covered_before.without_hook(),
            without_hook: now_covered.without_hook(),
            closed,
            policy_before: policy_before.clone(),
            policy: agent.kernel.policy().clone(),
        })
    }

    /// Tells who is cut off, in the answer and in the log. Lists connections, which takes its
    /// time.
    pub(super) fn run(self, reloaded: &mut Reloaded) {
        let mut found = BTreeMap::new();
        let ports = self.closed.keys().copied().collect();
        let listed = Routes::open().and_then(|routes| Ok((routes, established(&ports)?)));
        // What this host's own addresses send is never judged.
        let own = own_addresses();
        let unjudged_sources = match listed {
            Ok((routes, listed)) => self.add_connected(from_elsewhere(listed), routes, &mut found),
            Err(error) => {
                reloaded.connections_error = Some(error.to_string());
                BTreeSet::new()
            }
        };
        let each = self.closed.iter();
        for (port, closed) in each.flat_map(|(port, all)| all.iter().map(move |one| (port, one))) {
            let observed = self
                .seen
                .iter()
                .filter(|seen| closed.was_observed(&seen.key) && seen.ports.contains(port));
            for Observed { key, at, interface, .. } in observed {
                let goes_on = match interface {
                    Some(interface) => self.unjudged.contains(interface),
                    None => unjudged_sources.contains(&key.source),
                };
                if !goes_on
                    && !own.contains(&key.source)
                    && self.cuts_off(closed, key.source, None, false)
                {
                    let last_seen = &mut entry(&mut found, &closed.database, key.source).last_seen;
                    *last_seen = (*last_seen).max(Some(*at));
                }
            }
        }
        log_cut_off(&found);
        reloaded.cut_off = found.into_values().collect();
        reloaded.cut_off.sort_by_key(|cut_off| std::cmp::Reverse(cut_off.connections));
    }

    /// Adds the sources whose connections are open. Returns those that are connected by an interface
    /// that nothing judges.
    fn add_connected(
        &self,
        connections: Vec<Connection>,
        mut routes: Routes,
        found: &mut BTreeMap<(String, IpAddr), CutOff>,
    ) -> BTreeSet<IpAddr> {
        let mut unjudged_sources = BTreeSet::new();
        for connection in connections {
            let (local, source) = (connection.local, connection.peer.ip().to_canonical());
            let mut of_port = self.closed.get(&local.port()).into_iter().flatten();
            let is_here = |closed: &&ClosedPort| closed.destinations.include(local.ip(), true);
            let Some(closed) = of_port.find(is_here) else { continue };
            if routes.lead_by(&connection, &self.unjudged) {
                unjudged_sources.insert(source);
                continue;
            }
            let goes_on = routes.lead_by(&connection, &self.without_hook);
            let was_unjudged = routes.lead_by(&connection, &self.unjudged_before)
                || !goes_on && routes.lead_by(&connection, &self.without_hook_before);
            if !self.cuts_off(closed, source, Some(local.ip()), was_unjudged) {
                continue;
            }
            let cut_off = entry(found, &closed.database, source);
            match goes_on {
                true => cut_off.going_on += 1,
                false => cut_off.connections += 1,
            }
        }
        unjudged_sources
    }

    /// Whether a source could connect, or its connection could go on, and cannot any more. Loopback
    /// is never judged. `local` is this host's end of a connection.
    fn cuts_off(
        &self,
        closed: &ClosedPort,
        source: IpAddr,
        local: Option<IpAddr>,
        was_unjudged: bool,
    ) -> bool {
        let could = match &closed.before {
            FormerSources::Everyone(_) => true,
            FormerSources::TrustedBy(database, destinations) => {
                let was_bound = local.is_none_or(|local| destinations.include(local, true));
                was_unjudged || !was_bound || self.policy_before.lets_in(database, source)
            }
        };
        could && !source.is_loopback() && !self.policy.lets_in(&closed.database, source)
    }
}

fn log_cut_off(found: &BTreeMap<(String, IpAddr), CutOff>) {
    let databases: BTreeSet<&str> = found.keys().map(|(database, _)| &**database).collect();
    for database in databases {
        let of = found.values().filter(|cut_off| cut_off.database == *database);
        let names: Vec<String> = of.clone().map(|cut_off| cut_off.source.to_string()).collect();
        let going_on: usize = of.map(|cut_off| cut_off.going_on).sum();
        let but = match going_on {
            0 => String::new(),
            1 => "; 1 open connection goes on, by an interface that is not covered".to_owned(),
            many => format!("; {many} open connections go on, by interfaces that are not covered"),
        };
        tracing::warn!(
            database,
            "{database}: sources that were let in are not trusted and cut off now ({}): {}{but}",
            names.len(),
            names[..names.len().min(MAX_NAMED)].join(", "),
        );
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
        going_on: 0,
        last_seen: None,
    })
}
