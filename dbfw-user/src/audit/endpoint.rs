//! [`Endpoint`]: an address of this host to probe a database at.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
};

use dbfw_core::Destinations;
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};

/// An address of this host with a port, and the address to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address of the server.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// The endpoints of a port that a database may be at, the likeliest first. From a loopback
    /// address servers say other things than to clients, so those come last.
    ///
    /// # Errors
    ///
    /// The interfaces cannot be listed.
    pub fn all(port: u16, destinations: &Destinations) -> io::Result<Vec<Self>> {
        let mut own = Vec::new();
        for interface in getifaddrs()? {
            if !interface.flags.contains(InterfaceFlags::IFF_UP) {
                continue;
            }
            let Some(address) = interface.address else { continue };
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            let v6 = address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
            own.extend(v4.or(v6).filter(|own| !is_link_local(*own)));
        }
        own.sort_by_key(|address| (address.is_loopback(), address.is_ipv6()));
        own.dedup();
        let judged =
            |address: &IpAddr| address.is_loopback() || destinations.include(*address, true);
        Ok(own.into_iter().filter(judged).map(|address| Self { address, port }).collect())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
