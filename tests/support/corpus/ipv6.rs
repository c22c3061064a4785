//! Shapes of IPv6: extension headers, fragments, lengths, addresses, and what it carries.

use std::net::Ipv6Addr;

use dbfw_common::{HOST, Reason};

use super::{
    CACHE, CACHE_PORT, LAST, LAST_PORT, ORDERS, OTHER_PORT, PORT, SECOND_PORT, Table, allowed, cut,
    not_judged, other_port, refused, syn6, udp6, untrusted,
};
use crate::packets::{Extension, IPV6, Ip6, Tcp, protocol};

pub(super) fn add(table: &mut Table) {
    add_chains(table);
    add_deep_chains(table);
    add_broken_chains(table);
    add_fragments(table);
    add_later_fragments(table);
    add_lengths(table);
    add_addresses(table);
    add_databases(table);
    add_other_protocols(table);
    add_jumbo(table);
}

fn hop_by_hop(units: u8) -> Extension {
    Extension::options(protocol::HOP_BY_HOP, units)
}

fn destination(units: u8) -> Extension {
    Extension::options(protocol::DESTINATION, units)
}

fn atomic() -> Extension {
    Extension::fragment(0, false)
}

fn first() -> Extension {
    Extension::fragment(0, true)
}

fn add_chains(table: &mut Table) {
    let chains = [
        ("hop-by-hop", vec![hop_by_hop(0)]),
        ("destination options", vec![destination(0)]),
        ("hop-by-hop, destination options", vec![hop_by_hop(0), destination(1)]),
        ("hop-by-hop that is not the first", vec![destination(0), hop_by_hop(0)]),
        ("destination options of 2048 bytes", vec![destination(255)]),
        ("destination options of 72 bytes", vec![destination(8)]),
        ("routing type 0", vec![Extension::routing(0, 2)]),
        ("routing type 2", vec![Extension::routing(2, 2)]),
        ("routing type 4", vec![Extension::routing(4, 2)]),
        ("routing type 253", vec![Extension::routing(253, 0)]),
        ("authentication of 24 bytes", vec![Extension::authentication(4)]),
        ("authentication of 12 bytes", vec![Extension::authentication(1)]),
        ("authentication of 8 bytes", vec![Extension::authentication(0)]),
        ("mobility", vec![Extension::plain(protocol::MOBILITY)]),
        ("host identity", vec![Extension::plain(protocol::HOST_IDENTITY)]),
        ("shim6", vec![Extension::plain(protocol::SHIM6)]),
        ("atomic fragment", vec![atomic()]),
        ("atomic fragment, reserved bits set", vec![Extension::fragment_raw(0, 6)]),
        ("atomic fragment, reserved byte 5", vec![Extension::fragment_raw(5, 0)]),
        ("atomic fragment, reserved byte 255", vec![Extension::fragment_raw(255, 0)]),
        ("hop-by-hop, atomic fragment", vec![hop_by_hop(0), atomic()]),
        ("destination options, atomic fragment", vec![destination(0), atomic()]),
        ("atomic fragment, destination options", vec![atomic(), destination(0)]),
        ("two atomic fragments", vec![atomic(), atomic()]),
        (
            "one of each",
            vec![
                hop_by_hop(1),
                destination(2),
                Extension::routing(2, 2),
                atomic(),
                Extension::authentication(4),
                destination(0),
            ],
        ),
        ("2 destination options", vec![destination(0); 2]),
        ("8 destination options", vec![destination(0); 8]),
        ("8 atomic fragments", vec![atomic(); 8]),
    ];
    for (name, chain) in chains {
        for who in table.ordinary6() {
            let header = Ip6 { chain: chain.clone(), ..table.ip6(who.source) };
            let frame = table.frame6(&header, protocol::TCP, &syn6(&header, who.port));
            table.add(format!("v6 {name}, {}", who.label), frame, who.expected);
        }
        let header = Ip6 { chain, ..table.ip6(table.scene.stranger6) };
        let frame = table.frame6(&header, protocol::UDP, &udp6(&header, CACHE_PORT));
        table.add(format!("v6 udp, {name}"), frame, untrusted(CACHE));
        let frame = table.frame6(&header, protocol::ICMPV6, &[128, 0, 0, 0, 0, 0, 0, 0]);
        table.add(format!("v6 echo, {name}"), frame, not_judged());
    }
}

fn add_deep_chains(table: &mut Table) {
    for number in [9, 20, 150] {
        for who in table.ordinary6() {
            let trusted = who.label == "trusted";
            let hidden = if trusted { allowed(HOST) } else { refused(Reason::PortHidden) };
            let chain = vec![destination(0); number];
            let header = Ip6 { chain, ..table.ip6(who.source) };
            let frame = table.frame6(&header, protocol::TCP, &syn6(&header, who.port));
            table.add(format!("v6 {number} extension headers, {}", who.label), frame, hidden);
        }
    }
}

fn add_broken_chains(table: &mut Table) {
    let malformed = refused(Reason::Malformed);
    for who in table.ordinary6() {
        let plain = table.ip6(who.source);
        let syn = syn6(&plain, who.port);
        let mut long = destination(0);
        long.bytes[1] = 200;
        let header = Ip6 { chain: vec![long.clone()], ..plain.clone() };
        let frame = table.frame6(&header, protocol::TCP, &syn);
        let name = format!("v6 extension header longer than the packet, {}", who.label);
        table.add(name, frame, malformed);
        let frame = table.frame6(&header, protocol::ICMPV6, &syn);
        let name = format!("v6 echo behind a header longer than the packet, {}", who.label);
        table.add(name, frame, not_judged());
        let header = Ip6 { chain: vec![long, destination(0)], ..plain.clone() };
        let frame = table.frame6(&header, protocol::TCP, &syn);
        table.add(format!("v6 chain beyond the packet, {}", who.label), frame, malformed);
        for length in [1, 4, 7] {
            let frame = table.frame6(&plain, protocol::DESTINATION, &[6; 7][..length]);
            let name = format!("v6 extension header of {length} bytes, {}", who.label);
            table.add(name, frame, malformed);
        }
        // The chain ends at the payload length, though the frame goes on.
        let header = Ip6 { chain: vec![destination(0)], payload: Some(6), ..plain.clone() };
        let frame = table.frame6(&header, protocol::TCP, &syn);
        let name = format!("v6 extension header beyond the payload length, {}", who.label);
        table.add(name, frame, malformed);
        let header = Ip6 { chain: vec![destination(0)], payload: Some(8), ..plain.clone() };
        let frame = table.frame6(&header, protocol::TCP, &syn);
        let name = format!("v6 ports beyond the payload length, {}", who.label);
        table.add(name, frame, malformed);
        for version in [0, 4, 5, 7, 15] {
            let header = Ip6 { version, ..plain.clone() };
            let frame = table.frame6(&header, protocol::TCP, &syn);
            table.add(format!("v6 type, version {version}, {}", who.label), frame, malformed);
        }
    }
    for length in [0, 1, 20, 39] {
        let header = Ip6 { payload: Some(2), ..table.ip6(table.scene.stranger6) };
        let frame = table.ethernet(IPV6, &header.packet(protocol::TCP, &[])[..length]);
        // Padding makes the longer ones a whole header with half a port behind it.
        table.add(format!("v6, {length} bytes behind the type"), frame, malformed);
    }
}

fn add_fragments(table: &mut Table) {
    for who in table.ordinary6() {
        let trusted = who.label == "trusted";
        let hidden = if trusted { allowed(HOST) } else { refused(Reason::PortHidden) };
        let plain = table.ip6(who.source);
        let syn = syn6(&plain, who.port);
        let add = |table: &mut Table, name: &str, chain: Vec<Extension>, bytes: &[u8], expected| {
            let header = Ip6 { chain, ..plain.clone() };
            let frame = table.frame6(&header, protocol::TCP, bytes);
            table.add(format!("v6 {name}, {}", who.label), frame, expected);
        };
        add(table, "first fragment, whole header", vec![first()], &syn, who.expected);
        for length in [4, 8, 16] {
            let name = format!("first fragment of {length} bytes");
            add(table, &name, vec![first()], &syn[..length], who.expected);
        }
        for length in [0, 1, 2, 3] {
            let name = format!("first fragment of {length} bytes");
            add(table, &name, vec![first()], &syn[..length], hidden);
        }
        let chain = vec![first(), destination(0), destination(0)];
        add(table, "first fragment of extension headers alone", chain, &[], hidden);
        let chain = vec![first(), destination(10)];
        add(table, "first fragment, port in the second", chain, &[], hidden);
        let chain = vec![hop_by_hop(0), destination(0), first(), destination(0)];
        add(table, "first fragment behind a chain, port in the second", chain, &[], hidden);
        let chain = vec![first(), destination(0)];
        add(table, "first fragment, options, then ports", chain, &syn, who.expected);
        let chain = vec![first(), first()];
        add(table, "first fragment in a first fragment", chain, &syn, who.expected);
        let chain = vec![first(), atomic()];
        add(table, "atomic fragment in a first fragment", chain, &syn[..2], hidden);
        let chain = vec![atomic(), first()];
        add(table, "first fragment in an atomic fragment", chain, &syn[..2], hidden);
        let chain = [vec![first()], vec![destination(0); 8]].concat();
        add(table, "first fragment and 8 headers behind it", chain, &syn, hidden);
        let rewritten = syn6(&plain, OTHER_PORT);
        let name = "first fragment, duplicate to another port";
        add(table, name, vec![first()], &rewritten[..8], other_port());

        // Three destination options, cut at 16 bytes: the shape that passes the kernel's
        // own check of first fragments.
        let whole = [destination(0).bytes, destination(0).bytes, destination(0).bytes].concat();
        let mut cut_short = whole[..16].to_vec();
        (cut_short[0], cut_short[8]) = (protocol::DESTINATION, protocol::DESTINATION);
        let header = Ip6 { chain: vec![first()], ..plain.clone() };
        let frame = table.frame6(&header, protocol::DESTINATION, &cut_short);
        table.add(format!("v6 3 options cut at 16, {}", who.label), frame, hidden);
        let frame = table.frame6(&header, protocol::DESTINATION, &cut_short[..4]);
        table.add(format!("v6 first fragment cut in a header, {}", who.label), frame, hidden);
        let frame = table.frame6(&header, protocol::ICMPV6, &[135, 0, 0, 0, 0, 0, 0, 0]);
        let name = format!("v6 first fragment of neighbour discovery, {}", who.label);
        table.add(name, frame, not_judged());
        let header = Ip6 { payload: Some(10), ..header };
        let frame = table.frame6(&header, protocol::TCP, &syn);
        let name = format!("v6 first fragment, ports behind its length, {}", who.label);
        table.add(name, frame, hidden);
        let beyond = if who.port == OTHER_PORT { other_port() } else { cut(ORDERS) };
        let header = Ip6 { payload: Some(1400), ..header };
        let frame = table.frame6(&header, protocol::TCP, &syn);
        table.add(format!("v6 first fragment that promises more, {}", who.label), frame, beyond);
    }
}

fn add_later_fragments(table: &mut Table) {
    for who in table.ordinary6() {
        let trusted = who.label == "trusted";
        let plain = table.ip6(who.source);
        let syn = syn6(&plain, who.port);
        for (name, chain, bytes) in [
            ("second fragment", vec![Extension::fragment(1, true)], &syn[8..16]),
            ("last fragment", vec![Extension::fragment(2, false)], &syn[16..]),
            ("fragment at the largest offset", vec![Extension::fragment(0x1fff, true)], &syn[..]),
            ("later fragment like a header", vec![Extension::fragment(1, false)], &syn[..]),
            ("empty later fragment", vec![Extension::fragment(9, false)], &syn[..0]),
            ("options, fragment", vec![hop_by_hop(0), Extension::fragment(1, false)], &syn[..]),
            ("fragment in an atomic one", vec![atomic(), Extension::fragment(1, true)], &syn[..]),
            ("fragment in a first one", vec![first(), Extension::fragment(1, true)], &syn[..]),
        ] {
            let header = Ip6 { chain, ..plain.clone() };
            let frame = table.frame6(&header, protocol::TCP, bytes);
            table.add_later_fragment(format!("v6 {name}, {}", who.label), frame, trusted);
        }
        // The next header of a later fragment means nothing.
        let header = Ip6 { chain: vec![Extension::fragment(3, false)], ..plain };
        let frame = table.frame6(&header, protocol::DESTINATION, &syn);
        let name = format!("v6 later fragment, another next header, {}", who.label);
        table.add_later_fragment(name, frame, trusted);
    }
    let header =
        Ip6 { chain: vec![Extension::fragment(3, false)], ..table.ip6(Ipv6Addr::LOCALHOST) };
    let frame = table.frame6(&header, protocol::UDP, &[0; 16]);
    table.add("v6 later fragment from ::1", frame, refused(Reason::Martian));
}

fn add_lengths(table: &mut Table) {
    for who in table.ordinary6() {
        let plain = table.ip6(who.source);
        let syn = syn6(&plain, who.port);
        let beyond = if who.port == OTHER_PORT { other_port() } else { cut(ORDERS) };
        let malformed = refused(Reason::Malformed);
        for (payload, expected) in [
            (0, who.expected),
            (1, malformed),
            (3, malformed),
            (4, who.expected),
            (19, who.expected),
            (21, beyond),
            (1400, beyond),
            (65_535, beyond),
        ] {
            let header = Ip6 { payload: Some(payload), ..plain.clone() };
            let frame = table.frame6(&header, protocol::TCP, &syn);
            table.add(format!("v6 payload length {payload}, {}", who.label), frame, expected);
        }
        let frame = [table.frame6(&plain, protocol::TCP, &syn), vec![0xee; 40]].concat();
        table.add(format!("v6 40 bytes of trailer, {}", who.label), frame, who.expected);
        let echo = table.frame6(&plain, protocol::ICMPV6, &[128, 0, 0, 0, 0, 0, 0, 0]);
        let frame = [echo, plain.packet(protocol::TCP, &syn)].concat();
        table.add(format!("v6 echo, {} in its trailer", who.label), frame, not_judged());
        for (name, header) in [
            ("hop limit 0", Ip6 { hops: 0, ..plain.clone() }),
            ("flow label", Ip6 { flow: 0xf_ffff, ..plain.clone() }),
            ("traffic class", Ip6 { class: 0xff, ..plain.clone() }),
        ] {
            let frame = table.frame6(&header, protocol::TCP, &syn);
            table.add(format!("v6 {name}, {}", who.label), frame, who.expected);
        }
    }
}

fn add_addresses(table: &mut Table) {
    for source in [
        "::",
        "::2",
        "::ffff:10.77.0.2",
        "::10.77.0.2",
        "64:ff9b::10.77.0.2",
        "2002:a4d:2::1",
        "a4d:2::",
        "fe80::1",
        "ff02::1",
        "fd77::1",
        "fd77:0:0:1::2",
        "2001:db8:1:ffff:ffff:ffff:ffff:ffff",
        "2001:db8:3::",
        "1::",
        "0:0:0:1::1",
        "0:0:0:0:1::1",
    ] {
        let address = source.parse().unwrap_or_else(|error| panic!("{source}: {error}"));
        let header = table.ip6(address);
        let frame = table.frame6(&header, protocol::TCP, &syn6(&header, PORT));
        table.add(format!("v6 source {source}"), frame, untrusted(ORDERS));
        let frame = table.frame6(&header, protocol::TCP, &syn6(&header, OTHER_PORT));
        table.add(format!("v6 source {source}, other port"), frame, other_port());
    }
    let martian = refused(Reason::Martian);
    for port in [PORT, OTHER_PORT] {
        let from = table.ip6(Ipv6Addr::LOCALHOST);
        let to = Ip6::new(table.scene.trusted6, Ipv6Addr::LOCALHOST);
        for (name, header) in [("source", from), ("destination", to)] {
            let frame = table.frame6(&header, protocol::TCP, &syn6(&header, port));
            table.add(format!("v6 {name} ::1, port {port}"), frame, martian);
            let header = Ip6 { chain: vec![destination(0)], ..header };
            let frame = table.frame6(&header, protocol::TCP, &syn6(&header, port));
            table.add(format!("v6 {name} ::1, options, port {port}"), frame, martian);
        }
    }
    let multicast = Ip6::new(table.scene.stranger6, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb));
    let frame = table.frame6(&multicast, protocol::UDP, &udp6(&multicast, 5353));
    table.add("v6 multicast DNS", frame, other_port());
    let frame = table.frame6(&multicast, protocol::UDP, &udp6(&multicast, CACHE_PORT));
    table.add("v6 multicast to a database's port", frame, untrusted(CACHE));
}

fn add_databases(table: &mut Table) {
    let (trusted, stranger) = (table.scene.trusted6, table.scene.stranger6);
    let network = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 9);
    let nested = Ipv6Addr::new(0x2001, 0xdb8, 2, 0x8000, 0, 0, 0, 9);
    let last_only = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 7);
    for (name, source, port, expected) in [
        ("host to the second port", trusted, SECOND_PORT, allowed(ORDERS)),
        ("stranger to the second port", stranger, SECOND_PORT, untrusted(ORDERS)),
        ("host to a database that does not trust it", trusted, CACHE_PORT, untrusted(CACHE)),
        ("network to one of its databases", network, CACHE_PORT, allowed(CACHE)),
        ("network to what only the nested one may", network, LAST_PORT, untrusted(LAST)),
        ("nested network to its own database", nested, LAST_PORT, allowed(LAST)),
        ("nested network to the outer's database", nested, PORT, allowed(ORDERS)),
        ("host of the last database", last_only, LAST_PORT, allowed(LAST)),
        ("host of the last database to the first", last_only, PORT, untrusted(ORDERS)),
    ] {
        let header = table.ip6(source);
        let frame = table.frame6(&header, protocol::TCP, &syn6(&header, port));
        table.add(format!("v6 {name}"), frame, expected);
    }
    for (name, source, port, expected) in [
        ("udp to a port only TCP has", stranger, PORT, other_port()),
        ("udp from a host of another database", trusted, CACHE_PORT, untrusted(CACHE)),
        ("udp from a trusted network", network, CACHE_PORT, allowed(CACHE)),
    ] {
        let header = table.ip6(source);
        let frame = table.frame6(&header, protocol::UDP, &udp6(&header, port));
        table.add(format!("v6 {name}"), frame, expected);
    }
}

fn add_other_protocols(table: &mut Table) {
    let header = table.ip6(table.scene.stranger6);
    let port_like = vec![0, 0, 0x15, 0x38, 0, 0, 0, 0];
    for (name, number, payload) in [
        ("router solicitation", protocol::ICMPV6, vec![133, 0, 0, 0, 0, 0, 0, 0]),
        ("router advertisement", protocol::ICMPV6, vec![134, 0, 0, 0, 64, 0, 0, 0]),
        ("neighbour solicitation", protocol::ICMPV6, vec![135, 0, 0, 0, 0, 0, 0, 0]),
        ("packet too big", protocol::ICMPV6, vec![2, 0, 0, 0, 0, 0, 5, 0]),
        ("echo", protocol::ICMPV6, vec![128, 0, 0, 0, 0, 0, 0, 0]),
        ("no next header", protocol::NO_NEXT, port_like.clone()),
        ("nothing at all", protocol::NO_NEXT, Vec::new()),
        ("ESP", protocol::ESP, port_like.clone()),
        ("OSPF", protocol::OSPF, port_like.clone()),
        ("SCTP to the database's number", protocol::SCTP, port_like.clone()),
        ("GRE", protocol::GRE, port_like.clone()),
        ("4in6", protocol::IPIP, vec![0x45; 40]),
        ("6in6", protocol::IPV6, vec![0x60; 60]),
        ("experiment", protocol::EXPERIMENT, port_like.clone()),
        ("protocol 255", 255, port_like),
    ] {
        let frame = table.frame6(&header, number, &payload);
        table.add(format!("v6 {name}"), frame, not_judged());
    }
    for (name, port) in [("VXLAN", 4789), ("WireGuard", 51_820), ("DNS", 53), ("DHCPv6", 547)] {
        let frame = table.frame6(&header, protocol::UDP, &udp6(&header, port));
        table.add(format!("v6 {name}"), frame, other_port());
    }
}

/// Frames that no page holds: the program sees them in fragments.
fn add_jumbo(table: &mut Table) {
    for who in table.ordinary6() {
        let plain = table.ip6(who.source);
        let tcp = Tcp { flags: 0x18, data: vec![0x51; 8_900], ..Tcp::syn(who.port) };
        let segment = tcp.bytes(plain.source.into(), plain.destination.into());
        let frame = table.frame6(&plain, protocol::TCP, &segment);
        table.add(format!("v6 jumbo frame, {}", who.label), frame, who.expected);
        let tcp = Tcp { data: vec![0x51; 4_200], ..tcp };
        let segment = tcp.bytes(plain.source.into(), plain.destination.into());
        let chain = vec![destination(255), destination(255)];
        let header = Ip6 { chain, ..plain.clone() };
        let frame = table.frame6(&header, protocol::TCP, &segment);
        let name = format!("v6 jumbo frame, ports beyond a page, {}", who.label);
        table.add(name, frame, who.expected);
        let beyond = if who.port == OTHER_PORT { other_port() } else { cut(ORDERS) };
        let payload = Some(segment.len() as u16 + 1);
        let header = Ip6 { payload, ..plain.clone() };
        let frame = table.frame6(&header, protocol::TCP, &segment);
        table.add(format!("v6 jumbo frame, one byte short, {}", who.label), frame, beyond);
        let chain = vec![Extension::jumbo(segment.len() as u32 + 8)];
        let header = Ip6 { chain, payload: Some(0), ..plain };
        let frame = table.frame6(&header, protocol::TCP, &segment);
        table.add(format!("v6 jumbogram, {}", who.label), frame, who.expected);
    }
}
