//! The networks that this host's interfaces are in.

use std::net::IpAddr;

use dbfw_core::source::{Prefix, PrefixMap};
use nix::{
    ifaddrs::{InterfaceAddress, getifaddrs},
    sys::socket::SockaddrStorage,
};

/// The networks that this host is in, with the interface of each.
#[derive(Debug, Default)]
pub struct LocalNetworks(PrefixMap<String>);

impl LocalNetworks {
    /// Those of this network namespace; none if the kernel does not list its interfaces.
    pub fn of_this_host() -> Self {
        let listed = getifaddrs().into_iter().flatten();
        listed.filter_map(|address| network(&address)).collect()
    }

    /// The narrowest network with an address, and its interface.
    pub(super) fn of(&self, address: IpAddr) -> Option<(Prefix, &str)> {
        self.0.longest(address).map(|(network, interface)| (network, interface.as_str()))
    }
}

impl FromIterator<(Prefix, String)> for LocalNetworks {
    /// Those that say where something is: loopback does not, nor does a network that every
    /// interface has, or one of a single address.
    fn from_iter<I: IntoIterator<Item = (Prefix, String)>>(networks: I) -> Self {
        let says_where = |network: &Prefix| {
            let is_everywhere = match network.addr() {
                IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
                IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
            };
            !is_everywhere && !network.is_host() && network.len() > 0
        };
        Self(networks.into_iter().filter(|(network, _)| says_where(network)).collect())
    }
}

fn network(listed: &InterfaceAddress) -> Option<(Prefix, String)> {
    let address = ip(listed.address.as_ref()?)?;
    let bits = match ip(listed.netmask.as_ref()?)? {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    };
    Some((Prefix::new(address, bits as u8), listed.interface_name.clone()))
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_network_is_named_and_none_that_is_everywhere() {
        let networks: LocalNetworks = [
            ("10.0.0.0/8", "eth0"),
            ("10.0.3.0/24", "eth1"),
            ("127.0.0.0/8", "lo"),
            ("169.254.0.0/16", "eth0"),
            ("fe80::/64", "eth0"),
            ("192.0.2.1/32", "wg0"),
            ("::/0", "tun0"),
            ("2001:db8:5::/64", "eth0"),
        ]
        .into_iter()
        .map(|(network, interface)| (network.parse().unwrap(), interface.to_owned()))
        .collect();
        for (address, expected) in [
            ("10.0.3.7", Some("eth1 10.0.3.0/24")),
            ("10.9.0.1", Some("eth0 10.0.0.0/8")),
            ("2001:db8:5::9", Some("eth0 2001:db8:5::/64")),
            ("127.0.0.1", None),
            ("169.254.1.1", None),
            ("fe80::1", None),
            ("192.0.2.1", None),
            ("2001:db8:6::9", None),
        ] {
            let found = networks.of(address.parse().unwrap());
            let found = found.map(|(network, interface)| format!("{interface} {network}"));
            assert_eq!(found.as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn this_host_has_no_network_of_loopback() {
        assert!(LocalNetworks::of_this_host().of(IpAddr::from([127, 0, 0, 1])).is_none());
    }
}
