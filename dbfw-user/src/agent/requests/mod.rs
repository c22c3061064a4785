//! Requests over the control socket.

pub(super) mod by_hand;
pub(super) mod reload;
pub(super) mod status;
mod suggest;

use std::net::IpAddr;

use dbfw_datapath::DatapathError;
use dbfw_wire::control::{ControlError, ControlErrorKind, Reply, Request, Text};
use tokio::sync::{OwnedSemaphorePermit, broadcast::error::RecvError};

use self::status::{add_connections, cut_queries, scrape};
use super::{
    history::Kind,
    kernel::Kernel,
    open_calls::{Change, MAX_DUMPS},
    state::Agent,
};
use crate::{
    control::server::Call,
    metrics::{self, Format},
    readers::{drops::Names, explain, sources::sources, status::map_entry},
    traffic::drops::Clock,
};

impl Agent {
    /// Carries out one request and answers it, or has that done beside the loop.
    pub(super) async fn answer(&mut self, call: Call) {
        match call.request.clone() {
            Request::Status {} => self.answer_status(call),
            Request::Sources {} => {
                let report = |key: &_| self.trust.report(&self.config, key);
                match sources(&self.kernel.view(), &report) {
                    Ok(sources) => call.answer(&sources),
                    Err(error) => failed(call, &error),
                }
            }
            Request::MapDump {} => dump(call, &self.kernel, self.calls.begin_dump()),
            Request::MapLookup { address } => match explain::lookup(&self.kernel.view(), address) {
                Ok(lookup) => call.answer(&lookup),
                Err(error) => failed(call, &error),
            },
            Request::Explain { address, port } => answer_explain(call, &self.kernel, address, port),
            Request::Drops { follow, limit } => self.answer_drops(call, follow, limit),
            Request::Metrics {} => {
                call.answer(&Text { text: metrics::render(scrape(self), Format::Prometheus) });
            }
            Request::TrustList {} => call.answer(&by_hand::list(&self.trust)),
            Request::TrustAdd { database, source, expires_at, why } => {
                by_hand::change(self, call, Change::Add { database, source, expires_at, why });
            }
            Request::TrustRemove { database, source } => {
                by_hand::change(self, call, Change::Remove { database, source });
            }
            Request::Reload { plans } => {
                match reload::reload(self, &plans.into_iter().collect(), &call.user()).await {
                    Ok((mut reloaded, query)) => {
                        let written = self.history.written();
                        tokio::spawn(async move {
                            written.await;
                            tokio::task::spawn_blocking(move || {
                                if let Some(query) = query {
                                    query.run(&mut reloaded);
                                }
                                call.answer(&reloaded);
                            });
                        });
                    }
                    Err(ControlError { kind, message }) => call.fail(kind, message),
                }
            }
            Request::Suggest { database } => suggest::answer(
                call,
                database,
                &self.kernel,
                self.traffic.refused(),
                self.workers.inventory(),
            ),
            Request::Detach {} => self.detach(call),
        }
    }

    /// Answers at once, or from another thread where refused plans are shown with the connections
    /// that they would cut: the kernel takes its time to list those.
    fn answer_status(&self, call: Call) {
        let (mut status, queries) = (status::status(self), cut_queries(self));
        if queries.is_empty() {
            return call.answer(&status);
        }
        let listing = self.calls.listing();
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

    fn answer_drops(&self, call: Call, follow: bool, limit: usize) {
        let Ok(clock) = Clock::read() else {
            return call.fail(ControlErrorKind::Failed, "cannot read the clock");
        };
        let names = Names {
            database: &|id| self.kernel.database_name(id),
            interface: &|index| self.kernel.interface_name(index),
            clock,
        };
        let top = self.traffic.top(limit, &names);
        if !follow {
            return call.answer(&top);
        }
        let mut events = self.traffic.follow();
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
                    // The client was too slow: it goes on with the newest events.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    fn detach(&mut self, call: Call) {
        match self.kernel.detach_all() {
            Ok(()) => {
                self.history.record_action(
                    self.kernel.generation(),
                    Kind::Detached,
                    &call.user(),
                    "",
                );
                let protection = self.protection();
                self.readiness.follow(&protection);
                tracing::warn!(name: "detached", "detached by the operator: the ports are open");
                call.answer(&Text {
                    text: "Detached: nothing is filtered any more. dbfw reload attaches again."
                        .to_owned(),
                });
            }
            Err(error) => failed(call, &error),
        }
    }
}

/// Streams the sets from another thread: a million entries must not stop the loop. The thread ends
/// with the dump, or as soon as the client is gone.
fn dump(call: Call, kernel: &Kernel, permit: Option<OwnedSemaphorePermit>) {
    let Some(permit) = permit else {
        let message = format!(
            "the agent is busy: {MAX_DUMPS} dumps of the maps are under way; try again when one \
             is done"
        );
        return call.fail(ControlErrorKind::Failed, message);
    };
    let reader = kernel.reader();
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let names = match reader.databases() {
            Ok(databases) => databases,
            Err(error) => return failed(call, &error),
        };
        let result = reader.for_each_entry(|map, prefix, entry| {
            let line = map_entry(map, prefix, entry, &names);
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

fn answer_explain(call: Call, kernel: &Kernel, address: IpAddr, port: Option<u16>) {
    match explain::explain(&kernel.view(), address, port) {
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

/// The reason why a dump ended early.
enum Stop {
    Datapath(DatapathError),
    /// The client is gone.
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
