//! From lists to the kernel. Nothing else in the agent writes maps.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use dbfw_common::{FLAG_DROP_FRAGMENTS, MAX_DATABASES};
use jiff::Timestamp;

use super::{
    lists::{List, Offer},
    logging,
    state::{Agent, open_provider, with_provider},
};
use crate::{
    config::{DatabaseConfig, Fragments},
    datapath::{Change, DatabaseSlot},
    observe::metrics::Outcome,
    policy::{DatabasePolicy, Policy, diff},
    provider::Cause,
    source::{Origin, Rule},
};

/// What a reconciliation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reconciled {
    pub(super) added: usize,
    pub(super) removed: usize,
}

impl Agent {
    /// Reads the lists of every provider whose file is `path`, or of all.
    pub(super) fn read_lists(&mut self, path: Option<&PathBuf>, confirmed: bool) {
        let databases: Vec<DatabaseConfig> = with_provider(&self.config)
            .filter(|(_, provider)| path.is_none_or(|path| open_provider(provider).1.path == *path))
            .map(|(database, _)| database.clone())
            .collect();
        for database in databases {
            self.read_list(&database, confirmed);
        }
    }

    fn read_list(&mut self, database: &DatabaseConfig, confirmed: bool) {
        let Some(provider) = &database.provider else { return };
        let (name, file) = open_provider(provider);
        let started = Instant::now();
        self.stamps.insert(file.path.clone(), Stamp::of(&file.path));
        let result = file.read();
        let list =
            self.lists.entry(database.name.clone()).or_insert_with(|| List::new(name.clone()));
        list.move_to(name.clone());
        list.follow(database);
        let before = list.trouble();
        let now = Timestamp::now();
        let outcome = match result {
            Ok(sources) => match list.offer(database, sources, now, confirmed) {
                Offer::Refused(guard) => Outcome::Refused(guard),
                Offer::Accepted | Offer::Unchanged if list.error.is_some() => {
                    Outcome::Failure(Cause::Invalid)
                }
                Offer::Accepted | Offer::Unchanged => Outcome::Success(now),
            },
            Err(error) => {
                list.failed(error.to_string());
                Outcome::Failure(error.cause())
            }
        };
        // Told when it changes, not with every try.
        match (list.trouble(), before) {
            (Some(trouble), before) if before.as_ref() != Some(&trouble) => {
                for line in logging::records(&trouble) {
                    tracing::warn!(database = %database.name, provider = %name, "{line}");
                }
            }
            (None, Some(_)) => {
                tracing::info!(database = %database.name, provider = %name, "the list is good again");
            }
            _ => {}
        }
        self.sync.finished(&database.name, started.elapsed(), outcome);
    }

    /// Whether a file may have changed since it was last read.
    pub(super) fn may_have_changed(&self, path: &Path) -> bool {
        self.stamps.get(path).is_none_or(|stamp| !stamp.settles(&Stamp::of(path)))
    }

    /// Providers' files that changed without inotify telling.
    pub(super) fn changed_files(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = with_provider(&self.config)
            .map(|(_, provider)| open_provider(provider).1.path)
            .collect();
        paths.dedup();
        paths.retain(|path| self.may_have_changed(path));
        paths
    }

    /// Makes the kernel hold the policy of now. On an error everything is as it was, and
    /// `apply_error` says why.
    pub(super) fn reconcile(&mut self) -> Result<Reconciled, String> {
        let now = Timestamp::now();
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
        self.policy = policy;
        self.slots = slots;
        self.ids = ids;
        self.unsaved |= changed;
        Ok(done)
    }

    fn rules_in_force(&self, ids: &BTreeMap<String, u8>, now: Timestamp) -> Vec<DatabasePolicy> {
        let is_live = |rule: &Rule| rule.source.expires_at.is_none_or(|at| at > now);
        self.config
            .databases
            .iter()
            .filter_map(|database| {
                let listed = self.lists.get(&database.name).filter(|_| database.provider.is_some());
                let rules = config_rules(database)
                    .chain(listed.into_iter().flat_map(|list| list.rules.iter().cloned()))
                    .chain(self.local_rules(&database.name))
                    .filter(is_live)
                    .collect();
                Some(DatabasePolicy {
                    id: *ids.get(&database.name)?,
                    name: database.name.clone(),
                    rules,
                })
            })
            .collect()
    }

    pub(super) fn local_rules(&self, database: &str) -> impl Iterator<Item = Rule> {
        self.local
            .all()
            .iter()
            .filter(move |local| local.database == database)
            .filter_map(|local| rule(local.source.clone(), Origin::Local))
    }

    fn next_expiry_after(&self, now: Timestamp) -> Option<Timestamp> {
        let rules = self.policy.databases().iter().flat_map(|database| &database.rules);
        rules.filter_map(|rule| rule.source.expires_at).filter(|at| *at > now).min()
    }
}

pub(super) fn config_rules(database: &DatabaseConfig) -> impl Iterator<Item = Rule> {
    database.trusted_sources.iter().filter_map(|source| rule(source.clone(), Origin::Config))
}

/// A source that was validated before, with its prefixes.
fn rule(source: crate::source::TrustedSource, origin: Origin) -> Option<Rule> {
    match crate::resolve::resolve(&source) {
        Ok(prefixes) => Some(Rule { source, origin, prefixes }),
        Err(error) => {
            tracing::error!("a trusted source is not in force: {error}");
            None
        }
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

/// What tells that a file was changed or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Modification, length, inode; `None`: it is not there.
    file: Option<(SystemTime, u64, u64)>,
    /// When this was looked at.
    at: SystemTime,
}

impl Stamp {
    /// File systems stamp changes by a clock of this resolution or better.
    const RESOLUTION: Duration = Duration::from_millis(20);

    fn of(path: &Path) -> Self {
        let at = SystemTime::now();
        let file = fs::metadata(path)
            .ok()
            .and_then(|metadata| Some((metadata.modified().ok()?, metadata.len(), metadata.ino())));
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
        let gone = file.path().to_owned();
        drop(file);
        assert!(!settled.settles(&Stamp::of(&gone)));
        assert!(Stamp::of(&gone).settles(&Stamp::of(&gone)));
    }
}
