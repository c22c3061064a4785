//! `dbfw reload` and SIGHUP.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    converge::Reconciled,
    history::Kind,
    state::{Agent, limits, synced, with_provider},
};
use crate::{
    config,
    control::wire::{ControlError, ControlErrorKind, Reloaded},
    provider::worker::Account,
};

impl Agent {
    /// Reads the configuration again and puts it in force, with the refused plans in
    /// `confirmed`; a bad one changes nothing.
    pub(super) async fn reload(
        &mut self,
        confirmed: &BTreeSet<String>,
        by: &str,
    ) -> Result<Reloaded, ControlError> {
        let config = match config::load(self.files.path()) {
            Ok(config) => config,
            Err(problems) => {
                self.history.record_action(
                    self.generation,
                    Kind::ReloadFailed,
                    by,
                    "the configuration is bad",
                );
                let message = format!("the configuration is bad, the last one stands:\n{problems}");
                self.files.refused(Some(problems));
                return Err(ControlError { kind: ControlErrorKind::BadConfig, message });
            }
        };
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let (old, new) = (&self.config.agent, &config.agent);
        if (&old.state_dir, &old.run_dir, &old.pin_dir, old.metrics_listen)
            != (&new.state_dir, &new.run_dir, &new.pin_dir, new.metrics_listen)
        {
            tracing::warn!("a changed directory or metrics_listen takes effect at the next start");
        }
        let before = std::mem::replace(&mut self.config, config);
        let (lists, enforced) = (self.lists.clone(), self.enforced.clone());
        let cache = self.cache.clone();
        self.follow_config();
        self.follow_demand();
        self.read_files().await;
        self.reevaluate_all(confirmed);
        let done = match self.converge() {
            Ok(done) => done,
            Err(error) => {
                self.config = before;
                self.files.refused(None);
                (self.lists, self.enforced, self.cache) = (lists, enforced, cache);
                self.follow_demand();
                self.workers.poll();
                self.history.record_action(self.generation, Kind::ReloadFailed, by, &error);
                return Err(ControlError { kind: ControlErrorKind::Failed, message: error });
            }
        };
        self.files.accepted(before.files == self.config.files, Timestamp::now());
        self.detached = false;
        self.history.record_action(self.generation, Kind::Reloaded, by, "");
        self.workers.poll();
        self.leave_others();
        self.forget_refused_moves();
        self.verify().await;
        Ok(self.reloaded(&done))
    }

    /// Forgets what the configuration does not name any more.
    fn follow_config(&mut self) {
        let has_provider: BTreeSet<String> =
            with_provider(&self.config).map(|(database, _)| database.name.clone()).collect();
        self.lists.retain(|name, _| has_provider.contains(name));
        let databases = &self.config.databases;
        self.enforced.retain(|name, _| databases.iter().any(|database| database.name == *name));
        self.sync.set_databases(synced(&self.config));
        self.refused_sources.retain_databases(databases.iter().map(|d| d.name.as_str()));
        self.cache.set_limits(limits(&self.config));
        // A provider that was replaced has nothing more to say.
        for database in databases.clone() {
            self.list_of(&database);
        }
    }

    fn reloaded(&self, done: &Reconciled) -> Reloaded {
        let refused = self
            .enforced
            .iter()
            .filter_map(|(name, enforced)| {
                let refused = enforced.refused.as_ref()?;
                Some(format!("{name} ({}): {}", refused.guard().as_str(), refused.message()))
            })
            .collect();
        let failed = self
            .lists
            .iter()
            .filter_map(|(name, list)| {
                list.error.as_ref().map(|(_, error)| format!("{name}: {error}"))
            })
            .collect();
        let now = self.expiry.now();
        let pending: BTreeSet<String> = self
            .written(now)
            .filter(|source| Account::resolving(source.kind()).is_some())
            .filter(|source| !self.cache.resolution(source.key()).known)
            .map(ToString::to_string)
            .collect();
        let (added, removed) = (done.added, done.removed);
        let pending = pending.into_iter().collect();
        Reloaded { generation: self.generation, added, removed, refused, failed, pending }
    }
}
