//! What survives a restart: the snapshot, written beside the loop, and what the maps hold.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    lists::List,
    reconcile::config_rules,
    snapshot::{DatabaseSnapshot, ListSnapshot, Snapshot, SnapshotError},
    state::{Agent, open_provider, with_provider},
};
use crate::source::{Origin, Prefix, Rule};

impl Agent {
    /// Begins to write the policy in force to disk, unless that is under way already.
    pub(super) fn begin_saving(&mut self) {
        if self.unsaved && self.saving.is_none() {
            self.unsaved = false;
            let snapshot = self.snapshot();
            let state_dir = self.config.agent.state_dir.clone();
            self.saving = Some(tokio::task::spawn_blocking(move || snapshot.save(&state_dir)));
        }
    }

    /// Takes note of what became of it. Failure is reported and changes nothing else.
    pub(super) fn saved(&mut self, result: Result<(), SnapshotError>) {
        self.saving = None;
        self.snapshot_error = result.err().map(|error| error.to_string());
        if let Some(error) = &self.snapshot_error {
            self.unsaved = true;
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
                list: self.lists.get(&database.name).and_then(|list| {
                    let provider = list.provider.clone();
                    list.last_success.map(|last_success| ListSnapshot { provider, last_success })
                }),
            })
            .collect();
        Snapshot {
            generation: self.generation,
            written_at: Timestamp::now(),
            slots: self.slots.clone(),
            databases,
        }
    }

    /// Without a snapshot, takes what the maps hold as the lists in force: an earlier agent
    /// enforced it, and what is read from now on has to pass the guards against it.
    pub(super) fn adopt_held(&mut self) {
        let mut adopted = Vec::new();
        for (database, provider) in with_provider(&self.config) {
            let Some(id) = self.ids.get(&database.name) else { continue };
            let own: BTreeSet<Prefix> = config_rules(database)
                .chain(self.local_rules(&database.name))
                .flat_map(|rule| rule.prefixes)
                .collect();
            let prefixes: Vec<Prefix> = self
                .datapath
                .held()
                .iter()
                .filter(|(prefix, entry)| {
                    entry.mask() >> (id - 1) & 1 != 0 && !own.contains(prefix)
                })
                .map(|(prefix, _)| *prefix)
                .collect();
            if prefixes.is_empty() {
                continue;
            }
            tracing::warn!(
                database = %database.name,
                prefixes = prefixes.len(),
                "there is no snapshot: what the maps hold stays in force until the list is read"
            );
            adopted.push((database.name.clone(), List::adopt(open_provider(provider).0, prefixes)));
        }
        self.lists.extend(adopted);
    }

    /// Takes over what the snapshot knows: counters, ids and the providers' last lists.
    pub(super) fn restore(&mut self, snapshot: Snapshot) {
        for (database, provider) in with_provider(&self.config) {
            let (name, _) = open_provider(provider);
            let Some(known) = snapshot.database(&database.name) else { continue };
            let Some(list) = &known.list else { continue };
            let listed = |rule: &&Rule| matches!(rule.origin, Origin::Provider(_));
            let rules = known.rules.iter().filter(listed).cloned().collect();
            self.sync.restore(&database.name, list.last_success);
            let mut restored = List::restore(list.provider.clone(), rules, list.last_success);
            restored.move_to(name);
            self.lists.insert(database.name.clone(), restored);
        }
        self.generation = snapshot.generation;
        self.slots = snapshot.slots;
    }
}
