//! Shapes of IPv4: options, lengths, fragments, addresses, and what it carries.

use std::net::Ipv4Addr;

use dbfw_common::{HOST, Reason};

use super::{
    CACHE, CACHE_PORT, LAST, LAST_PORT, ORDERS, OTHER_PORT, PORT, SECOND_PORT, Table, allowed, cut,
    not_judged, other_port, refused, syn4, tcp4, udp4, untrusted,
};
use crate::packets::{self, DF, EVIL, IPV4, Ip4, MF, Tcp, protocol};

pub(super) fn add(table: &mut Table) {
    add_options(table);
    add_bad_headers(table);
    add_lengths(table);
    add_fragments(table);
    add_addresses(table);
    add_ordinary_oddities(table);
    add_databases(table);
    add_other_protocols(table);
    add_jumbo(table);
}

fn add_options(table: &mut Table) {
    let record_route = [&[7, 39, 4][..], &[0; 36], &[0]].concat();
    let timestamp = [&[68, 36, 5, 0][..], &[0; 32]].concat();
    let nops = vec![1; 40];
    for (name, options) in [
        ("4 bytes of NOP", vec![1; 4]),
        ("40 bytes of NOP", nops),
        ("end of options", vec![0; 8]),
        ("record route", record_route),
        ("timestamp", timestamp),
        ("router alert", vec![148, 4, 0, 0]),
        ("unknown option", vec![0x5e, 4, 0, 0]),
        ("loose source route", vec![131, 7, 4, 10, 77, 0, 1, 0]),
        ("strict source route", vec![137, 7, 4, 10, 77, 0, 1, 0]),
        ("option with length 0", vec![0x5e, 0, 0, 0]),
    ] {
        for who in table.ordinary4() {
            let header = Ip4 { options: options.clone(), ..table.ip4(who.source) };
            let frame = table.frame4(&header, protocol::TCP, &syn4(&header, who.port));
            table.add(format!("v4 option, {name}, {}", who.label), frame, who.expected);
        }
    }
}

fn add_bad_headers(table: &mut Table) {
    let malformed = refused(Reason::Malformed);
    for who in table.ordinary4() {
        let plain = table.ip4(who.source);
        let syn = syn4(&plain, who.port);
        for ihl in [0, 1, 4] {
            let header = Ip4 { ihl: Some(ihl), ..plain.clone() };
            let frame = table.frame4(&header, protocol::TCP, &syn);
            table.add(format!("v4, header length {ihl}, {}", who.label), frame, malformed);
        }
        let header = Ip4 { ihl: Some(15), ..plain.clone() };
        let frame = table.frame4(&header, protocol::TCP, &syn);
        table.add(format!("v4, header longer than the packet, {}", who.label), frame, malformed);
        for version in [0, 5, 6, 15] {
            let header = Ip4 { version, ..plain.clone() };
            let frame = table.frame4(&header, protocol::TCP, &syn);
            table.add(format!("v4 type, version {version}, {}", who.label), frame, malformed);
        }
        for total in [1, 19] {
            let header = Ip4 { total: Some(total), ..plain.clone() };
            let frame = table.frame4(&header, protocol::TCP, &syn);
            table.add(format!("v4, total length {total}, {}", who.label), frame, malformed);
        }
        let header = Ip4 { options: vec![1; 8], total: Some(24), ..plain.clone() };
        let frame = table.frame4(&header, protocol::TCP, &syn);
        let name = format!("v4, total length inside the options, {}", who.label);
        table.add(name, frame, malformed);
    }
    for length in [0, 10, 19] {
        let header = table.ip4(table.scene.stranger4);
        let packet = header.packet(protocol::TCP, &[]);
        let frame = table.ethernet(IPV4, &packet[..length]);
        // Padded, these are a header of zeros and headers without room for ports.
        table.add(format!("v4, {length} bytes behind the type"), frame, malformed);
    }
}

fn add_lengths(table: &mut Table) {
    for who in table.ordinary4() {
        let plain = table.ip4(who.source);
        let syn = syn4(&plain, who.port);
        let with_total = |total| Ip4 { total: Some(total), ..plain.clone() };
        // TCP without visible ports, however much of the frame looks like them.
        for total in [20, 21, 22, 23] {
            let frame = table.frame4(&with_total(total), protocol::TCP, &syn);
            let name = format!("v4, ports behind total length {total}, {}", who.label);
            table.add(name, frame, refused(Reason::Malformed));
        }
        for total in [24, 28, 39] {
            let frame = table.frame4(&with_total(total), protocol::TCP, &syn);
            table.add(format!("v4, total length {total}, {}", who.label), frame, who.expected);
        }
        let frame = table.frame4(&with_total(0), protocol::TCP, &syn);
        table.add(format!("v4, total length 0, {}", who.label), frame, who.expected);
        let beyond = if who.port == OTHER_PORT { other_port() } else { cut(ORDERS) };
        for total in [100, 1400, 65_535] {
            let frame = table.frame4(&with_total(total), protocol::TCP, &syn);
            table.add(format!("v4, total length {total}, {}", who.label), frame, beyond);
        }
        let header = Ip4 { options: vec![1; 8], total: Some(1400), ..plain.clone() };
        let frame = table.frame4(&header, protocol::TCP, &syn);
        table.add(format!("v4, options, total length 1400, {}", who.label), frame, beyond);
        let frame = [table.frame4(&plain, protocol::TCP, &syn), vec![0xee; 40]].concat();
        table.add(format!("v4, 40 bytes of trailer, {}", who.label), frame, who.expected);
        // A complete packet, and a second one in what should be padding.
        let icmp = table.frame4(&plain, protocol::ICMP, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
        let frame = [icmp, plain.packet(protocol::TCP, &syn)].concat();
        table.add(format!("v4 echo, {} in its trailer", who.label), frame, not_judged());
    }
}

fn add_fragments(table: &mut Table) {
    for who in table.ordinary4() {
        let trusted = who.label == "trusted";
        let hidden = if trusted { allowed(HOST) } else { refused(Reason::PortHidden) };
        let plain = table.ip4(who.source);
        let syn = syn4(&plain, who.port);
        let with = |fragment| Ip4 { fragment, ..plain.clone() };
        let add = |table: &mut Table, name: &str, header: Ip4, bytes: &[u8], expected| {
            let frame = table.frame4(&header, protocol::TCP, bytes);
            table.add(format!("v4 {name}, {}", who.label), frame, expected);
        };
        add(table, "first fragment, whole header", with(MF), &syn, who.expected);
        for length in [4, 8, 16] {
            let name = format!("first fragment of {length} bytes");
            add(table, &name, with(MF), &syn[..length], who.expected);
        }
        for length in [0, 1, 2, 3] {
            let name = format!("first fragment of {length} bytes");
            add(table, &name, with(MF), &syn[..length], hidden);
        }
        let options = Ip4 { options: vec![1; 40], ..with(MF) };
        add(table, "first fragment, 40 bytes of options", options, &syn[..8], who.expected);
        let options = Ip4 { options: vec![1; 40], ..with(MF) };
        add(table, "empty first fragment, 40 bytes of options", options, &[], hidden);
        let total = Ip4 { total: Some(22), ..with(MF) };
        add(table, "first fragment, ports behind its total length", total, &syn, hidden);
        let beyond = if who.port == OTHER_PORT { other_port() } else { cut(ORDERS) };
        let total = Ip4 { total: Some(1400), ..with(MF) };
        add(table, "first fragment that promises more", total, &syn, beyond);
        add(table, "first fragment with DF", with(MF | DF), &syn, who.expected);
        add(table, "first fragment with the evil bit", with(MF | EVIL), &syn[..8], who.expected);

        // The same offset twice, with another port: each copy is judged by its own.
        let rewritten = syn4(&plain, OTHER_PORT);
        let name = "first fragment, duplicate to another port";
        add(table, name, with(MF), &rewritten[..8], other_port());

        for (name, fragment, bytes) in [
            ("second fragment of 8", MF | 1, &syn[8..16]),
            ("last fragment", 2, &syn[16..]),
            ("only fragment at offset 1", 1, &syn[8..]),
            ("fragment at the largest offset", 0x1fff, &syn[..8]),
            ("fragment at the largest offset, more follow", MF | 0x1fff, &syn[..8]),
            ("later fragment that looks like a header", 5, &syn[..]),
            ("empty later fragment", MF | 1, &syn[..0]),
        ] {
            let frame = table.frame4(&with(fragment), protocol::TCP, bytes);
            table.add_later_fragment(format!("v4 {name}, {}", who.label), frame, trusted);
        }
        let frame = table.frame4(&with(MF), protocol::ICMP, &[8, 0]);
        table.add(format!("v4 first fragment of ICMP, {}", who.label), frame, not_judged());
        let frame = table.frame4(&with(3), protocol::ICMP, &[0; 16]);
        table.add_later_fragment(
            format!("v4 later fragment of ICMP, {}", who.label),
            frame,
            trusted,
        );
        let frame = table.frame4(&with(185), protocol::UDP, &[0; 64]);
        table.add_later_fragment(
            format!("v4 later fragment of UDP, {}", who.label),
            frame,
            trusted,
        );
    }
    for loopback in [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 9, 9, 9)] {
        let header = Ip4 { fragment: 7, ..table.ip4(loopback) };
        let frame = table.frame4(&header, protocol::UDP, &[0; 8]);
        let name = format!("v4 later fragment from {loopback}");
        table.add(name, frame, refused(Reason::Martian));
    }
}

fn add_addresses(table: &mut Table) {
    let host = table.scene.host4;
    for (name, source) in [
        ("0.0.0.0", Ipv4Addr::UNSPECIFIED),
        ("broadcast", Ipv4Addr::BROADCAST),
        ("multicast", Ipv4Addr::new(224, 0, 0, 1)),
        ("class E", Ipv4Addr::new(240, 0, 0, 1)),
        ("the host's own", host),
        ("subnet broadcast", Ipv4Addr::new(10, 77, 0, 255)),
        ("link-local", Ipv4Addr::new(169, 254, 169, 254)),
        ("just below loopback", Ipv4Addr::new(126, 255, 255, 255)),
        ("just above loopback", Ipv4Addr::new(128, 0, 0, 0)),
        ("the trusted one's octets reversed", Ipv4Addr::new(2, 0, 77, 10)),
        ("the address in front of a trusted network", Ipv4Addr::new(198, 51, 99, 255)),
        ("the address behind a trusted network", Ipv4Addr::new(198, 51, 101, 0)),
    ] {
        let header = table.ip4(source);
        let frame = table.frame4(&header, protocol::TCP, &syn4(&header, PORT));
        table.add(format!("v4 source {name}"), frame, untrusted(ORDERS));
        let frame = table.frame4(&header, protocol::TCP, &syn4(&header, OTHER_PORT));
        table.add(format!("v4 source {name}, other port"), frame, other_port());
    }
    let martian = refused(Reason::Martian);
    for loopback in ["127.0.0.1", "127.0.0.0", "127.255.255.255", "127.1.2.3"] {
        let loopback: Ipv4Addr =
            loopback.parse().unwrap_or_else(|error| panic!("{loopback}: {error}"));
        for port in [PORT, OTHER_PORT] {
            let header = table.ip4(loopback);
            let frame = table.frame4(&header, protocol::TCP, &syn4(&header, port));
            table.add(format!("v4 source {loopback}, port {port}"), frame, martian);
            let header = Ip4::new(table.scene.trusted4, loopback);
            let frame = table.frame4(&header, protocol::TCP, &syn4(&header, port));
            table.add(format!("v4 destination {loopback}, port {port}"), frame, martian);
        }
        let header = Ip4 { options: vec![1; 4], ..table.ip4(loopback) };
        let frame = table.frame4(&header, protocol::ICMP, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
        table.add(format!("v4 echo from {loopback}, options"), frame, martian);
    }
    for (name, destination) in [
        ("broadcast", Ipv4Addr::BROADCAST),
        ("multicast", Ipv4Addr::new(224, 0, 0, 251)),
        ("somebody else", Ipv4Addr::new(192, 0, 2, 1)),
        ("0.0.0.0", Ipv4Addr::UNSPECIFIED),
    ] {
        for who in table.ordinary4() {
            let header = Ip4::new(who.source, destination);
            let frame = table.frame4(&header, protocol::TCP, &syn4(&header, who.port));
            table.add(format!("v4 destination {name}, {}", who.label), frame, who.expected);
        }
    }
}

fn add_ordinary_oddities(table: &mut Table) {
    for who in table.ordinary4() {
        let plain = table.ip4(who.source);
        for (name, header) in [
            ("TTL 0", Ip4 { ttl: 0, ..plain.clone() }),
            ("DF", Ip4 { fragment: DF, ..plain.clone() }),
            ("evil bit", Ip4 { fragment: EVIL, ..plain.clone() }),
        ] {
            let frame = table.frame4(&header, protocol::TCP, &syn4(&header, who.port));
            table.add(format!("v4 {name}, {}", who.label), frame, who.expected);
        }
        let syn = Tcp::syn(who.port);
        let cookie = [&[34, 10][..], &[0xc0; 8], &[1, 1]].concat();
        let fast_open = Tcp { options: cookie, data: b"query".to_vec(), ..syn.clone() };
        let experiment = Tcp { options: vec![254, 4, 0xf9, 0x89], ..syn.clone() };
        let mptcp = [&[30, 12, 0, 1][..], &[7; 8]].concat();
        let join = [&[30, 12, 0x10, 1][..], &[9; 8]].concat();
        for (name, tcp) in [
            ("SYN with data", Tcp { data: vec![0x51; 100], ..syn.clone() }),
            ("fast open", fast_open),
            ("fast open, experimental option", experiment),
            ("MPTCP capable", Tcp { options: mptcp, ..syn.clone() }),
            ("MPTCP join", Tcp { options: join, ..syn.clone() }),
            ("40 bytes of TCP NOP", Tcp { options: vec![1; 40], ..syn.clone() }),
            ("SYN ECE CWR", Tcp { flags: 0xc2, ..syn.clone() }),
            ("SYN URG PSH", Tcp { flags: 0x2a, ..syn.clone() }),
            ("ACK", Tcp { flags: 0x10, ..syn.clone() }),
            ("ACK with data", Tcp { flags: 0x18, data: vec![7; 64], ..syn.clone() }),
            ("FIN", Tcp { flags: 1, ..syn.clone() }),
            ("RST", Tcp { flags: 4, ..syn.clone() }),
            ("no flag", Tcp { flags: 0, ..syn.clone() }),
            ("every flag", Tcp { flags: 0xff, ..syn.clone() }),
            ("source port is the database's", Tcp { source: PORT, ..syn.clone() }),
            ("source port 0", Tcp { source: 0, ..syn.clone() }),
        ] {
            let frame = table.frame4(&plain, protocol::TCP, &tcp4(&plain, &tcp));
            table.add(format!("v4 {name}, {}", who.label), frame, who.expected);
        }
        for (name, at) in [("IP", 24), ("TCP", 50), ("TCP data offset", 46)] {
            let mut frame = table.frame4(&plain, protocol::TCP, &syn4(&plain, who.port));
            frame[at] ^= 0x55;
            table.add(format!("v4 bad {name} field, {}", who.label), frame, who.expected);
        }
    }
    for (name, port) in [("0", 0), ("65535", 65_535), ("with swapped bytes", PORT.swap_bytes())] {
        let header = table.ip4(table.scene.stranger4);
        let frame = table.frame4(&header, protocol::TCP, &syn4(&header, port));
        table.add(format!("v4 tcp to port {name}"), frame, other_port());
    }
}

fn add_databases(table: &mut Table) {
    let (trusted, stranger) = (table.scene.trusted4, table.scene.stranger4);
    let network = Ipv4Addr::new(198, 51, 100, 9);
    let nested = Ipv4Addr::new(198, 51, 100, 200);
    let last_only = Ipv4Addr::new(203, 0, 113, 7);
    for (name, source, port, expected) in [
        ("host to the second port", trusted, SECOND_PORT, allowed(ORDERS)),
        ("stranger to the second port", stranger, SECOND_PORT, untrusted(ORDERS)),
        ("host to a database that does not trust it", trusted, CACHE_PORT, untrusted(CACHE)),
        ("network to one of its databases", network, CACHE_PORT, allowed(CACHE)),
        ("network to another of its databases", network, PORT, allowed(ORDERS)),
        ("network to what only the nested one may", network, LAST_PORT, untrusted(LAST)),
        ("nested network to its own database", nested, LAST_PORT, allowed(LAST)),
        ("nested network to the outer's database", nested, PORT, allowed(ORDERS)),
        ("host of the last database", last_only, LAST_PORT, allowed(LAST)),
        ("host of the last database to the first", last_only, PORT, untrusted(ORDERS)),
    ] {
        let header = table.ip4(source);
        let frame = table.frame4(&header, protocol::TCP, &syn4(&header, port));
        table.add(format!("v4 {name}"), frame, expected);
    }
    for (name, source, port, expected) in [
        ("udp to a port only TCP has", stranger, PORT, other_port()),
        ("udp from a host of another database", trusted, CACHE_PORT, untrusted(CACHE)),
        ("udp from a trusted network", network, CACHE_PORT, allowed(CACHE)),
    ] {
        let header = table.ip4(source);
        let frame = table.frame4(&header, protocol::UDP, &udp4(&header, port));
        table.add(format!("v4 {name}"), frame, expected);
    }
    for source in [last_only, network] {
        let header = Ip4 { fragment: MF, ..table.ip4(source) };
        let frame = table.frame4(&header, protocol::TCP, &[]);
        table.add(format!("v4 empty first fragment from {source}"), frame, allowed(HOST));
    }
}

fn add_other_protocols(table: &mut Table) {
    let header = table.ip4(table.scene.stranger4);
    let inner = header.packet(protocol::TCP, &syn4(&header, PORT));
    let unreachable = [&[3, 4, 0, 0, 0, 0, 5, 0x78][..], &inner[..28]].concat();
    let port_like = [0, 0, 0x15, 0x38, 0, 0, 0, 0];
    for (name, number, payload) in [
        ("echo", protocol::ICMP, vec![8, 0, 0xf7, 0xff, 0, 0, 0, 0]),
        ("fragmentation needed about the database", protocol::ICMP, unreachable),
        ("IGMP", protocol::IGMP, vec![0x16, 0, 0, 0, 224, 0, 0, 251]),
        ("IPIP", protocol::IPIP, inner.clone()),
        ("6in4", protocol::IPV6, vec![0x60; 60]),
        ("GRE", protocol::GRE, [&[0, 0, 8, 0][..], &inner].concat()),
        ("ESP", protocol::ESP, port_like.to_vec()),
        ("AH", protocol::AH, [&[6, 4, 0, 0][..], &[0; 20], &inner[20..]].concat()),
        ("OSPF", protocol::OSPF, port_like.to_vec()),
        ("SCTP to the database's number", protocol::SCTP, port_like.to_vec()),
        ("experiment", protocol::EXPERIMENT, port_like.to_vec()),
        ("protocol 0", 0, port_like.to_vec()),
        ("protocol 255", 255, port_like.to_vec()),
        ("protocol 43, an extension of IPv6", protocol::ROUTING, port_like.to_vec()),
        ("protocol 60, an extension of IPv6", protocol::DESTINATION, port_like.to_vec()),
    ] {
        let frame = table.frame4(&header, number, &payload);
        table.add(format!("v4 {name}"), frame, not_judged());
    }
    for (name, port) in [("VXLAN", 4789), ("WireGuard", 51_820), ("DNS", 53), ("IKE", 500)] {
        let frame = table.frame4(&header, protocol::UDP, &udp4(&header, port));
        table.add(format!("v4 {name}"), frame, other_port());
    }
    let dhcp = Ip4::new(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let frame = table.frame4(&dhcp, protocol::UDP, &udp4(&dhcp, 67));
    table.add("v4 DHCP", frame, other_port());
}

/// Frames that no page holds: the program sees them in fragments.
fn add_jumbo(table: &mut Table) {
    for who in table.ordinary4() {
        let plain = table.ip4(who.source);
        let tcp = Tcp { flags: 0x18, data: vec![0x51; 8_900], ..Tcp::syn(who.port) };
        let segment = tcp4(&plain, &tcp);
        let frame = table.frame4(&plain, protocol::TCP, &segment);
        table.add(format!("v4 jumbo frame, {}", who.label), frame, who.expected);
        let tcp = Tcp { data: vec![0x51; 4_200], ..tcp };
        let segment = tcp4(&plain, &tcp);
        let header = Ip4 { options: vec![1; 40], ..plain.clone() };
        let packet = header.packet(protocol::TCP, &segment);
        let tags = super::tags(packets::DOT1Q, 4);
        let frame = packets::ethernet(table.scene.macs, &tags, IPV4, &packet);
        table.add(format!("v4 jumbo frame, 4 tags, options, {}", who.label), frame, who.expected);
        let length = (20 + segment.len()) as u16;
        let beyond = if who.port == OTHER_PORT { other_port() } else { cut(ORDERS) };
        let header = Ip4 { total: Some(length + 1), ..plain.clone() };
        let frame = table.frame4(&header, protocol::TCP, &segment);
        table.add(format!("v4 jumbo frame, one byte short, {}", who.label), frame, beyond);
        let header = Ip4 { total: Some(100), ..plain.clone() };
        let frame = table.frame4(&header, protocol::TCP, &segment);
        let name = format!("v4 jumbo frame around a small packet, {}", who.label);
        table.add(name, frame, who.expected);
        let frame = table.frame4(&plain, protocol::ICMP, &segment);
        table.add(format!("v4 jumbo echo, {}", who.label), frame, not_judged());
    }
}
