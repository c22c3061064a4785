//! Answering the control socket.

use std::{net::IpAddr, sync::Arc};

use jiff::Timestamp;
use tokio::sync::broadcast::error::RecvError;

use super::{
    local::LocalSource,
    reconcile::Reconciled,
    state::{Agent, MAX_DUMPS, with_provider},
};
use crate::{
    config,
    control::{
        server::Call,
        wire::{self, ControlError, ControlErrorKind, Reloaded, Reply, Request, Text, TrustList},
    },
    datapath::DatapathError,
    observe::{
        drops::{Clock, Names},
        status,
    },
    source::{GrammarError, TrustedSource},
};

impl Agent {
    /// Carries out one request and answers it.
    pub(super) async fn answer(&mut self, call: Call) {
        match call.request.clone() {
            Request::Status {} => call.answer(&self.status()),
            Request::Sources {} => match status::sources(&self.view()) {
                Ok(sources) => call.answer(&sources),
                Err(error) => failed(call, &error),
            },
            Request::MapDump {} => self.dump(call),
            Request::MapLookup { address } => match status::lookup(&self.view(), address) {
                Ok(lookup) => call.answer(&lookup),
                Err(error) => failed(call, &error),
            },
            Request::Explain { address, port } => self.explain(call, address, port),
            Request::Drops { follow, limit } => self.drops(call, follow, limit),
            Request::Metrics {} => call.answer(&Text { text: self.scrape() }),
            Request::TrustList {} => call.answer(&self.trust_list()),
            Request::TrustAdd { database, source, expires_at, why } => {
                match self.trust_add(&database, &source, expires_at, why) {
                    Ok(added) => call.answer(&TrustList { sources: vec![to_wire(&added)] }),
                    Err((kind, message)) => call.fail(kind, message),
                }
            }
            Request::TrustRemove { database, source } => {
                match self.trust_remove(&database, &source) {
                    Ok(removed) => call.answer(&TrustList { sources: vec![to_wire(&removed)] }),
                    Err((kind, message)) => call.fail(kind, message),
                }
            }
            Request::Reload { confirm } => match self.reload(confirm).await {
                Ok(reloaded) => call.answer(&reloaded),
                Err(ControlError { kind, message }) => call.fail(kind, message),
            },
            Request::Detach {} => self.detach(call),
        }
    }

    /// Reads the configuration again and puts it in force; a bad one changes nothing.
    pub(super) async fn reload(&mut self, confirm: bool) -> Result<Reloaded, ControlError> {
        let config = match config::load(&self.config_path) {
            Ok(config) => config,
            Err(problems) => {
                self.config_ok = false;
                return Err(ControlError {
                    kind: ControlErrorKind::BadConfig,
                    message: format!("the configuration is bad, the last one stands:\n{problems}"),
                });
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
        let (lists, stamps) = (self.lists.clone(), self.stamps.clone());
        self.config_ok = true;
        let names: Vec<String> =
            with_provider(&self.config).map(|(database, _)| database.name.clone()).collect();
        self.lists.retain(|name, _| names.contains(name));
        self.sync.set_databases(names.iter().map(String::as_str));
        self.read_lists(None, confirm);
        let done = match self.reconcile() {
            Ok(done) => done,
            Err(error) => {
                self.config = before;
                self.config_ok = false;
                (self.lists, self.stamps) = (lists, stamps);
                return Err(ControlError { kind: ControlErrorKind::Failed, message: error });
            }
        };
        self.detached = false;
        self.leave_others();
        self.follow_attach();
        self.verify().await;
        Ok(self.reloaded(&done))
    }

    fn reloaded(&self, done: &Reconciled) -> Reloaded {
        let refused = self
            .lists
            .iter()
            .filter_map(|(name, list)| {
                list.refused.as_ref().map(|refused| {
                    format!("{name} ({}): {}", refused.guard().as_str(), refused.message)
                })
            })
            .collect();
        let failed = self
            .lists
            .iter()
            .filter_map(|(name, list)| list.error.as_ref().map(|error| format!("{name}: {error}")))
            .collect();
        let (added, removed) = (done.added, done.removed);
        Reloaded { generation: self.generation, added, removed, refused, failed }
    }

    /// Streams the sets from another thread: a million entries must not stop the loop. The
    /// thread ends with the dump, or as soon as the client is gone.
    fn dump(&self, call: Call) {
        let Ok(permit) = Arc::clone(&self.dumps).try_acquire_owned() else {
            let message = format!(
                "the agent is busy: {MAX_DUMPS} dumps of the maps are under way; try again when \
                 one is done"
            );
            return call.fail(ControlErrorKind::Failed, message);
        };
        let reader = Arc::clone(&self.reader);
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let names = match reader.databases() {
                Ok(databases) => databases,
                Err(error) => return failed(call, &error),
            };
            let result = reader.for_each_entry(|map, prefix, entry| {
                let line = status::map_entry(map, prefix, entry, &names);
                let value = serde_json::to_value(&line).map_err(|_| Stop::Gone)?;
                call.reply.blocking_send(Reply::Data(value)).map_err(|_| Stop::Gone)
            });
            match result {
                Err(Stop::Datapath(error)) => failed(call, &error),
                Err(Stop::Gone) => {}
                Ok(()) => {
                    // Fails only if the client is gone.
                    let _ = call.reply.blocking_send(Reply::End {});
                }
            }
        });
    }

    fn explain(&self, call: Call, address: IpAddr, port: Option<u16>) {
        match status::explain(&self.view(), address, port) {
            Ok(explanations) => {
                tokio::spawn(async move {
                    for explanation in &explanations {
                        let Ok(value) = serde_json::to_value(explanation) else { continue };
                        if call.reply.send(Reply::Data(value)).await.is_err() {
                            return;
                        }
                    }
                    // Fails only if the client is gone.
                    let _ = call.reply.send(Reply::End {}).await;
                });
            }
            Err(error) => failed(call, &error),
        }
    }

    fn drops(&self, call: Call, follow: bool, limit: usize) {
        let Ok(clock) = Clock::read() else {
            return call.fail(ControlErrorKind::Failed, "cannot read the clock");
        };
        let names = Names {
            database: &|id| self.database_name(id),
            interface: &|index| self.interface_name(index),
            clock,
        };
        let top = self.top.top(limit, &names);
        if !follow {
            return call.answer(&top);
        }
        let mut events = self.follow.subscribe();
        tokio::spawn(async move {
            let Ok(value) = serde_json::to_value(&top) else { return };
            let mut next = Some(value);
            loop {
                if let Some(value) = next.take()
                    && call.reply.send(Reply::Data(value)).await.is_err()
                {
                    return;
                }
                let event = tokio::select! {
                    event = events.recv() => event,
                    () = call.reply.closed() => return,
                };
                match event {
                    Ok(event) => next = serde_json::to_value(&event).ok(),
                    // It fell behind: it goes on with the newest.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    fn trust_list(&self) -> TrustList {
        TrustList { sources: self.local.all().iter().map(to_wire).collect() }
    }

    fn trust_add(
        &mut self,
        database: &str,
        text: &str,
        expires_at: Option<Timestamp>,
        why: Option<String>,
    ) -> Result<LocalSource, (ControlErrorKind, String)> {
        self.known_database(database)?;
        let now = Timestamp::now();
        if expires_at.is_some_and(|at| at <= now) {
            return Err(invalid(format!("{} has passed", expires_at.unwrap_or(now))));
        }
        let mut source = parse(text)?;
        source.description = why;
        source.expires_at = expires_at;
        crate::resolve::resolve(&source).map_err(|error| invalid(error.to_string()))?;
        let added = LocalSource { database: database.to_owned(), source, added_at: now };
        self.local
            .add(added.clone())
            .map_err(|error| (ControlErrorKind::Failed, format!("cannot remember it: {error}")))?;
        tracing::info!(%database, source = %added.source, "trusted by hand");
        self.reconcile().map_err(|error| (ControlErrorKind::Failed, error))?;
        Ok(added)
    }

    fn trust_remove(
        &mut self,
        database: &str,
        text: &str,
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
        self.reconcile().map_err(|error| (ControlErrorKind::Failed, error))?;
        Ok(removed)
    }

    fn known_database(&self, name: &str) -> Result<(), (ControlErrorKind, String)> {
        if self.ids.contains_key(name) {
            return Ok(());
        }
        let known: Vec<&str> = self.ids.keys().map(String::as_str).collect();
        Err(invalid(format!("there is no database {name}; there are: {}", known.join(", "))))
    }

    fn detach(&mut self, call: Call) {
        match self.datapath.detach_all() {
            Ok(()) => {
                self.detached = true;
                self.health.set_ready(self.protection());
                tracing::warn!("detached by the operator: the ports are open");
                call.answer(&Text {
                    text: "Detached: nothing is filtered any more. dbfw reload attaches again."
                        .to_owned(),
                });
            }
            Err(error) => failed(call, &error),
        }
    }
}

/// Why a dump ended early.
enum Stop {
    Datapath(DatapathError),
    Gone,
}

impl From<DatapathError> for Stop {
    fn from(error: DatapathError) -> Self {
        Self::Datapath(error)
    }
}

fn failed(call: Call, error: &DatapathError) {
    call.fail(ControlErrorKind::Failed, error.to_string());
}

fn invalid(message: String) -> (ControlErrorKind, String) {
    (ControlErrorKind::Invalid, message)
}

fn said(error: &GrammarError) -> (ControlErrorKind, String) {
    invalid(error.to_string())
}

fn parse(text: &str) -> Result<TrustedSource, (ControlErrorKind, String)> {
    let source: TrustedSource = text.parse().map_err(|error| said(&error))?;
    source.check().map_err(|error| said(&error))?;
    Ok(source)
}

fn to_wire(local: &LocalSource) -> wire::LocalSource {
    wire::LocalSource {
        database: local.database.clone(),
        source: local.source.to_string(),
        why: local.source.description.clone(),
        added_at: local.added_at,
        expires_at: local.source.expires_at,
    }
}
