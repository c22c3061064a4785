//! The host's own addresses: every local client reaches every local address, and nobody else
//! comes in by claiming one.

use std::{
    fs,
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use dbfw_tests::{
    agent::Host,
    netns::{Netns, finish, veth},
    pair::{
        HOST4, HOST6, INTERFACE, METRICS, OTHER_PORT, PORT, Pair, STRANGER4, STRANGER6, TRUSTED4,
        interfaces, metric, orders, problems,
    },
    traffic,
};

const UDP_PORT: u16 = 11211;
const ELSEWHERE: &str = "trusted_sources = [\"ip_addr:203.0.113.9\"]";
const NEIGHBOURS: &str = "trusted_sources = [\"ip_addr:10.77.0.0/24\", \"ip_addr:fd77::/64\"]";
const SILENCE: Duration = Duration::from_millis(700);

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn started<'a>(pair: &'a Pair, sources: &str) -> Host<'a> {
    let mut host = Host::new(&pair.db);
    let udp = format!("[[database]]\nname = \"cache\"\nports = [\"udp/{UDP_PORT}\"]\n{sources}");
    host.configure(&format!("{}\n{METRICS}", interfaces()), &format!("{}\n{udp}", orders(sources)));
    host.start();
    host
}

/// Whether a datagram from `source`, any of the host's where `None`, arrives.
fn datagram(
    socket: &UdpSocket,
    from: &Netns,
    source: Option<IpAddr>,
    to: IpAddr,
    connected: bool,
) -> bool {
    let any = if to.is_ipv4() { "0.0.0.0" } else { "::" };
    let source = source.unwrap_or_else(|| address(any));
    from.run(move || {
        let client = UdpSocket::bind((source, 0)).expect("a socket");
        let sent = if connected {
            client.connect((to, UDP_PORT)).and_then(|()| client.send(b"stats"))
        } else {
            client.send_to(b"stats", (to, UDP_PORT))
        };
        sent.expect("sent");
    });
    socket.recv(&mut [0; 16]).is_ok()
}

fn server(ns: &Netns) -> UdpSocket {
    let socket = ns.run(|| UdpSocket::bind(("::", UDP_PORT)).expect("a socket"));
    socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    socket
}

fn martians(host: &Host<'_>, database: &str, family: &str) -> f64 {
    let series = format!(
        "dbfw_dropped_packets_total{{database=\"{database}\",family=\"{family}\",reason=\"martian\"}}"
    );
    metric(host, &series).unwrap_or_else(|| panic!("no series {series}"))
}

/// Tells `ns` where the host is, which the host does not tell who claims its own address.
fn know_neighbour(ns: &Netns, interface: &str, db: &Netns, theirs: &str, addresses: &[IpAddr]) {
    let link = finish(db.command("ip").args(["-o", "link", "show", "dev", theirs]));
    let mut words = link.split_whitespace().skip_while(|word| *word != "link/ether");
    let mac = words.nth(1).expect("a hardware address").to_owned();
    for address in addresses {
        ns.ip(&format!("neigh replace {address} lladdr {mac} dev {interface}"));
    }
}

#[test]
fn every_local_client_reaches_every_local_address() {
    let pair = Pair::new();
    let (secondary, lo, other6) =
        (address("10.77.0.100"), address("10.99.0.1"), address("fd77::100"));
    pair.db.address(INTERFACE, "10.77.0.100/24");
    pair.db.ip("address add 10.99.0.1/32 dev lo");
    pair.db.address(INTERFACE, "fd77::100/64");
    let host = started(&pair, ELSEWHERE);
    let socket = server(&pair.db);
    let own = [HOST4, secondary, lo, HOST6, other6, address("127.0.0.1"), address("::1")];
    for to in own {
        let target = SocketAddr::new(to, PORT);
        let unbound = pair.db.run(|| TcpStream::connect_timeout(&target, SILENCE).map(drop));
        assert!(unbound.is_ok(), "unbound to {to}: {unbound:?}");
        assert!(datagram(&socket, &pair.db, None, to, false), "unbound datagram to {to}");
        for from in own.into_iter().filter(|from| from.is_ipv4() == to.is_ipv4()) {
            assert!(traffic::reaches(&pair.db, from, target), "{from} to {to}");
            assert!(datagram(&socket, &pair.db, Some(from), to, true), "datagram {from} to {to}");
        }
    }
    assert!(!pair.reaches(STRANGER4) && !pair.reaches(STRANGER6), "strangers stay out");
    drop(host);
}

#[test]
fn an_address_that_comes_later_is_local_until_it_goes() {
    let pair = Pair::new();
    let host = started(&pair, "trusted_sources = [\"ip_addr:10.77.0.200\"]");
    let vip = address("10.77.0.200");
    let (to_host, to_vip) = (SocketAddr::new(HOST4, PORT), SocketAddr::new(vip, PORT));
    for _ in 0..2 {
        pair.db.address(INTERFACE, "10.77.0.200/24");
        host.wait("local clients to reach the address that came", |_| {
            traffic::reaches(&pair.db, HOST4, to_vip) && traffic::reaches(&pair.db, vip, to_host)
        });
        // The peer takes it over, and is trusted: nothing of it is ours any more.
        pair.db.ip(&format!("address del 10.77.0.200/24 dev {INTERFACE}"));
        pair.clients.address("cl0", "10.77.0.200/24");
        host.wait("the peer to be let in from the address", |_| pair.reaches(vip));
        pair.clients.ip("address del 10.77.0.200/24 dev cl0");
    }
    pair.db.ip("route add local 10.98.0.0/24 dev lo");
    let any = address("10.98.0.7");
    host.wait("local clients to reach a network that is local as a whole", |_| {
        traffic::reaches(&pair.db, any, to_host)
            && traffic::reaches(&pair.db, HOST4, SocketAddr::new(any, PORT))
    });
}

#[test]
fn on_a_covered_interface_a_claimed_address_is_martian() {
    let pair = Pair::new();
    pair.db.address(INTERFACE, "10.77.0.100/24");
    pair.db.address(INTERFACE, "fd77::100/64");
    let host = started(&pair, NEIGHBOURS);
    assert!(pair.reaches(TRUSTED4) && pair.reaches(STRANGER6), "the neighbours are trusted");
    know_neighbour(&pair.clients, "cl0", &pair.db, INTERFACE, &[HOST4, HOST6]);
    for (claimed, to, family) in [("10.77.0.100", HOST4, "ipv4"), ("fd77::100", HOST6, "ipv6")] {
        let prefix = if to.is_ipv4() { 32 } else { 128 };
        pair.clients.address("cl0", &format!("{claimed}/{prefix}"));
        let target = SocketAddr::new(to, PORT);
        let connected = traffic::connect(&pair.clients, address(claimed), target, SILENCE);
        assert_eq!(connected.map(drop).map_err(|error| error.kind()), Err(ErrorKind::TimedOut));
        assert!(martians(&host, "orders", family) >= 1.0, "{claimed}: not counted");
        let socket = server(&pair.db);
        assert!(!datagram(&socket, &pair.clients, Some(address(claimed)), to, false), "{claimed}");
        assert!(martians(&host, "cache", family) >= 1.0, "{claimed}: no datagram counted");
        // Not a protected port: nobody's business.
        let before = martians(&host, "orders", family) + martians(&host, "*", family);
        let elsewhere = SocketAddr::new(to, OTHER_PORT);
        let _ = traffic::connect(&pair.clients, address(claimed), elsewhere, SILENCE);
        assert_eq!(martians(&host, "orders", family) + martians(&host, "*", family), before);
        let explained = host.dbfw(&["explain", claimed, "--port", "5432"]);
        let said = String::from_utf8_lossy(&explained.stdout).into_owned();
        assert!(said.contains("martian") && said.contains("let in from this host"), "{said}");
    }
    assert!(pair.reaches(TRUSTED4) && pair.reaches(STRANGER6), "the neighbours stay trusted");
}

#[test]
fn over_an_uncovered_interface_a_claimed_address_completes_no_handshake() {
    let pair = Pair::new();
    let far = Netns::new("far");
    veth((&pair.db, "un0"), (&far, "link"));
    pair.db.address("un0", "10.88.0.1/24");
    pair.db.address("un0", "fd88::1/64");
    far.address("link", "10.88.0.2/24");
    far.address("link", "fd88::2/64");
    // Else the kernel itself drops what claims an own IPv4 address.
    for key in ["all", "un0"] {
        pair.db.sysctl(&format!("net/ipv4/conf/{key}/accept_local"), "1");
        pair.db.sysctl(&format!("net/ipv4/conf/{key}/rp_filter"), "0");
    }
    let host = started(&pair, ELSEWHERE);
    let (near4, near6) = (address("10.88.0.1"), address("fd88::1"));
    know_neighbour(&far, "link", &pair.db, "un0", &[near4, near6]);
    for (claimed, to) in [(HOST4, near4), (HOST6, near6)] {
        let prefix = if to.is_ipv4() { 32 } else { 128 };
        far.address("link", &format!("{claimed}/{prefix}"));
        let connected = traffic::connect(&far, claimed, SocketAddr::new(to, PORT), 3 * SILENCE);
        assert!(connected.is_err(), "{claimed} connected");
        // Nothing came back: a refusal is an answer as well.
        assert_eq!(connected.map(drop).map_err(|error| error.kind()), Err(ErrorKind::TimedOut));
    }
    let stranger =
        traffic::connect(&far, address("10.88.0.2"), SocketAddr::new(near4, PORT), SILENCE);
    let refused = stranger.map(drop).map_err(|error| error.kind());
    assert_eq!(refused, Err(ErrorKind::ConnectionRefused), "the backstop is there");
    drop(host);
}

#[test]
fn more_own_addresses_than_fit_are_told() {
    let pair = Pair::new();
    let mut host = started(&pair, ELSEWHERE);
    let most = dbfw_common::MAX_OWN as usize;
    let routes: String = (0..most)
        .map(|n| {
            format!("route add local 10.{}.{}.{} dev lo\n", 128 + (n >> 16), n >> 8 & 255, n & 255)
        })
        .collect();
    fs::write(host.path("routes"), routes).expect("write the routes");
    finish(pair.db.command("ip").arg("-batch").arg(host.path("routes")));
    host.wait("the agent to tell", |host| problems(host).contains("are more than the maps hold"));
    assert!(!pair.reaches(STRANGER4), "a stranger stays out");
    pair.db.ip("route flush table local root 10.128.0.0/9");
    host.wait("all to fit again", |host| !problems(host).contains("more than the maps hold"));
    assert!(traffic::reaches(&pair.db, address("127.0.0.1"), SocketAddr::new(HOST4, PORT)));
    host.stop(nix::sys::signal::Signal::SIGTERM);
    // What is local stays so without the agent.
    assert!(traffic::reaches(&pair.db, address("127.0.0.1"), SocketAddr::new(HOST4, PORT)));
}
