//! Ways by which this host passes packets on to another machine.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use nix::{
    ifaddrs::{InterfaceAddress, getifaddrs},
    sys::socket::SockaddrStorage,
};

use crate::protection::{Judge, Passage};

/// The system's treatment of packets to one other machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Forwarding {
    /// Whether it routes packets of this family.
    routes: bool,
    /// The interfaces in whose networks the machine is.
    links: BTreeSet<String>,
}

impl Forwarding {
    /// This host's treatment of packets to `to`, by its settings and addresses.
    pub(super) fn to(to: IpAddr) -> Self {
        let routes = is_routing(to);
        let listed = getifaddrs().into_iter().flatten();
        let links = listed.filter(|listed| is_in_network(listed, to));
        Self { routes, links: links.map(|listed| listed.interface_name).collect() }
    }

    /// The same on a host that routes.
    #[cfg(test)]
    pub(super) fn routing(self) -> Self {
        Self { routes: true, ..self }
    }

    /// The interface of a passage that packets take, with its judge; `None`: nothing is passed on.
    pub(super) fn way<'p>(&self, passage: &'p Passage) -> Option<(&'p str, Judge)> {
        let Passage { interface, judge, bridge } = passage;
        let judge = match bridge {
            // A bridge passes them from port to port, past its own hook.
            Some((bridge, _)) if self.links.contains(bridge) => *judge,
            _ if !self.routes || self.links.contains(interface) => return None,
            Some((_, of_bridge)) if *judge != Judge::Hook => *of_bridge,
            _ => *judge,
        };
        Some((interface, judge))
    }
}

/// Whether this host passes packets of the family of an address from interface to interface.
pub(super) fn is_routing(address: IpAddr) -> bool {
    let setting = match address {
        IpAddr::V4(_) => "/proc/sys/net/ipv4/ip_forward",
        IpAddr::V6(_) => "/proc/sys/net/ipv6/conf/all/forwarding",
    };
    // Where it cannot be read: nothing is said to be dropped that may pass.
    fs::read_to_string(setting).map_or(true, |value| value.trim() != "0")
}

/// Whether this host passes packets of a family from interface to interface.
pub(crate) fn is_routing_any() -> bool {
    [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()].into_iter().any(is_routing)
}

fn is_in_network(listed: &InterfaceAddress, to: IpAddr) -> bool {
    let (Some(own), Some(mask)) = (listed.address.and_then(ip), listed.netmask.and_then(ip)) else {
        return false;
    };
    match (own, mask, to) {
        (IpAddr::V4(own), IpAddr::V4(mask), IpAddr::V4(to)) => own & mask == to & mask,
        (IpAddr::V6(own), IpAddr::V6(mask), IpAddr::V6(to)) => own & mask == to & mask,
        _ => false,
    }
}

fn ip(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_passes_packets_past_its_own_hook_and_routing_does_not() {
        let passage = |interface: &str, judge, bridge: Option<Judge>| Passage {
            interface: interface.to_owned(),
            judge,
            bridge: bridge.map(|judge| ("br0".to_owned(), judge)),
        };
        let port = passage("tap0", Judge::Backstop, Some(Judge::Hook));
        let eth = passage("eth1", Judge::Backstop, None);
        for (routes, links, of_port, of_eth) in [
            (true, &["br0"][..], Some(Judge::Backstop), Some(Judge::Backstop)),
            (false, &["br0"], Some(Judge::Backstop), None),
            (true, &["eth0"], Some(Judge::Hook), Some(Judge::Backstop)),
            (true, &[], Some(Judge::Hook), Some(Judge::Backstop)),
            (true, &["eth1"], Some(Judge::Hook), None),
            (false, &["eth0"], None, None),
        ] {
            let links = links.iter().map(|&link| link.to_owned()).collect();
            let forwarding = Forwarding { routes, links };
            assert_eq!(forwarding.way(&port).map(|way| way.1), of_port, "{forwarding:?}");
            assert_eq!(forwarding.way(&eth).map(|way| way.1), of_eth, "{forwarding:?}");
        }
    }
}
