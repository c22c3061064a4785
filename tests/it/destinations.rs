//! Databases that are bound to addresses: packets for others pass unjudged, and what is for the
//! host never does.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use dbfw_common::{PROGRAM_TCX, PROGRAM_TCX_L3, PROGRAM_XDP, PROGRAM_XDP_L3};
use dbfw_datapath::Reader;
use dbfw_tests::{
    agent::Host,
    netns::{Netns, finish, veth},
    packets::{Extension, Ip4, Ip6, MF, Macs, Tcp, ethernet, hex},
    pair::{
        FRIEND4, HOST4, HOST6, INTERFACE, OTHER_PORT, PORT, Pair, STRANGER4, STRANGER6, TRUSTED4,
        TRUSTED6, interfaces,
    },
    traffic::{self, Echo},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const UDP_PORT: u16 = 11211;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A table with these ports, addresses (as TOML) and trusted addresses.
fn table(name: &str, ports: &str, addresses: Option<&str>, trusted: &[IpAddr]) -> String {
    let addresses = addresses.map(|to| format!("addresses = {to}\n")).unwrap_or_default();
    let trusted: Vec<String> = trusted.iter().map(|from| format!("\"ip_addr:{from}\"")).collect();
    format!(
        "[[database]]\nname = \"{name}\"\nports = [{ports}]\n{addresses}trusted_sources = [{}]\n\n",
        trusted.join(", ")
    )
}

fn started<'a>(ns: &'a Netns, interfaces: &str, databases: &str) -> Host<'a> {
    let mut host = Host::new(ns);
    host.configure(interfaces, databases);
    host.start();
    host
}

fn reload(host: &Host<'_>, agent: &str, databases: &str) -> Value {
    host.configure(agent, databases);
    let document = host.json(&["reload"]).expect("JSON");
    assert!(document["generation"].is_u64(), "{document}");
    document
}

fn hardware_address(ns: &Netns, interface: &str) -> String {
    let link = finish(ns.command("ip").args(["-o", "link", "show", "dev", interface]));
    let mut words = link.split_whitespace().skip_while(|word| *word != "link/ether");
    words.nth(1).expect("a hardware address").to_owned()
}

/// A host with a bridge to the outside and to a virtual machine, and a container behind it.
struct Bridge {
    host: Netns,
    outside: Netns,
    machine: Netns,
    container: Netns,
    _servers: Vec<Echo>,
}

const BRIDGE_HOST: &str = "192.0.2.1";
const MACHINE: &str = "192.0.2.50";
const OUTSIDE: &str = "192.0.2.66";
const CONTAINER: &str = "172.17.0.2";

impl Bridge {
    fn new() -> Self {
        let [host, outside, machine, container] =
            ["host", "outside", "machine", "container"].map(Netns::new);
        host.ip("link add br0 type bridge");
        host.ip("link set br0 up");
        for (port, other, theirs) in [("nic0", &outside, "link"), ("tap0", &machine, "link")] {
            veth((&host, port), (other, theirs));
            host.ip(&format!("link set {port} master br0"));
        }
        host.address("br0", &format!("{BRIDGE_HOST}/24"));
        host.address("br0", "2001:db8:2::1/64");
        machine.address("link", &format!("{MACHINE}/24"));
        machine.address("link", "2001:db8:2::50/64");
        outside.address("link", &format!("{OUTSIDE}/24"));
        outside.address("link", "2001:db8:2::66/64");
        veth((&host, "docker0"), (&container, "eth0"));
        host.address("docker0", "172.17.0.1/16");
        container.address("eth0", &format!("{CONTAINER}/16"));
        container.ip("route add default via 172.17.0.1");
        outside.ip(&format!("route add 172.17.0.0/16 via {BRIDGE_HOST}"));
        host.sysctl("net/ipv4/ip_forward", "1");
        let servers = [&host, &outside, &machine, &container];
        let _servers = servers.map(|ns| Echo::start(ns, PORT)).into();
        Self { host, outside, machine, container, _servers }
    }
}

fn reaches(from: &Netns, source: &str, to: &str) -> bool {
    traffic::reaches(from, address(source), SocketAddr::new(address(to), PORT))
}

#[test]
fn packets_for_machines_behind_the_host_pass_unjudged() {
    let net = Bridge::new();
    let covered = "interfaces = [\"nic0\", \"tap0\", \"docker0\"]";
    let nobody = [address("203.0.113.9")];
    let every = table("orders", "5432", None, &nobody);
    let host = started(&net.host, covered, &every);
    assert!(!reaches(&net.outside, OUTSIDE, MACHINE), "without addresses everything is judged");
    assert!(!reaches(&net.outside, OUTSIDE, CONTAINER));
    for bound in ["\"local\"", "[\"192.0.2.1\", \"2001:db8:2::1\"]"] {
        reload(&host, covered, &table("orders", "5432", Some(bound), &nobody));
        assert!(!reaches(&net.outside, OUTSIDE, BRIDGE_HOST), "{bound}: the host's own");
        assert!(!reaches(&net.outside, "2001:db8:2::66", "2001:db8:2::1"), "{bound}: IPv6");
        assert!(!reaches(&net.machine, MACHINE, BRIDGE_HOST), "{bound}: from the machine");
        assert!(!reaches(&net.container, CONTAINER, BRIDGE_HOST), "{bound}: from the container");
        assert!(reaches(&net.outside, OUTSIDE, MACHINE), "{bound}: to the machine");
        assert!(reaches(&net.outside, "2001:db8:2::66", "2001:db8:2::50"), "{bound}: IPv6");
        assert!(reaches(&net.machine, MACHINE, OUTSIDE), "{bound}: from the machine elsewhere");
        assert!(reaches(&net.container, CONTAINER, OUTSIDE), "{bound}: from the container");
        assert!(reaches(&net.outside, OUTSIDE, CONTAINER), "{bound}: to the container");
    }
    // The link-local address of the host is local as well, and that of the machine is not.
    reload(&host, covered, &table("orders", "5432", Some("\"local\""), &nobody));
    let link_local = |ns: &Netns, interface: &str| {
        let all = finish(ns.command("ip").args(["-6", "-o", "addr", "show", "dev", interface]));
        let found = all.split_whitespace().find(|word| word.starts_with("fe80"));
        found.and_then(|found| found.split('/').next()).expect("a link-local address").to_owned()
    };
    let at = |to: &str| {
        let to = host.json(&["explain", "fe80::9", "--port", "5432", "--to", to]).expect("JSON");
        to[0]["verdict"].as_str().expect("a verdict").to_owned()
    };
    host.wait("the link-local address to be known", |_| {
        at(&link_local(&net.host, "br0")) == "drop"
    });
    assert_eq!(at(&link_local(&net.machine, "link")), "pass");
    // And back: nothing stays behind.
    reload(&host, covered, &every);
    assert!(!reaches(&net.outside, OUTSIDE, MACHINE));
}

#[test]
fn explain_tells_what_reaches_a_machine_behind_the_host_past_the_hooks() {
    let net = Bridge::new();
    let nobody = [address("203.0.113.9")];
    let host =
        started(&net.host, "interfaces = [\"nic0\"]", &table("orders", "5432", None, &nobody));
    assert!(!reaches(&net.outside, OUTSIDE, MACHINE), "it enters by the covered interface");
    assert!(reaches(&net.machine, MACHINE, OUTSIDE), "the bridge passes it on unjudged");
    assert!(!reaches(&net.machine, MACHINE, BRIDGE_HOST), "the backstop judges its own sockets");
    let told = |from: &str, to: &str| {
        let found = host.json(&["explain", from, "--port", "5432", "--to", to]).expect("JSON");
        let by = found[0]["let_in_by"].as_array().expect("interfaces");
        let by: Vec<String> = by.iter().map(|name| name.as_str().expect("a name").into()).collect();
        (found[0]["effect"].as_str().expect("an effect").to_owned(), by)
    };
    let (effect, by) = told(MACHINE, OUTSIDE);
    assert_eq!(effect, "partly");
    assert!(by.contains(&"tap0".to_owned()) && by.contains(&"docker0".to_owned()), "{by:?}");
    assert_eq!(told(MACHINE, BRIDGE_HOST), ("dropped".to_owned(), Vec::new()));
    // What the host itself sends leaves by no hook.
    assert!(reaches(&net.host, BRIDGE_HOST, OUTSIDE));
    let (effect, by) = told(BRIDGE_HOST, OUTSIDE);
    assert_eq!((&*effect, &*by[0]), ("partly", "lo"));
}

#[test]
fn explain_tells_what_a_nat_rule_passes_on_past_the_programs() {
    let net = Bridge::new();
    // A port of a bridge of containers is no way in from outside.
    net.host.ip("link set nic0 nomaster");
    net.host.ip(&format!("address del {BRIDGE_HOST}/24 dev br0"));
    net.host.address("nic0", &format!("{BRIDGE_HOST}/24"));
    finish(net.host.command("nft").arg(
        "table ip nat {\nchain pre {\ntype nat hook prerouting priority -100;\n\
         ip daddr 192.0.2.1 tcp dport 15432 dnat to 172.17.0.2:5432;\n\
         iifname \"docker0\" tcp dport 16432 dnat to 172.17.0.2:5432;\n\
         tcp dport 17432 dnat to 192.0.2.1:5432;\n}\n}",
    ));
    let nobody = [address("203.0.113.9")];
    let databases = table("pg", "5432, 15432, 16432, 17432", Some("\"local\""), &nobody);
    let mut host = started(&net.host, "interfaces = [\"docker0\"]", &databases);
    let opens = |port: u16| {
        let to = SocketAddr::new(address(BRIDGE_HOST), port);
        traffic::reaches(&net.outside, address(OUTSIDE), to)
    };
    assert!(opens(15432) && !opens(5432) && !opens(16432) && !opens(17432));
    for agent_runs in [true, false] {
        for (port, effect, by) in [
            ("15432", "partly", json!(["nic0"])),
            ("5432", "dropped", json!([])),
            ("16432", "dropped", json!([])),
            ("17432", "dropped", json!([])),
        ] {
            let found = host.json(&["explain", OUTSIDE, "--port", port]).expect("JSON");
            assert_eq!(
                (&found[0]["effect"], &found[0]["let_in_by"]),
                (&json!(effect), &by),
                "{found}"
            );
            let tells = found[0]["facts"].to_string().contains("passes it on to 172.17.0.2");
            assert_eq!(tells, effect == "partly", "{found}");
        }
        let status = host.json(&["status"]).expect("JSON");
        let opening = "a NAT rule passes tcp/15432 on to 172.17.0.2, and what comes in by nic0 meets no \
                       program";
        let database = &status["databases"][0];
        assert_eq!(database["openings"], json!([opening]), "{status}");
        assert_eq!(
            (&database["enforced"], &status["enforced"]),
            (&json!("partly"), &json!("partly"))
        );
        assert_eq!(status["protected"], false);
        assert!(status["problems"].to_string().contains(opening), "{status}");
        assert_eq!(database["unused_ports"], json!([]), "rules use them, or the server: {status}");
        // It might be the rule of any port.
        finish(net.host.command("nft").arg("add table inet read"));
        let chain = "add chain inet read pre { type nat hook prerouting priority -99; }";
        finish(net.host.command("nft").arg(chain));
        finish(
            net.host
                .command("nft")
                .arg("add rule inet read pre dnat ip to tcp dport map { 18432 : 172.17.0.2 }"),
        );
        let found = host.json(&["explain", OUTSIDE, "--port", "5432"]).expect("JSON");
        assert_eq!(found[0]["effect"], "unknown", "{found}");
        assert!(found[0]["facts"].to_string().contains("18432"), "{found}");
        let status = host.json(&["status"]).expect("JSON");
        assert!(status["problems"].to_string().contains("NAT rules that dbfw cannot read"));
        finish(net.host.command("nft").arg("delete table inet read"));
        if agent_runs {
            host.stop(Signal::SIGTERM);
        }
    }
}

#[test]
fn a_restart_of_the_agent_cuts_off_nobody_behind_the_host() {
    let net = Bridge::new();
    let covered = "interfaces = [\"nic0\", \"tap0\", \"docker0\"]";
    let local = table("orders", "5432", Some("\"local\""), &[address("203.0.113.9")]);
    let mut host = started(&net.host, covered, &local);
    let target = SocketAddr::new(address(MACHINE), PORT);
    let own = SocketAddr::new(address(BRIDGE_HOST), PORT);
    let stop = AtomicBool::new(false);
    let (tried, lost, got_in) = thread::scope(|scope| {
        let client = scope.spawn(|| {
            let (mut tried, mut lost, mut got_in) = (0, 0, 0);
            while !stop.load(Ordering::Relaxed) {
                tried += 1;
                // Less than the second after which a lost packet is sent again.
                let to_machine =
                    traffic::connect(&net.outside, address(OUTSIDE), target, traffic::SILENCE);
                lost += u32::from(to_machine.is_err());
                let glimpse = Duration::from_millis(1);
                let to_host = traffic::connect(&net.outside, address(OUTSIDE), own, glimpse);
                got_in += u32::from(to_host.is_ok());
            }
            (tried, lost, got_in)
        });
        for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL] {
            host.stop(signal);
            host.start();
        }
        stop.store(true, Ordering::Relaxed);
        client.join().expect("the client")
    });
    assert!(tried > 50, "{tried} tries");
    assert_eq!((lost, got_in), (0, 0), "of {tried} tries");
}

#[test]
fn a_containers_own_address_is_judged_where_it_is_named() {
    let net = Bridge::new();
    finish(net.host.command("nft").arg(
        "table ip nat {\nchain pre {\ntype nat hook prerouting priority -100;\n\
         ip daddr 192.0.2.1 tcp dport 15432 dnat to 172.17.0.2:5432;\n}\n}",
    ));
    let covered = "interfaces = [\"nic0\", \"docker0\"]";
    let published = || {
        let to = SocketAddr::new(address(BRIDGE_HOST), 15432);
        traffic::reaches(&net.outside, address(OUTSIDE), to)
    };
    let nobody = [address("203.0.113.9")];
    let bound = |to, trusted: &[IpAddr]| table("pg", "5432, 15432", Some(to), trusted);
    let host = started(&net.host, covered, &bound("\"local\"", &nobody));
    assert!(!published(), "by the host's own address and the published port");
    assert!(reaches(&net.outside, OUTSIDE, CONTAINER), "with a route to it: as documented");
    for with_container in ["[\"local\", \"172.17.0.2\"]", "[\"192.0.2.1\", \"172.17.0.0/16\"]"] {
        reload(&host, covered, &bound(with_container, &nobody));
        assert!(!published() && !reaches(&net.outside, OUTSIDE, CONTAINER), "{with_container}");
        // The container itself uses a database elsewhere.
        assert!(reaches(&net.container, CONTAINER, OUTSIDE), "{with_container}");
        reload(&host, covered, &bound(with_container, &[address(OUTSIDE)]));
        assert!(published() && reaches(&net.outside, OUTSIDE, CONTAINER), "{with_container}");
    }
}

/// Connects from a stranger every millisecond until told to stop; how often, and how often it got
/// an answer that opens a connection.
fn knock(clients: &Netns, target: SocketAddr, stop: &AtomicBool) -> (u32, u32) {
    let (mut tried, mut answered) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        tried += 1;
        let glimpse = Duration::from_millis(1);
        answered += u32::from(traffic::connect(clients, STRANGER4, target, glimpse).is_ok());
        thread::sleep(glimpse.saturating_sub(begun.elapsed()));
    }
    (tried, answered)
}

#[test]
fn a_virtual_address_that_moves_is_never_open_to_strangers() {
    let [active, standby, switch, clients] =
        ["active", "standby", "switch", "clients"].map(Netns::new);
    switch.ip("link add br0 type bridge");
    switch.ip("link set br0 up");
    for (ns, name, port) in
        [(&active, "db0", "p1"), (&standby, "db0", "p2"), (&clients, "cl0", "p3")]
    {
        veth((ns, name), (&switch, port));
        switch.ip(&format!("link set {port} master br0"));
    }
    active.address("db0", "10.77.0.1/24");
    standby.address("db0", "10.77.0.5/24");
    for client in [STRANGER4, TRUSTED4] {
        clients.address("cl0", &format!("{client}/24"));
    }
    let _servers = [&active, &standby].map(|ns| Echo::start(ns, PORT));
    let databases = table("orders", "5432", Some("\"local\""), &[TRUSTED4]);
    let agents = [&active, &standby].map(|ns| started(ns, &interfaces(), &databases));
    let vip = SocketAddr::new(address("10.77.0.100"), PORT);
    let go_to = |ns: &Netns| {
        ns.address("db0", "10.77.0.100/24");
        let mac = hardware_address(ns, "db0");
        clients.ip(&format!("neigh replace 10.77.0.100 lladdr {mac} dev cl0 nud permanent"));
    };
    let leave = |ns: &Netns| ns.ip("address del 10.77.0.100/24 dev db0");
    go_to(&active);
    let stop = AtomicBool::new(false);
    let (tried, answered) = thread::scope(|scope| {
        let stranger = scope.spawn(|| knock(&clients, vip, &stop));
        for _ in 0..15 {
            assert!(traffic::reaches(&clients, TRUSTED4, vip), "at the active host");
            leave(&active);
            go_to(&standby);
            assert!(traffic::reaches(&clients, TRUSTED4, vip), "at the standby host");
            leave(&standby);
            // Removed for a moment, and added under the stranger's packets.
            thread::sleep(Duration::from_millis(20));
            go_to(&active);
        }
        stop.store(true, Ordering::Relaxed);
        stranger.join().expect("the stranger")
    });
    assert!(tried > 200, "{tried} tries");
    assert_eq!(answered, 0, "of {tried} tries");
    drop(agents);
}

#[test]
fn without_the_backstop_local_is_refused_and_every_destination_is_judged() {
    let pair = Pair::new();
    let nobody = [address("203.0.113.9")];
    let local = table("orders", "5432", Some("\"local\""), &nobody);
    let host = started(&pair.db, &interfaces(), &local);
    let elsewhere = ["explain", "10.77.0.9", "--port", "5432", "--to", "198.51.100.7"];
    let verdict = || host.json(&elsewhere).expect("JSON")[0]["verdict"].clone();
    assert_eq!(verdict(), "pass");
    // Nobody can attach a second backstop while the first one is pinned: somebody detaches it.
    let pin = host.pins().join("link_backstop");
    finish(pair.db.command("bpftool").args(["link", "detach", "pinned"]).arg(&pin));
    host.wait("the backstop to be back, and others' packets to pass", |_| verdict() == "pass");
    host.configure(&format!("{}\nbackstop = false", interfaces()), &local);
    let refused = host.dbfw(&["reload"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(78) && said.contains("needs the backstop"), "{said}");
    assert_eq!(verdict(), "pass", "the configuration in force stays");
}

#[test]
fn explain_knows_addresses_that_came_and_went_while_no_agent_ran() {
    let pair = Pair::new();
    let former = "10.77.0.88";
    pair.db.address(INTERFACE, &format!("{former}/24"));
    let orders = table("orders", "5432", Some("\"local\""), &[TRUSTED4]);
    let mut host = started(&pair.db, &interfaces(), &orders);
    let to = "10.77.0.77";
    let explain = |host: &Host<'_>, from: IpAddr| {
        let found = host.json(&["explain", &from.to_string(), "--port", "5432", "--to", to]);
        found.expect("JSON")[0].clone()
    };
    let explain_former = |host: &Host<'_>| {
        let found = host.json(&["explain", former, "--port", "5432"]).expect("JSON")[0].clone();
        (found["effect"].clone(), found["let_in_by"].clone(), found["facts"].to_string())
    };
    let (effect, by, facts) = explain_former(&host);
    assert_eq!((effect, by), ("partly".into(), json!(["lo"])), "{facts}");
    assert_eq!(explain(&host, STRANGER4)["effect"], "let_in", "packets for another machine");
    host.stop(Signal::SIGTERM);
    pair.db.address(INTERFACE, &format!("{to}/24"));
    pair.db.ip(&format!("addr del {former}/24 dev {INTERFACE}"));
    let (effect, by, facts) = explain_former(&host);
    assert_eq!((effect, by), ("dropped".into(), json!([])), "{facts}");
    assert!(facts.contains("was this host's own and is no more"), "{facts}");
    let findings = host.json(&["doctor"]).expect("JSON").to_string();
    assert!(findings.contains("10.77.0.88: this host's own when an agent ran last"), "{findings}");
    let target = SocketAddr::new(address(to), PORT);
    for (from, effect, reason) in
        [(STRANGER4, "dropped", "backstop"), (TRUSTED4, "let_in", "trusted")]
    {
        let found = explain(&host, from);
        let told = (&found["effect"], &found["reason"], &found["database"], &found["to"]);
        assert_eq!(told, (&effect.into(), &reason.into(), &"orders".into(), &to.into()), "{found}");
        assert!(found["facts"].to_string().contains("came up while no agent ran"), "{found}");
        assert_eq!(traffic::reaches(&pair.clients, from, target), effect == "let_in", "{from}");
    }
    // From this host to its new address: refused as well, but not an address to itself.
    assert_eq!(explain(&host, HOST4)["effect"], "dropped");
    assert_eq!(explain(&host, address(to))["effect"], "let_in");
    host.start();
    assert_eq!(explain(&host, STRANGER4)["reason"], "untrusted");
}

fn server(ns: &Netns) -> UdpSocket {
    let socket = ns.run(|| {
        let socket = UdpSocket::bind(("0.0.0.0", UDP_PORT)).expect("a socket");
        let group = Ipv4Addr::new(239, 1, 1, 1);
        socket.join_multicast_v4(&group, &Ipv4Addr::new(10, 77, 0, 1)).expect("a group");
        socket
    });
    socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    socket
}

#[test]
fn broadcast_and_multicast_to_a_udp_database_are_judged() {
    let pair = Pair::new();
    let port = format!("\"udp/{UDP_PORT}\"");
    let shop = table("shop", "8080", None, &[TRUSTED4]);
    let host = started(
        &pair.db,
        &interfaces(),
        &(table("cache", &port, Some("\"local\""), &[TRUSTED4]) + &shop),
    );
    let socket = server(&pair.db);
    let arrives = |from: IpAddr, to: &str| {
        let to = address(to);
        pair.clients.run(|| {
            let client = UdpSocket::bind((from, 0)).expect("a socket");
            client.set_broadcast(true).expect("broadcast");
            if to.is_ipv4() {
                client.set_multicast_ttl_v4(2).expect("a lifetime");
            }
            client.send_to(b"stats", (to, UDP_PORT)).expect("sent");
        });
        socket.recv(&mut [0; 16]).is_ok()
    };
    pair.clients.ip("route add 239.0.0.0/8 dev cl0");
    let to_several = ["10.77.0.255", "255.255.255.255", "239.1.1.1"];
    for bound in ["\"local\"", "[\"10.77.0.1\"]"] {
        reload(&host, &interfaces(), &(table("cache", &port, Some(bound), &[TRUSTED4]) + &shop));
        for to in to_several.into_iter().chain(["10.77.0.1"]) {
            assert!(arrives(TRUSTED4, to), "{bound}: the trusted client to {to}");
            assert!(!arrives(STRANGER4, to), "{bound}: the stranger to {to}");
        }
    }
    // Of two databases that share the port, one that trusts the source lets it in.
    let two = table("a", &port, Some("[\"10.77.0.1\"]"), &[TRUSTED4])
        + &table("b", &port, Some("[\"10.77.0.200\"]"), &[FRIEND4]);
    reload(&host, &interfaces(), &two);
    for to in to_several {
        assert!(arrives(TRUSTED4, to) && arrives(FRIEND4, to), "{to}");
        assert!(!arrives(STRANGER4, to), "{to}");
    }
}

#[test]
fn an_anycast_address_of_the_host_is_judged() {
    let pair = Pair::new();
    // The subnet-router anycast address comes with forwarding.
    pair.db.sysctl("net/ipv6/conf/all/forwarding", "1");
    let host = started(
        &pair.db,
        &interfaces(),
        &(table("orders", "5432", Some("\"local\""), &[TRUSTED6])
            + &table("shop", "8080", Some("[\"fd77::1\"]"), &[TRUSTED6])),
    );
    let run = |source: IpAddr, to: &str, port: u16| {
        let to = address(to);
        let (IpAddr::V6(from), IpAddr::V6(at)) = (source, to) else { panic!("IPv6") };
        let packet = Ip6::new(from, at).packet(6, &Tcp::syn(port).bytes(source, to));
        passes(&host, &ethernet(MACS, &[], 0x86dd, &packet))
    };
    host.wait("the anycast address to be known", |_| !run(STRANGER6, "fd77::", PORT));
    for port in [PORT, OTHER_PORT] {
        assert!(!run(STRANGER6, "fd77::", port) && run(TRUSTED6, "fd77::", port), "{port}");
        assert!(!run(STRANGER6, "ff02::1", port) && run(TRUSTED6, "ff02::1", port), "{port}");
        assert!(run(STRANGER6, "fd77::77", port), "{port}: a neighbour's");
    }
}

const MACS: Macs = Macs { destination: [2, 0, 0, 0, 0, 1], source: [2, 0, 0, 0, 0, 2] };

/// Whether the programs that the host's agent loaded pass a frame: all of them, or none.
fn passes(host: &Host<'_>, frame: &[u8]) -> bool {
    let pins = host.pins();
    let reader = Reader::open(pins.parent().expect("a directory")).expect("the pins");
    let run = |program, frame: &[u8]| reader.test_run(program, frame).expect("a run").passes;
    // A test run of TCX has an Ethernet header also where the link has none.
    let ethernet = [PROGRAM_XDP, PROGRAM_TCX, PROGRAM_TCX_L3].map(|program| run(program, frame));
    let decided = run(PROGRAM_XDP_L3, &frame[14..]);
    assert_eq!(ethernet, [decided; 3], "the programs agree about {}", hex(frame));
    decided
}

#[test]
fn packets_without_a_port_are_judged_for_bound_databases_alone() {
    let pair = Pair::new();
    let local = table("orders", "5432", Some("\"local\""), &[TRUSTED4, TRUSTED6]);
    let written = table("shop", "8080", Some("[\"10.88.0.0/24\", \"fd88::/64\"]"), &[TRUSTED4]);
    let every = table("cache", "6379", None, &[TRUSTED4]);
    let host = started(&pair.db, &interfaces(), &(local.clone() + &written));
    // A first fragment that ends before the port, and a chain that hides it.
    let hidden4 = |from: IpAddr, to: &str| {
        let (IpAddr::V4(from), IpAddr::V4(to)) = (from, address(to)) else { panic!("IPv4") };
        let packet = Ip4 { fragment: MF, ..Ip4::new(from, to) }.packet(6, &[0x15]);
        ethernet(MACS, &[], 0x0800, &packet)
    };
    let hidden6 = |from: IpAddr, to: &str| {
        let (IpAddr::V6(source), IpAddr::V6(at)) = (from, address(to)) else { panic!("IPv6") };
        let mut packet = Ip6::new(source, at);
        packet.chain = vec![Extension::options(60, 0); 9];
        let packet = packet.packet(6, &Tcp::syn(PORT).bytes(from, address(to)));
        ethernet(MACS, &[], 0x86dd, &packet)
    };
    let check = |judged: &[&str], passed: &[&str]| {
        for (places, is_judged) in [(judged, true), (passed, false)] {
            for to in places {
                let frame = match address(to) {
                    IpAddr::V4(_) => hidden4(STRANGER4, to),
                    IpAddr::V6(_) => hidden6(STRANGER6, to),
                };
                assert_eq!(passes(&host, &frame), !is_judged, "{to}");
            }
        }
    };
    let (own4, own6) = (HOST4.to_string(), HOST6.to_string());
    let own = [&*own4, &*own6];
    let bound = ["10.88.0.7", "fd88::7"];
    let groups = ["239.1.1.1", "255.255.255.255", "ff02::1"];
    let others = ["198.51.100.7", "2001:db8:9::7"];
    check(&[own, bound].concat(), &others);
    check(&groups, &[]);
    assert!(passes(&host, &hidden6(TRUSTED6, &own6)), "any database's trust will do");
    reload(&host, &interfaces(), &written);
    check(&bound, &[own, others].concat());
    reload(&host, &interfaces(), &(local + &written + &every));
    check(&[own, bound, others].concat(), &[]);
}

#[test]
fn databases_on_one_port_are_told_apart_by_their_addresses() {
    let pair = Pair::new();
    let other = address("10.77.0.100");
    pair.db.address(INTERFACE, "10.77.0.100/24");
    let at = |to: IpAddr| SocketAddr::new(to, PORT);
    let tables = |a: &str, b: &str, of_a: IpAddr, of_b: IpAddr| {
        table("a", "5432", Some(a), &[of_a]) + &table("b", "5432", Some(b), &[of_b])
    };
    let one = tables("[\"10.77.0.1\"]", "[\"10.77.0.100\"]", TRUSTED4, FRIEND4);
    let swapped = tables("[\"10.77.0.100\"]", "[\"10.77.0.1\"]", FRIEND4, TRUSTED4);
    let host = started(&pair.db, &interfaces(), &one);
    let reaches = |from, to| traffic::reaches(&pair.clients, from, at(to));
    assert!(reaches(TRUSTED4, HOST4) && !reaches(FRIEND4, HOST4) && !reaches(STRANGER4, HOST4));
    assert!(reaches(FRIEND4, other) && !reaches(TRUSTED4, other) && !reaches(STRANGER4, other));
    let judged_by = |from: &str, to: &str| {
        let found = host.json(&["explain", from, "--port", "5432", "--to", to]).expect("JSON");
        (found[0]["database"].clone(), found[0]["verdict"].clone())
    };
    assert_eq!(judged_by("10.77.0.3", "10.77.0.1"), ("a".into(), "drop".into()));
    assert_eq!(judged_by("10.77.0.3", "10.77.0.100"), ("b".into(), "allow".into()));
    assert_eq!(judged_by("10.77.0.3", "10.77.0.7"), (Value::Null, "pass".into()));
    let fact = |line: &[&str]| host.json(line).expect("JSON")[0]["facts"].to_string();
    let told = fact(&["explain", "10.77.0.3", "--port", "5432", "--to", "10.77.0.7"]);
    assert!(told.contains("a has this port at 10.77.0.1") && told.contains("backstop"), "{told}");
    let told = fact(&["explain", "fd77::3", "--port", "5432"]);
    assert!(told.contains("a is bound to 10.77.0.1, no address of this family"), "{told}");
    // They exchange addresses and sources: nobody gets in or out meanwhile.
    let stop = AtomicBool::new(false);
    let (tried, got_in, refused) = thread::scope(|scope| {
        let stranger = scope.spawn(|| {
            let (mut tried, mut got_in) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let glimpse = Duration::from_millis(1);
                tried += 1;
                let wrong = traffic::connect(&pair.clients, FRIEND4, at(HOST4), glimpse);
                got_in += u32::from(wrong.is_ok());
            }
            (tried, got_in)
        });
        let trusted = scope.spawn(|| {
            let mut refused = 0;
            while !stop.load(Ordering::Relaxed) {
                let patience = Duration::from_millis(900);
                let right = traffic::connect(&pair.clients, TRUSTED4, at(HOST4), patience);
                refused += u32::from(right.is_err());
                thread::sleep(Duration::from_millis(1));
            }
            refused
        });
        for turn in 0..20 {
            let document =
                reload(&host, &interfaces(), if turn % 2 == 0 { &swapped } else { &one });
            assert_eq!(document["cut_off"], Value::Array(vec![]), "{document}");
        }
        stop.store(true, Ordering::Relaxed);
        let (tried, got_in) = stranger.join().expect("the stranger");
        (tried, got_in, trusted.join().expect("the client"))
    });
    assert!(tried > 200, "{tried} tries");
    assert_eq!((got_in, refused), (0, 0), "of {tried} tries");
    // A restart takes over what the maps hold.
    let status = host.json(&["status"]).expect("JSON");
    let bound: Vec<_> = status["databases"]
        .as_array()
        .expect("databases")
        .iter()
        .map(|database| (database["name"].clone(), database["addresses"][0].clone()))
        .collect();
    assert_eq!(
        bound,
        [("a".into(), "10.77.0.1".into()), ("b".into(), "10.77.0.100".into())],
        "{status}"
    );
}

#[test]
fn no_change_of_addresses_opens_what_is_protected_before_and_after() {
    let pair = Pair::new();
    let target = SocketAddr::new(HOST4, PORT);
    // With a change of the list as well: it lies between the steps of the change of addresses.
    let list = |from: u8| -> Vec<IpAddr> {
        (0..2_000u16).map(|n| IpAddr::from([10, from, n.to_be_bytes()[0], n as u8])).collect()
    };
    let one = |to, from| table("orders", "5432", to, &[&[TRUSTED4][..], &list(from)].concat());
    let shared = |from| {
        one(Some("[\"10.77.0.1\"]"), from) + &table("b", "5432", Some("[\"10.88.0.1\"]"), &[])
    };
    let forms = [
        one(Some("[\"10.77.0.1\"]"), 1),
        one(None, 2),
        shared(3),
        one(Some("\"local\""), 4),
        one(Some("[\"10.77.0.0/24\", \"10.88.0.1\"]"), 5),
        one(Some("[\"local\", \"10.88.0.1\"]"), 6),
    ];
    let host = started(&pair.db, &interfaces(), &forms[0]);
    let stop = AtomicBool::new(false);
    let (tried, answered, refused) = thread::scope(|scope| {
        let stranger = scope.spawn(|| knock(&pair.clients, target, &stop));
        let trusted = scope.spawn(|| {
            let mut refused = 0;
            while !stop.load(Ordering::Relaxed) {
                refused += u32::from(!traffic::reaches(&pair.clients, TRUSTED4, target));
            }
            refused
        });
        for from in 0..forms.len() {
            for to in (0..forms.len()).filter(|to| *to != from) {
                reload(&host, &interfaces(), &forms[from]);
                reload(&host, &interfaces(), &forms[to]);
            }
        }
        stop.store(true, Ordering::Relaxed);
        let (tried, answered) = stranger.join().expect("the stranger");
        (tried, answered, trusted.join().expect("the client"))
    });
    assert!(tried > 1_000, "{tried} tries");
    assert_eq!((answered, refused), (0, 0), "of {tried} tries");
}

#[test]
fn sixty_four_databases_share_a_port_and_ranges() {
    let pair = Pair::new();
    let place = |n: u8| IpAddr::from([10, 88, 0, n]);
    let databases: String = (1..=64)
        .map(|n| {
            pair.db.ip(&format!("address add {}/32 dev lo", place(n)));
            let to = format!("[\"{}\"]", place(n));
            let trusted = if n % 2 == 0 { TRUSTED4 } else { FRIEND4 };
            table(&format!("db{n}"), "5432, \"8000-9000\", \"udp/1-1024\"", Some(&to), &[trusted])
        })
        .collect();
    pair.clients.ip(&format!("route add 10.88.0.0/24 via {HOST4}"));
    let host = started(&pair.db, &interfaces(), &databases);
    for n in [1, 2, 33, 63, 64] {
        for port in [PORT, OTHER_PORT] {
            let target = SocketAddr::new(place(n), port);
            let even = traffic::reaches(&pair.clients, TRUSTED4, target);
            let odd = traffic::reaches(&pair.clients, FRIEND4, target);
            assert_eq!((even, odd), (n % 2 == 0, n % 2 == 1), "db{n} {port}");
        }
    }
    let elsewhere = SocketAddr::new(HOST4, PORT);
    assert!(traffic::reaches(&pair.clients, STRANGER4, elsewhere), "an address of none of them");
    let found = host.json(&["explain", "10.77.0.2", "--port", "8500", "--to", "10.88.0.64"]);
    let found = found.expect("JSON");
    assert_eq!((&found[0]["database"], &found[0]["port"]), (&"db64".into(), &"tcp/8500".into()));
    let found = host.json(&["explain", "10.77.0.2", "--to", "10.88.0.64"]).expect("JSON");
    let ports: Vec<&Value> =
        found.as_array().expect("rows").iter().map(|row| &row["port"]).collect();
    assert_eq!(ports, ["tcp/5432", "tcp/8000-9000", "udp/1-1024"]);
    // The pins alone tell the same.
    let mut host = host;
    host.stop(Signal::SIGKILL);
    let status = host.json(&["status"]).expect("JSON");
    let last = status["databases"].as_array().and_then(|all| all.last()).expect("databases");
    assert_eq!(last["ports"], serde_json::json!(["tcp/5432", "tcp/8000-9000", "udp/1-1024"]));
    assert_eq!(last["addresses"], serde_json::json!(["10.88.0.64"]));
}

/// The texts of the warnings of `dbfw doctor` about destinations, and those of `dbfw check`.
fn doubts(host: &Host<'_>) -> (String, String) {
    let found = host.json(&["doctor"]).expect("JSON");
    let found = found["findings"].as_array().expect("findings").iter();
    let warned = found.filter(|one| one["check"] == "destinations" && one["state"] == "warn");
    let of_doctor: Vec<String> = warned.map(|one| one["detail"].to_string()).collect();
    let checked = host.dbfw(&["check"]);
    (of_doctor.join("\n"), String::from_utf8_lossy(&checked.stderr).into_owned())
}

#[test]
fn doctor_and_check_tell_for_whom_databases_judge_packets() {
    let net = Bridge::new();
    let host = Host::new(&net.host);
    let covered = "interfaces = [\"nic0\", \"docker0\"]";
    let tell = |databases: &str| {
        host.configure(covered, databases);
        doubts(&host)
    };
    let nobody = [address("203.0.113.9")];
    let (doctor, check) = tell(&table("orders", "5432", None, &nobody));
    for said in [&doctor, &check] {
        assert!(said.contains("bridges (br0) and routes to other machines"), "{said}");
    }
    assert!(check.contains("addresses = \"local\""), "{check}");
    // As advised.
    let local = table("orders", "5432", Some("\"local\""), &nobody);
    assert_eq!(tell(&local), (String::new(), String::new()));
    let all = ["192.0.2.1", "172.17.0.1", "2001:db8:2::1"];
    let (doctor, check) = tell(&table("orders", "5432", Some("[\"192.0.2.1\"]"), &nobody));
    for said in [&doctor, &check] {
        assert!(all[1..].iter().all(|open| said.contains(open)), "{said}");
        assert!(said.contains("tcp/5432") && said.contains("everybody may connect"), "{said}");
    }
    let each = format!("{all:?}");
    assert_eq!(
        tell(&table("orders", "5432", Some(&each), &nobody)),
        (String::new(), String::new())
    );
}

#[test]
fn a_change_of_addresses_is_told_and_cuts_off_whom_it_says() {
    let pair = Pair::new();
    pair.db.address(INTERFACE, "10.77.0.100/24");
    let bound = |to| table("orders", "5432", to, &[TRUSTED4]);
    let host = started(&pair.db, &interfaces(), &bound(Some("[\"10.77.0.1\"]")));
    let target = SocketAddr::new(address("10.77.0.100"), PORT);
    let patience = Duration::from_secs(5);
    let mut stranger =
        traffic::connect(&pair.clients, STRANGER4, target, patience).expect("not bound");
    traffic::round_trip(&mut stranger, patience).expect("an open connection");
    let document = reload(&host, &interfaces(), &bound(Some("\"local\"")));
    let changes = document["changes"].to_string();
    assert!(changes.contains("addresses 10.77.0.1 → local: tcp/5432 is"), "{changes}");
    assert_eq!(document["cut_off"][0]["source"], "10.77.0.9", "{document}");
    assert!(traffic::round_trip(&mut stranger, Duration::from_millis(700)).is_err(), "cut off");
    let document = reload(&host, &interfaces(), &bound(None));
    assert_eq!(document["changes"][0]["effect"], "closes", "{document}");
    let document = reload(&host, &interfaces(), &bound(Some("[\"10.77.0.1\"]")));
    assert_eq!(document["changes"][0]["effect"], "opens", "{document}");
    assert!(
        document["changes"]
            .to_string()
            .contains("at 10.77.0.1 to sources that are not trusted; orders judges no other")
    );
    let history = host.json(&["history"]).expect("JSON").to_string();
    assert!(history.contains("every address → 10.77.0.1"), "{history}");
    assert!(host.log().contains("every address → 10.77.0.1"), "{}", host.log());
}
