//! The sources that a database let in, in observe mode, and does not let in any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use dbfw_core::policy::Policy;
use dbfw_datapath::connections::established;
use dbfw_wire::control::{CutOff, Reloaded};
use jiff::Timestamp;

use super::Agent;
use crate::{
    config::{ConfigChange, Effect},
    traffic::refused::{RefusedSource, Seen},
};

/// Age of the last packet of a source that is told.
const RECENT: Duration = Duration::from_secs(24 * 3600);
/// Sources that the log names.
const MAX_NAMED: usize = 20;

/// The question who is cut off by databases that a change closed, to be asked on another thread.
#[derive(Debug)]
pub(super) struct CutOffQuery {
    /// The databases with their bits in a verdict, and their TCP ports that were closed.
    closed: BTreeMap<String, (u64, BTreeSet<u16>)>,
    /// The sources that observe mode saw of late.
    seen: Vec<(RefusedSource, Timestamp)>,
    policy: Policy,
}

impl CutOffQuery {
    /// The question about `changes`, which are in force; `None`: they closed nothing that was
    /// open to everyone.
    pub(super) fn of_changes(agent: &Agent, changes: &[ConfigChange]) -> Option<Self> {
        let mut closed: BTreeMap<String, (u64, BTreeSet<u16>)> = BTreeMap::new();
        for change in changes.iter().filter(|change| change.effect() == Effect::Closes) {
            let ConfigChange::Ports { ports, after: Some(after), .. } = change else { continue };
            let Some(id) = agent.kernel.ids().get(&after.database) else { continue };
            let tcp = ports.iter().filter(|port| !port.udp).map(|port| port.port);
            let entry = closed.entry(after.database.clone()).or_default();
            entry.0 = 1 << (id - 1);
            entry.1.extend(tcp);
        }
        if closed.is_empty() {
            return None;
        }
        let now = Timestamp::now();
        let recent = |seen: &Seen| {
            let age = now.duration_since(seen.last_seen());
            Duration::try_from(age).map_or(true, |age| age < RECENT)
        };
        let seen = agent.traffic.refused().all();
        let seen = seen.filter(|(key, seen)| closed.contains_key(&*key.database) && recent(seen));
        let seen = seen.map(|(key, seen)| (key.clone(), seen.last_seen())).collect();
        Some(Self { closed, seen, policy: agent.kernel.policy().clone() })
    }

    /// Tells who is cut off, in the answer and in the log. Lists connections, which takes its
    /// time.
    pub(super) fn run(self, reloaded: &mut Reloaded) {
        let mut found = BTreeMap::new();
        for (key, last_seen) in &self.seen {
            if self.cuts_off(&key.database, key.source) {
                entry(&mut found, &key.database, key.source).last_seen = Some(*last_seen);
            }
        }
        for (database, (_, ports)) in &self.closed {
            let connections = established(ports).unwrap_or_else(|error| {
                reloaded.connections_error = Some(error.to_string());
                Vec::new()
            });
            for connection in connections {
                let source = connection.peer.ip().to_canonical();
                if self.cuts_off(database, source) {
                    entry(&mut found, database, source).connections += 1;
                }
            }
        }
        for database in self.closed.keys() {
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

    /// Whether a database does not let a source in any more. Loopback is never judged.
    fn cuts_off(&self, database: &str, source: IpAddr) -> bool {
        let bit = self.closed.get(database).map_or(0, |(bit, _)| *bit);
        !source.is_loopback() && self.policy.verdict_mask(source) & bit == 0
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
