//! From what providers and resolvers said to what is in force, through the guards.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use jiff::Timestamp;

use super::{
    enforced::{Offer, Refused},
    lists::List,
    logging,
    remote::Account,
    state::{Agent, file_of, with_provider},
};
use crate::{
    answers::Cause,
    config::DatabaseConfig,
    metrics::Outcome,
    provider::{
        FileProvider, provider_name,
        worker::{ListOutcome, Report},
    },
    source::SourceKey,
};

/// Sources of one batch that the log names.
const MAX_TOLD: usize = 10;

impl Agent {
    /// Takes in what the tasks learned. The kernel follows with [`Agent::reconcile`] if this
    /// returns true.
    pub(super) fn learn(&mut self, account: Account, reports: Vec<Report>) -> bool {
        let now = self.expiry.now();
        let gone_after = self.config.agent.gone_after;
        let mut changed = false;
        let mut told = 0;
        for report in reports {
            match report {
                Report::List { provider, outcome } => {
                    if matches!(outcome, ListOutcome::List { .. }) {
                        self.known_lists.insert(provider.clone(), outcome.clone());
                    }
                    let databases: Vec<DatabaseConfig> = with_provider(&self.config)
                        .filter(|(_, config)| provider_name(config) == provider)
                        .map(|(database, _)| database.clone())
                        .collect();
                    for database in databases {
                        let known = self.known_lists.get(&provider).cloned();
                        let Some(list) = self.list_of(&database) else { continue };
                        // Unchanged since another database, or this one by another name, got it.
                        let outcome = match (&outcome, known) {
                            (ListOutcome::Unchanged, Some(known)) if list.sources.is_none() => {
                                known
                            }
                            _ => outcome.clone(),
                        };
                        changed |= list.accept(outcome, gone_after, now);
                    }
                }
                Report::Source { key, outcome } => {
                    let was_known = self.cache.resolution(&key).known;
                    let trouble = self.cache.trouble(&key).map(str::to_owned);
                    changed |= self.cache.accept(&key, outcome, now) | !was_known;
                    self.tell_source(&key, trouble.as_deref(), &mut told);
                }
                Report::Round { took } => {
                    self.remote.round(account, took);
                    for database in self.databases_of(account) {
                        self.confirm(&database);
                        self.count_sync(&database, took);
                        self.tell_trouble(&database);
                    }
                    self.ages_changed = true;
                }
            }
        }
        if told > MAX_TOLD {
            tracing::warn!("and {} more: dbfw sources has them all", told - MAX_TOLD);
        }
        if changed {
            for database in self.databases_of(account) {
                self.settle(&database, &BTreeSet::new());
            }
        }
        changed
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

    /// Lets time pass for what ages: whether the kernel has to follow.
    pub(super) fn age(&mut self) -> bool {
        let now = self.expiry.now();
        let mut changed = self.cache.sweep(now);
        for list in self.lists.values_mut() {
            changed |= list.sweep(now);
        }
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
            self.settle_all(&BTreeSet::new());
        }
        changed
    }

    /// [`Agent::settle`] for every database.
    pub(super) fn settle_all(&mut self, confirmed: &BTreeSet<String>) {
        let names: Vec<String> = self.config.databases.iter().map(|d| d.name.clone()).collect();
        for name in names {
            self.settle(&name, confirmed);
        }
    }

    /// Reads every list that is a file, or the lists in the file `path`.
    pub(super) fn read_lists(&mut self, path: Option<&PathBuf>, confirmed: &BTreeSet<String>) {
        let files: Vec<(DatabaseConfig, FileProvider)> = with_provider(&self.config)
            .filter_map(|(database, provider)| Some((database.clone(), file_of(provider)?)))
            .filter(|(_, file)| path.is_none_or(|path| file.path == *path))
            .collect();
        for (database, file) in files {
            self.read_list(&database, &file, confirmed);
        }
    }

    fn read_list(
        &mut self,
        database: &DatabaseConfig,
        file: &FileProvider,
        confirmed: &BTreeSet<String>,
    ) {
        let started = Instant::now();
        self.stamps.insert(file.path.clone(), Stamp::of(&file.path));
        let result = file.read();
        let now = self.expiry.now();
        let Some(list) = self.list_of(database) else { return };
        match result {
            Ok(sources) => list.replace(sources, now),
            Err(error) => list.failed(error.cause(), error.to_string(), now),
        }
        self.settle(&database.name, confirmed);
        self.count_sync(&database.name, started.elapsed());
    }

    /// The list of a database that has a provider; a new one if it moved to another.
    pub(super) fn list_of(&mut self, database: &DatabaseConfig) -> Option<&mut List> {
        let name = provider_name(database.provider.as_ref()?);
        let list = self.lists.entry(database.name.clone());
        let list = list.or_insert_with(|| List::new(name.clone()));
        if *list.provider != *name {
            *list = List::new(name);
        }
        Some(list)
    }

    /// Puts what is known of a database's sources in force, as far as the guards allow; the
    /// kernel follows with [`Agent::reconcile`].
    pub(super) fn settle(&mut self, database: &str, confirmed: &BTreeSet<String>) {
        let now = self.expiry.now();
        let databases = &self.config.databases;
        let Some(database) = databases.iter().find(|d| d.name == database).cloned() else { return };
        let database = &database;
        let candidate = self.compose(database, now);
        let enforced = self.enforced.entry(database.name.clone()).or_default();
        let offer = enforced.offer(database, candidate, confirmed, now);
        if let Offer::Accepted { confirmed: Some(plan) } = &offer {
            tracing::warn!(database = %database.name, plan, "confirmed by the operator");
        }
        self.history.record_decision(
            self.generation,
            database,
            &offer,
            self.enforced.get(&database.name),
        );
        self.tell_trouble(&database.name);
    }

    /// What is in force is as fresh as the list it came from, if the list is what is in force.
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

    /// Why what a database trusts is not wholly up to date.
    fn failure_of(&self, database: &str) -> Option<Cause> {
        let config = self.config.databases.iter().find(|config| config.name == database)?;
        let list = self.lists.get(database).filter(|_| config.provider.is_some());
        if let Some((cause, _)) = list.and_then(|list| list.error.as_ref()) {
            return Some(*cause);
        }
        let listed = list.and_then(|list| list.sources.as_ref()).into_iter().flatten();
        let local = self.local.all().iter().filter(|local| local.database == database);
        let written = config.trusted_sources.iter().chain(listed.map(|source| &**source));
        let written = written.chain(local.map(|local| &local.source));
        let mut asked = written.filter(|source| Account::of(source.kind()).is_some());
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

    /// Why the list of a database could not be read, or is not in force.
    pub(super) fn trouble(&self, database: &str) -> Option<String> {
        let error = self.lists.get(database).and_then(|list| list.error.as_ref());
        let refused = self.enforced.get(database).and_then(|e| e.refused.as_ref());
        let error = error.map(|(_, message)| message.clone());
        error.or_else(|| refused.map(Refused::message))
    }

    /// Whether a file may have changed since it was last read.
    pub(super) fn may_have_changed(&self, path: &Path) -> bool {
        self.stamps.get(path).is_none_or(|stamp| !stamp.settles(&Stamp::of(path)))
    }

    /// Providers' files that changed without inotify telling.
    pub(super) fn changed_files(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = with_provider(&self.config)
            .filter_map(|(_, provider)| Some(file_of(provider)?.path))
            .collect();
        paths.dedup();
        paths.retain(|path| self.may_have_changed(path));
        paths
    }
}

/// Mode, user and group of a file.
type Permissions = (u32, u32, u32);

/// What tells that a file was changed or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Modification, length, inode, and who may read it; `None`: it is not there.
    file: Option<(SystemTime, u64, u64, Permissions)>,
    /// When this was looked at.
    at: SystemTime,
}

impl Stamp {
    /// File systems stamp changes by a clock of this resolution or better.
    const RESOLUTION: Duration = Duration::from_millis(20);

    fn of(path: &Path) -> Self {
        let at = SystemTime::now();
        let file = fs::metadata(path).ok().and_then(|metadata| {
            let permissions = (metadata.mode(), metadata.uid(), metadata.gid());
            Some((metadata.modified().ok()?, metadata.len(), metadata.ino(), permissions))
        });
        Self { file, at }
    }

    /// Whether nothing can have changed from this look to `later`: the same file, last
    /// modified so long before this look that a change since then would show.
    fn settles(&self, later: &Self) -> bool {
        let settled = self.file.is_none_or(|(modified, ..)| {
            self.at.duration_since(modified).is_ok_and(|age| age > Self::RESOLUTION)
        });
        settled && self.file == later.file
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_fresh_file_never_counts_as_settled() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let fresh = Stamp::of(file.path());
        assert!(!fresh.settles(&Stamp::of(file.path())), "it may change within a tick");
        let old = SystemTime::now() - Duration::from_secs(10);
        file.as_file().set_modified(old).unwrap();
        let settled = Stamp::of(file.path());
        assert!(settled.settles(&Stamp::of(file.path())));
        fs::write(file.path(), "x").unwrap();
        assert!(!settled.settles(&Stamp::of(file.path())));
        file.as_file().set_modified(old).unwrap();
        let settled = Stamp::of(file.path());
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o604)).unwrap();
        assert!(!settled.settles(&Stamp::of(file.path())), "it may be read now");
        let gone = file.path().to_owned();
        drop(file);
        assert!(!settled.settles(&Stamp::of(&gone)));
        assert!(Stamp::of(&gone).settles(&Stamp::of(&gone)));
    }
}
