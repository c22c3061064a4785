//! The ways a packet can take to a protected port: every hook, every kind of link, and
//! around the interfaces that are filtered.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use dbfw_tests::{
    agent::Host,
    features::has_tcx,
    foreign::{TCX_PASS, TcxProgram},
    netns::{Netns, finish, veth},
    site::{
        Answer::{Refused, Served, Silent},
        Line, PATIENCE, answer, assert_answer, dropped, interface, metric, wait_for_interface,
        xdp_of,
    },
    traffic::{Echo, SILENCE, connect, round_trip},
    tun::{TcpAnswer, Tun},
};

const PORT: u16 = 5432;

/// A database that trusts what the lines say.
fn orders(ports: &str, lines: &[&Line<'_>]) -> String {
    let trusted: Vec<String> = lines.iter().map(|line| line.trusted_sources()).collect();
    format!(
        "[[database]]\nname = \"orders\"\nports = [{ports}]\ntrusted_sources = [{}]",
        trusted.join(", ")
    )
}

/// Loads a ruleset into the namespace.
fn nft(netns: &Netns, rules: &str) {
    let file = tempfile::NamedTempFile::new().expect("a file for the rules");
    std::fs::write(file.path(), rules).expect("write the rules");
    finish(netns.command("nft").arg("--file").arg(file.path()));
}

fn reload(host: &Host<'_>) {
    let output = host.dbfw(&["reload"]);
    assert!(output.status.success(), "reload: {output:?}\n{}", host.log());
}

fn detach(host: &Host<'_>) {
    let output = host.dbfw(&["detach", "--yes"]);
    assert!(output.status.success(), "detach: {output:?}\n{}", host.log());
}

#[test]
fn native_xdp_filters() {
    a_hook_filters("native", "native");
}

#[test]
fn generic_xdp_filters() {
    a_hook_filters("generic", "generic");
}

#[test]
fn tcx_filters() {
    if !has_tcx() {
        return tcx_is_refused_in_words();
    }
    a_hook_filters("tcx", "tcx");
}

/// What a kernel without TCX has to say for `attach = "tcx"`.
fn tcx_is_refused_in_words() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    let mut host = Host::new(&db);
    host.configure("interfaces = [\"db0\"]\nattach = \"tcx\"", &orders("5432", &[&line]));
    host.spawn();
    host.wait_for_log("tcx: the kernel or driver does not know this hook");
    let status = host.json(&["status"]).expect("a status");
    assert_eq!(status["protected"], false);
}

#[test]
fn auto_takes_native_xdp_where_it_can() {
    a_hook_filters("auto", "native");
}

/// Everything that is to hold at every hook.
fn a_hook_filters(attach: &str, mode: &str) {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    let mut host = Host::new(&db);
    let everyone = format!("{}\n{}\n", line.v4.trusted, line.v6.trusted);
    host.replace("orders.list", &everyone);
    let list = host.path("orders.list");
    host.configure(
        &format!("interfaces = [\"db0\"]\nattach = \"{attach}\""),
        &format!(
            "[[database]]\nname = \"orders\"\nports = [{PORT}]\nmax_shrink = \"100%\"\n\
             provider = {{ kind = \"file\", path = \"{}\" }}",
            list.display()
        ),
    );
    host.start();
    let _echo = Echo::start(&db, PORT);

    line.assert_answers(PORT, Served, Silent);
    assert_eq!(wait_for_interface(&host, "db0")["mode"], mode);
    let attached = format!("dbfw_attached{{interface=\"db0\",mode=\"{mode}\"}}");
    assert_eq!(metric(&host, &attached), 1.0);
    let kernel = xdp_of(&db, "db0").map(|(mode, _)| mode);
    assert_eq!(kernel, (mode != "tcx").then_some(mode), "what ip says");
    for family in ["ipv4", "ipv6"] {
        let allowed =
            format!("dbfw_allowed_packets_total{{database=\"orders\",family=\"{family}\"}}");
        // SYN, ACK and a byte at the least.
        assert!(metric(&host, &allowed) >= 3.0, "allowed over {family}");
        assert!(dropped(&host, family, "untrusted") >= 1.0, "dropped over {family}");
        assert_eq!(dropped(&host, family, "backstop"), 0.0, "got past the hook over {family}");
    }

    for ends in line.ends() {
        let target = SocketAddr::new(ends.server, PORT);
        let mut open = connect(&client, ends.trusted, target, PATIENCE).expect("a connection");
        round_trip(&mut open, PATIENCE).expect("an answer while trusted");
        let kept = everyone.replace(&format!("{}\n", ends.trusted), "");
        host.replace("orders.list", &kept);
        host.wait("the source to be revoked", |host| {
            let lookup = host.json(&["map", "lookup", &ends.trusted.to_string()]);
            lookup.is_some_and(|lookup| lookup["entry"].is_null())
        });
        let family = if ends.server.is_ipv4() { "ipv4" } else { "ipv6" };
        let before = dropped(&host, family, "untrusted");
        let cut = round_trip(&mut open, SILENCE);
        assert!(cut.is_err(), "a revoked source was answered on its open connection");
        assert!(dropped(&host, family, "untrusted") > before, "the cut was not counted");

        host.replace("orders.list", &everyone);
        // What was cut is sent again by TCP: the connection was silenced, not reset.
        open.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        open.read_exact(&mut [0]).expect("the byte that was sent while cut");
        round_trip(&mut open, PATIENCE).expect("an answer while trusted again");
    }
}

#[test]
fn tun_devices_are_filtered_by_tcx() {
    if !has_tcx() {
        return tcx_is_refused_in_words();
    }
    a_tun_device_is_filtered("tcx", "tcx");
}

#[test]
fn tun_devices_are_filtered_by_generic_xdp() {
    a_tun_device_is_filtered("generic", "generic");
}

#[test]
fn a_tun_device_without_native_xdp_is_told_and_left_to_the_backstop() {
    let db = Netns::new("db");
    let mut tun = Tun::new(&db, "tun0");
    db.address("tun0", "10.95.0.1/24");
    db.up("tun0");
    let _echo = Echo::start(&db, PORT);
    let mut host = Host::new(&db);
    host.configure(
        "interfaces = [\"tun0\"]\nattach = \"native\"",
        &format!("[[database]]\nname = \"orders\"\nports = [{PORT}]\ntrusted_sources = []"),
    );
    host.spawn();
    host.wait("the agent to say what is wrong", |host| {
        interface(host, "tun0").is_some_and(|tun| {
            tun["mode"] == "none" && tun["detail"].to_string().contains("does not support it")
        })
    });
    let status = host.json(&["status"]).expect("a status");
    assert_eq!(status["agent"]["ready"], false);
    assert_eq!(status["protected"], false);
    let (server, stranger) =
        (SocketAddr::from(([10, 95, 0, 1], PORT)), SocketAddr::from(([10, 95, 0, 3], 40_000)));
    tun.syn(stranger, server);
    assert_eq!(tun.answer(stranger, PATIENCE), Some(TcpAnswer::Reset));
}

#[test]
fn auto_takes_tcx_for_tun_devices_and_generic_xdp_before() {
    a_tun_device_is_filtered("auto", if has_tcx() { "tcx" } else { "generic" });
}

fn a_tun_device_is_filtered(attach: &str, mode: &str) {
    let db = Netns::new("db");
    let mut tun = Tun::new(&db, "tun0");
    for address in ["10.95.0.1/24", "fd95::1/64"] {
        db.address("tun0", address);
    }
    db.up("tun0");
    let _echo = Echo::start(&db, PORT);
    let mut host = Host::new(&db);
    // Not enforced at first: the strangers below would be answered.
    let configure = |host: &Host<'_>, mode: &str| {
        host.configure(
            &format!("interfaces = [\"tun0\"]\nattach = \"{attach}\""),
            &format!(
                "[[database]]\nname = \"orders\"\nports = [{PORT}]\nmode = \"{mode}\"\n\
                 trusted_sources = [\"ip_addr:10.95.0.2\", \"ip_addr:fd95::2\"]"
            ),
        );
    };
    configure(&host, "observe");
    let addresses = [
        ("10.95.0.1", "10.95.0.2", "10.95.0.3", "ipv4"),
        ("fd95::1", "fd95::2", "fd95::3", "ipv6"),
    ]
    .map(|(server, trusted, stranger, family)| {
        let address = |text: &str, port| SocketAddr::new(text.parse().expect("an address"), port);
        (address(server, PORT), address(trusted, 40_001), address(stranger, 40_002), family)
    });
    host.start();
    assert_eq!(wait_for_interface(&host, "tun0")["mode"], mode);
    for (server, _, mut stranger, _) in addresses {
        stranger.set_port(40_003);
        tun.syn(stranger, server);
        assert_eq!(tun.answer(stranger, PATIENCE), Some(TcpAnswer::SynAck), "observed");
    }
    configure(&host, "enforce");
    reload(&host);
    for (server, trusted, stranger, family) in addresses {
        tun.syn(stranger, server);
        tun.syn(trusted, server);
        assert_eq!(tun.answer(trusted, PATIENCE), Some(TcpAnswer::SynAck), "{trusted}");
        tun.syn(stranger, server);
        assert_eq!(tun.answer(stranger, SILENCE), None, "{stranger}");
        assert_eq!(dropped(&host, family, "untrusted"), 2.0, "at the hook, over {family}");
    }
}

#[test]
fn a_port_published_from_another_namespace_is_protected_at_the_interface() {
    let (db, client, container) = (Netns::new("db"), Netns::new("client"), Netns::new("ct"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    veth((&db, "bridge"), (&container, "eth0"));
    for (netns, interface, v4, v6) in
        [(&db, "bridge", "172.18.0.1", "fd18::1"), (&container, "eth0", "172.18.0.2", "fd18::2")]
    {
        netns.address(interface, &format!("{v4}/24"));
        netns.address(interface, &format!("{v6}/64"));
    }
    container.ip("route add default via 172.18.0.1");
    container.ip("-6 route add default via fd18::1");
    client.ip(&format!("route add 172.18.0.0/24 via {}", line.v4.server));
    client.ip(&format!("-6 route add fd18::/64 via {}", line.v6.server));
    db.sysctl("net.ipv4.ip_forward", "1");
    db.sysctl("net.ipv6.conf.all.forwarding", "1");
    nft(
        &db,
        "table inet published {
            chain prerouting {
                type nat hook prerouting priority dstnat;
                iifname db0 tcp dport 15432 dnat ip to 172.18.0.2:5432
                iifname db0 tcp dport 15432 dnat ip6 to [fd18::2]:5432
            }
        }",
    );
    let _echo = Echo::start(&container, PORT);
    let mut host = Host::new(&db);
    host.configure("interfaces = [\"db0\"]", &orders("15432", &[&line]));
    host.start();

    line.assert_answers(15432, Served, Silent);
    let direct =
        [SocketAddr::from(([172, 18, 0, 2], PORT)), "[fd18::2]:5432".parse().expect("one")];
    for (ends, target) in line.ends().into_iter().zip(direct) {
        // Whoever has a route to the container does not need the published port.
        assert_answer(&client, ends.stranger, target, Served);
    }
    host.configure("interfaces = [\"db0\"]", &orders("15432, 5432", &[&line]));
    reload(&host);
    for (ends, target) in line.ends().into_iter().zip(direct) {
        assert_answer(&client, ends.stranger, target, Silent);
        assert_answer(&client, ends.trusted, target, Served);
    }
    line.assert_answers(15432, Served, Silent);
    detach(&host);
    line.assert_answers(15432, Served, Served);
}

/// Ways to the protected port that no filtered interface sees as such: each is closed by
/// the backstop, and open without it.
#[test]
fn the_backstop_closes_the_ways_around_the_hooks() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    let second = Line::new((&db, "wan0"), (&client, "cl1"), 2);
    vxlan(&db, "db0", &line.v4.trusted.to_string(), "10.96.0.1/24");
    vxlan(&client, "cl0", &line.v4.server.to_string(), "10.96.0.3/24");
    db.sysctl("net.ipv4.conf.db0.route_localnet", "1");
    nft(
        &db,
        "table inet around {
            chain prerouting {
                type nat hook prerouting priority dstnat;
                tcp dport 15433 redirect to :5432
                tcp dport 15434 dnat ip to 127.0.0.1:5432
            }
        }",
    );
    // The address of the filtered interface, over the one that is not.
    client.ip("route add 10.90.1.1/32 dev cl1 src 10.90.2.3 table 7");
    client.ip("rule add from 10.90.2.3 to 10.90.1.1 lookup 7");
    let _echo = Echo::start(&db, PORT);
    let target = |address, port| SocketAddr::new(address, port);
    let ways = [
        ("REDIRECT of another port", line.v4.stranger, target(line.v4.server, 15433)),
        ("REDIRECT over IPv6", line.v6.stranger, target(line.v6.server, 15433)),
        ("DNAT to 127.0.0.1", line.v4.stranger, target(line.v4.server, 15434)),
        ("an interface that is not covered", second.v4.stranger, target(second.v4.server, PORT)),
        ("the same over IPv6", second.v6.stranger, target(second.v6.server, PORT)),
        (
            "the covered interface's address over it",
            second.v4.stranger,
            target(line.v4.server, PORT),
        ),
        ("VXLAN", [10, 96, 0, 3].into(), ([10, 96, 0, 1], PORT).into()),
    ];
    let mut host = Host::new(&db);
    host.configure("interfaces = [\"db0\"]", &orders(&PORT.to_string(), &[&line, &second]));
    host.start();

    for (way, stranger, target) in ways {
        assert_eq!(answer(&client, stranger, target, PATIENCE), Refused, "{way}");
    }
    assert!(dropped(&host, "ipv4", "backstop") >= 5.0, "each is counted");
    assert!(dropped(&host, "ipv6", "backstop") >= 2.0, "each is counted");
    line.assert_answers(15433, Served, Refused);
    second.assert_answers(PORT, Served, Refused);
    line.assert_answers(PORT, Served, Silent);

    let agent = "interfaces = [\"db0\"]\nbackstop = false";
    host.configure(agent, &orders(&PORT.to_string(), &[&line, &second]));
    reload(&host);
    for (way, stranger, target) in ways {
        assert_eq!(answer(&client, stranger, target, PATIENCE), Served, "{way}, no backstop");
    }
    line.assert_answers(PORT, Served, Silent);
}

/// A VXLAN device over `link` to `peer`.
fn vxlan(netns: &Netns, link: &str, peer: &str, address: &str) {
    netns.ip(&format!("link add vxlan0 type vxlan id 7 dstport 4789 dev {link} remote {peer}"));
    netns.address("vxlan0", address);
    netns.up("vxlan0");
}

#[test]
fn exempt_interfaces_pass_the_backstop() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    let second = Line::new((&db, "docker0"), (&client, "cl1"), 2);
    let third = Line::new((&db, "wan0"), (&client, "cl2"), 3);
    let _echo = Echo::start(&db, PORT);
    let databases = orders(&PORT.to_string(), &[&line, &second, &third]);
    let mut host = Host::new(&db);
    let agent = "interfaces = [\"db0\"]\nexempt_interfaces = [\"docker*\"]";
    host.configure(agent, &databases);
    host.start();
    let status = host.json(&["status"]).expect("a status");
    assert_eq!(status["backstop"]["exempt"], serde_json::json!(["docker0"]));
    line.assert_answers(PORT, Served, Silent);
    second.assert_answers(PORT, Served, Served);
    third.assert_answers(PORT, Served, Refused);

    // An exempt interface that comes later, under a name the glob has.
    let fourth = Line::new((&db, "docker1"), (&client, "cl3"), 4);
    host.wait("the new interface to be exempt", |host| {
        host.json(&["status"])
            .is_some_and(|status| status["backstop"]["exempt"].to_string().contains("docker1"))
    });
    fourth.assert_answers(PORT, Served, Served);

    host.configure("interfaces = [\"db0\"]", &databases);
    reload(&host);
    second.assert_answers(PORT, Served, Refused);
}

#[test]
fn jumbo_frames_are_filtered_by_native_xdp() {
    const DATAGRAM: usize = 8192;
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    db.mtu("db0", 9000);
    client.mtu("cl0", 9000);
    let mut host = Host::new(&db);
    let agent = "interfaces = [\"db0\"]\nattach = \"native\"";
    host.configure(agent, &orders(&format!("{PORT}, \"udp/{PORT}\""), &[&line]));
    host.start();
    assert_eq!(xdp_of(&db, "db0").map(|(mode, _)| mode), Some("native"));
    let _echo = Echo::start(&db, PORT);
    line.assert_answers(PORT, Served, Silent);
    let server = db.run(|| UdpSocket::bind(("::", PORT)).expect("a socket"));
    let payload: Vec<u8> = (0..DATAGRAM).map(|index| index as u8).collect();
    for ends in line.ends() {
        let target = SocketAddr::new(ends.server, PORT);
        let mut open = connect(&client, ends.trusted, target, PATIENCE).expect("a connection");
        open.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut echoed = vec![0; DATAGRAM];
        for _ in 0..50 {
            open.write_all(&payload).expect("send");
            open.read_exact(&mut echoed).expect("the payload back");
            assert_eq!(echoed, payload, "the payload was changed on its way");
        }
        // A datagram is one packet, whatever the devices offload.
        let send = |source| {
            let socket = client.run(|| UdpSocket::bind((source, 0)).expect("a socket"));
            assert_eq!(socket.send_to(&payload, target).expect("send"), DATAGRAM);
        };
        let mut received = vec![0; DATAGRAM + 1];
        send(ends.stranger);
        send(ends.trusted);
        server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (count, from) = server.recv_from(&mut received).expect("the trusted datagram");
        assert_eq!((count, from.ip().to_canonical()), (DATAGRAM, ends.trusted));
        server.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        assert!(server.recv_from(&mut received).is_err(), "a stranger's datagram arrived");
    }
}

#[test]
fn the_hook_follows_the_configuration_at_a_reload_and_at_a_start() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    let mut host = Host::new(&db);
    let _echo = Echo::start(&db, PORT);
    let other = if has_tcx() { "tcx" } else { "generic" };
    for (round, mode) in ["native", other, "generic", "native", other].into_iter().enumerate() {
        let keys = format!("interfaces = [\"db0\"]\nattach = \"{mode}\"");
        host.configure(&keys, &orders("5432", &[&line]));
        match round {
            0 => host.start(),
            4 => {
                host.stop(nix::sys::signal::Signal::SIGTERM);
                host.start();
            }
            _ => reload(&host),
        }
        let status = wait_for_interface(&host, "db0");
        assert_eq!(status["mode"], mode, "{}", host.log());
        line.assert_answers(PORT, Served, Silent);
    }
}

#[test]
fn a_program_attached_before_ours_lets_nobody_in() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    let _echo = Echo::start(&db, PORT);
    let first = TcxProgram::before(&db, "db0", TCX_PASS);
    if !has_tcx() {
        let error = first.expect_err("a kernel without TCX attached a program to it");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        return;
    }
    let _first = first.expect("attach it");
    let mut host = Host::new(&db);
    let keys = "interfaces = [\"db0\"]\nattach = \"tcx\"\nbackstop = false";
    host.configure(keys, &orders("5432", &[&line]));
    host.start();
    line.assert_answers(PORT, Served, Silent);
}

#[test]
fn an_exemption_ends_with_the_configuration_that_said_so_also_over_a_restart() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    let second = Line::new((&db, "wan0"), (&client, "cl1"), 2);
    let _echo = Echo::start(&db, PORT);
    let mut host = Host::new(&db);
    let orders = orders("5432", &[&line, &second]);
    host.configure("interfaces = [\"db0\"]\nexempt_interfaces = [\"wan0\"]", &orders);
    host.start();
    second.assert_answers(PORT, Served, Served);
    host.stop(nix::sys::signal::Signal::SIGKILL);
    host.configure("interfaces = [\"db0\"]", &orders);
    host.start();
    second.assert_answers(PORT, Served, Refused);
}
