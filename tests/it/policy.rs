//! Policies made by hand: families, prefix lengths, modes, databases.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dbfw_common::{HOST, Mode, Reason, Verdict};
use dbfw_tests::{
    corpus::{CACHE, CACHE_PORT, LAST, LAST_PORT, ORDERS, OTHER_PORT, PORT, Scene},
    kernel::{Kernel, Program},
    model::Expected,
    packets::{self, Extension, IPV4, IPV6, Ip4, Ip6, MF, Tcp, padded, protocol},
    policy::{Policy, Protected, Transport, Trusted, mask},
};

use crate::corpus::expected;

/// A SYN from an address to a port.
fn syn4(source: &str, port: u16) -> Vec<u8> {
    let scene = Scene::default();
    let source = source.parse().expect("an IPv4 address");
    let segment = Tcp::syn(port).bytes(IpAddr::V4(source), scene.host4.into());
    let packet = Ip4::new(source, scene.host4).packet(protocol::TCP, &segment);
    packets::ethernet(scene.macs, &[], IPV4, &packet)
}

fn syn6(source: &str, port: u16) -> Vec<u8> {
    let scene = Scene::default();
    let source = source.parse().expect("an IPv6 address");
    let segment = Tcp::syn(port).bytes(IpAddr::V6(source), scene.host6.into());
    let packet = Ip6::new(source, scene.host6).packet(protocol::TCP, &segment);
    packets::ethernet(scene.macs, &[], IPV6, &packet)
}

fn check(kernel: &mut Kernel, frame: &[u8], verdict: Verdict, reason: Reason, database: u32) {
    for program in Program::PACKET {
        let packet = if program.is_l3() { &frame[14..] } else { frame };
        let judged = kernel.judge(program, packet);
        let wanted = Expected { verdict, reason, database };
        assert_eq!(expected(&judged), wanted, "{program:?}, {}", packets::hex(packet));
    }
}

fn trusting(nets: &[&str]) -> Policy {
    let net =
        |net: &&str| Trusted { net: net.parse().expect("a prefix"), databases: mask(&[ORDERS]) };
    Policy { trusted: nets.iter().map(net).collect(), ..Scene::default().policy() }
}

#[test]
fn the_families_do_not_look_alike() {
    let mut kernel = Kernel::load();
    let (allow, drop) = (Verdict::Allow, Verdict::Drop);
    for (trusted, source, verdict) in [
        ("32.1.0.0/16", "32.1.13.184", allow),
        ("32.1.0.0/16", "32.2.0.0", drop),
        ("32.1.0.0/16", "2001::1", drop),
        ("32.1.0.0/16", "2001:db8::1", drop),
        ("2001::/16", "2001:db8::1", allow),
        ("2001::/16", "2002::", drop),
        ("2001::/16", "32.1.13.184", drop),
        ("10.77.0.2/32", "::ffff:10.77.0.2", drop),
        ("10.77.0.2/32", "::10.77.0.2", drop),
        ("10.77.0.2/32", "a4d:2::", drop),
        ("a4d:2::/128", "10.77.0.2", drop),
        ("0.0.0.0/0", "::", drop),
        ("0.0.0.0/0", "::ffff:1.2.3.4", drop),
        ("0.0.0.0/0", "255.255.255.255", allow),
        ("0.0.0.0/0", "0.0.0.0", allow),
        ("::/0", "0.0.0.0", drop),
        ("::/0", "1.2.3.4", drop),
        ("::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", allow),
        ("::/0", "::", allow),
    ] {
        kernel.install(&trusting(&[trusted]));
        let six = source.contains(':');
        let frame = if six { syn6(source, PORT) } else { syn4(source, PORT) };
        let reason = if verdict == allow { Reason::Trusted } else { Reason::Untrusted };
        check(&mut kernel, &frame, verdict, reason, ORDERS);
    }
}

#[test]
fn every_prefix_length_ends_where_it_should() {
    prefix_lengths_end_where_they_should(Kernel::load());
    prefix_lengths_end_where_they_should(Kernel::load_large());
}

fn prefix_lengths_end_where_they_should(mut kernel: Kernel) {
    for length in 1..=32u32 {
        let first = 0xac1f_5aa5u32 & u32::MAX << (32 - length);
        let last = first | u32::MAX.checked_shr(length).unwrap_or(0);
        let address = |bits: u32| Ipv4Addr::from_bits(bits).to_string();
        kernel.install(&trusting(&[&format!("{}/{length}", address(first))]));
        for (bits, inside) in [
            (first, true),
            (last, true),
            (first.wrapping_sub(1), false),
            (last.wrapping_add(1), false),
        ] {
            let judged = kernel.judge(Program::Xdp, &syn4(&address(bits), PORT));
            let wanted = if inside { Verdict::Allow } else { Verdict::Drop };
            // Loopback is no ordinary source.
            if judged.reason != Reason::Martian {
                assert_eq!(judged.verdict, wanted, "{} against /{length}", address(bits));
            }
        }
    }
    for length in 1..=128u32 {
        let any = 0xfd31_5aa5_1234_5678_9abc_def0_5aa5_a55au128;
        let first = any & u128::MAX << (128 - length);
        let last = first | u128::MAX.checked_shr(length).unwrap_or(0);
        let address = |bits: u128| Ipv6Addr::from_bits(bits).to_string();
        kernel.install(&trusting(&[&format!("{}/{length}", address(first))]));
        for (bits, inside) in [
            (first, true),
            (last, true),
            (first.wrapping_sub(1), false),
            (last.wrapping_add(1), false),
        ] {
            let judged = kernel.judge(Program::Tcx, &syn6(&address(bits), PORT));
            let wanted = if inside { Verdict::Allow } else { Verdict::Drop };
            assert_eq!(judged.verdict, wanted, "{} against /{length}", address(bits));
        }
    }
}

#[test]
fn databases_differ_in_mode_and_the_host_is_as_strict_as_the_strictest() {
    let mut kernel = Kernel::load();
    let database = |id, mode, port| Protected { id, mode, ports: vec![(Transport::Tcp, port)] };
    let mut policy = Policy {
        databases: vec![
            database(ORDERS, Mode::Enforce, PORT),
            database(CACHE, Mode::Observe, CACHE_PORT),
            database(LAST, Mode::Off, LAST_PORT),
        ],
        ..Policy::default()
    };
    let scene = Scene::default();
    let hidden = {
        let header = Ip4 { fragment: MF, ..Ip4::new(scene.stranger4, scene.host4) };
        packets::ethernet(scene.macs, &[], IPV4, &header.packet(protocol::TCP, &[]))
    };
    let stranger = scene.stranger4.to_string();
    let (drop, observe, pass) = (Verdict::Drop, Verdict::Observe, Verdict::Pass);

    kernel.install(&policy);
    check(&mut kernel, &syn4(&stranger, PORT), drop, Reason::Untrusted, ORDERS);
    check(&mut kernel, &syn4(&stranger, CACHE_PORT), observe, Reason::Untrusted, CACHE);
    check(&mut kernel, &syn4(&stranger, LAST_PORT), pass, Reason::OtherPort, HOST);
    check(&mut kernel, &syn4(&stranger, OTHER_PORT), pass, Reason::OtherPort, HOST);
    check(&mut kernel, &padded(&hidden), drop, Reason::PortHidden, HOST);

    policy.databases[0].mode = Mode::Off;
    kernel.install(&policy);
    check(&mut kernel, &syn4(&stranger, PORT), pass, Reason::OtherPort, HOST);
    check(&mut kernel, &padded(&hidden), observe, Reason::PortHidden, HOST);

    policy.databases[1].mode = Mode::Off;
    kernel.install(&policy);
    check(&mut kernel, &syn4(&stranger, CACHE_PORT), pass, Reason::OtherPort, HOST);
    check(&mut kernel, &padded(&hidden), pass, Reason::NotJudged, HOST);
}

#[test]
fn all_64_databases_are_told_apart() {
    let mut kernel = Kernel::load();
    let port = |id: u32| 20_000 + id as u16;
    let source = |id: u32| format!("192.0.2.{id}");
    let policy = Policy {
        databases: (1..=64)
            .map(|id| Protected {
                id,
                mode: Mode::Enforce,
                ports: vec![(Transport::Tcp, port(id)), (Transport::Udp, port(id))],
            })
            .collect(),
        trusted: (1..=64)
            .map(|id| Trusted {
                net: format!("{}/32", source(id)).parse().expect("a prefix"),
                databases: mask(&[id]),
            })
            .collect(),
        drop_fragments: false,
    };
    kernel.install(&policy);
    for client in 1..=64 {
        for database in 1..=64 {
            let judged = kernel.judge(Program::Xdp, &syn4(&source(client), port(database)));
            let (verdict, reason) = if client == database {
                (Verdict::Allow, Reason::Trusted)
            } else {
                (Verdict::Drop, Reason::Untrusted)
            };
            assert_eq!(expected(&judged), Expected { verdict, reason, database });
        }
    }
}

#[test]
fn a_prefix_added_or_removed_takes_effect_at_the_next_packet() {
    let mut kernel = Kernel::load();
    kernel.install(&trusting(&[]));
    for (net, frame) in [
        ("198.51.100.7/32", syn4("198.51.100.7", PORT)),
        ("198.51.0.0/16", syn4("198.51.100.7", PORT)),
        ("2001:db8::7/128", syn6("2001:db8::7", PORT)),
        ("2001:db8::/32", syn6("2001:db8::7", PORT)),
    ] {
        let net = net.parse().expect("a prefix");
        check(&mut kernel, &frame, Verdict::Drop, Reason::Untrusted, ORDERS);
        kernel.trust(net, mask(&[ORDERS, LAST]), 100);
        check(&mut kernel, &frame, Verdict::Allow, Reason::Trusted, ORDERS);
        assert_eq!(kernel.judge(Program::Xdp, &frame).rule, 100);
        kernel.untrust(net);
        check(&mut kernel, &frame, Verdict::Drop, Reason::Untrusted, ORDERS);
    }
    let net = "203.0.113.0/24".parse().expect("a prefix");
    kernel.trust(net, mask(&[ORDERS, CACHE, LAST]), 40);
    for (port, rule) in [(PORT, 40), (CACHE_PORT, 41), (LAST_PORT, 42)] {
        assert_eq!(kernel.judge(Program::Xdp, &syn4("203.0.113.9", port)).rule, rule);
    }
}

/// The limit of the walk, from both sides.
#[test]
fn eight_extension_headers_are_walked_and_the_ninth_hides_the_port() {
    let scene = Scene::default();
    let mut kernel = Kernel::load();
    kernel.install(&scene.policy());
    for number in 0..=12 {
        let chain = vec![Extension::options(protocol::DESTINATION, 0); number];
        let header = Ip6 { chain, ..Ip6::new(scene.stranger6, scene.host6) };
        let segment = Tcp::syn(OTHER_PORT).bytes(scene.stranger6.into(), scene.host6.into());
        let packet = header.packet(protocol::TCP, &segment);
        let frame = packets::ethernet(scene.macs, &[], IPV6, &packet);
        let (verdict, reason) = if number <= 8 {
            (Verdict::Pass, Reason::OtherPort)
        } else {
            (Verdict::Drop, Reason::PortHidden)
        };
        check(&mut kernel, &frame, verdict, reason, HOST);
    }
}
