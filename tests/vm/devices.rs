//! Real devices that lie over a NIC: what is filtered below them, and on them.

use std::fs;

use dbfw_tests::{
    agent::Host,
    features::{has_tcx, hooks},
    netns::{Netns, finish, veth},
    site::{
        Answer::{Refused, Served, Silent},
        Ends, Line, assert_answer, wait_for_interface,
    },
};

use crate::{
    Check,
    machine::{Machine, NICS, PEERS},
    traffic::{self, OTHER, PORT, Servers, orders},
};

pub(crate) const CHECKS: &[(&str, Check)] = &[
    ("vlan", |machine| tagged(machine, &[Tag { protocol: "802.1Q", id: 10 }])),
    ("vlan-802.1ad", |machine| tagged(machine, &[Tag { protocol: "802.1ad", id: 20 }])),
    ("qinq", |machine| {
        let outer = Tag { protocol: "802.1ad", id: 30 };
        tagged(machine, &[outer, Tag { protocol: "802.1Q", id: 31 }]);
    }),
    ("vlan-device", vlan_device),
    ("bridge", bridge),
    ("bridge-device", bridge_device),
    ("wireguard", wireguard),
    ("macvlan", macvlan),
    ("vrf", vrf),
    ("ipip", ipip),
    ("sit", |machine| needs_tcx(machine, "sit", &Families::Ipv6)),
    ("gre", |machine| needs_tcx(machine, "gre", &Families::Both)),
];

/// An agent that is ready, without a backstop: silence is the hooks' own.
fn hooks_alone<'m>(
    machine: &'m Machine,
    interfaces: &[&str],
    attach: &str,
    lines: &[&Line<'_>],
) -> Host<'m> {
    let mut host = Host::new(&machine.host);
    let keys = format!("interfaces = {interfaces:?}\nattach = \"{attach}\"\nbackstop = false");
    host.configure(&keys, &orders(lines));
    host.start();
    host
}

/// An agent that is ready, with the backstop.
fn with_backstop<'m>(machine: &'m Machine, interfaces: &[&str], lines: &[&Line<'_>]) -> Host<'m> {
    let mut host = Host::new(&machine.host);
    host.configure(&format!("interfaces = {interfaces:?}"), &orders(lines));
    host.start();
    host
}

struct Tag {
    protocol: &'static str,
    id: u16,
}

/// Devices of these tags over each other on the first network; the last one's line.
fn tags<'m>(machine: &'m Machine, tags: &[Tag]) -> Line<'m> {
    let _below = machine.line();
    let mut below = [NICS[0].to_owned(), PEERS[0].to_owned()];
    for Tag { protocol, id } in tags {
        for (netns, below) in [&machine.host, &machine.client].into_iter().zip(&mut below) {
            let name = format!("v{id}");
            netns.ip(&format!(
                "link add link {below} name {name} type vlan protocol {protocol} id {id}"
            ));
            netns.up(&name);
            *below = name;
        }
    }
    let line = Line::over((&machine.client, &below[1]), 5);
    line.up((&machine.host, &below[0]));
    line
}

fn tagged(machine: &Machine, devices: &[Tag]) {
    let line = tags(machine, devices);
    let _servers = Servers::start(&machine.host);
    traffic::assert_filtered(&line, Served);
    for mode in hooks() {
        let host = hooks_alone(machine, &["eth0"], mode, &[&line]);
        assert_eq!(wait_for_interface(&host, "eth0")["mode"], *mode);
        traffic::assert_filtered(&line, Silent);
    }
}

fn vlan_device(machine: &Machine) {
    let line = tags(machine, &[Tag { protocol: "802.1Q", id: 10 }]);
    let _servers = Servers::start(&machine.host);
    let _host = hooks_alone(machine, &["v10"], "auto", &[&line]);
    traffic::assert_filtered(&line, Silent);
}

/// A bridge with the first NIC in it, and its line.
fn bridged(machine: &Machine) -> Line<'_> {
    machine.host.ip("link add br0 type bridge forward_delay 0");
    machine.host.ip("link set dev eth0 master br0 up");
    let line = Line::over((&machine.client, PEERS[0]), 1);
    line.up((&machine.host, "br0"));
    line
}

fn bridge(machine: &Machine) {
    let line = bridged(machine);
    let behind = Netns::new("behind");
    veth((&machine.host, "port1"), (&behind, "eth0"));
    machine.host.ip("link set dev port1 master br0");
    for address in ["10.90.1.77/24", "fd90:1::77/64"] {
        behind.address("eth0", address);
    }
    let second = line.ends().map(|ends| {
        let server = if ends.server.is_ipv4() { "10.90.1.77" } else { "fd90:1::77" };
        Ends { server: server.parse().expect("an address"), ..ends }
    });
    let _servers = [Servers::start(&machine.host), Servers::start(&behind)];
    for mode in hooks() {
        let host = hooks_alone(machine, &["eth0"], mode, &[&line]);
        assert_eq!(wait_for_interface(&host, "eth0")["mode"], *mode);
        traffic::assert_filtered(&line, Silent);
        traffic::assert_ends_filtered(line.client, &second, Silent);
    }
}

fn bridge_device(machine: &Machine) {
    let line = bridged(machine);
    let _servers = Servers::start(&machine.host);
    let _host = hooks_alone(machine, &["br0"], "auto", &[&line]);
    traffic::assert_filtered(&line, Silent);
}

fn wireguard(machine: &Machine) {
    let below = machine.line();
    let ends = [(&machine.host, below.v4.server), (&machine.client, below.v4.trusted)];
    let keys = ends.map(|(netns, _)| {
        netns.ip("link add wg0 type wireguard");
        let private = finish(netns.command("wg").arg("genkey"));
        let file = tempfile::NamedTempFile::new().expect("a file for the key");
        fs::write(file.path(), private).expect("write the key");
        finish(
            netns
                .command("wg")
                .args(["set", "wg0", "listen-port", "51820", "private-key"])
                .arg(file.path()),
        );
        finish(netns.command("wg").args(["show", "wg0", "public-key"])).trim().to_owned()
    });
    for (at, (netns, _)) in ends.iter().enumerate() {
        let other = 1 - at;
        let endpoint = format!("{}:51820", ends[other].1);
        finish(netns.command("wg").args(["set", "wg0", "peer", &keys[other], "endpoint"]).args([
            &endpoint,
            "allowed-ips",
            "0.0.0.0/0,::/0",
        ]));
    }
    over(machine, "wg0", &below, &Families::Both);
}

#[derive(Clone, Copy, Debug)]
enum Families {
    Ipv4,
    Ipv6,
    Both,
}

impl Families {
    /// The ends of a line that the device carries.
    fn of(&self, line: &Line<'_>) -> Vec<Ends> {
        match self {
            Self::Ipv4 => vec![line.v4],
            Self::Ipv6 => vec![line.v6],
            Self::Both => line.ends().to_vec(),
        }
    }
}

/// What comes through a device without an Ethernet header: silent where the device is covered,
/// reset by the backstop where it is not.
fn over(machine: &Machine, device: &str, below: &Line<'_>, families: &Families) {
    let line = inner(machine, device);
    let ends = families.of(&line);
    let _servers = Servers::start(&machine.host);
    traffic::assert_ends_filtered(&machine.client, &ends, Served);
    {
        let _host = hooks_alone(machine, &["eth0", device], "auto", &[below, &line]);
        traffic::assert_ends_filtered(&machine.client, &ends, Silent);
        traffic::assert_filtered(below, Silent);
    }
    let _host = with_backstop(machine, &["eth0"], &[below, &line]);
    traffic::assert_ends_filtered(&machine.client, &ends, Refused);
}

/// The line through such a device.
fn inner<'m>(machine: &'m Machine, device: &str) -> Line<'m> {
    let line = Line::over((&machine.client, device), 7);
    line.up((&machine.host, device));
    line
}

fn ipip(machine: &Machine) {
    let below = built(machine, "ipip");
    over(machine, TUNNEL, &below, &Families::Ipv4);
}

/// A tunnel of which only TCX sees what is inside: before that, the status is DEGRADED and names
/// the device, and the backstop refuses.
fn needs_tcx(machine: &Machine, kind: &str, families: &Families) {
    let below = built(machine, kind);
    if has_tcx() {
        over(machine, TUNNEL, &below, families);
        return;
    }
    let line = inner(machine, TUNNEL);
    let ends = families.of(&line);
    let _servers = Servers::start(&machine.host);
    traffic::assert_ends_filtered(&machine.client, &ends, Served);
    let mut host = Host::new(&machine.host);
    host.configure(&format!("interfaces = [\"eth0\", \"{TUNNEL}\"]"), &orders(&[&below, &line]));
    host.start();
    let output = host.dbfw(&["status"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("DEGRADED") && text.contains(TUNNEL), "{text}");
    traffic::assert_filtered(&below, Silent);
    traffic::assert_ends_filtered(&machine.client, &ends, Refused);
}

const TUNNEL: &str = "tnl7";

/// A tunnel over the first network, which is returned.
fn built<'m>(machine: &'m Machine, kind: &str) -> Line<'m> {
    let below = machine.line();
    let (server, client) = (below.v4.server, below.v4.trusted);
    for (netns, local, remote) in
        [(&machine.host, server, client), (&machine.client, client, server)]
    {
        netns.ip(&format!("link add {TUNNEL} type {kind} local {local} remote {remote}"));
    }
    below
}

fn macvlan(machine: &Machine) {
    let below = machine.line();
    let _servers = Servers::start(&machine.host);
    let line = Line::over((&machine.client, PEERS[0]), 6);
    for interfaces in [&["eth0"][..], &["eth0", "mv*"]] {
        let host = hooks_alone(machine, interfaces, "auto", &[&below, &line]);
        // It appears while the agent runs.
        // Always with one address: clients remember whose it is.
        machine
            .host
            .ip("link add mv0 link eth0 address 52:54:00:00:01:00 type macvlan mode bridge");
        line.up((&machine.host, "mv0"));
        if interfaces.len() > 1 {
            wait_for_interface(&host, "mv0");
        }
        traffic::assert_filtered(&line, Silent);
        traffic::assert_filtered(&below, Silent);
        machine.host.ip("link delete mv0");
    }
}

fn vrf(machine: &Machine) {
    for name in ["net.ipv4.tcp_l3mdev_accept", "net.ipv4.udp_l3mdev_accept"] {
        machine.host.sysctl(name, "1");
    }
    machine.host.ip("link add vrf0 type vrf table 10");
    machine.host.up("vrf0");
    machine.host.ip("link set dev eth0 master vrf0");
    let line = machine.line();
    let _servers = Servers::start(&machine.host);
    // A socket outside the VRF answers datagrams outside it: TCP alone.
    let assert_all = |stranger| {
        for ends in line.ends() {
            let at = |port| (ends.server, port).into();
            assert_answer(&machine.client, ends.trusted, at(PORT), Served);
            assert_answer(&machine.client, ends.stranger, at(PORT), stranger);
            assert_answer(&machine.client, ends.stranger, at(OTHER), Served);
        }
    };
    assert_all(Served);
    for mode in hooks() {
        let _host = hooks_alone(machine, &["eth0"], mode, &[&line]);
        assert_all(Silent);
    }
    machine.host.ip("link add dummy9 type dummy");
    machine.host.up("dummy9");
    let _host = with_backstop(machine, &["dummy9"], &[&line]);
    assert_all(Refused);
}
