//! The socket lookup program: by test run, which knows no interface, and with real
//! connections, which tell about loopback and exempt interfaces.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use dbfw_common::{Counted, Family, Mode, Reason, Verdict};
use dbfw_tests::{
    agent::Host,
    corpus::{CACHE, CACHE_PORT, LAST_PORT, ORDERS, OTHER_PORT, PORT, SECOND_PORT, Scene},
    kernel::{Kernel, Lookup},
    netns::{Netns, veth},
    pair::{Pair, STRANGER4, TRUSTED4, interfaces, orders, problems},
    policy::Transport,
};
use nix::sys::signal::Signal;

const TCP: Transport = Transport::Tcp;
const UDP: Transport = Transport::Udp;

/// Packets of the backstop's counter for a database.
fn counted(kernel: &Kernel, database: u32, family: Family, counted: Counted) -> u64 {
    kernel.counters().get(&(database, family, counted)).map_or(0, |counter| counter.packets)
}

#[test]
fn a_lookup_is_judged_by_its_source() {
    let scene = Scene::default();
    let (trusted4, stranger4) = (IpAddr::V4(scene.trusted4), IpAddr::V4(scene.stranger4));
    let (trusted6, stranger6) = (IpAddr::V6(scene.trusted6), IpAddr::V6(scene.stranger6));
    let network: IpAddr = "198.51.100.9".parse().expect("an address");
    let mut kernel = Kernel::load();
    kernel.install(&scene.policy());
    let cases = [
        (trusted4, TCP, PORT, None),
        (stranger4, TCP, PORT, Some(ORDERS)),
        (stranger4, TCP, SECOND_PORT, Some(ORDERS)),
        (stranger4, TCP, OTHER_PORT, None),
        (trusted4, TCP, CACHE_PORT, Some(CACHE)),
        (network, UDP, CACHE_PORT, None),
        (stranger4, UDP, CACHE_PORT, Some(CACHE)),
        (stranger4, UDP, PORT, None),
        (trusted6, TCP, PORT, None),
        (stranger6, TCP, PORT, Some(ORDERS)),
        (stranger6, UDP, CACHE_PORT, Some(CACHE)),
        (stranger6, TCP, OTHER_PORT, None),
    ];
    for (source, transport, port, refused_for) in cases {
        let lookup = Lookup { source, transport, port };
        kernel.reset();
        kernel.set_budget(1);
        let refused = kernel.lookup(&lookup);
        assert_eq!(refused, refused_for.is_some(), "{lookup:?}");
        let family = if source.is_ipv4() { Family::V4 } else { Family::V6 };
        let counters = kernel.counters();
        let Some(database) = refused_for else {
            assert!(counters.is_empty(), "{lookup:?} was let through and counted: {counters:?}");
            continue;
        };
        let dropped = Counted::Dropped(Reason::Backstop);
        assert_eq!(counters.len(), 1, "{lookup:?}: {counters:?}");
        assert_eq!(counted(&kernel, database, family, dropped), 1, "{lookup:?}");
        let events = kernel.events();
        let [event] = &events[..] else { panic!("{} events of one refusal", events.len()) };
        assert_eq!(event[40..42], port.to_ne_bytes(), "port");
        assert_eq!(event[42..45], [database as u8, Reason::Backstop as u8, Verdict::Drop as u8]);
        assert_eq!(event[46], transport.number(), "protocol");
    }
}

#[test]
fn a_lookup_is_let_through_where_the_mode_says_so() {
    let scene = Scene::default();
    let mut kernel = Kernel::load();
    let lookup = Lookup { source: scene.stranger4.into(), transport: TCP, port: PORT };
    kernel.install(&scene.policy().in_mode(Mode::Observe));
    assert!(!kernel.lookup(&lookup), "observe refuses nothing");
    let observed = Counted::Observed(Reason::Backstop);
    assert_eq!(counted(&kernel, ORDERS, Family::V4, observed), 1, "observe counts");
    kernel.reset();
    kernel.install(&scene.policy().in_mode(Mode::Off));
    assert!(!kernel.lookup(&lookup), "off refuses nothing");
    assert!(kernel.counters().is_empty(), "off counts nothing");
}

/// A host with two interfaces and a client on each.
struct Network {
    host: Netns,
    near: Netns,
    far: Netns,
}

const HOST: [&str; 4] = ["10.81.0.1", "10.82.0.1", "fd81::1", "fd82::1"];

impl Network {
    fn new() -> Self {
        let network =
            Self { host: Netns::new("host"), near: Netns::new("near"), far: Netns::new("far") };
        let Self { host, near, far } = &network;
        veth((host, "to-near"), (near, "link"));
        veth((host, "to-far"), (far, "link"));
        for (interface, address) in [
            ("to-near", "10.81.0.1/24"),
            ("to-near", "fd81::1/64"),
            ("to-far", "10.82.0.1/24"),
            ("to-far", "fd82::1/64"),
        ] {
            host.address(interface, address);
        }
        near.address("link", "10.81.0.2/24");
        near.address("link", "fd81::2/64");
        far.address("link", "10.82.0.2/24");
        far.address("link", "fd82::2/64");
        network
    }
}

fn connect(from: &Netns, address: &str, port: u16) -> Result<(), ErrorKind> {
    let address: IpAddr = address.parse().expect("an address");
    let target = SocketAddr::new(address, port);
    let connected = from.run(|| TcpStream::connect_timeout(&target, Duration::from_secs(3)));
    connected.map(|_| ()).map_err(|error| error.kind())
}

#[test]
fn connections_are_refused_but_from_trusted_sources_and_exempt_interfaces() {
    let network = Network::new();
    let Network { host, near, far } = &network;
    let listeners: Vec<TcpListener> = [PORT, OTHER_PORT, LAST_PORT]
        .map(|port| host.run(|| TcpListener::bind(("::", port)).expect("a listener")))
        .into();
    let mut kernel = Kernel::load();
    let mut policy = Scene::default().policy();
    policy.trusted.clear();
    kernel.install(&policy);
    kernel.attach_backstop(host);
    let refused = Err(ErrorKind::ConnectionRefused);

    for (index, from) in [near, far, near, far].into_iter().enumerate() {
        assert_eq!(connect(from, HOST[index], PORT), refused, "stranger, {}", HOST[index]);
        assert_eq!(connect(from, HOST[index], OTHER_PORT), Ok(()), "other port");
    }
    let dropped = Counted::Dropped(Reason::Backstop);
    assert_eq!(counted(&kernel, ORDERS, Family::V4, dropped), 2);
    assert_eq!(counted(&kernel, ORDERS, Family::V6, dropped), 2);

    // The host itself, over loopback and by its own outer address.
    for address in ["127.0.0.1", "::1", HOST[0], HOST[2]] {
        assert_eq!(connect(host, address, PORT), Ok(()), "the host to {address}");
    }

    kernel.trust("10.81.0.2/32".parse().expect("a prefix"), 1, 1);
    kernel.trust("fd81::/64".parse().expect("a prefix"), 1, 2);
    assert_eq!(connect(near, HOST[0], PORT), Ok(()), "trusted host");
    assert_eq!(connect(near, HOST[2], PORT), Ok(()), "trusted network");
    assert_eq!(connect(near, HOST[0], LAST_PORT), refused, "trusted by another database");
    assert_eq!(connect(far, HOST[1], PORT), refused, "not trusted");

    kernel.exempt(&[9_999, host.ifindex("to-far")]);
    assert_eq!(connect(far, HOST[1], PORT), Ok(()), "exempt interface");
    assert_eq!(connect(far, HOST[3], PORT), Ok(()), "exempt interface");
    assert_eq!(connect(near, HOST[0], LAST_PORT), refused, "the other interface is not");
    kernel.exempt(&[]);
    assert_eq!(connect(far, HOST[1], PORT), refused, "exempt no longer");
    drop(listeners);
}

#[test]
fn datagrams_reach_the_socket_only_from_trusted_sources() {
    let network = Network::new();
    let Network { host, near, .. } = &network;
    let socket = host.run(|| UdpSocket::bind(("::", CACHE_PORT)).expect("a socket"));
    let timeout = Duration::from_millis(300);
    socket.set_read_timeout(Some(timeout)).expect("a timeout");
    let mut kernel = Kernel::load();
    kernel.install(&Scene::default().policy());
    kernel.attach_backstop(host);
    let send = |from: &Netns, to: &str| {
        let to: IpAddr = to.parse().expect("an address");
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        from.run(|| {
            let client = UdpSocket::bind(any).expect("a socket");
            client.send_to(b"stats", (to, CACHE_PORT)).expect("sent");
        });
        socket.recv(&mut [0; 16]).is_ok()
    };
    assert!(!send(near, HOST[0]), "a stranger's datagram arrived");
    assert!(!send(near, HOST[2]), "a stranger's datagram arrived over IPv6");
    assert!(send(host, "127.0.0.1"), "a local datagram did not arrive");
    let dropped = Counted::Dropped(Reason::Backstop);
    assert_eq!(counted(&kernel, CACHE, Family::V4, dropped), 1);
    assert_eq!(counted(&kernel, CACHE, Family::V6, dropped), 1);
    kernel.trust("10.81.0.0/24".parse().expect("a prefix"), 1 << (CACHE - 1), 1);
    assert!(send(near, HOST[0]), "a trusted datagram did not arrive");
}

#[test]
fn a_socket_lookup_program_of_somebody_else_is_told() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders("trusted_sources = [\"ip_addr:10.77.0.2\"]"));
    let state = |host: &Host<'_>| host.json(&["status"]).expect("JSON")["protection"].clone();
    let doctor = |host: &Host<'_>| {
        let found = host.json(&["doctor"]).expect("JSON");
        let findings = found["findings"].as_array().expect("findings").clone();
        let finding = findings.iter().find(|finding| finding["check"] == "backstop");
        finding.expect("a check of the backstop").clone()
    };
    host.start();
    assert_eq!(state(&host), "yes");
    assert_eq!(doctor(&host)["state"], "ok", "our own is nobody else's: {}", doctor(&host));
    host.stop(Signal::SIGTERM);

    let mut foreign = Kernel::load();
    foreign.attach_backstop(&pair.db);
    host.start();
    assert_eq!(state(&host), "degraded");
    assert!(problems(&host).contains("is not dbfw's and can override the backstop"));
    assert_eq!(doctor(&host)["state"], "warn", "{}", doctor(&host));
    assert!(pair.reaches(TRUSTED4) && !pair.reaches(STRANGER4), "the hooks filter all the same");
    host.stop(Signal::SIGTERM);

    drop(foreign);
    host.start();
    assert_eq!(state(&host), "yes");
    assert_eq!(doctor(&host)["state"], "ok", "{}", doctor(&host));
}
