//! What the agent tells a control plane, and what it keeps of it on disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufWriter, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use dbfw_common::Mode;
use dbfw_core::{
    answers::ListId,
    policy::{Policy, differing},
    trust::Enforced,
};
use dbfw_provider::server::{Facts, Kept, Lasting, LeftOutSource, ListFacts, RefusedSource, Use};
use dbfw_wire::agent::{AppliedState, HostProblem, MAX_LEFT_OUT};
use tokio::sync::watch;
use uuid::Uuid;

use super::{Agent, kernel::Kernel, requests};
use crate::{
    config::DatabaseConfig,
    state::{
        checked,
        files::{self, ReadError},
    },
    traffic::uses::UsedSource,
};

const FORMAT: u32 = 1;

/// Time between two looks at what is not about a list.
const EVERY: Duration = Duration::from_secs(5);

/// Refused sources of a database that are reported.
const MAX_REFUSED: usize = 50;

/// Problems that are reported.
const MAX_PROBLEMS: usize = 20;

/// Addresses that are looked up in the maps after a change.
const MAX_READ_BACK: usize = 512;

/// What the agent tells a control plane.
pub(super) struct ControlPlane {
    facts: watch::Sender<Facts>,
    kept: Arc<Mutex<Kept>>,
    path: PathBuf,
    boot: Uuid,
    /// Why the maps do not hold the last change, as far as they were read back.
    not_held: Option<String>,
    /// The time of the last look at what is not about a list.
    looked: Option<Instant>,
    /// Whether there may be something new to tell.
    is_due: bool,
}

impl ControlPlane {
    /// Takes over what an earlier run kept. A file that cannot be used is set aside: the server is
    /// asked for all of it.
    pub(super) fn load(state_dir: &Path) -> Self {
        let path = state_dir.join("server.json");
        let read = files::read(path.clone(), |content| checked::decode(FORMAT, content));
        let kept = match read {
            Ok(kept) => kept,
            Err(ReadError::Missing(_)) => Kept::default(),
            Err(error) => {
                let problem = error.set_aside();
                tracing::warn!("{problem}");
                Kept::default()
            }
        };
        Self {
            facts: watch::Sender::new(Facts::default()),
            kept: Arc::new(Mutex::new(kept)),
            path,
            boot: Uuid::new_v4(),
            not_held: None,
            looked: None,
            is_due: true,
        }
    }

    /// What the worker of a control plane leaves to the next one.
    pub(super) fn lasting(&self) -> Lasting {
        let path = Mutex::new(self.path.clone());
        Lasting {
            kept: Arc::clone(&self.kept),
            keep: Arc::new(move |kept| {
                // A worker that was started anew may write while the one before it still does.
                let path = path.lock().unwrap_or_else(PoisonError::into_inner);
                files::replace_by(&path, files::Readers::Owner, |file| {
                    let mut out = BufWriter::new(file);
                    checked::write(FORMAT, kept, &mut out)?;
                    out.flush()
                })
            }),
            facts: self.facts.subscribe(),
            boot: self.boot,
        }
    }

    /// Looks up in the maps what a change was about: what is reported as in force was read back.
    pub(super) fn read_back(&mut self, kernel: &Kernel, before: &Policy) {
        self.not_held = kernel.read_back(before, MAX_READ_BACK).err();
        self.is_due = true;
    }

    /// A second has passed.
    pub(super) fn tick(&mut self) {
        self.is_due |= self.looked.is_none_or(|looked| looked.elapsed() >= EVERY);
    }
}

impl Agent {
    /// Tells the control plane what became of its lists, and how the host is.
    pub(super) fn tell_control_plane(&mut self) {
        let is_used = self
            .config
            .databases
            .iter()
            .any(|database| matches!(database.provider, Some(ListId::Server(_))));
        if !is_used || !std::mem::take(&mut self.control_plane.is_due) {
            return;
        }
        let mut facts = self.control_plane.facts.borrow().clone();
        facts.lists = self.list_facts();
        let looked = self.control_plane.looked;
        if looked.is_none_or(|looked| looked.elapsed() >= EVERY) {
            self.control_plane.looked = Some(Instant::now());
            self.host_facts(&mut facts);
        }
        self.control_plane.facts.send_if_modified(|current| {
            let differs = *current != facts;
            *current = facts;
            differs
        });
    }

    /// The databases whose lists a control plane keeps, with the names of those.
    fn of_control_plane(&self) -> impl Iterator<Item = (&DatabaseConfig, &Arc<str>)> {
        self.config.databases.iter().filter_map(|database| match &database.provider {
            Some(ListId::Server(list)) => Some((database, list)),
            _ => None,
        })
    }

    /// What became of each list. Of several databases with one list the worst counts.
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

    /// What became of the list of a database; `None`: it is not known yet, for sources that this
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
        let not_held = || self.control_plane.not_held.clone();
        if let Some(message) = not_in_force.or_else(not_held).or_else(not_attached) {
            return Some(AppliedState::Failed { message });
        }
        if enforced.is_some_and(Enforced::is_waiting) {
            return None;
        }
        let now = self.trust.now();
        let is_live =
            |rule: &&dbfw_core::source::Rule| rule.kind.expires_at().is_none_or(|at| at > now);
        let rules = self.kernel.rules(&database.name).iter().filter(is_live);
        let prefixes = rules.map(|rule| rule.prefixes.len() as u64).sum();
        Some(match database.mode {
            Mode::Enforce => {
                AppliedState::Applied { generation: self.kernel.generation(), prefixes }
            }
            Mode::Observe | Mode::Off => AppliedState::Observing { prefixes },
        })
    }

    /// How the host is, who is refused and which sources are used.
    fn host_facts(&self, facts: &mut Facts) {
        let status = requests::status::status(self);
        facts.protection = status.protection.as_str().to_owned();
        let problem = |text: &String| HostProblem { subject: String::new(), text: text.clone() };
        facts.problems = status.problems.iter().take(MAX_PROBLEMS).map(problem).collect();
        (facts.refused, facts.hits) = (BTreeMap::new(), BTreeMap::new());
        let now = self.trust.now();
        for (database, list) in self.of_control_plane() {
            let refused = self.traffic.refused().all();
            let mut refused: Vec<_> =
                refused.filter(|(source, _)| *source.database == *database.name).collect();
            refused.sort_by_key(|(_, refusals)| std::cmp::Reverse(refusals.packets));
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
                let use_of = hits.entry(source.key().clone()).or_insert_with(Use::default);
                use_of.packets += used.packets;
                use_of.last_hit = use_of.last_hit.max(used.last_hit);
            }
        }
    }
}

/// How bad it is.
fn severity(state: &AppliedState) -> u8 {
    match state {
        AppliedState::Applied { .. } => 0,
        AppliedState::Observing { .. } => 1,
        AppliedState::Refused { .. } => 2,
        AppliedState::Failed { .. } => 3,
    }
}

impl Kernel {
    /// Looks up in the maps the addresses at the edges of what a change was about, `most` of them.
    ///
    /// # Errors
    /// The maps say something else than the policy in force, or cannot be read: in words.
    fn read_back(&self, before: &Policy, most: usize) -> Result<(), String> {
        let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
        for database in self.policy().databases() {
            let old = before.databases().iter().find(|known| known.name == database.name);
            let old = old.map_or(&[][..], |known| &known.rules);
            let (gone, came) = differing(old, &database.rules);
            let prefixes = gone.iter().chain(came).flat_map(|rule| rule.prefixes.iter());
            addresses.extend(prefixes.take(most).map(dbfw_core::source::Prefix::addr));
        }
        let reader = self.reader();
        for address in addresses.into_iter().take(most) {
            let wanted = self.policy().verdict_mask(address);
            let entry = reader.lookup(address).map_err(|error| error.to_string())?;
            let held = entry.map_or(0, |(_, entry)| {
                u64::from(entry.databases[0]) | u64::from(entry.databases[1]) << 32
            });
            let is_admitted =
                wanted == 0 || reader.front(address).map_err(|error| error.to_string())?;
            if held != wanted || !is_admitted {
                return Err(format!(
                    "the maps do not hold what they should for {address}: dbfw doctor looks closer"
                ));
            }
        }
        Ok(())
    }
}
