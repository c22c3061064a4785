//! What a packet costs in the XDP program, by BPF_PROG_TEST_RUN.

use std::net::{IpAddr, Ipv4Addr};

use dbfw_common::{Mode, Reason};
use dbfw_tests::{
    capabilities::without_perfmon,
    kernel::{EmptyXdp, Kernel, Program},
    netns::{Netns, veth},
    packets::{Ip4, Macs, ethernet, padded, protocol, udp},
    policy::Transport,
};
use ipnet::IpNet;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::spread;

const ROUNDS: usize = 7;
const REPEAT: u32 = 1_000_000;
const PORT: u16 = 5432;
const DESTINATION: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

pub(crate) fn run() {
    let ns = Netns::new("bench");
    let peer = Netns::new("peer");
    veth((&ns, "b0"), (&peer, "p0"));
    ns.up("b0");
    peer.up("p0");
    let ifindex = ns.ifindex("b0");
    ns.run(move || measure(ifindex));
}

fn measure(ifindex: u32) {
    let stranger = Ipv4Addr::new(198, 51, 100, 7);
    let neighbour = Ipv4Addr::new(10, 0, 0, 250);
    let client = Ipv4Addr::new(10, 0, 0, 1);
    let empty = EmptyXdp::load();
    let trusting = |mut kernel: Kernel, prefixes: usize| {
        kernel.set_database(1, "bench", Mode::Enforce, &[(Transport::Udp, PORT)]);
        kernel.set_host_mode(Mode::Enforce, false);
        for net in hosts(client, prefixes) {
            kernel.trust(net, 1, 1);
        }
        kernel
    };
    let mut kernels = [
        ("1 prefix", trusting(Kernel::load(), 1)),
        ("10,000 prefixes", trusting(Kernel::load(), 10_000)),
        ("1 prefix, no CAP_PERFMON", trusting(without_perfmon(Kernel::load), 1)),
    ];

    let mut results: Vec<(String, Vec<u32>)> = Vec::new();
    let mut note = |name: String, value: u32| match results.iter_mut().find(|(n, _)| *n == name) {
        Some((_, values)) => values.push(value),
        None => results.push((name, vec![value])),
    };
    let mut bound = trusting(Kernel::load(), 10_000);
    bound.bind(1, Transport::Udp, PORT, DESTINATION);
    let elsewhere = Ipv4Addr::new(10, 0, 0, 3);
    for _ in 0..ROUNDS {
        note("empty program".to_owned(), empty.time(&packet(client, PORT), ifindex, REPEAT));
        for (prefixes, kernel) in &mut kernels {
            for (what, source, port, reason) in [
                ("other port", client, 80, Reason::OtherPort),
                ("dropped, far source", stranger, PORT, Reason::Untrusted),
                ("dropped, source beside a trusted one", neighbour, PORT, Reason::Untrusted),
                ("allowed", client, PORT, Reason::Trusted),
            ] {
                let packet = packet(source, port);
                note(format!("{what}, {prefixes}"), time(kernel, &packet, reason, ifindex));
            }
        }
        for (what, source, to, reason) in [
            ("for another machine", stranger, elsewhere, Reason::OtherPort),
            ("dropped, far source", stranger, DESTINATION, Reason::Untrusted),
            ("allowed", client, DESTINATION, Reason::Trusted),
        ] {
            let packet = packet_to(to, source, PORT);
            let ns = time(&mut bound, &packet, reason, ifindex);
            note(format!("{what}, 10,000 prefixes, bound to an address"), ns);
        }
    }
    println!("  {:63} {:>6} {:>5} {:>5}", "ns a packet", "median", "min", "max");
    for (name, mut values) in results {
        let (median, min, max) = spread(&mut values);
        println!("  {name:63} {median:>6} {min:>5} {max:>5}");
    }
}

/// Nanoseconds a packet, which is to be judged for `reason`.
fn time(kernel: &mut Kernel, packet: &[u8], reason: Reason, ifindex: u32) -> u32 {
    let judged = kernel.judge(Program::Xdp, packet);
    assert_eq!(judged.reason, reason, "that is not what is timed");
    kernel.time(Program::Xdp, packet, ifindex, REPEAT)
}

/// The client and random hosts, none of them in the client's /24 but itself.
fn hosts(client: Ipv4Addr, count: usize) -> Vec<IpNet> {
    let mut rng = SmallRng::seed_from_u64(1);
    let random = std::iter::repeat_with(move || {
        let word = rng.random::<u32>() | 0x2000_0000;
        IpNet::from(IpAddr::from(word.to_be_bytes()))
    });
    std::iter::once(IpNet::from(IpAddr::from(client))).chain(random).take(count).collect()
}

fn packet(source: Ipv4Addr, port: u16) -> Vec<u8> {
    packet_to(DESTINATION, source, port)
}

fn packet_to(destination: Ipv4Addr, source: Ipv4Addr, port: u16) -> Vec<u8> {
    let datagram = udp(source.into(), destination.into(), port, &[0; 18]);
    let ip = Ip4::new(source, destination).packet(protocol::UDP, &datagram);
    let macs = Macs { destination: [2, 0, 0, 0, 0, 1], source: [2, 0, 0, 0, 0, 2] };
    padded(&ethernet(macs, &[], 0x0800, &ip))
}
