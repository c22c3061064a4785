//! From lists to the kernel. Nothing else in the agent writes maps.

use std::{collections::BTreeMap, time::Instant};

use dbfw_common::{FLAG_DROP_FRAGMENTS, MAX_DATABASES};
use jiff::Timestamp;

use super::state::Agent;
use crate::{
    config::{DatabaseConfig, Fragments},
    datapath::{Change, DatabaseSlot},
    policy::{DatabasePolicy, Policy, diff},
    source::Rule,
};

/// The change that [`Agent::converge`] made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reconciled {
    pub(super) added: usize,
    pub(super) removed: usize,
}

impl Agent {
    /// Makes the workers and the kernel follow what is trusted now.
    ///
    /// # Errors
    /// The kernel refused the policy. Everything is as it was, and the status says why until a
    /// later call succeeds.
    pub(super) fn converge(&mut self) -> Result<Reconciled, String> {
        self.must_converge = false;
        self.follow_demand();
        let now = self.expiry.now();
        let result = self.carry_out(now);
        match &result {
            Ok(_) => self.apply_error = None,
            Err(error) => {
                if self.apply_error.as_ref() != Some(error) {
                    tracing::error!("the new policy is not in force, the last one stands: {error}");
                }
                self.apply_error = Some(error.clone());
            }
        }
        self.next_expiry = self.next_expiry_after(now);
        result
    }

    fn carry_out(&mut self, now: Timestamp) -> Result<Reconciled, String> {
        let ids = assign_ids(&self.ids, &self.config.databases);
        let policy = Policy::build(&self.rules_in_force(&ids, now));
        let mut slots = self.slots.clone();
        let assigned = slots.assign(&policy);
        if assigned.unattributed > 0 {
            tracing::warn!(
                entries = assigned.unattributed,
                "more rules than counters: these entries are enforced, but not counted by rule"
            );
        }
        let plan = diff(self.datapath.held(), &assigned.entries);
        let databases: Vec<DatabaseSlot> = self
            .config
            .databases
            .iter()
            .filter_map(|database| {
                Some(DatabaseSlot {
                    id: *ids.get(&database.name)?,
                    name: database.name.clone(),
                    mode: database.mode,
                    ports: database.ports.clone(),
                })
            })
            .collect();
        let done = Reconciled {
            added: plan
                .writes
                .iter()
                .filter(|(p, _)| !self.datapath.held().contains_key(p))
                .count(),
            removed: plan.removals.len(),
        };
        let flags = match self.config.agent.fragments {
            Fragments::Drop => FLAG_DROP_FRAGMENTS,
            Fragments::Pass => 0,
        };
        let change = Change { fresh_rules: assigned.fresh, plan, databases, flags };
        let started = Instant::now();
        self.datapath.apply(&change).map_err(|error| error.to_string())?;
        if !change.plan.is_empty() {
            self.generation += 1;
            tracing::info!(
                generation = self.generation,
                added = done.added,
                removed = done.removed,
                took = ?started.elapsed(),
                "the policy changed"
            );
        }
        for (name, id) in &self.ids {
            if ids.get(name) != Some(id) {
                self.top.forget_database(*id);
            }
        }
        // Also a new expiry that changes no prefix: a restart must know it.
        let changed = !change.plan.is_empty()
            || ids != self.ids
            || self.slots != slots
            || policy.databases() != self.policy.databases();
        if changed || self.sizes.is_empty() {
            self.sizes = self.datapath.sizes();
        }
        self.history.record_change(
            self.generation,
            self.policy.databases(),
            policy.databases(),
            now,
        );
        self.policy = policy;
        self.slots = slots;
        self.ids = ids;
        self.unsaved |= changed;
        Ok(done)
    }

    fn rules_in_force(&self, ids: &BTreeMap<String, u8>, now: Timestamp) -> Vec<DatabasePolicy> {
        let is_live = |rule: &&Rule| rule.kind.expires_at().is_none_or(|at| at > now);
        let rules = |database: &DatabaseConfig| {
            let enforced = self.enforced.get(&database.name).into_iter();
            enforced.flat_map(|enforced| enforced.rules()).filter(is_live).cloned().collect()
        };
        let databases = self.config.databases.iter();
        databases
            .filter_map(|database| {
                Some(DatabasePolicy {
                    id: *ids.get(&database.name)?,
                    name: database.name.clone(),
                    rules: rules(database),
                })
            })
            .collect()
    }

    fn next_expiry_after(&self, now: Timestamp) -> Option<Timestamp> {
        let rules = self.policy.databases().iter().flat_map(|database| &database.rules);
        rules.filter_map(|rule| rule.kind.expires_at()).filter(|at| *at > now).min()
    }
}

/// An id for every database: the one it has, or the lowest that is free.
fn assign_ids(known: &BTreeMap<String, u8>, databases: &[DatabaseConfig]) -> BTreeMap<String, u8> {
    let mut ids: BTreeMap<String, u8> = databases
        .iter()
        .filter_map(|database| Some((database.name.clone(), *known.get(&database.name)?)))
        .collect();
    for database in databases {
        if ids.contains_key(&database.name) {
            continue;
        }
        // Rather one that no database has now: its counters belong to nobody.
        let taken = |id: u8, ids: &BTreeMap<String, u8>| ids.values().any(|taken| *taken == id);
        let free = (1..=MAX_DATABASES as u8)
            .find(|id| !taken(*id, &ids) && !taken(*id, known))
            .or_else(|| (1..=MAX_DATABASES as u8).find(|id| !taken(*id, &ids)));
        if let Some(id) = free {
            ids.insert(database.name.clone(), id);
        }
    }
    ids
}
