//! The sources that are not trusted and have TCP connections while observe mode lets them in.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use dbfw_common::Mode;
use dbfw_core::{Destinations, Port, Ports, policy::Policy};
use dbfw_datapath::connections::{Completed, Connection, EndedConnections, completed};
use jiff::Timestamp;
use nix::ifaddrs::getifaddrs;
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use super::traffic::Traffic;
use crate::{config::DatabaseConfig, lasting::LastingProblems};

/// Time between two listings of the open connections. Those that end are told at once.
const EVERY: Duration = Duration::from_secs(60);

/// Longest wait for the listing of an agent that ends.
const LAST_LISTING: Duration = Duration::from_secs(2);

/// Longest silence of a peer that lives: two hours until the first keep-alive probe, and nine probes
/// 75 seconds apart (the kernel's defaults, tcp(7)).
const KEEP_ALIVE: Duration = Duration::from_secs(7200 + 9 * 75);

/// The watch over the connections to databases in observe mode. Where there is none, it costs
/// nothing: the kernel tells of no connection that ends.
#[derive(Debug, Default)]
pub(super) struct ConnectionWatch {
    ended: Option<EndedConnections>,
    listing: Option<JoinHandle<io::Result<Vec<Completed>>>>,
    begun: Option<Instant>,
    /// The ports of the last listing.
    listed: BTreeSet<u16>,
    lasting: LastingProblems,
}

/// The databases in observe mode, and whom they trust.
#[derive(Debug)]
pub(super) struct Observed<'a> {
    served: Served,
    policy: &'a Policy,
    now: Timestamp,
}

impl<'a> Observed<'a> {
    /// Those of `databases`, by the policy in force.
    pub(super) fn of(databases: &[DatabaseConfig], policy: &'a Policy, now: Timestamp) -> Self {
        Self { served: Served::by(databases, |mode| mode == Mode::Observe), policy, now }
    }

    fn numbers(&self) -> BTreeSet<u16> {
        self.served.ports()
    }

    /// Takes note of connections that ended just now.
    fn note_ended(&self, connections: Vec<Connection>, traffic: &mut Traffic) {
        self.note(connections.into_iter().map(|connection| (connection, self.now)), traffic);
    }

    /// Takes note of open connections.
    fn note_open(&self, connections: Vec<Completed>, traffic: &mut Traffic) {
        let each = connections.into_iter();
        self.note(each.map(|open| (open.connection, last_alive(&open, self.now))), traffic);
    }

    fn note(
        &self,
        connections: impl Iterator<Item = (Connection, Timestamp)>,
        traffic: &mut Traffic,
    ) {
        let of = |local| self.served.database(local);
        traffic.note_connected(connections, of, self.policy);
    }
}

/// The last moment at which the peer of a connection that is let in is known to have had it: now,
/// unless it has been silent for longer than keep-alive probes allow.
pub(super) fn last_alive(open: &Completed, now: Timestamp) -> Timestamp {
    match open.silent <= KEEP_ALIVE {
        true => now,
        false => last_sent(open, now),
    }
}

/// The last moment at which the peer of a connection sent something that arrived.
pub(super) fn last_sent(open: &Completed, now: Timestamp) -> Timestamp {
    now.checked_sub(open.silent).unwrap_or(now)
}

impl ConnectionWatch {
    /// Takes note of the connections that ended since the last tick, and of those that are open,
    /// once a minute. Waits for nothing.
    pub(super) async fn tick(&mut self, observed: &Observed<'_>, traffic: &mut Traffic) {
        let numbers = observed.numbers();
        if numbers.is_empty() {
            *self = Self { lasting: std::mem::take(&mut self.lasting), ..Self::default() };
            return;
        }
        let ended = self.take_ended(&numbers);
        let listed = match self.listing.take_if(|listing| listing.is_finished()) {
            Some(listing) => {
                Some(listing.await.unwrap_or_else(|error| Err(io::Error::other(error))))
            }
            // None has ended since the last tick: nothing new is known.
            None => None,
        };
        let is_due = self.begun.is_none_or(|begun| begun.elapsed() >= EVERY);
        if (is_due || self.listed != numbers) && self.listing.is_none() {
            self.begun = Some(Instant::now());
            self.listed.clone_from(&numbers);
            self.listing = Some(list(numbers));
        }
        let ended = ended.map(|found| observed.note_ended(found, traffic));
        self.lasting.follow("dbfw suggest does not know of short connections", ended);
        if let Some(listed) = listed {
            let listed = listed.map(|found| observed.note_open(found, traffic));
            self.lasting.follow("dbfw suggest does not know of open connections", listed);
        }
    }

    /// Takes note of the connections that are open when the agent ends. Waits for the kernel, but not
    /// for long.
    pub(super) async fn finish(&self, observed: &Observed<'_>, traffic: &mut Traffic) {
        let numbers = observed.numbers();
        if numbers.is_empty() {
            return;
        }
        if let Ok(Ok(Ok(found))) = timeout(LAST_LISTING, list(numbers)).await {
            observed.note_open(found, traffic);
        }
    }

    fn take_ended(&mut self, ports: &BTreeSet<u16>) -> io::Result<Vec<Connection>> {
        let ended = match self.ended.take() {
            Some(ended) => ended,
            None => EndedConnections::watch()?,
        };
        // One that fails is opened anew.
        let found = from_elsewhere(ended.take(ports)?.into_iter().collect());
        self.ended = Some(ended);
        Ok(found)
    }
}

/// Begins to list the open connections to these ports. The kernel takes its time.
fn list(ports: BTreeSet<u16>) -> JoinHandle<io::Result<Vec<Completed>>> {
    spawn_blocking(move || completed(&ports).map(from_elsewhere))
}

/// The connections whose peers are other hosts: what this one's own addresses send is not judged.
pub(super) fn from_elsewhere<C: AsRef<Connection>>(mut connections: Vec<C>) -> Vec<C> {
    if connections.is_empty() {
        return connections;
    }
    let own = own_addresses();
    connections.retain(|connection| {
        let peer = connection.as_ref().peer.ip().to_canonical();
        !peer.is_loopback() && !own.contains(&peer)
    });
    connections
}

/// The addresses of this host's interfaces.
pub(super) fn own_addresses() -> BTreeSet<IpAddr> {
    let listed = getifaddrs().into_iter().flatten();
    let addresses = listed.filter_map(|listed| {
        let address = listed.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
    });
    addresses.collect()
}

/// The TCP ports and destinations of databases.
#[derive(Clone, Debug)]
pub(super) struct Served(Vec<(String, Ports, Destinations)>);

impl Served {
    /// Those of the databases whose mode `is_wanted`.
    pub(super) fn by(databases: &[DatabaseConfig], is_wanted: impl Fn(Mode) -> bool) -> Self {
        let wanted = databases.iter().filter(|database| is_wanted(database.mode));
        let parts = wanted.map(|database| {
            (database.name.clone(), database.ports.clone(), database.destinations.clone())
        });
        Self(parts.collect())
    }

    /// Their TCP ports.
    pub(super) fn ports(&self) -> BTreeSet<u16> {
        self.0.iter().flat_map(|(_, ports, _)| ports.tcp()).collect()
    }

    /// The database of a connection by this host's end.
    pub(super) fn database(&self, local: SocketAddr) -> Option<&str> {
        let port = Port { udp: false, port: local.port() };
        let found = self.0.iter().find(|(_, ports, destinations)| {
            ports.contains(port) && destinations.include(local.ip(), true)
        });
        found.map(|(name, ..)| &**name)
    }
}
