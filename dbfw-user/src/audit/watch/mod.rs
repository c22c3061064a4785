//! [`watch`]: the connections that clients open, seen on their way in. Nothing is sent.
//!
//! `socket` gets the packets that `filter` has the kernel pass on; `packet` reads their headers, and
//! `flows` follows each connection until `client` knows what it wants. The messages are read by
//! `postgres`, `mysql`, `redis` and `mongodb`, which look at nothing but the names of users, databases
//! and programs: `identity` has the result.

mod client;
mod filter;
mod flows;
mod identity;
mod mongodb;
mod mysql;
mod packet;
mod postgres;
mod redis;
mod socket;
mod sys;

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use dbfw_core::{
    Ports,
    audit::{Engine, SeenConnection},
};
use secrecy::{ExposeSecretMut as _, SecretBox};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use self::{
    flows::{Flows, Seen},
    packet::Segment,
    socket::PacketSocket,
};

/// Bytes of a packet that are read.
const MAX_PACKET: usize = 4096;

/// A database that is watched.
#[derive(Clone, Copy)]
pub(super) struct Watched<'a> {
    pub(super) ports: &'a Ports,
    /// The engine at an address of it; `None`: it is not its own, or nobody knows.
    pub(super) engine: &'a dyn Fn(SocketAddr) -> Option<Engine>,
}

/// The result of a watch.
#[derive(Debug, Default)]
pub(super) struct WatchResult {
    /// The connections, each with the number of its database.
    pub(super) connections: Vec<(usize, SeenConnection)>,
    /// The number of connections of which nothing is known.
    pub(super) missed: u64,
    /// The number of packets that came too fast.
    pub(super) lost: u64,
    /// The time that it took.
    pub(super) took: Duration,
}

/// Watches what clients of some databases send first, for so long or until SIGINT.
///
/// # Errors
/// The system lets no packets be seen.
pub(super) async fn watch(
    databases: &[Watched<'_>],
    duration: Duration,
) -> io::Result<WatchResult> {
    let ports = ranges(databases.iter().flat_map(|database| database.ports.tcp()));
    let begun = Instant::now();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let open = |kind| PacketSocket::open(kind, &ports, MAX_PACKET as u32);
    let sockets = [open(libc::ETH_P_IP)?, open(libc::ETH_P_IPV6)?];
    let mut over = std::pin::pin!(sleep(duration));
    let mut flows = Flows::default();
    // Zeroed when they are dropped: passwords pass through them.
    let buffer = || SecretBox::new(Box::new([0_u8; MAX_PACKET]));
    let mut buffers = [buffer(), buffer()];
    loop {
        let [first, second] = &mut buffers;
        let (first, second) = (first.expose_secret_mut(), second.expose_secret_mut());
        let packet: &[u8] = tokio::select! {
            _ = interrupt.recv() => break,
            () = &mut over => break,
            length = sockets[0].receive(first) => &first[..length?],
            length = sockets[1].receive(second) => &second[..length?],
        };
        let Some(segment) = Segment::parse(packet) else { continue };
        flows.take(&segment, Instant::now(), || {
            let engines = databases.iter().map(|database| (database.engine)(segment.to));
            engines.enumerate().find_map(|(at, engine)| Some((at, engine?)))
        });
    }
    let lost = sockets.iter().map(|socket| u64::from(socket.lost())).sum();
    let seen = flows.finish();
    let Seen { connections, missed } = seen;
    Ok(WatchResult { connections, missed, lost, took: begun.elapsed() })
}

/// Ports as ranges.
fn ranges(ports: impl Iterator<Item = u16>) -> Vec<(u16, u16)> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports.collect::<BTreeSet<u16>>() {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == port => *last = port,
            _ => ranges.push((port, port)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    #[test]
    fn ports_are_ranges() {
        let ports = [5432, 1, 65_535, 2, 3, 65_534, 2];
        assert_eq!(super::ranges(ports.into_iter()), [(1, 3), (5432, 5432), (65_534, 65_535)]);
    }
}
