//! Requests over the control socket.

pub(super) mod by_hand;
pub(super) mod reload;
pub(super) mod status;

use std::{net::IpAddr, sync::Arc};

use dbfw_datapath::DatapathError;
use dbfw_provider::inventory::Inventory;
use dbfw_wire::control::{ControlError, ControlErrorKind, Reply, Request, Text};
use tokio::sync::{Semaphore, broadcast::error::RecvError};

use self::status::{add_connections, cut_queries, scrape};
use super::{Agent, calls::MAX_DUMPS, history::Kind, kernel::Kernel};
use crate::{
    control::server::Call,
    metrics::{self, Format},
    readers::{drops::Names, explain, sources::sources, status::map_entry, suggest::suggest},
    traffic::drops::Clock,
};

impl Agent {
    /// Carries out one request and answers it, or has that done beside the loop.
    pub(super) async fn answer(&mut self, call: Call) {
        match call.request.clone() {
            Request::Status {} => self.answer_status(call),
            Request::Sources {} => {
                let report = |key: &_| self.trust.report(&self.config, key);
                match sources(&self.kernel.view(), &report, self.usage.uses()) {
                    Ok(sources) => call.answer(&sources),
                    Err(error) => failed(call, &error),
                }
            }
            Request::MapDump {} => dump(call, &self.kernel, &self.calls.dumps),
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
            Request::TrustAdd { .. } | Request::TrustRemove { .. } => by_hand::change(self, call),
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
            Request::Suggest { database } => self.answer_suggest(call, database),
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
        let listing = Arc::clone(&self.calls.listing);
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
            let mut there = call.send(&top).await;
            while there {
                let event = tokio::select! {
                    event = events.recv() => event,
                    () = call.reply.closed() => return,
                };
                match event {
                    Ok(event) => there = call.send(&event).await,
                    // The client was too slow: it goes on with the newest events.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    /// Suggests trusted sources from what was refused, once the provider's inventory was answered.
    fn answer_suggest(&self, call: Call, database: Option<String>) {
        if let Some(name) = &database
            && !self.kernel.ids().contains_key(name)
        {
            let message = by_hand::unknown_database(&self.kernel, name);
            return call.fail(ControlErrorKind::Invalid, message);
        }
        let refused = self.traffic.refused().clone();
        let (policy, ids) = (self.kernel.policy().clone(), self.kernel.ids().clone());
        let inventory = self.workers.inventory();
        tokio::spawn(async move {
            let (inventory, error) = match inventory {
                None => (Inventory::default(), None),
                Some(answer) => match answer.await {
                    Ok(Ok(inventory)) => (inventory, None),
                    Ok(Err(error)) => (Inventory::default(), Some(error.message)),
                    Err(_) => {
                        let message = "the provider's worker ended before it answered";
                        (Inventory::default(), Some(message.to_owned()))
                    }
                },
            };
            let is_trusted = |name: &str, address: IpAddr| {
                let bit = ids.get(name).map_or(0, |id| 1u64 << (id - 1));
                policy.verdict_mask(address) & bit != 0
            };
            let mut suggestions = suggest(&refused, database.as_deref(), &inventory, &is_trusted);
            suggestions.inventory_error = error;
            call.answer(&suggestions);
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
fn dump(call: Call, kernel: &Kernel, dumps: &Arc<Semaphore>) {
    let Ok(permit) = Arc::clone(dumps).try_acquire_owned() else {
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
            let value = serde_json::to_value(&line).map_err(|_| None)?;
            // `None`: the client is gone.
            call.reply.blocking_send(Reply::Data(value)).map_err(|_| None)
        });
        match result {
            Err(Some(error)) => failed(call, &error),
            Err(None) => {}
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
                    if !call.send(explanation).await {
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

fn failed(call: Call, error: &DatapathError) {
    call.fail(ControlErrorKind::Failed, error.to_string());
}
