//! `dbfw trust`: sources added by hand.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{history::Kind, local::LocalSource, state::Agent};
use crate::{
    control::wire::{self, ControlErrorKind, TrustList},
    source::{GrammarError, Mendable as _, TrustedSource},
};

impl Agent {
    pub(super) fn trust_list(&self) -> TrustList {
        // What is over stays on disk until that is sure.
        let now = self.expiry.now();
        let is_live = |local: &&LocalSource| local.source.expires_at.is_none_or(|at| at > now);
        TrustList { sources: self.local.all().iter().filter(is_live).map(to_wire).collect() }
    }

    pub(super) fn trust_add(
        &mut self,
        database: &str,
        text: &str,
        expires_at: Option<Timestamp>,
        why: Option<String>,
        by: &str,
    ) -> Result<LocalSource, (ControlErrorKind, String)> {
        self.known_database(database)?;
        let now = self.expiry.now();
        if expires_at.is_some_and(|at| at <= now) {
            return Err(invalid(format!("{} has passed", expires_at.unwrap_or(now))));
        }
        let mut source = parse(text)?;
        source.description = why;
        source.expires_at = expires_at;
        if !self.can_ask(source.kind()) {
            return Err(invalid(format!(
                "{source} has to be asked for: write [digitalocean] with a token_file in the \
                 configuration"
            )));
        }
        let added = LocalSource { database: database.to_owned(), source, added_at: now };
        self.local
            .add(added.clone())
            .map_err(|error| (ControlErrorKind::Failed, format!("cannot remember it: {error}")))?;
        tracing::info!(%database, source = %added.source, "trusted by hand");
        self.history.record_trust(self.generation, Kind::TrustAdded, &added, by);
        self.settle(database, &BTreeSet::new());
        self.follow_demand();
        self.reconcile().map_err(|error| (ControlErrorKind::Failed, error))?;
        Ok(added)
    }

    pub(super) fn trust_remove(
        &mut self,
        database: &str,
        text: &str,
        by: &str,
    ) -> Result<LocalSource, (ControlErrorKind, String)> {
        let source = parse(text)?;
        let removed = self
            .local
            .remove(database, &source)
            .map_err(|error| (ControlErrorKind::Failed, format!("cannot forget it: {error}")))?
            .ok_or_else(|| {
                invalid(format!(
                    "{source} was not added by hand to database {database}: dbfw trust list shows \
                     what was, dbfw sources where the others come from"
                ))
            })?;
        tracing::info!(%database, source = %removed.source, "no longer trusted by hand");
        self.history.record_trust(self.generation, Kind::TrustRemoved, &removed, by);
        self.settle(database, &BTreeSet::new());
        self.follow_demand();
        self.reconcile().map_err(|error| (ControlErrorKind::Failed, error))?;
        Ok(removed)
    }

    fn known_database(&self, name: &str) -> Result<(), (ControlErrorKind, String)> {
        if self.ids.contains_key(name) {
            Ok(())
        } else {
            Err(invalid(unknown_database(&self.ids, name)))
        }
    }
}

/// That there is no such database, and which there are.
pub(super) fn unknown_database(ids: &BTreeMap<String, u8>, name: &str) -> String {
    let known: Vec<&str> = ids.keys().map(String::as_str).collect();
    format!("there is no database {name}; there are: {}", known.join(", "))
}

fn invalid(message: String) -> (ControlErrorKind, String) {
    (ControlErrorKind::Invalid, message)
}

fn parse(text: &str) -> Result<TrustedSource, (ControlErrorKind, String)> {
    text.parse().map_err(|error: GrammarError| invalid(error.with_fix()))
}

pub(super) fn to_wire(local: &LocalSource) -> wire::LocalSource {
    wire::LocalSource {
        database: local.database.clone(),
        source: local.source.to_string(),
        why: local.source.description.clone(),
        added_at: local.added_at,
        expires_at: local.source.expires_at,
    }
}
