//! From what providers and resolvers said to what is in force, through the guards.

use std::{collections::BTreeSet, pin::pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::sleep;

use super::{
    enforced::{Decision, Refused},
    lists::List,
    logging,
    state::{Agent, with_provider},
};
use crate::{
    answers::{Cause, ListId, ListOutcome},
    config::DatabaseConfig,
    metrics::Outcome,
    provider::worker::{Account, Report},
    source::SourceKey,
};

/// Longest wait of a start or a reload for lists in files.
const FILES_PATIENCE: Duration = Duration::from_secs(10);

/// Sources of one batch that the log names.
const MAX_TOLD: usize = 10;

impl Agent {
    /// Takes in what a worker learned.
    pub(super) fn learn(&mut self, account: Account, reports: Vec<Report>) {
        let now = self.expiry.now();
        let mut changed: BTreeSet<String> = BTreeSet::new();
        let mut told = 0;
        for report in reports {
            match report {
                Report::List { list, outcome } => {
                    changed.extend(self.accept_list(account, &list, &outcome, now));
                }
                Report::Source { key, outcome } => {
                    let was_known = self.cache.resolution(&key).known;
                    let trouble = self.cache.trouble(&key).map(str::to_owned);
                    if self.cache.accept(&key, outcome, now) || !was_known {
                        changed.extend(self.databases_of(account));
                    }
                    self.tell_source(&key, trouble.as_deref(), &mut told);
                }
                Report::Round { took } => self.end_round(account, took),
            }
        }
        if told > MAX_TOLD {
            tracing::warn!("and {} more: dbfw sources has them all", told - MAX_TOLD);
        }
        for database in &changed {
            self.reevaluate(database, &BTreeSet::new());
        }
    }

    /// Takes in a list; the databases for which it changed.
    fn accept_list(
        &mut self,
        account: Account,
        id: &ListId,
        outcome: &ListOutcome,
        now: Timestamp,
    ) -> Vec<String> {
        let gone_after = self.config.agent.gone_after;
        let databases: Vec<DatabaseConfig> = with_provider(&self.config)
            .filter(|(_, provider)| *provider == id)
            .map(|(database, _)| database.clone())
            .collect();
        let mut changed = Vec::new();
        for database in databases {
            let Some(list) = self.list_of(&database) else { continue };
            if list.accept(outcome.clone(), gone_after, now) {
                changed.push(database.name.clone());
            }
            if account == Account::Files {
                self.read_files.insert(database.name);
            }
        }
        changed
    }

    /// A round over everything that was asked of an account has ended.
    fn end_round(&mut self, account: Account, took: Duration) {
        self.workers.round(account, took);
        let databases = match account {
            // Of files, a round is about those that changed.
            Account::Files => std::mem::take(&mut self.read_files).into_iter().collect(),
            _ => {
                self.ages_changed = true;
                self.databases_of(account)
            }
        };
        for database in databases {
            self.confirm(&database);
            self.count_sync(&database, took);
            self.tell_trouble(&database);
        }
    }

    /// Says in the log what is the matter with a source, when that begins or ends.
    fn tell_source(&self, key: &SourceKey, before: Option<&str>, told: &mut usize) {
        let now = self.cache.trouble(key);
        if before.is_some() == now.is_some() {
            return;
        }
        *told += 1;
        match now {
            _ if *told > MAX_TOLD => {}
            Some(trouble) => tracing::warn!(source = %key, "{trouble}"),
            None => tracing::info!(source = %key, "the source is good again"),
        }
    }

    /// Lets time pass for what ages.
    pub(super) fn age(&mut self) {
        let now = self.expiry.now();
        let mut changed = self.cache.sweep(now);
        let max_stale = self.config.agent.max_stale;
        let lapsed: BTreeSet<String> = self
            .lists
            .iter()
            .filter(|(_, list)| list.is_lapsed(max_stale, now))
            .map(|(name, _)| name.clone())
            .collect();
        changed |= lapsed != self.lapsed;
        self.lapsed = lapsed;
        // Patience with what nobody answers ends by the clock, too.
        changed |= self.enforced.values().any(|enforced| enforced.is_waiting());
        if changed {
            self.reevaluate_all(&BTreeSet::new());
        }
    }

    /// [`Agent::settle`] for every database.
    pub(super) fn reevaluate_all(&mut self, confirmed: &BTreeSet<String>) {
        let names: Vec<String> = self.config.databases.iter().map(|d| d.name.clone()).collect();
        for name in names {
            self.reevaluate(&name, confirmed);
        }
    }

    /// Waits until every list in a file was read and taken in: at most [`FILES_PATIENCE`], and
    /// what was not read by then counts as soon as it is.
    pub(super) async fn read_files(&mut self) {
        let Some(mut done) = self.workers.refresh_files() else { return };
        let mut late = pin!(sleep(FILES_PATIENCE));
        loop {
            tokio::select! {
                biased;
                Some((account, reports)) = self.workers.reports.recv() => {
                    self.learn(account, reports);
                }
                _ = &mut done => return,
                () = &mut late => {
                    tracing::warn!(
                        "reading the lists takes longer than {} s: going on without them",
                        FILES_PATIENCE.as_secs()
                    );
                    return;
                }
            }
        }
    }

    /// The list of a database that has a provider; a new one if it moved to another.
    pub(super) fn list_of(&mut self, database: &DatabaseConfig) -> Option<&mut List> {
        let provider = database.provider.as_ref()?;
        let list = self.lists.entry(database.name.clone());
        let list = list.or_insert_with(|| List::new(provider));
        if list.id != *provider {
            *list = List::new(provider);
        }
        Some(list)
    }

    /// Puts what is known of a database's sources in force, as far as the guards allow; the
    /// kernel follows with [`Agent::converge`].
    pub(super) fn reevaluate(&mut self, database: &str, confirmed: &BTreeSet<String>) {
        self.must_converge = true;
        let now = self.expiry.now();
        let databases = &self.config.databases;
        let Some(database) = databases.iter().find(|d| d.name == database).cloned() else { return };
        let database = &database;
        let candidate = self.compose(database, now);
        let enforced = self.enforced.entry(database.name.clone()).or_default();
        let decision = enforced.decide(database, candidate, confirmed, now);
        if let Decision::Accepted { confirmed: Some(plan) } = &decision {
            tracing::warn!(database = %database.name, plan, "confirmed by the operator");
        }
        self.history.record_decision(
            self.generation,
            database,
            &decision,
            self.enforced.get(&database.name),
        );
        self.tell_trouble(&database.name);
    }

    /// Notes that the rules in force are as fresh as the list, if they are the list's.
    fn confirm(&mut self, database: &str) {
        let read_at =
            self.lists.get(database).filter(|l| l.error.is_none()).and_then(|l| l.read_at);
        if let Some((enforced, read_at)) = self.enforced.get_mut(database).zip(read_at)
            && enforced.refused.is_none()
            && enforced.accepted_at.is_some()
        {
            enforced.accepted_at = Some(read_at);
        }
    }

    /// Counts a sync that ended now.
    pub(super) fn count_sync(&mut self, database: &str, took: Duration) {
        let refused = self.enforced.get(database).and_then(|e| e.refused.as_ref());
        let outcome = match (self.failure_of(database), refused) {
            (Some(cause), _) => Outcome::Failure(cause),
            (None, Some(refused)) => Outcome::Refused(refused.guard()),
            (None, None) => Outcome::Success(Timestamp::now()),
        };
        self.sync.finished(database, took, outcome);
    }

    /// The cause of the first failure that keeps a database's sources from being up to date.
    fn failure_of(&self, database: &str) -> Option<Cause> {
        let config = self.config.databases.iter().find(|config| config.name == database)?;
        let list = self.lists.get(database).filter(|_| config.provider.is_some());
        if let Some((cause, _)) = list.and_then(|list| list.error.as_ref()) {
            return Some(*cause);
        }
        let listed = list.into_iter().flat_map(List::sources);
        let local = self.local.all().iter().filter(|local| local.database == database);
        let written = config.trusted_sources.iter().chain(listed.map(|source| &**source));
        let written = written.chain(local.map(|local| &local.source));
        let mut asked = written.filter(|source| Account::resolving(source.kind()).is_some());
        asked.find_map(|source| self.cache.failure(source.key()))
    }

    /// Says in the log what is the matter with a database's list: when it changes, not with
    /// every try.
    fn tell_trouble(&mut self, database: &str) {
        let trouble = self.trouble(database);
        let before = self.told.get(database);
        let Some(provider) = self.lists.get(database).map(|list| Arc::clone(&list.provider)) else {
            return;
        };
        match (&trouble, before) {
            (Some(trouble), before) if before != Some(trouble) => {
                for line in logging::records(trouble) {
                    tracing::warn!(%database, %provider, "{line}");
                }
            }
            (None, Some(_)) => {
                tracing::info!(%database, %provider, "the list is good again");
            }
            _ => {}
        }
        match trouble {
            Some(trouble) => self.told.insert(database.to_owned(), trouble),
            None => self.told.remove(database),
        };
    }

    /// The problem that keeps a database's list from being read or from being in force.
    pub(super) fn trouble(&self, database: &str) -> Option<String> {
        let error = self.lists.get(database).and_then(|list| list.error.as_ref());
        let refused = self.enforced.get(database).and_then(|e| e.refused.as_ref());
        let error = error.map(|(_, message)| message.clone());
        error.or_else(|| refused.map(Refused::message))
    }
}
