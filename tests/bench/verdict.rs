//! What a verdict costs with many prefixes in place: sources change with every packet, so
//! that caches hold what they would hold on a host.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use dbfw_common::{Entry, Mode, PROGRAM_XDP};
use dbfw_core::{Destinations, Port, policy::Plan, source::Prefix};
use dbfw_datapath::{Change, DatabaseSlot, Datapath};
use dbfw_tests::{
    agent::Host,
    kernel::Rotator,
    netns::{Netns, veth},
    packets::{Ip4, Ip6, Macs, ethernet, padded, protocol, udp},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::spread;

const ROUNDS: usize = 7;
const REPEAT: u32 = 1_000_000;
const PORT: u16 = 5432;
/// Sources a run takes in turn.
const SOURCES: usize = 65_536;

pub(crate) fn run() {
    let ns = Netns::new("bench");
    let peer = Netns::new("peer");
    veth((&ns, "b0"), (&peer, "p0"));
    ns.up("b0");
    peer.up("p0");
    let ifindex = ns.ifindex("b0");
    let sizes = std::env::var("DBFW_BENCH_SIZES").unwrap_or("1,10000,100000,1000000".to_owned());
    for size in sizes.split(',').filter_map(|size| size.parse().ok()) {
        for v4 in [true, false] {
            for mixed in [false, true] {
                let host = Host::new(&ns);
                let pins = host.pins();
                let pin_dir = pins.parent().expect("the pin directory");
                ns.run(|| measure(pin_dir, ifindex, v4, size, mixed));
            }
        }
    }
}

fn measure(pin_dir: &std::path::Path, ifindex: u32, v4: bool, size: usize, mixed: bool) {
    let mut rng = SmallRng::seed_from_u64(7);
    let mut datapath = Datapath::open(pin_dir).expect("make the maps");
    // Half of them in a few blocks as a provider's, half anywhere.
    let address = |rng: &mut SmallRng, dense: bool| -> IpAddr {
        let word: u32 = rng.random();
        if v4 {
            let word = if dense { 0x0a00_0000 | word & 0x000f_ffff } else { word | 0x2000_0000 };
            Ipv4Addr::from_bits(word).into()
        } else {
            let high: u64 = rng.random::<u64>() >> 3 | 0x2000 << 48;
            let high = if dense { 0x2604_a880_0000_0000 | u64::from(word & 0xffff) } else { high };
            Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(rng.random::<u64>())).into()
        }
    };
    let mut prefixes = std::collections::BTreeSet::new();
    while prefixes.len() < size {
        let dense = prefixes.len() % 2 == 0;
        let address = address(&mut rng, dense);
        let host = if v4 { 32 } else { 128 };
        let net = if v4 { rng.random_range(16..=32) } else { rng.random_range(32..=64) };
        let len = if mixed && !dense { net } else { host };
        prefixes.insert(Prefix::new(address, len));
    }
    let trusted: Vec<IpAddr> = prefixes.iter().map(Prefix::addr).collect();
    let mut writes: Vec<_> = prefixes.iter().map(|prefix| (*prefix, Entry::new(1, 1))).collect();
    writes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    let database = DatabaseSlot {
        id: 1,
        name: "bench".to_owned(),
        mode: Mode::Enforce,
        ports: Port { udp: true, port: PORT }.into(),
        destinations: Destinations::default(),
    };
    let plan = Plan { writes, ..Plan::default() };
    let change = Change { plan, databases: vec![database], ..Change::default() };
    let start = Instant::now();
    datapath.apply(&change).expect("fill the maps");
    let filled = start.elapsed();
    let one = |add: bool| {
        let prefix: Prefix =
            if v4 { "192.0.2.7/32" } else { "2001:db8::7/128" }.parse().expect("a prefix");
        let mut plan = Plan::default();
        if add {
            plan.writes.push((prefix, Entry::new(1, 1)))
        } else {
            plan.removals.push(prefix)
        }
        Change { plan, ..change_of(&change) }
    };
    let start = Instant::now();
    datapath.apply(&one(true)).expect("add one");
    datapath.apply(&one(false)).expect("remove it");
    let changed = start.elapsed() / 2;

    let pick = |from: &mut dyn FnMut() -> IpAddr| (0..SOURCES).map(|_| from()).collect::<Vec<_>>();
    let mut other = SmallRng::seed_from_u64(9);
    let random = pick(&mut || address(&mut other, false));
    let inside = pick(&mut || address(&mut other, true));
    let mut turn = 0;
    let step = (trusted.len() / SOURCES).max(1);
    let allowed = pick(&mut || {
        turn += step;
        trusted[turn % trusted.len()]
    });
    let program = pins_program(pin_dir);
    let names = ["no program", "other port", "dropped, random", "dropped, inside", "allowed"];
    let mut results = vec![Vec::new(); names.len()];
    let rotators = [
        Rotator::new(None, v4, &random),
        Rotator::new(Some(&program), v4, &random),
        Rotator::new(Some(&program), v4, &random),
        Rotator::new(Some(&program), v4, &inside),
        Rotator::new(Some(&program), v4, &allowed),
    ];
    for _ in 0..ROUNDS {
        for ((rotator, results), name) in rotators.iter().zip(&mut results).zip(names) {
            let port = if name == "other port" { 80 } else { PORT };
            results.push(rotator.time(&packet(v4, port), ifindex, REPEAT));
        }
    }
    let mut line = String::new();
    for (name, values) in names.iter().zip(&mut results) {
        line.push_str(&format!("  {name} {:>3}", spread(values).0));
    }
    let family = if v4 { "IPv4" } else { "IPv6" };
    let kind = if mixed { "mixed" } else { "hosts" };
    println!("  {size:>7} {family} {kind}{line}   filled {filled:?}, one changed {changed:?}");
}

fn change_of(change: &Change) -> Change {
    Change { databases: change.databases.clone(), ..Change::default() }
}

fn pins_program(pin_dir: &std::path::Path) -> std::path::PathBuf {
    pin_dir.join(format!("v{}", dbfw_common::ABI_VERSION)).join(format!("prog_{PROGRAM_XDP}"))
}

fn packet(v4: bool, port: u16) -> Vec<u8> {
    let macs = Macs { destination: [2, 0, 0, 0, 0, 1], source: [2, 0, 0, 0, 0, 2] };
    if v4 {
        let (source, destination) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let datagram = udp(source.into(), destination.into(), port, &[0; 18]);
        let ip = Ip4::new(source, destination).packet(protocol::UDP, &datagram);
        padded(&ethernet(macs, &[], 0x0800, &ip))
    } else {
        let (source, destination) = (Ipv6Addr::from_bits(1 << 120), Ipv6Addr::from_bits(2 << 120));
        let datagram = udp(source.into(), destination.into(), port, &[0; 18]);
        let ip = Ip6::new(source, destination).packet(protocol::UDP, &datagram);
        padded(&ethernet(macs, &[], 0x86dd, &ip))
    }
}
