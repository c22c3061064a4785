//! State that survives a restart: the snapshot, written beside the loop, and the maps.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    enforced::Enforced,
    lists::List,
    memory,
    state::{Agent, synced},
};
use crate::{
    policy::Policy,
    source::{Origin, Prefix, Rule, RuleKind, TrustedSource},
    state::snapshot::{DatabaseSnapshot, ListSnapshot, Snapshot, SnapshotError},
};

/// Time between two snapshots that differ only in the times of confirmation: an age that a restart
/// takes for its age is wrong by no more.
const CONFIRM: Duration = Duration::from_secs(300);

impl Agent {
    /// Begins to write the policy in force to disk, and the configuration it is of once that
    /// was read back, unless that is under way already.
    pub(super) fn begin_saving(&mut self) {
        if self.saving.is_some() {
            return;
        }
        self.unsaved |= self.ages_changed && self.saved_at.elapsed() >= CONFIRM;
        let holds = self.files.are_unsaved() && self.protection().ready().is_ok();
        let last_good = holds.then(|| self.files.take_unsaved(&self.config)).flatten();
        if !self.unsaved && last_good.is_none() {
            return;
        }
        self.unsaved = false;
        self.ages_changed = false;
        self.saved_at = Instant::now();
        self.note_ended();
        let snapshot = self.snapshot();
        let state_dir = self.config.agent.state_dir.clone();
        self.saving = Some(tokio::task::spawn_blocking(move || {
            snapshot.save(&state_dir)?;
            match last_good {
                Some(last_good) => last_good.save(&state_dir).map_err(SnapshotError::Config),
                None => Ok(()),
            }
        }));
    }

    /// Takes note of what became of it. Failure is reported and changes nothing else.
    pub(super) fn saved(&mut self, result: Result<(), SnapshotError>) {
        self.saving = None;
        memory::trim();
        self.snapshot_error = result.err().map(|error| error.to_string());
        if let Some(error) = &self.snapshot_error {
            self.unsaved = true;
            self.files.not_saved();
            tracing::error!("the policy is in force, but a restart would not know it: {error}");
        }
    }

    fn snapshot(&self) -> Snapshot {
        let databases = self
            .policy
            .databases()
            .iter()
            .map(|database| DatabaseSnapshot {
                name: database.name.clone(),
                id: database.id,
                rules: database.rules.clone(),
                list: self.listed_since(&database.name),
                measure: self.enforced.get(&database.name).and_then(Enforced::measure),
            })
            .collect();
        Snapshot {
            generation: self.generation,
            written_at: self.expiry.now(),
            slots: self.slots.clone(),
            databases,
            answers: self.cache.store(),
            ended: self.expiry.ended().clone(),
        }
    }

    /// Has the sources that are written judged: which of them ended for good.
    pub(super) fn note_ended(&mut self) {
        let databases = &self.config.databases;
        let config = databases.iter().flat_map(|database| {
            let sources = database.trusted_sources.iter();
            sources.map(|source| (&*database.name, Origin::Config, source))
        });
        let local = self.local.all().iter();
        let local = local.map(|local| (&*local.database, Origin::Local, &local.source));
        let listed = self.lists.iter().flat_map(|(name, list)| {
            let sources = list.sources().iter();
            sources.map(|source| (&**name, Origin::Provider(Arc::clone(&list.provider)), &**source))
        });
        let lists = &self.lists;
        self.expiry.end(config.chain(local).chain(listed), |database| {
            lists.get(database).is_some_and(|list| list.answer().is_none() || list.from_snapshot)
        });
    }

    fn listed_since(&self, database: &str) -> Option<ListSnapshot> {
        let last_success = self.enforced.get(database)?.accepted_at?;
        let provider = self.lists.get(database)?.provider.to_string();
        Some(ListSnapshot { provider, last_success })
    }

    /// Without a snapshot, takes what the maps hold as what is in force: an earlier agent
    /// enforced it, and what is read from now on has to pass the guards against it.
    pub(super) fn adopt_held(&mut self) {
        let names: Vec<String> = synced(&self.config).map(str::to_owned).collect();
        for name in names {
            let Some(id) = self.ids.get(&name) else { continue };
            let databases = &self.config.databases;
            let Some(database) = databases.iter().find(|database| database.name == name) else {
                continue;
            };
            let local = self.local.all().iter().filter(|local| local.database == name);
            let written = local.map(|local| &local.source).chain(&database.trusted_sources);
            let own = written.filter_map(|source| source.key().prefixes());
            let own: BTreeSet<Prefix> = own.flat_map(|prefixes| prefixes.iter().copied()).collect();
            let mut prefixes: Vec<Prefix> = self
                .datapath
                .held()
                .iter()
                .filter(|(prefix, entry)| {
                    entry.mask() >> (id - 1) & 1 != 0 && !own.contains(prefix)
                })
                .map(|(prefix, _)| prefix)
                .collect();
            prefixes.sort_unstable();
            if prefixes.is_empty() {
                continue;
            }
            tracing::warn!(
                database = %name,
                prefixes = prefixes.len(),
                "there is no snapshot: what the maps hold stays in force until the list is read"
            );
            let origin = match &database.provider {
                Some(provider) => Origin::Provider(provider.to_string().into()),
                None => Origin::Config,
            };
            self.enforced.insert(name, Enforced::adopt(&origin, prefixes));
        }
    }

    /// Takes over what the snapshot knows: counters, ids, what was in force and why.
    pub(super) fn restore(&mut self, snapshot: Snapshot) {
        for database in &self.config.databases {
            let Some(known) = snapshot.database(&database.name) else { continue };
            let is_guarded = |rule: &&Rule| {
                matches!(rule.origin, Origin::Provider(_))
                    || rule.source().is_none_or(|source| source.key().prefixes().is_none())
            };
            let guarded: Vec<Rule> = known.rules.iter().filter(is_guarded).cloned().collect();
            let accepted_at = known.list.as_ref().map(|list| list.last_success);
            if let Some((list, provider)) = known.list.as_ref().zip(database.provider.as_ref()) {
                let listed = |rule: &&Rule| matches!(rule.origin, Origin::Provider(_));
                let sources: Vec<Arc<TrustedSource>> = guarded
                    .iter()
                    .filter(listed)
                    .filter_map(|rule| rule.source().map(Arc::clone))
                    .collect();
                let plain =
                    guarded.iter().find(|rule| listed(rule) && rule.kind == RuleKind::PlainLines);
                let plain = plain.map_or_else(|| [].into(), |rule| Arc::clone(&rule.prefixes));
                self.sync.restore(&database.name, list.last_success);
                if list.provider == provider.to_string() {
                    let restored = List::restore(provider, sources, plain, list.last_success);
                    self.lists.insert(database.name.clone(), restored);
                }
            }
            let enforced = Enforced::restore(guarded, accepted_at, known.measure.as_deref());
            self.enforced.insert(database.name.clone(), enforced);
        }
        // The history compares the first policy with it.
        self.policy = Policy::build(&snapshot.policies());
        self.expiry.restore(snapshot.written_at, snapshot.ended);
        self.cache.restore(snapshot.answers, self.expiry.now());
        self.generation = snapshot.generation;
        self.slots = snapshot.slots;
    }
}
