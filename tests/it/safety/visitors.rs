use std::{
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    os::fd::AsRawFd as _,
    time::Duration,
};

use dbfw_tests::{
    agent::Host,
    packets::Tcp,
    pair::{HOST4, OTHER_PORT, PORT, Pair, TRUSTED4, interfaces},
    traffic,
};
use nix::sys::{
    signal::Signal,
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, bind, sendto, socket,
    },
};
use serde_json::Value;

/// A port that nobody listens on.
const CLOSED_PORT: u16 = 5433;

const GUEST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const SCANNER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// A SYN to each of the ports, as a scanner sends it: the answer is refused by its kernel.
fn scan(pair: &Pair, source: Ipv4Addr, ports: &[u16]) {
    let IpAddr::V4(host) = HOST4 else { panic!("IPv4") };
    pair.clients.run(|| {
        let raw =
            socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)
                .expect("a raw socket");
        let address = |ip: Ipv4Addr| SockaddrIn::from(SocketAddrV4::new(ip, 0));
        bind(raw.as_raw_fd(), &address(source)).expect("bind to the scanner's address");
        for port in ports {
            let segment = Tcp::syn(*port).bytes(source.into(), host.into());
            sendto(raw.as_raw_fd(), &segment, &address(host), MsgFlags::empty()).expect("send");
        }
    });
}

fn suggested(host: &Host<'_>) -> Value {
    host.json(&["suggest"]).unwrap_or_default()
}

/// Every address of `suggest`, as "database address looks established".
fn addresses(found: &Value) -> Vec<String> {
    let text = |value: &Value| value.to_string().replace('"', "");
    let suggestions = found["suggestions"].as_array().into_iter().flatten();
    let covered = suggestions.flat_map(|one| one["addresses"].as_array().into_iter().flatten());
    let scanners = found["scanners"].as_array().into_iter().flatten();
    let mut all: Vec<String> = covered
        .chain(scanners)
        .map(|one| ["database", "address", "looks_like", "established"].map(|key| text(&one[key])))
        .map(|fields| fields.join(" "))
        .collect();
    all.sort_unstable();
    all
}

#[test]
fn clients_that_connect_are_told_from_scanners() {
    let pair = Pair::new();
    for stranger in [GUEST, SCANNER] {
        pair.clients.address("cl0", &format!("{stranger}/32"));
        pair.db.ip(&format!("route add {stranger}/32 dev db0"));
    }
    let databases = [("orders", PORT), ("other", OTHER_PORT), ("closed", CLOSED_PORT)];
    let observed = databases.map(|(name, port)| {
        format!("[[database]]\nname = \"{name}\"\nports = [{port}]\nmode = \"observe\"\n")
    });
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &observed.concat());
    host.start();

    // Over before anybody can list them.
    assert!(pair.reaches(TRUSTED4));
    assert!(pair.reaches(GUEST.into()));
    // Open when they are listed, and after the restart.
    let open = traffic::connect(
        &pair.clients,
        TRUSTED4,
        (HOST4, OTHER_PORT).into(),
        Duration::from_secs(5),
    )
    .expect("connect");
    scan(&pair, SCANNER, &databases.map(|(_, port)| port));
    let expected = [
        "closed 198.51.100.7 scanner false",
        "orders 10.77.0.2 client true",
        "orders 198.51.100.7 scanner false",
        "orders 203.0.113.7 unclear true",
        "other 10.77.0.2 client true",
        "other 198.51.100.7 scanner false",
    ];
    host.wait("all of them to be judged", |host| addresses(&suggested(host)) == expected);

    host.stop(Signal::SIGTERM);
    drop(open);
    host.start();
    let found = suggested(&host);
    assert_eq!(addresses(&found), expected, "a restart remembers\n{found:#}");
    let client = &found["suggestions"][0];
    assert_eq!(client["source"], "ip_addr:10.77.0.2", "{client:#}");
    let belongs_to = &client["addresses"][0]["belongs_to"];
    assert_eq!(
        (&belongs_to["interface"], &belongs_to["network"]),
        (&"db0".into(), &"10.77.0.0/24".into())
    );
    assert!(client["last_connected"].is_string() && client["minutes"].as_u64() >= Some(1));

    // What is doubtful cannot be pasted by accident.
    let plain = host.dbfw(&["suggest", "--database", "orders", "--output", "plain"]).stdout;
    let plain = String::from_utf8(plain).expect("text");
    assert!(plain.contains("\n  \"ip_addr:10.77.0.2\","), "{plain}");
    assert!(plain.contains("\n  # \"ip_addr:203.0.113.7\","), "{plain}");
    assert!(!plain.contains("198.51.100.7"), "{plain}");
    let enforced = observed[0].replace("mode = \"observe\"\n", &plain);
    host.configure(&interfaces(), &enforced);
    let reloaded = host.dbfw(&["reload"]);
    assert_eq!(reloaded.status.code(), Some(0), "{reloaded:?}\n{plain}");
    assert!(pair.reaches(TRUSTED4));
    assert!(!pair.reaches(GUEST.into()));
    let all = host.dbfw(&["suggest", "--all"]).stdout;
    assert!(String::from_utf8_lossy(&all).contains("ip_addr:198.51.100.7"), "{all:?}");
}

/// A handshake that is not completed is no connection, however often it is begun.
#[test]
fn a_flood_of_syns_is_no_client() {
    let pair = Pair::new();
    pair.clients.address("cl0", &format!("{SCANNER}/32"));
    pair.db.ip(&format!("route add {SCANNER}/32 dev db0"));
    let mut host = Host::new(&pair.db);
    host.configure(
        &interfaces(),
        &format!("[[database]]\nname = \"orders\"\nports = [{PORT}]\nmode = \"observe\"\n"),
    );
    host.start();
    (0..50).for_each(|_| scan(&pair, SCANNER, &[PORT]));
    host.wait("it to be noted", |host| {
        addresses(&suggested(host)) == ["orders 198.51.100.7 unclear false"]
    });
}
