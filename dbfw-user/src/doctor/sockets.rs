//! Listening sockets of this network namespace, from /proc/net.

use std::net::IpAddr;

use dbfw_core::Port;

use super::host::Host;
use crate::sockets::waiting;

/// The address and port that a socket listens on.
pub(super) type Listener = (IpAddr, Port);

/// The sockets that listen, of TCP and UDP and of both families.
pub(super) fn listeners(host: &Host) -> Vec<Listener> {
    let mut found = Vec::new();
    for (file, udp) in [("tcp", false), ("tcp6", false), ("udp", true), ("udp6", true)] {
        let table = host.read(format!("/proc/net/{file}")).unwrap_or_default();
        found.extend(waiting(&table, udp).map(|socket| (socket.address, socket.port)));
    }
    found
}
