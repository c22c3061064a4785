//! What traffic was seen: the sources refused, how often, and how fast.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use dbfw_common::Event;
use dbfw_core::policy::Policy;
use dbfw_datapath::connections::Connection;
use dbfw_wire::control::DropEvent;
use jiff::Timestamp;
use tokio::sync::broadcast;

use crate::{
    config::DatabaseConfig,
    readers::drops::{self, Names, Query, UncheckedDrops},
    traffic::{
        drops::{RateMeter, TopSources},
        refused::RefusedSources,
    },
};

/// Time over which `dbfw status` averages drops.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// Drop events a slow follower may fall behind before it misses some.
const FOLLOW_BUFFER: usize = 1024;

/// Drops as the agent remembers them, in bounded memory.
#[derive(Debug)]
pub(super) struct Traffic {
    top: TopSources,
    rates: RateMeter,
    followers: broadcast::Sender<DropEvent>,
    /// Sources that were or would have been refused, for `dbfw suggest`.
    refused: RefusedSources,
}

impl Traffic {
    /// Knows the refused sources of an earlier run.
    pub(super) fn new(refused: RefusedSources) -> Self {
        Self {
            top: TopSources::new(Timestamp::now()),
            rates: RateMeter::new(RATE_WINDOW),
            followers: broadcast::channel(FOLLOW_BUFFER).0,
            refused,
        }
    }

    /// Takes in drop events.
    pub(super) fn record_drops(&mut self, events: &[Event], names: &Names<'_>) {
        for event in events {
            self.top.add(event);
            if let Some(database) = (names.database)(event.database.into()) {
                self.refused.add(&database, event, &names.clock);
            }
        }
        if self.followers.receiver_count() == 0 {
            return;
        }
        for event in events {
            // Fails only if the followers just left.
            let _ = self.followers.send(drops::event(event, names));
        }
    }

    /// Takes in how many packets each database has dropped so far, where that is known.
    pub(super) fn measure<'a>(&mut self, dropped: impl Iterator<Item = (&'a str, Option<u64>)>) {
        let now = Instant::now();
        let mut names = Vec::new();
        for (name, dropped) in dropped {
            if let Some(dropped) = dropped {
                self.rates.record(name, now, dropped);
            }
            names.push(name);
        }
        self.rates.retain(names);
    }

    /// Drops a second of a database.
    pub(super) fn drops_per_second(&self, database: &str) -> Option<f64> {
        self.rates.per_second(database, Instant::now())
    }

    /// The refused sources that are asked for.
    pub(super) fn find(&self, query: &Query, names: &Names<'_>, policy: &Policy) -> UncheckedDrops {
        drops::find(&self.top, query, names, policy)
    }

    /// Drop events from now on.
    pub(super) fn follow(&self) -> broadcast::Receiver<DropEvent> {
        self.followers.subscribe()
    }

    /// Sources that were or would have been refused.
    pub(super) fn refused(&self) -> &RefusedSources {
        &self.refused
    }

    /// Sources that were or would have been refused, to save them.
    pub(super) fn refused_mut(&mut self) -> &mut RefusedSources {
        &mut self.refused
    }

    /// Takes note of TCP connections, with the moment at which each was last seen, whose peers
    /// `policy` does not trust, by the databases of their ports.
    pub(super) fn note_connected<'a>(
        &mut self,
        connections: impl IntoIterator<Item = (Connection, Timestamp)>,
        database_of: impl Fn(SocketAddr) -> Option<&'a str>,
        policy: &Policy,
    ) {
        for (Connection { local, peer, .. }, at) in connections {
            let source = peer.ip().to_canonical();
            if let Some(database) = database_of(local)
                && !policy.lets_in(database, source)
            {
                self.refused.add_connected(database, source, local.port(), at);
            }
        }
    }

    /// Gives the drops of an id that its database has no more to the one it has now, or forgets them.
    pub(super) fn free_id(&mut self, id: u8, now: Option<u8>) {
        match now {
            Some(now) => self.top.move_database(id, now),
            None => self.top.forget_database(id),
        }
    }

    /// Follows the databases that are configured now. The refused sources of one that went are kept
    /// for a day.
    pub(super) fn follow_databases(&mut self, databases: &[DatabaseConfig], now: Timestamp) {
        let names = databases.iter().map(|database| &*database.name);
        for (database, sources) in self.refused.follow_databases(names, now) {
            tracing::warn!(
                %database, sources,
                "the database is not configured any more: what was observed of it is kept for a \
                 day, in case it comes back"
            );
        }
    }

    /// Follows a database that has another name now, by its ports.
    pub(super) fn rename_database(&mut self, from: &str, to: &str) {
        let sources = self.refused.rename_database(from, to);
        if sources > 0 {
            tracing::info!(
                database = to,
                sources,
                "the database has the ports of {from}, which is gone: what was observed of {from} \
                 is kept under the new name"
            );
        }
    }

    /// Forgets what is old by `now`, a moment of a clock that ran steadily.
    pub(super) fn age(&mut self, now: Timestamp) {
        self.refused.age(now);
    }

    /// Moves every moment that is kept, after the clock was set.
    pub(super) fn adjust_times(&mut self, adjust: impl Fn(&mut Timestamp)) {
        self.refused.adjust_times(adjust);
    }
}

#[cfg(test)]
mod tests;
