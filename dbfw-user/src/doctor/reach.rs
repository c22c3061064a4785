//! Checks whether a database can be reached by an interface that no program filters.

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
    nat::{Forward, NatRules},
    protection::{Coverage, Judge},
};

const CHECK: &str = "reach";

/// The fix where something is not attached that the configuration wants.
pub(super) const ATTACH: &str =
    "systemctl start dbfw; if it runs: dbfw status says why (after dbfw detach: dbfw reload)";

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
    let addresses = host.addresses();
    let exposed = exposed(&listeners, &addresses, present);
    let Some(attached) = &links.attached else {
        let detail = "not checked: what of dbfw is attached cannot be seen";
        let unknown = finding::warn(CHECK, detail, "sudo dbfw doctor");
        return if exposed.is_empty() { Vec::new() } else { vec![unknown] };
    };
    let coverage = Coverage::of(present, agent);
    let findings = exposed.into_iter().filter_map(|(interface, ports)| {
        let wanted = coverage.wanted().judge(interface, present);
        judge(&interface.name, &ports, attached.judge(interface, present), wanted)
    });
    // Where they cannot be listed, the check of the ports lent out says so.
    let listed = if host.is_this() { NatRules::read().ok() } else { None };
    let forwards = listed.as_ref().map(Forward::all).unwrap_or_default();
    let is_own = |rule: &&Forward| addresses.iter().any(|(_, own)| *own == rule.to());
    let elsewhere = forwards.iter().filter(|rule| !is_own(rule));
    let unhooked: Vec<&str> = attached
        .ways_in(present)
        .filter(|(_, judge)| *judge != Judge::Hook)
        .map(|(interface, _)| &*interface.name)
        .collect();
    let unread = listed.as_ref().map(Forward::unread).unwrap_or_default();
    let unread = unread.iter().filter(|_| !unhooked.is_empty() && !protected.is_empty());
    findings
        .chain(elsewhere.filter_map(|rule| passed_on(rule, &protected, &unhooked)))
        .chain(unread.map(|rule| not_read(rule, &unhooked)))
        .collect()
}

/// The finding about a NAT rule whose ports or addresses are not known.
fn not_read(rule: &str, unhooked: &[&str]) -> Finding {
    let by = unhooked.join(", ");
    finding::warn(
        CHECK,
        format!(
            "a NAT rule that dbfw cannot read may pass a database's port on: {rule:?}; what it passes \
             on from {by} meets no program"
        ),
        format!(
            "if it is about the port of a database, add the interfaces that strangers can use to \
             interfaces in [agent]: {by}"
        ),
    )
}

/// The finding about a NAT rule that passes on what comes in by interfaces that no program is
/// attached to.
fn passed_on(rule: &Forward, protected: &BTreeSet<Port>, unhooked: &[&str]) -> Option<Finding> {
    let open: Vec<&str> = unhooked.iter().copied().filter(|name| rule.is_of(name)).collect();
    let mut taken = protected.iter().copied().filter(|port| rule.takes(*port)).peekable();
    if open.is_empty() || taken.peek().is_none() {
        return None;
    }
    let (ports, to, by) = (taken.collect::<Ports>(), rule.to(), open.join(", "));
    Some(finding::warn(
        CHECK,
        format!(
            "a NAT rule passes {ports} on to {to}: what comes in by {by} meets no program, and the \
             backstop sees this host's own sockets only: everybody there may connect"
        ),
        format!("add the interfaces that strangers can use to interfaces in [agent]: {by}"),
    ))
}

/// The ports of databases that each interface gives a way to.
fn exposed<'a>(
    listeners: &[Listener],
    addresses: &[(String, IpAddr)],
    present: &'a [Interface],
) -> Vec<(&'a Interface, BTreeSet<Port>)> {
    let mut found = Vec::new();
    for interface in present.iter().filter(|interface| !interface.loopback) {
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

/// The finding about an interface, by its judge and by the one that the configuration wants.
fn judge(interface: &str, ports: &BTreeSet<Port>, is: Judge, wanted: Judge) -> Option<Finding> {
    let ports: Ports = ports.iter().copied().collect();
    let open = format!("{ports} can be reached by {interface}");
    let finding = match (is, wanted) {
        (Judge::Hook, _) => return None,
        (Judge::Backstop, Judge::Hook) => finding::warn(
            CHECK,
            format!(
                "{open}, where no program is attached, against the configuration: the backstop \
                 alone judges it, and only new connections to sockets of this host"
            ),
            ATTACH,
        ),
        (Judge::Backstop, _) => finding::ok(
            CHECK,
            format!(
                "{open}, which is not covered: the backstop alone judges it, and only new \
                 connections to sockets of this host"
            ),
        ),
        (Judge::Exempt, Judge::Exempt) => finding::ok(
            CHECK,
            format!(
                "{open}, which is not covered and is exempt, as configured: everybody there may \
                 connect"
            ),
        ),
        (Judge::Nobody, Judge::Nobody) => finding::warn(
            CHECK,
            format!(
                "{open}, which is not covered, and there is no backstop: everybody there may connect"
            ),
            format!("add {interface:?} to interfaces in [agent], or set backstop = true"),
        ),
        (Judge::Exempt, _) => finding::warn(
            CHECK,
            format!(
                "{open}, which the backstop lets through, against the configuration: everybody \
                 there may connect"
            ),
            ATTACH,
        ),
        (Judge::Nobody, _) => finding::warn(
            CHECK,
            format!("{open}, and nothing judges what comes in there: everybody there may connect"),
            ATTACH,
        ),
    };
    Some(finding)
}

#[cfg(test)]
mod tests {
    use dbfw_datapath::Layer;

    use super::*;
    use crate::nat::Iptables;

    fn interfaces() -> Vec<Interface> {
        let link = |name: &str, index| Interface {
            layer: Some(Layer::Ethernet),
            hardware: true,
            ..Interface::ethernet(name, index)
        };
        vec![link("eth0", 2), link("eth1", 3), link("mgmt", 4)]
    }

    #[test]
    fn ports_are_exposed_where_their_listeners_are() {
        let at = |name: &str, address: &str| (name.to_owned(), address.parse().unwrap());
        let addresses = [
            at("eth0", "192.0.2.1"),
            at("eth1", "198.51.100.1"),
            at("eth1", "2001:db8::1"),
            at("mgmt", "203.0.113.1"),
            at("lo", "127.0.0.1"),
        ];
        let present = interfaces();
        for (listener, found) in [
            ("0.0.0.0", &["eth0", "eth1", "mgmt"][..]),
            ("::", &["eth0", "eth1", "mgmt"]),
            ("198.51.100.1", &["eth1"]),
            ("2001:db8::1", &["eth1"]),
            ("192.0.2.1", &["eth0"]),
            ("203.0.113.1", &["mgmt"]),
            ("127.0.0.1", &[]),
            ("198.51.100.2", &[]),
        ] {
            let port = Port { udp: false, port: 5432 };
            let listeners = [(listener.parse().unwrap(), port)];
            let open = exposed(&listeners, &addresses, &present);
            let names: Vec<&str> = open.iter().map(|(interface, _)| &*interface.name).collect();
            assert_eq!(names, found, "{listener}");
            assert!(open.iter().all(|(_, ports)| *ports == BTreeSet::from([port])));
        }
    }

    #[test]
    fn what_nat_passes_on_is_open_by_interfaces_without_a_program() {
        let text =
            "-A DOCKER ! -i docker0 -p tcp --dport 5432 -j DNAT --to-destination 172.17.0.2:5432";
        let iptables = Iptables { command: "iptables-nft".to_owned(), rules: text.to_owned() };
        let rules = Forward::all(&NatRules { iptables: vec![iptables], ..NatRules::default() });
        let port = |port| BTreeSet::from([Port { udp: false, port }]);
        assert_eq!(passed_on(&rules[0], &port(6432), &["eth1"]), None);
        for (unhooked, by) in [
            (&["eth1", "docker0", "wg0"][..], Some("by eth1, wg0 meets")),
            (&["docker0"], None),
            (&[], None),
        ] {
            let found = passed_on(&rules[0], &port(5432), unhooked);
            assert_eq!(found.is_some(), by.is_some(), "{unhooked:?}");
            if let (Some(found), Some(by)) = (found, by) {
                assert_eq!(found.state.as_str(), "warn");
                assert!(found.detail.contains(by), "{found:?}");
                assert!(found.detail.contains("passes tcp/5432 on to 172.17.0.2"), "{found:?}");
            }
        }
    }

    #[test]
    fn whoever_is_attached_judges_whatever_is_configured() {
        let ports = BTreeSet::from([Port { udp: false, port: 5432 }]);
        for (is, wanted, state, text) in [
            (Judge::Backstop, Judge::Backstop, "ok", "the backstop alone judges it"),
            (Judge::Exempt, Judge::Exempt, "ok", "is exempt, as configured: everybody"),
            (Judge::Nobody, Judge::Nobody, "warn", "there is no backstop: everybody"),
            (Judge::Backstop, Judge::Hook, "warn", "where no program is attached, against"),
            (Judge::Exempt, Judge::Backstop, "warn", "lets through, against the configuration"),
            (Judge::Nobody, Judge::Hook, "warn", "nothing judges what comes in there: everybody"),
            (Judge::Nobody, Judge::Backstop, "warn", "nothing judges what comes in there"),
            (Judge::Nobody, Judge::Exempt, "warn", "nothing judges what comes in there"),
        ] {
            let open = judge("eth1", &ports, is, wanted).unwrap();
            assert_eq!(open.state.as_str(), state, "{is:?} {wanted:?}");
            assert!(open.detail.contains("tcp/5432 can be reached by eth1"), "{open:?}");
            assert!(open.detail.contains(text), "{open:?}");
        }
        // Such as one that was renamed, and is still filtered.
        assert_eq!(judge("eth1", &ports, Judge::Hook, Judge::Backstop), None);
    }
}
