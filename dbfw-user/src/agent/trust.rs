//! `dbfw trust`: sources added by hand.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
};

use jiff::Timestamp;

use super::{calls::by, history::Kind, state::Agent};
use crate::{
    control::{
        server::Call,
        wire::{self, ControlErrorKind, TrustList},
    },
    source::{GrammarError, TrustedSource},
    state::local::{LocalChange, LocalSource},
};

/// A change by hand that somebody asks for.
#[derive(Debug)]
pub(super) enum TrustChange {
    /// `dbfw trust add`.
    Add { database: String, source: String, expires_at: Option<Timestamp>, why: Option<String> },
    /// `dbfw trust rm`.
    Remove { database: String, source: String },
}

/// Calls that ask for a change by hand: each is written to the disk before the next begins.
#[derive(Debug, Default)]
pub(super) struct TrustCalls {
    /// The one whose change is being written.
    current: Option<Call>,
    waiting: VecDeque<(Call, TrustChange)>,
}

impl Agent {
    pub(super) fn trust_list(&self) -> TrustList {
        // What is over stays on disk until that is sure.
        let now = self.expiry.now();
        let is_live = |local: &&LocalSource| local.source.expires_at.is_none_or(|at| at > now);
        TrustList { sources: self.local.all().iter().filter(is_live).map(to_wire).collect() }
    }

    /// Begins a change by hand, or has it wait for the one before. It is answered by
    /// [`Agent::local_saved`].
    pub(super) fn change_trust(&mut self, call: Call, change: TrustChange) {
        if self.local.is_saving() {
            return self.trust_calls.waiting.push_back((call, change));
        }
        match self.begin_change(change) {
            Ok(()) => self.trust_calls.current = Some(call),
            Err((kind, message)) => call.fail(kind, message),
        }
    }

    fn begin_change(&mut self, change: TrustChange) -> Result<(), (ControlErrorKind, String)> {
        match change {
            TrustChange::Add { database, source, expires_at, why } => {
                let added = self.source_to_add(database, &source, expires_at, why)?;
                self.local.begin_add(added);
            }
            TrustChange::Remove { database, source } => {
                let source = parse(&source)?;
                if !self.local.begin_remove(&database, &source) {
                    return Err(invalid(format!(
                        "{source} was not added by hand to database {database}: dbfw trust list \
                         shows what was, dbfw sources where the others come from"
                    )));
                }
            }
        }
        Ok(())
    }

    fn source_to_add(
        &self,
        database: String,
        text: &str,
        expires_at: Option<Timestamp>,
        why: Option<String>,
    ) -> Result<LocalSource, (ControlErrorKind, String)> {
        self.known_database(&database)?;
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
        Ok(LocalSource { database, source, added_at: now })
    }

    /// Puts a change of the local sources in force that was written, answers whoever asked for
    /// it, and begins the next one.
    pub(super) fn local_saved(&mut self, change: LocalChange, written: io::Result<()>) {
        match change {
            LocalChange::Added(local) => {
                let written = written.map_err(|error| format!("cannot remember it: {error}"));
                self.finish_change(Kind::TrustAdded, &local, written);
            }
            LocalChange::Removed(local) => {
                let written = written.map_err(|error| format!("cannot forget it: {error}"));
                self.finish_change(Kind::TrustRemoved, &local, written);
            }
            LocalChange::Swept => {
                if let Err(error) = written {
                    tracing::warn!(
                        %error,
                        "cannot forget expired local sources; they are not in force"
                    );
                }
            }
        }
        while !self.local.is_saving()
            && let Some((call, change)) = self.trust_calls.waiting.pop_front()
        {
            self.change_trust(call, change);
        }
    }

    fn finish_change(&mut self, kind: Kind, local: &LocalSource, written: Result<(), String>) {
        let call = self.trust_calls.current.take();
        let result = written.and_then(|()| {
            let asked = if kind == Kind::TrustAdded { "trusted" } else { "no longer trusted" };
            tracing::info!(database = %local.database, source = %local.source, "{asked} by hand");
            let by = call.as_ref().map(by).unwrap_or_default();
            self.history.record_trust(self.generation, kind, local, &by);
            self.reevaluate(&local.database, &BTreeSet::new());
            self.converge()
        });
        // It may have had to wait for this change.
        self.end_what_is_over();
        match (call, result) {
            (Some(call), Ok(_)) => call.answer(&TrustList { sources: vec![to_wire(local)] }),
            (Some(call), Err(message)) => call.fail(ControlErrorKind::Failed, message),
            (None, _) => {}
        }
    }

    /// Carries out what was asked for before the end.
    pub(super) async fn finish_trust(&mut self) {
        while self.local.is_saving() {
            let (change, written) = self.local.saved().await;
            self.local_saved(change, written);
        }
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
