//! What the kernel holds: the policy in the maps, the attachments, and the drop events.

mod hooks;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    future::pending,
    num::NonZeroUsize,
    sync::Arc,
    thread::available_parallelism,
    time::Instant,
};

use anyhow::Context as _;
use dbfw_common::{Event, FLAG_DROP_FRAGMENTS, MAX_DATABASES};
use dbfw_core::{
    policy::{Changed, DatabasePolicy, Policy, SlotTable},
    source::{Origin, Prefix, Rule},
};
use dbfw_datapath::{
    Change, DatabaseSlot, Datapath, DatapathError, Events, HookMode, Interface, Layer, LocalRoutes,
    Reader,
};
use jiff::Timestamp;
use rtnetlink::Handle;
use tokio::io::unix::AsyncFd;

use super::history::lets_in;
use crate::{
    config::{AgentConfig, Config, DatabaseConfig, Fragments},
    lasting::LastingProblems,
    readers::status::{View, dropped_packets},
    state::snapshot::Snapshot,
};

/// The maps and programs, and the policy they hold.
///
/// [`Kernel::apply`] alone changes who may connect; everything else keeps the programs attached
/// and reads.
pub(super) struct Kernel {
    datapath: Datapath,
    reader: Arc<Reader>,
    /// Database ids by name, as the maps know them.
    ids: BTreeMap<String, u8>,
    /// The databases, as the maps know them.
    known: Vec<DatabaseSlot>,
    slots: SlotTable,
    /// The policy in force.
    policy: Policy,
    /// The maps hold the entries of the policy in force, and no others: it was put in force by this
    /// run, and no change failed since.
    holds_policy: bool,
    /// Entries of each set.
    sizes: BTreeMap<&'static str, u64>,
    generation: u64,
    /// The time at which the next source in force expires.
    next_expiry: Option<Timestamp>,
    /// The error of the last change, if it was not carried out.
    apply_error: Option<String>,
    hooks: Hooks,
    local_routes: LocalRoutes,
    /// The problem that keeps this host's own addresses from being known.
    own_addresses_problem: Option<String>,
    events: AsyncFd<Events>,
    /// Events were read since the budget was last refilled.
    events_seen: bool,
    /// Problems that last, as they were logged.
    lasting: LastingProblems,
}

/// The interfaces of the namespace, and what keeps the programs from being attached to them.
struct Hooks {
    netlink: Handle,
    /// Every interface, as of the last look.
    interfaces: Vec<Interface>,
    /// The error that kept the interfaces from being listed.
    list_error: Option<String>,
    /// The error of each covered interface that is not attached, by name.
    attach_errors: BTreeMap<String, String>,
    /// Modes that an interface could not be moved to, by its index.
    refused_moves: BTreeMap<u32, Vec<HookMode>>,
    /// Interfaces where another program may run before ours.
    preceded: BTreeSet<String>,
    /// The reason why what is attached cannot be kept pinned.
    pins_error: Option<String>,
    backstop_error: Option<String>,
    /// Other programs' ids at the socket lookup, as of the start.
    foreign_lookups: Vec<u32>,
    /// The exempt interfaces in the map; `None`: an earlier agent's.
    exempt: Option<Vec<u32>>,
    /// The operator detached everything.
    detached: bool,
}

/// The change that [`Kernel::apply`] made.
#[derive(Clone, Debug, Default)]
pub(super) struct Applied {
    /// Prefixes that came in, each once for each database.
    pub(super) added: usize,
    /// Prefixes that went out, likewise.
    pub(super) removed: usize,
    /// The policy that was in force before.
    pub(super) before: Policy,
    /// Ids that no longer stand for the database they stood for, with its id now if it has one.
    pub(super) freed_ids: Vec<(u8, Option<u8>)>,
    /// The counters of the rules that were in force before.
    pub(super) slots_before: SlotTable,
    /// Whether a snapshot of the policy before is out of date.
    pub(super) changed: bool,
}

impl Kernel {
    /// Opens the maps and programs, and looks at the interfaces. Attaches nothing.
    ///
    /// # Errors
    /// The kernel or what is pinned cannot be used.
    pub(super) async fn open(config: &AgentConfig, netlink: Handle) -> anyhow::Result<Self> {
        let datapath = Datapath::open(&config.pin_dir)?;
        let local_routes = LocalRoutes::open().context("cannot open a netlink socket")?;
        let hooks = Hooks::new(netlink).await.context("cannot list the interfaces")?;
        let (ids, reader) = (datapath.database_ids()?, datapath.reader()?);
        let known = reader.databases()?;
        // SAFETY: `Events` owns its descriptor, the same one for as long as it lives.
        let events = unsafe { AsyncFd::register(datapath.events()?) };
        Ok(Self {
            datapath,
            reader: Arc::new(reader),
            ids,
            known,
            slots: SlotTable::default(),
            policy: Policy::default(),
            holds_policy: false,
            sizes: BTreeMap::new(),
            generation: 0,
            next_expiry: None,
            apply_error: None,
            hooks,
            local_routes,
            own_addresses_problem: None,
            events: events.context("cannot wait for drop events")?,
            events_seen: true,
            lasting: LastingProblems::default(),
        })
    }

    /// Takes over what an earlier run knew of its policy: the history compares the first one
    /// with it.
    pub(super) fn restore(&mut self, snapshot: &Snapshot) {
        let policies = snapshot.policies();
        // What an earlier agent let in last, also if that could not be written.
        self.policy = match self.ids.is_empty() {
            true => Policy::build(policies),
            false => self.as_held(policies),
        };
        self.generation = snapshot.generation;
        self.slots = snapshot.slots.clone();
    }

    /// Takes over what the maps hold where there is no snapshot: no source is known for it.
    pub(super) fn restore_held(&mut self) {
        if !self.ids.is_empty() {
            self.policy = self.as_held(Vec::new());
        }
    }

    /// The policy of a snapshot as the maps hold it: without the prefixes that they do not have, and
    /// with those that no rule has.
    fn as_held(&self, mut policies: Vec<DatabasePolicy>) -> Policy {
        let written = Policy::build(policies.clone());
        let held = self.datapath.held();
        let has = |id: u8, mask: u64| mask >> (id - 1) & 1 != 0;
        let mut is_stale = false;
        for DatabasePolicy { name, rules, .. } in &mut policies {
            let id = self.ids.get(name).copied();
            let is_held = |prefix: &&Prefix| {
                id.is_some_and(|id| held.get(prefix).is_some_and(|entry| has(id, entry.mask())))
            };
            for rule in rules.iter_mut().filter(|rule| !rule.prefixes.iter().all(|p| is_held(&p))) {
                rule.prefixes = rule.prefixes.iter().filter(is_held).copied().collect();
                is_stale = true;
            }
        }
        for (name, id) in &self.ids {
            let known = policies.iter().position(|database| database.name == *name);
            let written_id = known.map(|at| policies[at].id);
            // An entry inside a wider one has its databases as well.
            let is_written = |prefix: &Prefix| {
                written_id.is_some_and(|written_id| lets_in(&written, written_id, prefix))
            };
            let of_database = held.iter().filter(|(_, entry)| has(*id, entry.mask()));
            let unwritten = of_database.filter(|(prefix, _)| !is_written(prefix));
            let adopted = unwritten.map(|(prefix, _)| Rule::adopted(Origin::Config, prefix));
            let adopted: Vec<Rule> = adopted.collect();
            is_stale |= !adopted.is_empty();
            match known {
                Some(at) => policies[at].rules.extend(adopted),
                None => {
                    let (id, name) = (*id, name.clone());
                    policies.push(DatabasePolicy { id, name, rules: adopted });
                }
            }
        }
        if is_stale { Policy::build(policies) } else { written }
    }

    /// The databases that the maps hold, as an earlier agent left them.
    pub(super) fn databases_held(&self) -> Vec<DatabaseSlot> {
        self.reader.databases().unwrap_or_default()
    }

    /// The prefixes that the maps hold for a database, as an earlier agent left them.
    pub(super) fn held_by(&self, database: &str) -> Vec<Prefix> {
        let Some(id) = self.ids.get(database) else { return Vec::new() };
        let held = self.datapath.held().iter();
        held.filter(|(_, entry)| entry.mask() >> (id - 1) & 1 != 0)
            .map(|(prefix, _)| prefix)
            .collect()
    }

    /// Ids of the programs that were loaded, in ascending order.
    pub(super) fn program_ids(&self) -> Vec<u32> {
        self.datapath.program_ids()
    }

    /// The number of the policy in force.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The policy in force.
    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Counters of the rules in force.
    pub(super) fn slots(&self) -> &SlotTable {
        &self.slots
    }

    /// The rules of a database in force.
    pub(super) fn rules(&self, database: &str) -> &[Rule] {
        let found = self.policy.databases().iter().find(|policy| policy.name == database);
        found.map_or(&[], |policy| &policy.rules)
    }

    /// The time at which the next source in force expires.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.next_expiry
    }

    /// Whether the last change was not carried out.
    pub(super) fn apply_failed(&self) -> bool {
        self.apply_error.is_some()
    }

    /// The error of the last change, if it was not carried out.
    pub(super) fn apply_error(&self) -> Option<&str> {
        self.apply_error.as_deref()
    }

    /// Database ids by name.
    pub(super) fn ids(&self) -> &BTreeMap<String, u8> {
        &self.ids
    }

    /// The name of a database by its id.
    pub(super) fn database_name(&self, id: u32) -> Option<String> {
        self.ids.iter().find(|(_, known)| u32::from(**known) == id).map(|(name, _)| name.clone())
    }

    /// The maps, to be read on another thread.
    pub(super) fn reader(&self) -> Arc<Reader> {
        Arc::clone(&self.reader)
    }

    /// The maps and the policy in force, as the readers take them.
    pub(super) fn view(&self) -> View<'_> {
        let program = self.datapath.attachments().first().map_or_else(
            || HookMode::Native.program(Layer::Ethernet),
            |attachment| attachment.mode.program(attachment.layer),
        );
        View {
            reader: &self.reader,
            policy: &self.policy,
            slots: &self.slots,
            program,
            held: Some(self.datapath.held()),
            sizes: Some(&self.sizes),
        }
    }

    /// Packets that each database has dropped so far; `None` where the counters cannot be read.
    pub(super) fn dropped(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        let ids = self.ids.iter();
        ids.map(|(name, id)| (name.as_str(), dropped_packets(&self.reader, *id).ok()))
    }

    /// Takes in whether the counters could be read.
    pub(super) fn counters_read(&mut self, read: Result<(), DatapathError>) {
        self.lasting.follow("the counters cannot be read", read);
    }

    /// Makes the maps hold what the rules of the configured databases say.
    ///
    /// # Errors
    /// The kernel refused the policy. Everything is as it was, and [`Self::protection`] says why
    /// until a later call succeeds.
    pub(super) fn apply(
        &mut self,
        config: &Config,
        now: Timestamp,
        rules: impl Fn(&DatabaseConfig) -> Vec<Rule>,
    ) -> Result<Applied, String> {
        let ids = assign_ids(&self.ids, &self.known, &config.databases);
        let result = self.carry_out(config, ids, rules);
        match &result {
            Ok(_) => self.apply_error = None,
            Err(error) => {
                if self.apply_error.as_ref() != Some(error) {
                    tracing::error!(
                        name: "policy_not_applied",
                        "the new policy could not be applied, the last one stays in force: {error}"
                    );
                }
                self.apply_error = Some(error.clone());
            }
        }
        let rules = self.policy.databases().iter().flat_map(|database| &database.rules);
        let expiries = rules.filter_map(|rule| rule.kind.expires_at());
        self.next_expiry = expiries.filter(|at| *at > now).min();
        result
    }

    fn carry_out(
        &mut self,
        config: &Config,
        ids: BTreeMap<String, u8>,
        rules: impl Fn(&DatabaseConfig) -> Vec<Rule>,
    ) -> Result<Applied, String> {
        let with_ids = || {
            let databases = config.databases.iter();
            databases.filter_map(|database| Some((database, *ids.get(&database.name)?)))
        };
        let policies: Vec<DatabasePolicy> = with_ids()
            .map(|(database, id)| DatabasePolicy {
                id,
                name: database.name.clone(),
                rules: rules(database),
            })
            .collect();
        let databases = with_ids().map(|(database, id)| DatabaseSlot {
            id,
            name: database.name.clone(),
            mode: database.mode,
            ports: database.ports.clone(),
            destinations: database.destinations.clone(),
        });
        let databases = databases.collect();
        let (policy, differs) = self.policy.follow(policies);
        let (mut slots, held) = (self.slots.clone(), self.datapath.held());
        let unlike_maps = if self.holds_policy { &differs } else { &Changed::Everything };
        let assigned = slots.assign(&self.policy, &policy, unlike_maps, held);
        let uncounted = match assigned.unattributed {
            0 => Ok(()),
            entries => Err(format!("{entries} entries are enforced, but not counted by rule")),
        };
        self.lasting.follow("more rules than counters", uncounted);
        let flags = match config.agent.fragments {
            Fragments::Drop => FLAG_DROP_FRAGMENTS,
            Fragments::Pass => 0,
        };
        let change = Change { fresh_rules: assigned.fresh, plan: assigned.plan, databases, flags };
        let started = Instant::now();
        self.holds_policy = false;
        self.datapath.apply(&change).map_err(|error| error.to_string())?;
        self.holds_policy = true;
        let (added, removed) = match change.plan.is_empty() {
            true => (0, 0),
            false => self.policy.count_changes(&policy, &differs),
        };
        if !change.plan.is_empty() {
            self.generation += 1;
            tracing::info!(
                name: "policy_changed",
                generation = self.generation,
                added,
                removed,
                took = ?started.elapsed(),
                "the policy changed"
            );
        }
        // A new expiry that changes no prefix counts as well: a restart must know it.
        let changed = !change.plan.is_empty()
            || ids != self.ids
            || self.slots != slots
            || policy.databases() != self.policy.databases();
        if changed || self.sizes.is_empty() {
            self.sizes = self.datapath.held().sizes();
        }
        let freed = self.ids.iter().filter(|(name, id)| ids.get(*name) != Some(id));
        let freed_ids = freed.map(|(name, id)| (*id, ids.get(name).copied())).collect();
        self.known = change.databases;
        let before = std::mem::replace(&mut self.policy, policy);
        let slots_before = std::mem::replace(&mut self.slots, slots);
        self.ids = ids;
        Ok(Applied { added, removed, before, freed_ids, slots_before, changed })
    }

    /// Puts this host's own addresses into the maps: who connects from one of them to another is
    /// local. Where they cannot be read, the maps keep what they have.
    pub(super) async fn follow_own_addresses(&mut self) {
        let unknown =
            |error: &dyn Display| Some(format!("this host's own addresses are not known: {error}"));
        let problem = match self.local_routes.read().await {
            Ok(local) => match self.datapath.set_own(&local) {
                Ok(0) if local.domains_left_out() == 0 => None,
                Ok(left_out) => Some(format!(
                    "{left_out} of this host's addresses and {} of its VRFs are more than the maps \
                     hold: a local client that connects from one of those is judged like any other",
                    local.domains_left_out()
                )),
                Err(error) => unknown(&error),
            },
            Err(error) => unknown(&error),
        };
        if let Some(told) = &problem
            && self.own_addresses_problem.as_ref() != Some(told)
        {
            tracing::error!("{told}");
        }
        self.own_addresses_problem = problem;
    }

    /// The problem that keeps this host's own addresses from being known.
    pub(super) fn own_addresses_problem(&self) -> Option<&str> {
        self.own_addresses_problem.as_deref()
    }

    /// Waits for drop events.
    pub(super) async fn has_events(&self) {
        match self.events.readable().await {
            Ok(mut guard) => guard.clear_ready(),
            // The descriptor cannot be waited for: the runtime is ending.
            Err(_) => pending().await,
        }
    }

    /// Takes the drop events that the kernel has written.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        let queue = self.events.get_mut();
        let taken: Vec<Event> = std::iter::from_fn(|| queue.next_event()).collect();
        self.events_seen |= !taken.is_empty();
        taken
    }

    /// Grants the kernel a second's drop events, if it has used some.
    pub(super) fn refill_events(&mut self, per_second: u32) {
        if !std::mem::take(&mut self.events_seen) {
            return;
        }
        let cpus = available_parallelism().map_or(1, NonZeroUsize::get) as u64;
        let result = self.datapath.refill_events(u64::from(per_second).div_ceil(cpus));
        self.lasting.follow("no more drop events are shown", result);
    }

    /// Hands the programs' log on.
    #[cfg(feature = "bpf-log")]
    pub(super) fn flush_log(&mut self) {
        self.datapath.flush_log();
    }

    /// Detaches every program: the ports are open until [`Self::follow_config`].
    ///
    /// # Errors
    /// A program cannot be detached.
    pub(super) fn detach_all(&mut self) -> Result<(), DatapathError> {
        self.datapath.detach_all()?;
        self.hooks.detached = true;
        Ok(())
    }

    /// Whether the operator detached everything.
    pub(super) fn is_detached(&self) -> bool {
        self.hooks.detached
    }
}

/// The databases that give a port at an address to another one or take it. Their sources may change
/// as well, and while one id stands for the old sources and the new ones, each could reach the ports
/// of the other.
fn exchanging(known: &[DatabaseSlot], databases: &[DatabaseConfig]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for database in databases {
        let meets = |before: &&DatabaseSlot| {
            before.name != database.name
                && before.ports.overlap(&database.ports)
                && before.destinations.overlap(&database.destinations)
        };
        for before in known.iter().filter(meets) {
            found.extend([before.name.clone(), database.name.clone()]);
        }
    }
    found
}

/// An id for every database: the one it has, or the lowest that is free. One that exchanges a port
/// gets another if there is one that no database has.
fn assign_ids(
    known: &BTreeMap<String, u8>,
    slots: &[DatabaseSlot],
    databases: &[DatabaseConfig],
) -> BTreeMap<String, u8> {
    let mut exchanging = exchanging(slots, databases);
    let named = databases.iter().filter(|database| known.contains_key(&database.name));
    let fresh = named.filter(|database| exchanging.contains(&database.name)).count();
    let unused = MAX_DATABASES as usize - known.len();
    let added = databases.iter().filter(|database| !known.contains_key(&database.name)).count();
    if fresh + added > unused {
        exchanging.clear();
    }
    let mut ids: BTreeMap<String, u8> = databases
        .iter()
        .filter(|database| !exchanging.contains(&database.name))
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

#[cfg(test)]
mod tests;
