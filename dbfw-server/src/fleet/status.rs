//! The state of databases and hosts, as the APIs and the panel show it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use dbfw_metrics::Durations;
use dbfw_wire::{
    agent::AppliedState,
    api::{
        DatabaseState, DatabaseStatus, HostAtDatabase, HostState, LiveHost, Propagation,
        RefusedSource,
    },
};
use jiff::Timestamp;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Fleet,
    at_host::{AtHost, Standing},
    state::{Joined, State, Topic},
};
use crate::store::Revision;

/// A connected host that has not applied the newest list for so long is a fault.
const LATE: Duration = Duration::from_secs(10);

/// Refused sources of a database.
const MAX_REFUSED: usize = 1000;

/// Names of hosts that an answer has.
const MAX_NAMES: usize = 20;

/// The extent to which a change is enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforcement {
    /// The extent.
    pub state: EnforcementState,
    /// The names of hosts that enforce it not yet, or do not: at most 20.
    pub hosts: Vec<String>,
}

/// The extent to which a change is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum EnforcementState {
    /// Every connected host of the database enforces it, or a later one.
    Active,
    /// Every connected host has answered, and some refused it or failed.
    Partial,
    /// Some have not answered.
    Pending,
}

impl EnforcementState {
    /// The word of the APIs.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// The use of a trusted source by all hosts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceUse {
    /// Packets that were let in since the agents count.
    pub packets: u64,
    /// The time of the last one.
    pub last_hit: Option<Timestamp>,
}

/// The standing of all lists at all hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct Standings {
    /// The number of hosts in each state, by the database's name.
    pub hosts: BTreeMap<String, Vec<(HostState, usize)>>,
    /// Hosts whose token two agents use at once.
    pub used_twice: usize,
    /// The times that hosts took from a commit to their report of it, since the server started.
    pub propagation: Durations,
}

impl Fleet {
    /// The standing of all lists at all hosts.
    pub fn standings(&self) -> Standings {
        let (state, epoch, now) = (self.lock(), self.settings.meta.epoch, Instant::now());
        let counted = |topic: &Topic| {
            let status = of_database(&state, topic, epoch, now);
            let count = |state| status.hosts.iter().filter(|host| host.state == state).count();
            let counts = HostState::ALL.iter().map(|state| (*state, count(*state))).collect();
            (status.name, counts)
        };
        Standings {
            hosts: state.topics().map(counted).collect(),
            used_twice: state.hosts().filter(|joined| joined.is_used_twice()).count(),
            propagation: state.propagation(),
        }
    }

    /// Waits until every connected host of a database has applied or refused a commit of its list,
    /// or for so long.
    pub async fn wait(&self, database: Uuid, commit: Revision, patience: Duration) -> Enforcement {
        let (mut progress, mut required) = {
            let state = self.lock();
            let progress = state.topic(database).map(Topic::subscribe);
            (progress, state.connected(database))
        };
        let epoch = self.settings.meta.epoch;
        if let Some(progress) = &mut progress {
            let heard = async {
                loop {
                    {
                        let state = self.lock();
                        let is_unheard = |host: &Uuid| {
                            let standing = state.standing(*host, database, epoch, commit.0);
                            standing == Some(Standing::Unheard)
                        };
                        // As long as one has not answered nobody else has to be looked at: a
                        // thousand hosts are not looked at whenever one of them says something.
                        while required.last().is_some_and(|host| !is_unheard(host)) {
                            required.pop_last();
                        }
                        if required.is_empty() {
                            // Those that came meanwhile count, and those that broke off still do.
                            required
                                .extend(state.connected(database).into_iter().filter(is_unheard));
                        }
                    }
                    if required.is_empty() || progress.changed().await.is_err() {
                        return;
                    }
                }
            };
            // What is true after that time is what is answered.
            let _ = timeout(patience, heard).await;
        }
        let state = self.lock();
        required.extend(state.connected(database));
        let mut standings: BTreeMap<String, Standing> = BTreeMap::new();
        for host in required {
            let Some(standing) = state.standing(host, database, epoch, commit.0) else { continue };
            if standing != Standing::InForce {
                standings.insert(state.name(host), standing);
            }
        }
        let state = if standings.values().any(|standing| *standing == Standing::Unheard) {
            EnforcementState::Pending
        } else if standings.is_empty() {
            EnforcementState::Active
        } else {
            EnforcementState::Partial
        };
        Enforcement { state, hosts: standings.into_keys().take(MAX_NAMES).collect() }
    }

    /// The state of a database; `None` if there is no such database.
    pub fn status(&self, database: Uuid) -> Option<DatabaseStatus> {
        let state = self.lock();
        let topic = state.topic(database)?;
        Some(of_database(&state, topic, self.settings.meta.epoch, Instant::now()))
    }

    /// Waits until every host of a database enforces the newest list, or for so long; how the
    /// database does then.
    pub async fn wait_active(&self, database: Uuid, patience: Duration) -> Option<DatabaseStatus> {
        let mut progress = self.lock().topic(database).map(Topic::subscribe)?;
        let active = async {
            while self.status(database).is_some_and(|it| it.state != DatabaseState::Active) {
                if progress.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(patience, active).await;
        self.status(database)
    }

    /// Live facts of the hosts, which are not stored, by their ids.
    pub fn live_hosts(&self) -> HashMap<Uuid, LiveHost> {
        let state = self.lock();
        let epoch = self.settings.meta.epoch;
        let live = |joined: &Joined| {
            let of = |(id, at): (&Uuid, &AtHost)| {
                let topic = state.topic(*id)?;
                Some((*id, at_database(joined, at, topic, epoch)))
            };
            LiveHost {
                connected: joined.is_connected(),
                used_twice: joined.is_used_twice(),
                last_heard: joined.last_heard,
                hostname: joined.hostname.clone(),
                version: joined.version.clone(),
                protection: joined.protection.clone(),
                problems: joined.problems.clone(),
                audit: joined.audit.clone(),
                databases: joined.databases.iter().filter_map(of).collect(),
            }
        };
        state.hosts().map(|joined| (joined.host.id, live(joined))).collect()
    }

    /// The sources that the hosts of a database refuse, those of most packets first.
    pub fn refused(&self, database: Uuid) -> Vec<RefusedSource> {
        let mut found: HashMap<std::net::IpAddr, RefusedSource> = HashMap::new();
        let state = self.lock();
        for joined in state.hosts() {
            let Some(at) = joined.databases.get(&database) else { continue };
            for source in &at.refused {
                let merged = found.entry(source.address).or_insert_with(|| RefusedSource {
                    address: source.address,
                    hosts: 0,
                    host_names: Vec::new(),
                    ports: Vec::new(),
                    packets: 0,
                    first_seen: source.first_seen,
                    last_seen: source.last_seen,
                });
                merged.hosts += 1;
                if merged.host_names.len() < MAX_NAMES {
                    merged.host_names.push(joined.host.name.clone());
                }
                let new = source.ports.iter().filter(|port| !merged.ports.contains(port));
                let new: Vec<String> = new.cloned().collect();
                merged.ports.extend(new);
                merged.packets = merged.packets.saturating_add(source.packets);
                merged.first_seen = merged.first_seen.min(source.first_seen);
                merged.last_seen = merged.last_seen.max(source.last_seen);
            }
        }
        drop(state);
        let mut found: Vec<RefusedSource> = found.into_values().collect();
        found.sort_by_key(|source| (std::cmp::Reverse(source.packets), source.address));
        found.truncate(MAX_REFUSED);
        for source in &mut found {
            source.host_names.sort();
            source.ports.sort();
        }
        found
    }

    /// The use of the trusted sources of a database, by their ids.
    pub fn uses(&self, database: Uuid) -> HashMap<Uuid, SourceUse> {
        let mut uses: HashMap<Uuid, SourceUse> = HashMap::new();
        let state = self.lock();
        let at = state.hosts().filter_map(|joined| joined.databases.get(&database));
        for (source, (packets, last_hit)) in at.flat_map(|at| &at.hits) {
            let all = uses.entry(*source).or_default();
            all.packets = all.packets.saturating_add(*packets);
            all.last_hit = all.last_hit.max(*last_hit);
        }
        uses
    }
}

impl State {
    /// The hosts with a stream that follows a database's list.
    fn connected(&self, database: Uuid) -> BTreeSet<Uuid> {
        let connected = self.hosts().filter(|joined| joined.follows(database));
        connected.map(|joined| joined.host.id).collect()
    }

    /// The state of a revision of a list at a host; `None` if the host was removed.
    fn standing(&self, host: Uuid, database: Uuid, epoch: u64, revision: u64) -> Option<Standing> {
        let at = self.host(host)?.databases.get(&database);
        Some(at.map_or(Standing::Unheard, |at| at.standing(epoch, revision)))
    }

    fn name(&self, host: Uuid) -> String {
        self.host(host).map_or_else(|| host.to_string(), |joined| joined.host.name.clone())
    }
}

fn of_database(state: &State, topic: &Topic, epoch: u64, now: Instant) -> DatabaseStatus {
    let id = topic.database.id;
    let newest = topic.published();
    let mut hosts: Vec<HostAtDatabase> = Vec::new();
    for joined in state.hosts().filter(|joined| joined.host.databases.contains(&id)) {
        match joined.databases.get(&id) {
            // It may read the list, and has not asked for it.
            None if joined.is_connected() => {}
            None => hosts.push(at_database(joined, &AtHost::default(), topic, epoch)),
            Some(at) => hosts.push(at_database(joined, at, topic, epoch)),
        }
    }
    hosts.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
    let is_late = newest
        .as_ref()
        .is_some_and(|newest| now.saturating_duration_since(newest.committed) >= LATE);
    let is_fault = |host: &HostAtDatabase| match host.state {
        HostState::Refused | HostState::Failed | HostState::Offline => true,
        HostState::Pending => is_late,
        HostState::Applied | HostState::Observing => false,
    };
    let database_state = if hosts.iter().any(is_fault) {
        DatabaseState::Degraded
    } else if hosts.iter().any(|host| host.state == HostState::Pending) {
        DatabaseState::Pending
    } else {
        DatabaseState::Active
    };
    let ms = |percent| {
        let delay = topic.delays.percentile(percent)?;
        Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))
    };
    let propagation = match (ms(50), ms(99), ms(100)) {
        (Some(p50_ms), Some(p99_ms), Some(max_ms)) => Some(Propagation { p50_ms, p99_ms, max_ms }),
        _ => None,
    };
    DatabaseStatus {
        id,
        name: topic.database.name.to_string(),
        state: database_state,
        list_version: newest.as_ref().map_or(0, |newest| newest.version),
        epoch,
        revision: newest.as_ref().map_or(0, |newest| newest.bundle.revision),
        connected: hosts.iter().filter(|host| host.state != HostState::Offline).count(),
        hosts,
        propagation,
    }
}

/// The state of a database's list at a host.
fn at_database(joined: &Joined, at: &AtHost, topic: &Topic, epoch: u64) -> HostAtDatabase {
    let newest = topic.published().map_or(0, |newest| newest.bundle.revision);
    let applied = at.applied.as_ref();
    let is_newest = at.standing(epoch, newest) != Standing::Unheard;
    let mut shown = HostAtDatabase {
        id: joined.host.id,
        name: joined.host.name.clone(),
        state: HostState::Pending,
        since: applied.map(|(_, since)| *since),
        revision: applied.map(|(applied, _)| applied.revision),
        ports: at.ports.clone(),
        mode: at.mode.clone(),
        prefixes: None,
        guard: None,
        plan: None,
        message: None,
        left_out: applied.map_or(0, |(applied, _)| applied.left_out_total),
    };
    if let Some((applied, _)) = applied {
        let state = match &applied.state {
            AppliedState::Applied { prefixes, .. } => {
                shown.prefixes = Some(*prefixes);
                HostState::Applied
            }
            AppliedState::Observing { prefixes } => {
                shown.prefixes = Some(*prefixes);
                HostState::Observing
            }
            AppliedState::Refused { guard, plan, message } => {
                shown.guard = Some(guard.clone());
                shown.plan.clone_from(plan);
                shown.message = Some(message.clone());
                HostState::Refused
            }
            AppliedState::Failed { message } => {
                shown.message = Some(message.clone());
                HostState::Failed
            }
        };
        if is_newest {
            shown.state = state;
        }
    }
    if !joined.follows(topic.database.id) {
        shown.state = HostState::Offline;
        shown.since = joined.last_heard.or(joined.host.last_seen).or(Some(joined.host.joined_at));
    }
    shown
}
