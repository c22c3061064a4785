//! Listening sockets of this network namespace, from /proc/net.

use std::net::IpAddr;

use dbfw_core::Port;

use super::host::Host;
use crate::sockets::waiting_below;

/// The address and port that a socket listens on.
pub(super) type Listener = (IpAddr, Port);

/// The sockets that listen, of TCP and UDP and of both families.
pub(super) fn listeners(host: &Host) -> Vec<Listener> {
    waiting_below(&host.path("/")).map(|socket| (socket.address, socket.port)).collect()
}
