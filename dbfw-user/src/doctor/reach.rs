//! Checks whether a database can be reached by an interface that is not covered.

use std::{collections::BTreeSet, net::IpAddr};

use dbfw_common::Mode;
use dbfw_core::{Port, Ports};
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
        .flat_map(|database| database.ports.iter())
        .collect();
    let mut listeners = listeners(host);
    listeners.retain(|(_, port)| protected.contains(port));
    let coverage = Coverage::of(present, agent);
    uncovered(&listeners, &host.addresses(), present, &coverage)
        .into_iter()
        .map(|(interface, ports)| {
            let is_exempt = coverage.exempt().contains(&interface.index);
            judge(&interface.name, &ports, Behind::of(agent.backstop, is_exempt))
        })
        .collect()
}

/// The judge of what comes in by an interface that is not covered.
#[derive(Clone, Copy, Debug)]
enum Behind {
    /// The backstop.
    Backstop,
    /// Nobody, as configured: the interface is exempt.
    Exempt,
    /// Nobody: there is no backstop.
    Nothing,
}

impl Behind {
    fn of(backstop: bool, is_exempt: bool) -> Self {
        match (backstop, is_exempt) {
            (true, false) => Self::Backstop,
            (true, true) => Self::Exempt,
            (false, _) => Self::Nothing,
        }
    }
}

/// The ports of databases that each interface gives a way to, of those that are not covered.
fn uncovered<'a>(
    listeners: &[Listener],
    addresses: &[(String, IpAddr)],
    present: &'a [Interface],
    coverage: &Coverage,
) -> Vec<(&'a Interface, BTreeSet<Port>)> {
    let mut found = Vec::new();
    for interface in present {
        if coverage.covers(interface.index) {
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
            found.push((interface, ports));
        }
    }
    found
}

fn judge(interface: &str, ports: &BTreeSet<Port>, behind: Behind) -> Finding {
    let ports: Ports = ports.iter().copied().collect();
    let open = format!("{ports} can be reached by {interface}, which is not covered");
    match behind {
        Behind::Backstop => finding::ok(
            CHECK,
            format!(
                "{open}: the backstop alone judges it, and only new connections to sockets of this \
                 host"
            ),
        ),
        Behind::Exempt => finding::ok(
            CHECK,
            format!("{open} and is exempt, as configured: everybody there may connect"),
        ),
        Behind::Nothing => finding::warn(
            CHECK,
            format!("{open}, and there is no backstop: everybody there may connect"),
            format!("add {interface:?} to interfaces in [agent], or set backstop = true"),
        ),
    }
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
        let present = interfaces();
        let coverage = Coverage::of(&present, &agent());
        for (listener, found) in [
            ("0.0.0.0", &["eth1", "mgmt"][..]),
            ("::", &["eth1", "mgmt"]),
            ("198.51.100.1", &["eth1"]),
            ("2001:db8::1", &["eth1"]),
            ("192.0.2.1", &[]),
            ("203.0.113.1", &["mgmt"]),
            ("127.0.0.1", &[]),
            ("198.51.100.2", &[]),
        ] {
            let port = Port { udp: false, port: 5432 };
            let listeners = [(listener.parse().unwrap(), port)];
            let open = uncovered(&listeners, &addresses, &present, &coverage);
            let names: Vec<&str> = open.iter().map(|(interface, _)| &*interface.name).collect();
            assert_eq!(names, found, "{listener}");
            assert!(open.iter().all(|(_, ports)| *ports == BTreeSet::from([port])));
        }
        let ports = BTreeSet::from([Port { udp: false, port: 5432 }]);
        for (backstop, is_exempt, state, text) in [
            (true, false, "ok", "the backstop alone judges it"),
            (true, true, "ok", "is exempt, as configured: everybody"),
            (false, false, "warn", "there is no backstop: everybody"),
            (false, true, "warn", "there is no backstop: everybody"),
        ] {
            let open = judge("eth1", &ports, Behind::of(backstop, is_exempt));
            assert_eq!(open.state.as_str(), state);
            assert!(open.detail.contains("tcp/5432 can be reached by eth1"), "{open:?}");
            assert!(open.detail.contains(text), "{open:?}");
        }
    }
}
