//! Answering the control socket.

use std::{net::IpAddr, sync::Arc};

use tokio::sync::broadcast::error::RecvError;

use super::{
    history::Kind,
    origins::add_connections,
    state::{Agent, MAX_DUMPS},
    trust::TrustChange,
};
use crate::{
    control::{
        server::Call,
        wire::{ControlError, ControlErrorKind, Reply, Request, Text},
    },
    datapath::DatapathError,
    readers::{
        drops::{self, Names},
        explain,
        sources::sources,
        status,
    },
    traffic::drops::Clock,
};

impl Agent {
    /// Carries out one request and answers it, or has that done.
    pub(super) async fn answer(&mut self, call: Call) {
        match call.request.clone() {
            Request::Status {} => self.answer_status(call),
            Request::Sources {} => match sources(&self.view(), &|key| self.detail(key)) {
                Ok(sources) => call.answer(&sources),
                Err(error) => failed(call, &error),
            },
            Request::MapDump {} => self.dump(call),
            Request::MapLookup { address } => match explain::lookup(&self.view(), address) {
                Ok(lookup) => call.answer(&lookup),
                Err(error) => failed(call, &error),
            },
            Request::Explain { address, port } => self.explain(call, address, port),
            Request::Drops { follow, limit } => self.drops(call, follow, limit),
            Request::Metrics {} => call.answer(&Text { text: self.scrape() }),
            Request::TrustList {} => call.answer(&self.trust_list()),
            Request::TrustAdd { database, source, expires_at, why } => {
                self.change_trust(call, TrustChange::Add { database, source, expires_at, why });
            }
            Request::TrustRemove { database, source } => {
                self.change_trust(call, TrustChange::Remove { database, source });
            }
            Request::Reload { plans } => {
                match self.reload(&plans.into_iter().collect(), &by(&call)).await {
                    Ok(reloaded) => call.answer(&reloaded),
                    Err(ControlError { kind, message }) => call.fail(kind, message),
                }
            }
            Request::Suggest { database } => self.suggest(call, database),
            Request::Detach {} => self.detach(call),
        }
    }

    /// Answers at once, or from another thread where refused plans are shown with the connections
    /// that they would cut: the kernel takes its time to list those.
    fn answer_status(&self, call: Call) {
        let (mut status, queries) = (self.status(), self.cut_queries());
        if queries.is_empty() {
            return call.answer(&status);
        }
        let listing = Arc::clone(&self.listing);
        tokio::spawn(async move {
            let permit = tokio::select! {
                permit = listing.acquire_owned() => permit,
                () = call.reply.closed() => return,
            };
            tokio::task::spawn_blocking(move || {
                let _permit = permit;
                add_connections(&mut status, &queries);
                call.answer(&status);
            });
        });
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
        match explain::explain(&self.view(), address, port) {
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
        let top = drops::top(&self.top, limit, &names);
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

    fn detach(&mut self, call: Call) {
        match self.datapath.detach_all() {
            Ok(()) => {
                self.detached = true;
                self.history.record_action(self.generation, Kind::Detached, &by(&call), "");
                self.health.set_ready(self.protection().ready());
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

/// The reason why a dump ended early.
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

/// The user who asked, for the history.
pub(super) fn by(call: &Call) -> String {
    format!("uid {}", call.peer.uid)
}
