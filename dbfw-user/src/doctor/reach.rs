//! Checks whether a database can be reached by an interface that is not covered.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use dbfw_common::Mode;
use dbfw_core::Port;
use dbfw_datapath::Interface;
use dbfw_wire::control::Finding;

use super::{
    finding,
    host::Host,
    links::Links,
    sockets::{Listener, listeners},
};
use crate::{
    config::{AgentConfig, DatabaseConfig},
    protection::Coverage,
};

const CHECK: &str = "reach";

pub(super) fn check(
    host: &Host,
    agent: &AgentConfig,
    databases: &[DatabaseConfig],
    links: &Links,
) -> Vec<Finding> {
    let Ok(present) = &links.interfaces else { return Vec::new() };
    let protected: BTreeSet<Port> = databases
        .iter()
        .filter(|database| database.mode != Mode::Off)
        .flat_map(|database| database.ports.iter().copied())
        .collect();
    let mut listeners = listeners(host);
    listeners.retain(|(_, port)| protected.contains(port));
    let uncovered = uncovered(&listeners, &host.addresses(), present, agent);
    uncovered
        .into_iter()
        .map(|(interface, ports)| judge(interface, &ports, agent.backstop))
        .collect()
}

/// The ports of databases that each interface gives a way to, of those that are neither covered
/// nor exempt.
fn uncovered<'a>(
    listeners: &[Listener],
    addresses: &[(String, IpAddr)],
    present: &'a [Interface],
    agent: &AgentConfig,
) -> BTreeMap<&'a str, BTreeSet<Port>> {
    let coverage = Coverage::of(present, agent);
    let mut found = BTreeMap::<&str, BTreeSet<Port>>::new();
    for interface in present {
        if coverage.covers(interface.index) || coverage.exempt().contains(&interface.index) {
            continue;
        }
        let own: Vec<IpAddr> = addresses
            .iter()
            .filter(|(name, address)| *name == interface.name && !address.is_loopback())
            .map(|(_, address)| *address)
            .collect();
        let is_open = |listener: IpAddr| {
            own.iter().any(|address| {
                let same_family = listener.is_ipv6() || address.is_ipv4();
                *address == listener || (listener.is_unspecified() && same_family)
            })
        };
        let ports: BTreeSet<Port> =
            listeners.iter().filter(|(at, _)| is_open(*at)).map(|(_, port)| *port).collect();
        if !ports.is_empty() {
            found.insert(&interface.name, ports);
        }
    }
    found
}

fn judge(interface: &str, ports: &BTreeSet<Port>, backstop: bool) -> Finding {
    let ports: Vec<String> = ports.iter().map(Port::to_string).collect();
    let open = format!("{} can be reached by {interface}, which is not covered", ports.join(", "));
    if backstop {
        return finding::ok(
            CHECK,
            format!("{open}: the backstop alone judges what comes in by it"),
        );
    }
    finding::warn(
        CHECK,
        format!("{open}, and there is no backstop: everybody there may connect"),
        format!("add {interface:?} to interfaces in [agent], or set backstop = true"),
    )
}

#[cfg(test)]
mod tests {
    use dbfw_datapath::{Interfaces, Layer};
    use glob::Pattern;

    use super::*;

    fn interfaces() -> Vec<Interface> {
        let link = |name: &str, index| Interface {
            layer: Some(Layer::Ethernet),
            hardware: true,
            ..Interface::ethernet(name, index)
        };
        vec![link("eth0", 2), link("eth1", 3), link("mgmt", 4)]
    }

    fn agent() -> AgentConfig {
        AgentConfig {
            interfaces: Interfaces::Matching(vec![Pattern::new("eth0").unwrap()]),
            exempt_interfaces: vec![Pattern::new("mgmt").unwrap()],
            backstop: false,
            ..AgentConfig::default()
        }
    }

    #[test]
    fn ways_that_nothing_judges_are_told() {
        let at = |name: &str, address: &str| (name.to_owned(), address.parse().unwrap());
        let addresses = [
            at("eth0", "192.0.2.1"),
            at("eth1", "198.51.100.1"),
            at("eth1", "2001:db8::1"),
            at("mgmt", "203.0.113.1"),
            at("lo", "127.0.0.1"),
        ];
        let (present, agent) = (interfaces(), agent());
        for (listener, found) in [
            ("0.0.0.0", true),
            ("::", true),
            ("198.51.100.1", true),
            ("2001:db8::1", true),
            ("192.0.2.1", false),
            ("203.0.113.1", false),
            ("127.0.0.1", false),
            ("198.51.100.2", false),
        ] {
            let port = Port { udp: false, port: 5432 };
            let listeners = [(listener.parse().unwrap(), port)];
            let open = uncovered(&listeners, &addresses, &present, &agent);
            let wanted = found.then(|| ("eth1", BTreeSet::from([port])));
            assert_eq!(open, wanted.into_iter().collect(), "{listener}");
        }
        let ports = BTreeSet::from([Port { udp: false, port: 5432 }]);
        assert_eq!(judge("eth1", &ports, true).state.as_str(), "ok");
        let open = judge("eth1", &ports, false);
        assert_eq!(open.state.as_str(), "warn");
        assert!(open.detail.contains("tcp/5432 can be reached by eth1"), "{open:?}");
    }
}
