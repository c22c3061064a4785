//! Checks for whom the packets are that databases judge: addresses of this host that none names,
//! and machines behind it that one would cut off.

use std::{collections::BTreeMap, net::IpAddr};

use dbfw_common::Mode;
use dbfw_core::{Port, Ports};
use dbfw_datapath::{Interface, interfaces::Kind};
use dbfw_wire::control::Finding;

use super::{
    finding::{self, Doubt},
    host::Host,
    links::Links,
    reach::ATTACH,
    sockets::{Listener, listeners},
};
use crate::config::DatabaseConfig;

const CHECK: &str = "destinations";

pub(super) fn check(
    host: &Host,
    databases: &[DatabaseConfig],
    present: &[Interface],
    links: &Links,
) -> Vec<Finding> {
    let doubts = doubts(host, databases, present);
    let new = check_new(databases, links);
    if doubts.is_empty() && new.is_none() {
        let what = "every address that a database is served at is one that it protects";
        return vec![finding::ok(CHECK, what)];
    }
    let doubts = doubts.into_iter();
    doubts.map(|Doubt { message, fix }| finding::warn(CHECK, message, fix)).chain(new).collect()
}

/// Addresses that the programs at interfaces take for another machine's, where no backstop is behind
/// them: databases that are bound to this host's own addresses are open there.
fn check_new(databases: &[DatabaseConfig], links: &Links) -> Option<Finding> {
    let is_open = links.attached.as_ref().is_some_and(|attached| {
        attached.has_hooks() && !attached.has_backstop() && !links.new_addresses.is_empty()
    });
    let of_host: Vec<&DatabaseConfig> = databases
        .iter()
        .filter(|database| database.mode == Mode::Enforce && database.destinations.has_local())
        .collect();
    if !is_open || of_host.is_empty() {
        return None;
    }
    let ports: Ports = of_host.iter().flat_map(|database| database.ports.iter()).collect();
    let at: Vec<String> = links.new_addresses.iter().map(ToString::to_string).collect();
    Some(finding::warn(
        CHECK,
        format!(
            "{ports}: {} came up while no agent ran, and the backstop is not attached: everybody \
             may connect there",
            at.join(", ")
        ),
        ATTACH,
    ))
}

/// The doubts about this configuration on this host.
pub(super) fn doubts(
    host: &Host,
    databases: &[DatabaseConfig],
    present: &[Interface],
) -> Vec<Doubt> {
    let own: Vec<IpAddr> = host.addresses().into_iter().map(|(_, address)| address).collect();
    let on = |name: &str| host.sysctl(name).is_ok_and(|value| value.trim() == "1");
    let forwards = on("net/ipv4/ip_forward") || on("net/ipv6/conf/all/forwarding");
    unnamed(&listeners(host), &own, databases)
        .into_iter()
        .chain(cut_off(databases, &passes_on(present, forwards)))
        .collect()
}

/// Addresses at which a wildcard listener serves a port, and no database of the port names them.
fn unnamed(listeners: &[Listener], own: &[IpAddr], databases: &[DatabaseConfig]) -> Option<Doubt> {
    let mut open: BTreeMap<IpAddr, Vec<Port>> = BTreeMap::new();
    for (at, port) in listeners.iter().filter(|(at, _)| at.is_unspecified()) {
        let of_port: Vec<&DatabaseConfig> =
            databases.iter().filter(|database| database.ports.contains(*port)).collect();
        if of_port.is_empty() {
            continue;
        }
        let is_served = |address: &&IpAddr| at.is_ipv6() || address.is_ipv4();
        for address in own.iter().filter(is_served).filter(|address| is_reachable(address)) {
            if !of_port.iter().any(|database| database.destinations.include(*address, true)) {
                open.entry(*address).or_default().push(*port);
            }
        }
    }
    let first = open.keys().next()?.to_string();
    let ports: Ports = open.values().flatten().copied().collect();
    let at: Vec<String> = open.keys().map(ToString::to_string).collect();
    Some(Doubt {
        message: format!(
            "{ports}: what listens on all addresses serves {} as well, which no database of the \
             port names: everybody may connect there",
            at.join(", ")
        ),
        fix: format!(
            "add {first:?} to the addresses of the database, or let it listen on its own addresses \
             only"
        ),
    })
}

/// Whether others can have a route to an address.
fn is_reachable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}

/// The ways by which this host passes packets on to other machines.
fn passes_on(present: &[Interface], forwards: bool) -> Vec<String> {
    let bridges = present.iter().filter(|bridge| {
        let ports = present.iter().filter(|port| port.master == Some(bridge.index));
        bridge.kind == Kind::Bridge && ports.count() > 1
    });
    let mut ways: Vec<String> =
        bridges.map(|bridge| format!("bridges ({})", bridge.name)).collect();
    let routed = present
        .iter()
        .filter(|interface| !interface.loopback && interface.up && interface.master.is_none());
    if forwards && routed.count() > 1 {
        ways.push("routes".to_owned());
    }
    ways
}

/// Databases that judge what the host passes on to other machines.
fn cut_off(databases: &[DatabaseConfig], ways: &[String]) -> Option<Doubt> {
    let unbound: Vec<&DatabaseConfig> = databases
        .iter()
        .filter(|database| database.mode != Mode::Off && database.destinations.is_every())
        .collect();
    if unbound.is_empty() || ways.is_empty() {
        return None;
    }
    let ports: Ports = unbound.iter().flat_map(|database| database.ports.iter()).collect();
    let names: Vec<&str> = unbound.iter().map(|database| &*database.name).collect();
    Some(Doubt {
        message: format!(
            "packets to {ports} that this host {} to other machines are judged by the trusted \
             sources of {} as well, where they enter by an interface that is covered",
            ways.join(" and "),
            names.join(", ")
        ),
        fix: "add addresses = \"local\" to the database, unless that is meant".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dbfw_core::Destinations;

    use super::*;
    use crate::protection::Attachments;

    fn database(ports: &[u16], to: &[&str]) -> DatabaseConfig {
        let prefixes = to.iter().filter(|text| **text != "local");
        DatabaseConfig {
            ports: ports.iter().map(|port| Port { udp: false, port: *port }).collect(),
            destinations: Destinations::new(
                to.contains(&"local"),
                prefixes.map(|text| text.parse().unwrap()).collect(),
            ),
            ..super::super::tests::orders()
        }
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn an_address_that_no_database_of_the_port_names_is_told() {
        let own = addresses(&["127.0.0.1", "192.0.2.1", "192.0.2.2", "fe80::1", "2001:db8::1"]);
        let listen = |at: &str, port| (at.parse().unwrap(), Port { udp: false, port });
        for (to, at, told) in [
            (&[][..], "0.0.0.0", None),
            (&["local"], "0.0.0.0", None),
            (&["192.0.2.1"], "192.0.2.1", None),
            (&["192.0.2.1"], "0.0.0.0", Some("serves 192.0.2.2 as well")),
            (&["192.0.2.0/24"], "0.0.0.0", None),
            (&["192.0.2.0/24"], "::", Some("serves 2001:db8::1 as well")),
            (&["local", "172.17.0.2"], "::", None),
        ] {
            let found = unnamed(&[listen(at, 5432)], &own, &[database(&[5432], to)]);
            let found = found.map(|doubt| doubt.message);
            match told {
                None => assert_eq!(found, None, "{to:?} {at}"),
                Some(part) => assert!(found.unwrap().contains(part), "{to:?} {at}"),
            }
        }
        let two = [database(&[5432], &["192.0.2.1"]), database(&[5432], &["192.0.2.2"])];
        assert_eq!(unnamed(&[listen("0.0.0.0", 5432)], &own, &two), None);
        assert_eq!(unnamed(&[listen("0.0.0.0", 8080)], &own, &two), None, "a port of nobody");
    }

    #[test]
    fn an_address_that_the_hooks_do_not_know_is_told_where_no_backstop_is() {
        let links = |hooks: &[u32], backstop, new: &[&str]| Links {
            interfaces: Ok(Vec::new()),
            ours: None,
            socket_lookup: None,
            backstops: BTreeSet::new(),
            attached: Some(Attachments::new(hooks.to_vec(), backstop, [])),
            new_addresses: addresses(new),
            former_addresses: Vec::new(),
            agent_answers: false,
        };
        for (to, links, told) in [
            (&["local"][..], links(&[2], false, &["192.0.2.9"]), true),
            (&["local", "172.17.0.2"], links(&[2], false, &["2001:db8::9"]), true),
            (&["local"], links(&[2], true, &["192.0.2.9"]), false),
            (&["local"], links(&[2], false, &[]), false),
            // Nothing is attached at all, which other findings tell.
            (&["local"], links(&[], false, &["192.0.2.9"]), false),
            (&[], links(&[2], false, &["192.0.2.9"]), false),
            (&["192.0.2.9"], links(&[2], false, &["192.0.2.9"]), false),
        ] {
            let found = check_new(&[database(&[5432], to)], &links);
            assert_eq!(found.is_some(), told, "{to:?} {links:?}");
            if let Some(found) = found {
                assert!(found.detail.starts_with("tcp/5432: "), "{found:?}");
            }
        }
    }

    #[test]
    fn a_database_that_judges_what_is_passed_on_is_told() {
        let bridge = Interface { kind: Kind::Bridge, ..Interface::ethernet("br0", 1) };
        let port = |index| Interface { master: Some(1), ..Interface::ethernet("tap", index) };
        let eth = |index| Interface::ethernet("eth", index);
        for (present, forwards, ways) in [
            (vec![eth(2), eth(3)], false, vec![]),
            (vec![eth(2), eth(3)], true, vec!["routes"]),
            (vec![eth(2)], true, vec![]),
            (vec![bridge.clone(), port(2)], false, vec![]),
            (vec![bridge.clone(), port(2), port(3)], false, vec!["bridges (br0)"]),
        ] {
            let found = passes_on(&present, forwards);
            assert_eq!(found, ways, "{present:?}");
            let told = cut_off(&[database(&[5432, 6432], &[])], &found);
            assert_eq!(told.is_some(), !ways.is_empty());
            assert_eq!(cut_off(&[database(&[5432], &["local"])], &found), None);
        }
        let off = DatabaseConfig { mode: Mode::Off, ..database(&[5432], &[]) };
        assert_eq!(cut_off(&[off], &["routes".to_owned()]), None);
    }
}
