//! Shapes of the link layer: tags, and what is not IP.

use dbfw_common::Reason;

use super::{
    CACHE, CACHE_PORT, OTHER_PORT, PORT, Table, allowed, not_judged, other_port, refused,
    service_tags, syn4, syn6, tags, udp4, udp6, untrusted,
};
use crate::packets::{self, DOT1AD, DOT1Q, IPV4, IPV6, QINQ, protocol};

pub(super) fn add(table: &mut Table) {
    add_tagged(table);
    add_too_deep(table);
    add_not_ip(table);
}

fn add_tagged(table: &mut Table) {
    let mut stacks = vec![("no tag".to_owned(), Vec::new())];
    for number in 1..=4 {
        stacks.push((format!("{number} 802.1Q tags, VLAN 0"), tags(DOT1Q, number)));
        stacks.push((format!("{number} tags, 802.1ad outside"), service_tags(number)));
    }
    stacks.push(("4 802.1ad tags".into(), tags(DOT1AD, 4)));
    stacks.push(("2 tags of 0x9100".into(), tags(QINQ, 2)));
    stacks.push(("VLAN 100".into(), vec![(DOT1Q, 100)]));
    stacks.push(("VLAN 0, priority 7, drop eligible".into(), vec![(DOT1Q, 0xf000)]));
    stacks.push(("VLAN 4095".into(), vec![(DOT1Q, 4095)]));
    for (label, tags) in stacks {
        let macs = table.scene.macs;
        for who in table.ordinary4() {
            let header = table.ip4(who.source);
            let packet = header.packet(protocol::TCP, &syn4(&header, who.port));
            let frame = packets::ethernet(macs, &tags, IPV4, &packet);
            table.add(format!("v4 tcp, {label}, {}", who.label), frame, who.expected);
        }
        for who in table.ordinary6() {
            let header = table.ip6(who.source);
            let packet = header.packet(protocol::TCP, &syn6(&header, who.port));
            let frame = packets::ethernet(macs, &tags, IPV6, &packet);
            table.add(format!("v6 tcp, {label}, {}", who.label), frame, who.expected);
        }
        let cache4 = std::net::Ipv4Addr::new(198, 51, 100, 9);
        for (who, source, port, expected) in [
            ("trusted", cache4, CACHE_PORT, allowed(CACHE)),
            ("untrusted", table.scene.stranger4, CACHE_PORT, untrusted(CACHE)),
            ("other port", table.scene.stranger4, OTHER_PORT, other_port()),
        ] {
            let header = table.ip4(source);
            let packet = header.packet(protocol::UDP, &udp4(&header, port));
            let frame = packets::ethernet(macs, &tags, IPV4, &packet);
            table.add(format!("v4 udp, {label}, {who}"), frame, expected);
        }
        let cache6 = std::net::Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 9);
        for (who, source, port, expected) in [
            ("trusted", cache6, CACHE_PORT, allowed(CACHE)),
            ("untrusted", table.scene.stranger6, CACHE_PORT, untrusted(CACHE)),
            ("other port", table.scene.stranger6, OTHER_PORT, other_port()),
        ] {
            let header = table.ip6(source);
            let packet = header.packet(protocol::UDP, &udp6(&header, port));
            let frame = packets::ethernet(macs, &tags, IPV6, &packet);
            table.add(format!("v6 udp, {label}, {who}"), frame, expected);
        }
    }
}

fn add_too_deep(table: &mut Table) {
    let macs = table.scene.macs;
    for number in [5, 8, 20] {
        for who in table.ordinary4() {
            let header = table.ip4(who.source);
            let packet = header.packet(protocol::TCP, &syn4(&header, who.port));
            let frame = packets::ethernet(macs, &tags(DOT1Q, number), IPV4, &packet);
            let name = format!("v4, {number} tags, {}", who.label);
            table.add(name, frame, refused(Reason::VlanDepth));
        }
        for who in table.ordinary6() {
            let header = table.ip6(who.source);
            let packet = header.packet(protocol::TCP, &syn6(&header, who.port));
            let frame = packets::ethernet(macs, &service_tags(number), IPV6, &packet);
            let name = format!("v6, {number} tags, {}", who.label);
            table.add(name, frame, refused(Reason::VlanDepth));
        }
    }
    let arp = arp();
    let frame = packets::ethernet(macs, &tags(DOT1Q, 4), 0x0806, &arp);
    table.add("ARP behind 4 tags", frame, not_judged());
    let frame = packets::ethernet(macs, &tags(DOT1Q, 5), 0x0806, &arp);
    table.add("ARP behind 5 tags", frame, refused(Reason::VlanDepth));
    let frame = packets::ethernet(macs, &tags(DOT1Q, 1), 0x1234, &[0; 46]);
    table.add("unknown type behind a tag", frame, not_judged());
    let frame = packets::ethernet(macs, &tags(DOT1Q, 1), 46, &[0xaa; 46]);
    table.add("LLC behind a tag", frame, not_judged());
    for (name, end) in [("before its control word", 14), ("in its control word", 15)] {
        let frame = packets::ethernet(macs, &tags(DOT1Q, 1), IPV4, &[])[..end].to_vec();
        table.add(format!("frame that ends in a tag, {name}"), frame, not_judged());
    }
}

fn add_not_ip(table: &mut Table) {
    let header = table.ip4(table.scene.stranger4);
    let inner = header.packet(protocol::TCP, &syn4(&header, PORT));
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &inner].concat();
    let pppoe = [&[0x11, 0, 0, 1, 0, 42, 0, 0x21][..], &inner].concat();
    let mpls = [&[0, 1, 1, 64][..], &inner].concat();
    for (name, ethertype, content) in [
        ("ARP", 0x0806, arp()),
        ("RARP", 0x8035, arp()),
        ("LLDP", 0x88cc, vec![2, 7, 4, 2, 0, 0, 0, 0, 2, 0, 0]),
        ("EAPOL", 0x888e, vec![2, 1, 0, 0]),
        ("PTP", 0x88f7, vec![0x0b, 2, 0, 64]),
        ("LLC with SNAP around IPv4", snap.len() as u16, snap),
        ("LLC, spanning tree", 38, vec![0x42, 0x42, 3, 0, 0, 0, 0, 0]),
        ("PPPoE session around IPv4", 0x8864, pppoe),
        ("MPLS around IPv4", 0x8847, mpls),
        ("MACsec", 0x88e5, vec![0; 32]),
        ("unknown type around IPv4", 0x1234, inner.clone()),
        ("type 0 around IPv4", 0, inner.clone()),
    ] {
        let frame = table.ethernet(ethertype, &content);
        table.add(name, frame, not_judged());
    }
    for (name, destination) in
        [("broadcast", [0xff; 6]), ("multicast", [1, 0, 0x5e, 0, 0, 1]), ("foreign", [2; 6])]
    {
        let macs = packets::Macs { destination, source: table.scene.macs.source };
        for who in table.ordinary4() {
            let header = table.ip4(who.source);
            let packet = header.packet(protocol::TCP, &syn4(&header, who.port));
            let frame = packets::ethernet(macs, &[], IPV4, &packet);
            table.add(format!("{name} MAC around IPv4, {}", who.label), frame, who.expected);
        }
    }
}

fn arp() -> Vec<u8> {
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend([2, 0, 0, 0, 0, 2, 10, 77, 0, 3, 0, 0, 0, 0, 0, 0, 10, 77, 0, 1]);
    arp
}
