//! Requests over the control socket.

pub(super) mod by_hand;
mod documents;
pub(super) mod reload;
mod report;
pub(super) mod status;
pub(super) mod trial;

use std::{sync::Arc, time::Duration};

use dbfw_common::{HOST, Mode};
use dbfw_core::{PortQuery, source::Prefix};
use dbfw_datapath::{
    DatapathError,
    connections::{Connection, completed},
};
use dbfw_provider::inventory::Inventory;
use dbfw_wire::control::{
    ControlError, ControlErrorKind, DropEvent, Drops, Explanation, Reply, Request, Text,
};
use jiff::Timestamp;
use tokio::sync::{
    Semaphore,
    broadcast::{Receiver, error::RecvError},
};

use self::status::{add_connections, cut_queries, scrape};
use super::{
    Agent,
    calls::MAX_DUMPS,
    connection_watch::{Served, from_elsewhere, last_alive, last_sent},
    history::Kind,
    kernel::Kernel,
};
use crate::{
    control::server::Call,
    metrics::{self, Format},
    readers::{
        drops::{Names, Query},
        explain::{self, Asked, Ways},
        sources::sources,
        status::map_entry,
        suggest::{Knowledge, LocalNetworks, suggest},
    },
    traffic::drops::{Clock, NO_DATABASE},
};

impl Agent {
    /// Carries out one request and answers it, or has that done beside the loop.
    pub(super) async fn answer(&mut self, call: Call) {
        match call.request.clone() {
            Request::Status {} => self.answer_status(call),
            Request::Sources {} => {
                let report =
                    |database: &str, rule: &_| self.trust.report_of(&self.config, database, rule);
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
            Request::Explain { address, to: Some(to), .. } if address.is_ipv4() != to.is_ipv4() => {
                let message = format!("no packet goes from {address} to {to}");
                call.fail(ControlErrorKind::Invalid, message);
            }
            Request::Explain { address, port, udp, to } => {
                let port = port.map(|port| PortQuery { udp, port });
                let (uses, asked) = (self.usage.uses(), Asked { address, port, to });
                let ways = Ways::of(&self.kernel.attached(), self.kernel.interfaces());
                let view = self.kernel.view();
                answer_explain(call, explain::explain(&view, uses, Some(&ways), &asked));
            }
            Request::Drops { follow, limit, address, database, since, order } => {
                let query = Query { address, database: None, since, order, limit };
                self.answer_drops(call, follow, database, query);
            }
            Request::Metrics {} => {
                call.answer(&Text { text: metrics::render(scrape(self), Format::Prometheus) });
            }
            Request::TrustList {} => call.answer(&by_hand::list(&self.trust)),
            Request::TrustAdd { .. } | Request::TrustRemove { .. } => by_hand::change(self, call),
            Request::Reload { plans, trial_seconds } => {
                let confirmed = &plans.into_iter().collect();
                let activation = match trial_seconds.map(Duration::from_secs) {
                    Some(lasts) => reload::Activation::Trial { confirmed, lasts },
                    None => reload::Activation::Reload { confirmed },
                };
                let result = reload::reload(self, activation, &call.user()).await;
                self.answer_reload(call, result);
            }
            Request::TrialRevert {} => {
                let result = trial::revert(self, &call.user()).await;
                self.answer_reload(call, result);
            }
            Request::TrialKeep {} => match trial::keep(self, &call.user()).await {
                Ok(kept) => self.answer_recorded(call, kept),
                Err(ControlError { kind, message }) => call.fail(kind, message),
            },
            Request::Suggest { database } => {
                // Connections that ended a moment ago count as well.
                self.watch_connections().await;
                self.answer_suggest(call, database);
            }
            Request::Detach {} => self.detach(call),
        }
    }

    /// Answers a reload once it is in the history and it is known who is cut off.
    fn answer_reload(&self, call: Call, result: Result<reload::Answer, ControlError>) {
        let (mut reloaded, query) = match result {
            Ok(answer) => answer,
            Err(ControlError { kind, message }) => return call.fail(kind, message),
        };
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

    /// Answers once what was done is in the history.
    fn answer_recorded(&self, call: Call, document: Text) {
        let written = self.history.written();
        tokio::spawn(async move {
            written.await;
            call.answer(&document);
        });
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

    /// Answers from another thread: whether each source is trusted now is read from the maps.
    fn answer_drops(&self, call: Call, follow: bool, database: Option<String>, mut query: Query) {
        query.database = match database.as_deref() {
            None => None,
            Some(NO_DATABASE) => Some(HOST as u8),
            Some(name) => match self.kernel.ids().get(name) {
                Some(id) => Some(*id),
                None => {
                    let message = by_hand::unknown_database(&self.kernel, name);
                    return call.fail(ControlErrorKind::Invalid, message);
                }
            },
        };
        let Ok(clock) = Clock::read() else {
            return call.fail(ControlErrorKind::Failed, "cannot read the clock");
        };
        let interfaces = self.kernel.interface_names();
        let names = Names {
            database: &|id| self.kernel.database_name(id),
            interface: &|index| interfaces.get(&index).map(|name| (*name).to_owned()),
            clock,
        };
        let found = self.traffic.find(&query, &names, self.kernel.policy());
        let (reader, events) = (self.kernel.reader(), follow.then(|| self.traffic.follow()));
        tokio::task::spawn_blocking(move || {
            let mask = |address| Ok(reader.lookup(address)?.map_or(0, |(_, entry)| entry.mask()));
            match (found.judge(mask), events) {
                (Ok(drops), None) => call.answer(&drops),
                (Ok(drops), Some(events)) => {
                    tokio::spawn(stream_drops(call, drops, events, query.address, database));
                }
                (Err(error), _) => failed(call, &error),
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
        let mut refused = self.traffic.refused().clone();
        let policy = self.kernel.policy().clone();
        let inventory = self.workers.inventory();
        let served = |mode| Served::by(&self.config.databases, |of| of == mode);
        let (observed, enforced) = (served(Mode::Observe), served(Mode::Enforce));
        let listing = Arc::clone(&self.calls.listing);
        tokio::spawn(async move {
            let (inventory, error) = match inventory {
                None => (Inventory::default(), None),
                Some(answer) => match answer.await {
                    Ok(Ok(inventory)) => (inventory, None),
                    Ok(Err(error)) => (Inventory::default(), Some(error.to_string())),
                    Err(_) => {
                        let message = "the provider's worker ended before it answered";
                        (Inventory::default(), Some(message.to_owned()))
                    }
                },
            };
            let permit = tokio::select! {
                permit = listing.acquire_owned() => permit,
                () = call.reply.closed() => return,
            };
            tokio::task::spawn_blocking(move || {
                let _permit = permit;
                let now = Timestamp::now();
                let listed = completed(&(&observed.ports() | &enforced.ports()));
                let connections_error = listed.as_ref().err().map(ToString::to_string);
                for open in from_elsewhere(listed.unwrap_or_default()) {
                    let Connection { local, peer, .. } = open.connection;
                    let source = peer.ip().to_canonical();
                    match (observed.database(local), enforced.database(local)) {
                        (Some(name), _) if !policy.lets_in(name, source) => {
                            let at = last_alive(&open, now);
                            refused.add_connected(name, source, local.port(), at);
                        }
                        // What it sends is dropped, and the socket stays open.
                        (None, Some(name)) => {
                            refused.note_connected(name, source, last_sent(&open, now));
                        }
                        _ => {}
                    }
                }
                let local = LocalNetworks::of_this_host();
                let known = Knowledge { inventory: &inventory, local: &local, connections_error };
                let is_trusted = |name: &str, address| policy.lets_in(name, address);
                let mut suggestions = suggest(&refused, database.as_deref(), &known, &is_trusted);
                suggestions.inventory_error = error;
                call.answer(&suggestions);
            });
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

/// Sends drop events of an address and of a database as they come, after those of before.
async fn stream_drops(
    call: Call,
    before: Drops,
    mut events: Receiver<DropEvent>,
    address: Option<Prefix>,
    database: Option<String>,
) {
    let is_asked_for = |event: &DropEvent| {
        address.is_none_or(|network| network.contains(event.source))
            && database.as_ref().is_none_or(|name| *name == event.database)
    };
    let mut is_there = call.send(&before).await;
    let mut missed = 0;
    while is_there {
        let event = tokio::select! {
            event = events.recv() => event,
            () = call.reply.closed() => return,
        };
        match event {
            Ok(mut event) if is_asked_for(&event) => {
                event.missed = std::mem::take(&mut missed);
                is_there = call.send(&event).await;
            }
            Ok(_) => {}
            // The client was too slow: it goes on with the newest events.
            Err(RecvError::Lagged(events)) => missed += events,
            Err(RecvError::Closed) => return,
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

fn answer_explain(call: Call, explained: Result<Vec<Explanation>, DatapathError>) {
    match explained {
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

#[cfg(test)]
mod tests {
    use dbfw_wire::control::{Reason, Verdict};
    use jiff::Timestamp;
    use tokio::sync::{broadcast, mpsc};

    use super::*;
    use crate::control::server::Peer;

    fn event(source: &str, database: &str) -> DropEvent {
        DropEvent {
            time: Timestamp::UNIX_EPOCH,
            source: source.parse().unwrap(),
            database: database.to_owned(),
            port: 5432,
            protocol: "tcp".to_owned(),
            interface: "eth0".to_owned(),
            reason: Reason::Untrusted,
            verdict: Verdict::Drop,
            weight: 1,
            missed: 0,
        }
    }

    /// The events that a follower gets of ten, where the channel has room for eight.
    async fn followed(address: Option<&str>, database: Option<&str>) -> Vec<(String, u64)> {
        let (sender, events) = broadcast::channel(8);
        for n in 0..10 {
            let database = if n % 2 == 0 { "orders" } else { "*" };
            sender.send(event(&format!("10.0.{}.{n}", n / 5), database)).unwrap();
        }
        drop(sender);
        let (reply, mut replies) = mpsc::channel(64);
        let call = Call { request: Request::Status {}, peer: Peer { uid: 0 }, reply };
        let since = Timestamp::UNIX_EPOCH;
        let before = Drops { since, sources: Vec::new(), left_out: 0, remembered: 0, forgotten: 0 };
        let address = address.map(|text| text.parse().unwrap());
        stream_drops(call, before, events, address, database.map(str::to_owned)).await;
        assert!(
            matches!(replies.recv().await, Some(Reply::Data(first)) if first["sources"].is_array())
        );
        let mut found = Vec::new();
        while let Some(Reply::Data(event)) = replies.recv().await {
            let event: DropEvent = serde_json::from_value(event).unwrap();
            found.push((event.source.to_string(), event.missed));
        }
        found
    }

    #[tokio::test]
    async fn a_follower_gets_what_it_asked_for_and_is_told_what_it_missed() {
        let told = |events: &[(&str, u64)]| -> Vec<(String, u64)> {
            events.iter().map(|(source, missed)| ((*source).to_owned(), *missed)).collect()
        };
        let all = followed(None, None).await;
        assert_eq!((all.len(), &*all[0].0, all[0].1), (8, "10.0.0.2", 2));
        assert!(all[1..].iter().all(|(_, missed)| *missed == 0), "{all:?}");
        assert_eq!(followed(Some("10.0.1.6"), None).await, told(&[("10.0.1.6", 2)]));
        assert_eq!(
            followed(Some("10.0.0.0/24"), Some("orders")).await,
            told(&[("10.0.0.2", 2), ("10.0.0.4", 0)])
        );
        assert_eq!(followed(Some("10.0.0.0/24"), Some("*")).await, told(&[("10.0.0.3", 2)]));
        assert_eq!(followed(None, Some("nosuch")).await, told(&[]));
    }
}
