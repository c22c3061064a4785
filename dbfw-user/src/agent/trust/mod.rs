//! What is trusted: lists, answers and sources added by hand, and the rules they make.

mod compose;
mod states;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use dbfw_core::{
    answers::{Cache, Cause, Edition, Limits, ListId, ListOutcome, Resolved, SourceState},
    policy::{DatabasePolicy, SlotTable},
    source::{Origin, Prefix, Rule, RuleKind, SourceKey, TrustedSource},
    trust::{Decision, Enforced, List, Refused, is_listed},
};
use dbfw_provider::worker::{Account, Report};
use jiff::Timestamp;

pub(super) use self::compose::can_resolve;
use super::logging;
use crate::{
    config::{Config, DatabaseConfig},
    metrics::Outcome,
    state::{
        expiry::{Expiry, Reading, Step},
        local::LocalSources,
        snapshot::{DatabaseSnapshot, ListSnapshot, Snapshot},
    },
};

/// Sources of one batch that the log names.
const MAX_LOGGED: usize = 10;

/// The trusted sources of every database, what was answered for them, and the rules in force.
///
/// It asks nobody and writes no maps: workers' reports come in, and rules come out once they have
/// passed the guards. Methods that need the configuration take the one in force.
#[derive(Debug)]
pub(super) struct Trust {
    /// Lists of the providers, by database.
    lists: BTreeMap<String, List>,
    /// Answers for the sources that have to be resolved.
    answers: Cache,
    /// Rules in force, by database.
    enforced: BTreeMap<String, Enforced>,
    local: LocalSources,
    clock: Expiry,
    /// Databases whose file was read since the round of the files' worker began.
    read_files: BTreeSet<String>,
    /// Databases whose file was not read since the last reload or start began.
    late_files: BTreeSet<String>,
    /// Databases whose list is older than `max_stale`.
    lapsed: BTreeSet<String>,
    /// The problem of each list that was last logged, by database.
    logged: BTreeMap<String, String>,
    /// The state from before the configuration on trial was in force.
    before_trial: Option<Checkpoint>,
}

/// The changes that a batch of reports made.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Learned {
    /// Databases whose rules have to be evaluated again.
    pub(super) databases: BTreeSet<String>,
    /// Durations of the rounds that ended.
    pub(super) rounds: Vec<Duration>,
}

/// The refused plans that somebody lets through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirmed<'a> {
    pub(super) plans: &'a BTreeSet<String>,
    /// The user who does, for the history.
    pub(super) by: &'a str,
}

/// The state before a reload, to return to if the new policy cannot be put in force.
#[derive(Debug)]
pub(super) struct Checkpoint {
    lists: BTreeMap<String, List>,
    answers: Cache,
    enforced: BTreeMap<String, Enforced>,
}

impl Trust {
    /// Nothing but the sources added by hand.
    pub(super) fn new(config: &Config, local: LocalSources, reading: Reading) -> Self {
        Self {
            lists: BTreeMap::new(),
            answers: Cache::new(limits(config)),
            enforced: BTreeMap::new(),
            local,
            clock: Expiry::new(reading),
            read_files: BTreeSet::new(),
            late_files: BTreeSet::new(),
            lapsed: BTreeSet::new(),
            logged: BTreeMap::new(),
            before_trial: None,
        }
    }

    /// The time by which sources end.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The sources added by hand.
    pub(super) fn local(&self) -> &LocalSources {
        &self.local
    }

    /// The sources added by hand, to change them.
    pub(super) fn local_mut(&mut self) -> &mut LocalSources {
        &mut self.local
    }

    /// The text about sources added by hand for a database that is not configured, by database.
    pub(super) fn without_database(&self, config: &Config) -> BTreeMap<&str, String> {
        let now = self.now();
        let mut waiting: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for local in self.local.all() {
            let (name, end) = (&*local.database, local.source.expires_at);
            let is_configured = config.databases.iter().any(|database| database.name == name);
            if is_configured || end.is_some_and(|at| at <= now) {
                continue;
            }
            let end = end.map_or_else(|| "no end".to_owned(), |at| format!("until {at:.0}"));
            waiting.entry(name).or_default().push(format!("{} ({end})", local.source));
        }
        let text = |name: &str, sources: &[String]| {
            let mut named = sources.iter().take(MAX_LOGGED).cloned().collect::<Vec<_>>().join(", ");
            if let Some(more @ 1..) = sources.len().checked_sub(MAX_LOGGED) {
                named.push_str(&format!(" and {more} more"));
            }
            format!(
                "sources added by hand for database {name}, which is not configured, are not in \
                 force and keep their ends: {named}. They are in force again when it comes back; \
                 dbfw trust add trusts one for another database, dbfw trust rm forgets it"
            )
        };
        waiting.into_iter().map(|(name, sources)| (name, text(name, &sources))).collect()
    }

    /// The rules of a database in force, with the change that a guard refused.
    pub(super) fn enforced(&self, database: &str) -> Option<&Enforced> {
        self.enforced.get(database)
    }

    /// The rules of a database that have not ended.
    pub(super) fn rules(&self, database: &str) -> Vec<Rule> {
        let now = self.now();
        let is_live = |rule: &&Rule| rule.kind.expires_at().is_none_or(|at| at > now);
        let rules = self.enforced(database).into_iter().flat_map(Enforced::rules);
        rules.filter(is_live).cloned().collect()
    }

    /// Takes in the reports of a worker.
    pub(super) fn learn(
        &mut self,
        config: &Config,
        account: Account,
        reports: Vec<Report>,
    ) -> Learned {
        let now = self.now();
        let mut learned = Learned::default();
        let mut logged = 0;
        for report in reports {
            match report {
                Report::List { list, outcome } => {
                    let changed = self.accept_list(config, account, &list, &outcome, now);
                    learned.databases.extend(changed);
                }
                Report::Source { key, outcome } => {
                    let was_known = self.answers.resolution(&key).known;
                    let problem = self.answers.problem(&key);
                    if self.answers.accept(&key, outcome, now) || !was_known {
                        learned.databases.extend(self.databases_of(config, account));
                    }
                    self.log_source(&key, problem.as_deref(), &mut logged);
                }
                Report::Round { took } => learned.rounds.push(took),
            }
        }
        if logged > MAX_LOGGED {
            tracing::warn!("and {} more: dbfw sources shows all of them", logged - MAX_LOGGED);
        }
        learned
    }

    /// Takes in a list. Returns the databases for which it changed.
    fn accept_list(
        &mut self,
        config: &Config,
        account: Account,
        id: &ListId,
        outcome: &ListOutcome,
        now: Timestamp,
    ) -> Vec<String> {
        let mut changed = Vec::new();
        for (database, provider) in with_provider(config) {
            if provider != id {
                continue;
            }
            let list = self.list_of(&database.name, provider);
            if list.accept(outcome.clone(), config.agent.gone_after, now) {
                changed.push(database.name.clone());
            }
            if account == Account::Files {
                self.late_files.remove(&database.name);
                self.read_files.insert(database.name.clone());
            }
        }
        changed
    }

    /// Notes that every list in a file is read again from now on.
    pub(super) fn begin_reading(&mut self, config: &Config) {
        let files = with_provider(config)
            .filter(|(_, provider)| Account::listing(provider) == Account::Files);
        self.late_files = files.map(|(database, _)| database.name.clone()).collect();
    }

    /// Ends a round over everything an account was asked for. Returns the databases it concerns.
    pub(super) fn end_round(&mut self, config: &Config, account: Account) -> Vec<String> {
        let databases = match account {
            // A round of the files is about those that changed.
            Account::Files => std::mem::take(&mut self.read_files).into_iter().collect(),
            _ => self.databases_of(config, account),
        };
        for database in &databases {
            self.confirm(database);
            self.log_list_problem(database);
        }
        databases
    }

    /// Notes that the rules in force are as fresh as the list, if they are the list's.
    fn confirm(&mut self, database: &str) {
        let list = self.lists.get(database).filter(|list| list.error().is_none());
        if let Some((enforced, read_at)) =
            self.enforced.get_mut(database).zip(list.and_then(List::read_at))
        {
            enforced.confirm(read_at);
        }
    }

    /// Lets answers and lists age. Returns whether rules may have changed by it.
    pub(super) fn age(&mut self, config: &Config) -> bool {
        let now = self.now();
        let mut changed = self.answers.drop_expired(now);
        let max_stale = config.agent.max_stale;
        let lapsed: BTreeSet<String> = self
            .lists
            .iter()
            .filter(|(_, list)| list.is_lapsed(max_stale, now))
            .map(|(name, _)| name.clone())
            .collect();
        changed |= lapsed != self.lapsed;
        self.lapsed = lapsed;
        // A database that waits for an answer stops waiting by the clock.
        changed | self.enforced.values().any(Enforced::is_waiting)
    }

    /// Puts what is known of a database's sources in force, as far as the guards allow, with the
    /// refused plans in `confirmed`: not with one of a list that could not be read, which may say
    /// something else by now.
    pub(super) fn reevaluate(
        &mut self,
        config: &Config,
        database: &DatabaseConfig,
        confirmed: &BTreeSet<String>,
    ) -> Decision {
        let now = self.now();
        let candidate = self.compose(config, database);
        let nothing = BTreeSet::new();
        let is_unread = self.unread(&database.name).is_some();
        let confirmed = if is_unread { &nothing } else { confirmed };
        let enforced = self.enforced.entry(database.name.clone()).or_default();
        let decision =
            enforced.decide(&database.guards(config.server.as_ref()), candidate, confirmed, now);
        if let Decision::Accepted { confirmed: Some(plan) } = &decision {
            tracing::warn!(database = %database.name, plan, "confirmed by the operator");
        }
        self.log_list_problem(&database.name);
        decision
    }

    /// Compares the clocks, and moves every moment this remembers if the wall clock was stepped.
    /// After a step every source has to be evaluated again.
    pub(super) fn follow_clock(&mut self, reading: Reading) -> Option<Step> {
        let step = self.clock.look(reading)?;
        let adjust = |at: &mut Timestamp| step.adjust(at);
        self.answers.adjust_times(&adjust, self.clock.now());
        self.lists.values_mut().for_each(|list| list.adjust_times(&adjust));
        self.enforced.values_mut().for_each(|enforced| enforced.adjust_times(&adjust));
        if let Some(before) = &mut self.before_trial {
            before.answers.adjust_times(&adjust, self.clock.now());
            before.lists.values_mut().for_each(|list| list.adjust_times(&adjust));
            before.enforced.values_mut().for_each(|enforced| enforced.adjust_times(&adjust));
        }
        Some(step)
    }

    /// Whether the clock has gone without a step for ten minutes.
    pub(super) fn is_clock_steady(&self) -> bool {
        self.clock.is_steady()
    }

    /// Whether the clock has become steady since this was last asked.
    pub(super) fn clock_became_steady(&mut self) -> bool {
        self.clock.became_steady()
    }

    /// Ends for good, on disk as well, the sources that have expired by a steady clock.
    pub(super) fn end_expired(&mut self, config: &Config) {
        self.note_ended(config);
        if self.clock.is_steady() && !self.local.is_saving() {
            self.local.begin_remove_expired(self.clock.now());
        }
    }

    /// Notes which of the sources written anywhere have ended for good.
    pub(super) fn note_ended(&mut self, config: &Config) {
        let configured = config.databases.iter().flat_map(|database| {
            let sources = database.trusted_sources.iter();
            sources.map(|source| (&*database.name, Origin::Config, source))
        });
        let local = self.local.all().iter();
        let local = local.map(|local| (&*local.database, Origin::Local, &local.source));
        let listed = self.lists.iter().flat_map(|(name, list)| {
            let sources = list.sources().iter();
            sources.map(|source| (&**name, list.origin(), &**source))
        });
        let lists = &self.lists;
        self.clock.end(configured.chain(local).chain(listed), |database| {
            lists.get(database).is_some_and(|list| list.answer().is_none() || list.is_restored())
        });
    }

    /// Follows a new configuration: forgets what it no longer names.
    pub(super) fn follow_config(&mut self, config: &Config) {
        let providers: BTreeMap<&str, &ListId> =
            with_provider(config).map(|(database, list)| (&*database.name, list)).collect();
        self.lists.retain(|name, list| providers.get(&**name) == Some(&list.id()));
        let databases = &config.databases;
        self.enforced.retain(|name, _| databases.iter().any(|database| database.name == *name));
        self.answers.set_limits(limits(config));
        for (database, list) in providers {
            self.list_of(database, list);
        }
    }

    /// The state to return to by [`Self::roll_back`].
    pub(super) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            lists: self.lists.clone(),
            answers: self.answers.clone(),
            enforced: self.enforced.clone(),
        }
    }

    /// Returns to an earlier state.
    pub(super) fn roll_back(&mut self, to: Checkpoint) {
        Checkpoint { lists: self.lists, answers: self.answers, enforced: self.enforced } = to;
    }

    /// Keeps what was known before a trial for its end. Of several trials the first counts.
    pub(super) fn begin_trial(&mut self, before: Checkpoint) {
        self.before_trial.get_or_insert(before);
    }

    /// Forgets what was known before the trial: it has ended.
    pub(super) fn end_trial(&mut self) {
        self.before_trial = None;
    }

    /// Takes back what only the configuration before the trial needs, as it was then. `config` is
    /// that one, and is followed already. What both need went on living.
    pub(super) fn take_back(&mut self, tried: &Config, config: &Config) {
        let Some(before) = &self.before_trial else { return };
        let of_tried = |name: &str| tried.databases.iter().find(|tried| tried.name == name);
        for database in &config.databases {
            let name = &database.name;
            if of_tried(name).is_some_and(|tried| tried.provider == database.provider) {
                continue;
            }
            if let Some(list) = before.lists.get(name) {
                self.lists.insert(name.clone(), list.clone());
            }
            if let Some(enforced) = before.enforced.get(name) {
                self.enforced.insert(name.clone(), enforced.clone());
            }
        }
        self.answers.take_back(&before.answers);
    }

    /// The name of who last changed the control plane's list of a database, if that is the origin
    /// of a rule.
    pub(super) fn author(&self, database: &str, origin: &Origin) -> Option<String> {
        let list = self.lists.get(database).filter(|list| list.origin() == *origin)?;
        list.edition()?.by.clone()
    }

    /// The list of a database; a new one if it had another provider.
    fn list_of(&mut self, database: &str, provider: &ListId) -> &mut List {
        let list = self.lists.entry(database.to_owned()).or_insert_with(|| List::new(provider));
        if list.id() != provider {
            *list = List::new(provider);
        }
        list
    }

    /// A snapshot for a policy in force, of this generation and with these counters.
    pub(super) fn snapshot(
        &self,
        generation: u64,
        slots: SlotTable,
        databases: &[DatabasePolicy],
    ) -> Snapshot {
        Snapshot {
            generation,
            written_at: self.now(),
            slots,
            databases: databases.iter().map(|policy| self.database_snapshot(policy)).collect(),
            answers: self.answers.store(),
            ended: self.clock.ended().clone(),
        }
    }

    fn database_snapshot(&self, policy: &DatabasePolicy) -> DatabaseSnapshot {
        let enforced = self.enforced(&policy.name);
        let list = self.lists.get(&policy.name).zip(enforced.and_then(Enforced::accepted_at));
        DatabaseSnapshot {
            name: policy.name.clone(),
            id: policy.id,
            rules: policy.rules.clone(),
            list: list.map(|(list, last_success)| ListSnapshot {
                provider: list.id().to_string(),
                last_success,
                good_until: list.good_until(),
                resolved: list.edition().map(|edition| edition.resolved.keys().cloned().collect()),
            }),
            measure: enforced.and_then(Enforced::measure).cloned(),
        }
    }

    /// Takes over what an earlier run enforced.
    pub(super) fn restore(&mut self, config: &Config, snapshot: Snapshot) {
        for database in &config.databases {
            let Some(known) = snapshot.database(&database.name) else { continue };
            let is_guarded = |rule: &&Rule| {
                is_listed(rule)
                    || rule.source().is_none_or(|source| source.key().prefixes().is_none())
            };
            let guarded: Vec<Rule> = known.rules.iter().filter(is_guarded).cloned().collect();
            let accepted_at = known.list.as_ref().map(|list| list.last_success);
            if let Some((list, provider)) = known.list.as_ref().zip(database.provider.as_ref())
                && list.provider == provider.to_string()
            {
                let listed = || guarded.iter().filter(|rule| is_listed(rule));
                let sources: Vec<Arc<TrustedSource>> =
                    listed().filter_map(|rule| rule.source().map(Arc::clone)).collect();
                let plain = listed().find(|rule| rule.kind == RuleKind::PlainLines);
                let plain = plain.map(|rule| rule.prefixes.clone()).unwrap_or_default();
                let resolved = list.resolved.as_ref().map(|keys| {
                    let prefixes = |key: &SourceKey| {
                        listed()
                            .find(|rule| rule.source().is_some_and(|source| source.key() == key))
                            .map(|rule| rule.prefixes.clone())
                    };
                    let stale = |key: &SourceKey| {
                        let (prefixes, state) = (prefixes(key)?, SourceState::Stale);
                        Some((key.clone(), Resolved { prefixes, state, at: None }))
                    };
                    keys.iter().filter_map(stale).collect()
                });
                let edition = resolved.map(|resolved| Edition { resolved, ..Edition::default() });
                let (read_at, good_until) = (list.last_success, list.good_until);
                let restored =
                    List::restore(provider, sources, plain, edition, read_at, good_until);
                self.lists.insert(database.name.clone(), restored);
            }
            let enforced = Enforced::restore(guarded, accepted_at, known.measure.clone());
            self.enforced.insert(database.name.clone(), enforced);
        }
        self.clock.restore(snapshot.written_at, snapshot.ended);
        self.answers.restore(snapshot.answers, self.clock.now());
    }

    /// Without a snapshot, takes the prefixes that the maps hold for a database as what is in
    /// force: what is read from now on has to pass the guards against them.
    pub(super) fn adopt(&mut self, database: &DatabaseConfig, held: Vec<Prefix>) {
        let local = self.local.all().iter().filter(|local| local.database == database.name);
        let written = local.map(|local| &local.source).chain(&database.trusted_sources);
        let own = written.filter_map(|source| source.key().prefixes());
        let own: BTreeSet<Prefix> = own.flat_map(|prefixes| prefixes.iter().copied()).collect();
        let mut prefixes = held;
        prefixes.retain(|prefix| !own.contains(prefix));
        prefixes.sort_unstable();
        if prefixes.is_empty() {
            return;
        }
        tracing::warn!(
            database = %database.name,
            prefixes = prefixes.len(),
            "there is no snapshot: what the maps hold stays in force until the list is read, also \
             what was temporary and is not in trust.json"
        );
        let origin = match &database.provider {
            Some(provider) => Origin::Provider(provider.to_string().into()),
            None => Origin::Config,
        };
        self.enforced.insert(database.name.clone(), Enforced::adopt(&origin, prefixes));
    }

    /// Logs the problem of a source when it begins or ends.
    fn log_source(&self, key: &SourceKey, before: Option<&str>, logged: &mut usize) {
        let now = self.answers.problem(key);
        if before.is_some() == now.is_some() {
            return;
        }
        *logged += 1;
        match now {
            _ if *logged > MAX_LOGGED => {}
            Some(problem) => tracing::warn!(source = %key, "{problem}"),
            None => tracing::info!(source = %key, "the source recovered"),
        }
    }

    /// Logs the problem of a database's list, or of its other sources where there is no list, when
    /// it changes, not with every try.
    fn log_list_problem(&mut self, database: &str) {
        let problem = self.list_problem(database);
        let provider = self.lists.get(database).map_or_else(|| "config".into(), List::name);
        match (&problem, self.logged.get(database)) {
            (Some(problem), before) if before != Some(problem) => {
                for line in logging::records(problem) {
                    tracing::warn!(name: "list_problem", %database, %provider, "{line}");
                }
            }
            (None, Some(_)) => tracing::info!(%database, %provider, "the sources recovered"),
            _ => {}
        }
        match problem {
            Some(problem) => self.logged.insert(database.to_owned(), problem),
            None => self.logged.remove(database),
        };
    }

    /// The reason why it is not known what a database's list says now.
    fn unread(&self, database: &str) -> Option<String> {
        let list = self.lists.get(database)?;
        if self.late_files.contains(database) {
            return Some(format!("{}: it was not read in time", list.name()));
        }
        list.error().filter(|_| list.is_failing()).map(|(_, message)| message.clone())
    }

    /// The problem that keeps a database's list from being read or from being in force.
    fn list_problem(&self, database: &str) -> Option<String> {
        let error = self.lists.get(database).and_then(List::error);
        let refused = self.enforced(database).and_then(Enforced::refused);
        let error = error.map(|(_, message)| message.clone());
        error.or_else(|| refused.map(Refused::message))
    }

    /// The outcome of a sync of a database that ended now.
    pub(super) fn outcome(&self, config: &Config, database: &str) -> Outcome {
        let is_refused = self.enforced(database).and_then(Enforced::refused).is_some();
        match (self.failure_of(config, database), is_refused) {
            (Some(cause), _) => Outcome::Failure(cause),
            (None, true) => Outcome::Refused,
            (None, false) => Outcome::Success(Timestamp::now()),
        }
    }

    /// The cause of the first failure that keeps a database's sources from being up to date.
    fn failure_of(&self, config: &Config, database: &str) -> Option<Cause> {
        let config = config.databases.iter().find(|config| config.name == database)?;
        let list = self.lists.get(database);
        if let Some((cause, _)) = list.and_then(List::error) {
            return Some(*cause);
        }
        let mut asked =
            self.sources(config).filter(|source| Account::resolving(source.kind()).is_some());
        asked.find_map(|source| self.answers.failure(source.key()))
    }
}

/// Databases that have a provider.
pub(super) fn with_provider(config: &Config) -> impl Iterator<Item = (&DatabaseConfig, &ListId)> {
    config
        .databases
        .iter()
        .filter_map(|database| database.provider.as_ref().map(|provider| (database, provider)))
}

/// Databases whose trusted sources have to be read or resolved.
pub(super) fn synced(config: &Config) -> impl Iterator<Item = &DatabaseConfig> {
    config.databases.iter().filter(|database| {
        let mut sources = database.trusted_sources.iter();
        database.provider.is_some()
            || sources.any(|source| Account::resolving(source.kind()).is_some())
    })
}

/// Limits on the age of answers.
fn limits(config: &Config) -> Limits {
    Limits { gone_after: config.agent.gone_after, max_stale: config.agent.max_stale }
}
