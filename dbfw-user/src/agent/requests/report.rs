//! Reports to a control plane: what became of its lists, and how the host is.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use dbfw_common::Mode;
use dbfw_core::{answers::ListId, source::Rule, trust::Enforced};
use dbfw_provider::server::{AuditFacts, Facts, LeftOutSource, ListFacts, RefusedSource};
use dbfw_wire::agent::{AppliedState, HostFinding, HostProblem, MAX_LEFT_OUT};

use super::status::status;
use crate::{
    agent::Agent, config::DatabaseConfig, state::audit::SavedAudit, traffic::uses::UsedSource,
};

/// Refused sources of a database that are reported.
const MAX_REFUSED: usize = 50;

/// Problems that are reported.
const MAX_PROBLEMS: usize = 20;

impl Agent {
    /// Tells the control plane what became of its lists, and how the host is.
    pub(in crate::agent) fn tell_control_plane(&mut self) {
        let is_used = self
            .config
            .databases
            .iter()
            .any(|database| matches!(database.provider, Some(ListId::Server(_))));
        if !is_used || !self.control_plane.take_due() {
            return;
        }
        let mut facts = self.control_plane.facts();
        facts.lists = self.list_facts();
        if self.control_plane.take_look() {
            self.host_facts(&mut facts);
        }
        self.control_plane.tell(facts);
    }

    /// The databases whose lists a control plane keeps, with the names of those.
    fn of_control_plane(&self) -> impl Iterator<Item = (&DatabaseConfig, &Arc<str>)> {
        self.config.databases.iter().filter_map(|database| match &database.provider {
            Some(ListId::Server(list)) => Some((database, list)),
            _ => None,
        })
    }

    /// The state of each list. Of several databases with one list the worst counts.
    fn list_facts(&self) -> BTreeMap<Arc<str>, ListFacts> {
        let mut lists: BTreeMap<Arc<str>, ListFacts> = BTreeMap::new();
        for (database, name) in self.of_control_plane() {
            let Some(judged) = self.trust.judged(&self.config, database, MAX_LEFT_OUT) else {
                continue;
            };
            let Some(state) = self.applied_state(database) else { continue };
            let left_out = judged.left_out.into_iter().map(|(key, limited)| LeftOutSource {
                key,
                guard: limited.guard().unwrap_or_default(),
                prefixes: limited.left_out() as u64,
                message: limited.message().unwrap_or_default(),
            });
            let facts = ListFacts {
                epoch: judged.epoch,
                revision: judged.revision,
                state,
                left_out: left_out.collect(),
                left_out_total: judged.total as u64,
            };
            match lists.get_mut(name) {
                Some(known) if severity(&known.state) >= severity(&facts.state) => {}
                Some(known) => *known = facts,
                None => drop(lists.insert(Arc::clone(name), facts)),
            }
        }
        lists
    }

    /// The state of the list of a database; `None`: it is not known yet, for sources that this
    /// host resolves itself are being asked for.
    fn applied_state(&self, database: &DatabaseConfig) -> Option<AppliedState> {
        let enforced = self.trust.enforced(&database.name);
        if let Some(refused) = enforced.and_then(Enforced::refused) {
            return Some(AppliedState::Refused {
                guard: refused.guard().as_str().to_owned(),
                plan: refused.guard().can_be_confirmed().then(|| refused.id().to_owned()),
                message: refused.message(),
            });
        }
        let not_in_force = self.kernel.apply_error().map(str::to_owned);
        let not_attached = || self.protection().ready().err();
        let not_held = || self.control_plane.not_held().map(str::to_owned);
        if let Some(message) = not_in_force.or_else(not_held).or_else(not_attached) {
            return Some(AppliedState::Failed { message });
        }
        if enforced.is_some_and(Enforced::is_waiting) {
            return None;
        }
        let now = self.trust.now();
        let is_live = |rule: &&Rule| rule.kind.expires_at().is_none_or(|at| at > now);
        let rules = self.kernel.rules(&database.name).iter().filter(is_live);
        let prefixes = rules.map(|rule| rule.prefixes.len() as u64).sum();
        Some(match database.mode {
            Mode::Enforce => {
                AppliedState::Applied { generation: self.kernel.generation(), prefixes }
            }
            Mode::Observe | Mode::Off => AppliedState::Observing { prefixes },
        })
    }

    /// The last saved audit, as far as it is about the host and the control plane's databases.
    fn audit_facts(&self, saved: &SavedAudit) -> AuditFacts {
        let told = saved.problems.iter().filter_map(|problem| {
            let list = match &problem.database {
                Some(name) => {
                    let mut lists = self.of_control_plane();
                    Some(Arc::clone(lists.find(|(database, _)| database.name == *name)?.1))
                }
                None => None,
            };
            let finding = HostFinding {
                database: None,
                check: problem.check.clone(),
                severity: problem.severity.as_str().to_owned(),
                subject: problem.subject.clone(),
            };
            Some((list, finding))
        });
        AuditFacts {
            at: saved.at,
            level: saved.level.as_str().to_owned(),
            findings: told.collect(),
            more: saved.total > saved.problems.len() as u64,
        }
    }

    /// The state of the host, the sources that are refused and those that are used.
    fn host_facts(&self, facts: &mut Facts) {
        let status = status(self);
        facts.protection = status.protection.as_str().to_owned();
        let problem = |text: &String| HostProblem { subject: String::new(), text: text.clone() };
        facts.problems = status.problems.iter().take(MAX_PROBLEMS).map(problem).collect();
        facts.audit = self.audit.saved().map(|saved| self.audit_facts(saved));
        (facts.refused, facts.hits) = (BTreeMap::new(), BTreeMap::new());
        let now = self.trust.now();
        for (database, list) in self.of_control_plane() {
            let refused = self.traffic.refused().all();
            let mut refused: Vec<_> =
                refused.filter(|(source, _)| *source.database == *database.name).collect();
            refused.sort_by_key(|(_, refusals)| Reverse(refusals.packets));
            let refused = refused.into_iter().take(MAX_REFUSED).map(|(source, refusals)| {
                let ports = refusals.ports().iter().map(|port| format!("tcp/{port}")).collect();
                RefusedSource {
                    address: source.source,
                    ports,
                    packets: refusals.packets,
                    first_seen: refusals.first_seen(),
                    last_seen: refusals.last_seen(),
                }
            });
            facts.refused.entry(Arc::clone(list)).or_default().extend(refused);
            let hits = facts.hits.entry(Arc::clone(list)).or_default();
            let origin = format!("server:{list}");
            for rule in self.kernel.rules(&database.name) {
                let Some(source) = rule.source() else { continue };
                if rule.origin.to_string() != origin {
                    continue;
                }
                let key = UsedSource::new(&database.name, &rule.kind.to_string());
                let Some(used) = self.usage.uses().of(&key, None, now) else { continue };
                let use_of = hits.entry(source.key().clone()).or_default();
                use_of.packets += used.packets;
                use_of.last_hit = use_of.last_hit.max(used.last_hit);
            }
        }
    }
}

/// The weight of a state; the worst is the greatest.
fn severity(state: &AppliedState) -> u8 {
    match state {
        AppliedState::Applied { .. } => 0,
        AppliedState::Observing { .. } => 1,
        AppliedState::Refused { .. } => 2,
        AppliedState::Failed { .. } => 3,
    }
}
