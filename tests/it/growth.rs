use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use dbfw_common::{Entry, HOSTS4, HOSTS6, MAX_HOSTS, Mode, NETS4, PROGRAM_XDP, Reason};
use dbfw_core::{
    Destinations, Port,
    policy::{Entries, Plan, diff},
    source::Prefix,
};
use dbfw_datapath::{Change, DatabaseSlot, Datapath, DatapathError, Reader};
use dbfw_tests::{
    agent::Host,
    netns::Netns,
    packets::{IPV4, IPV6, Ip4, Ip6, Macs, Tcp, ethernet, protocol},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

const PORT: u16 = 5432;

/// A datapath with pins of its own, and a reader of them.
struct Plane {
    datapath: Datapath,
    reader: Reader,
}

impl Plane {
    fn open(host: &Host<'_>) -> Self {
        let pins = host.pins();
        let pin_dir: &Path = pins.parent().expect("the pins have a parent");
        let datapath = Datapath::open(pin_dir).expect("make the maps");
        let reader = datapath.reader().expect("open the maps");
        Self { datapath, reader }
    }

    fn become_(&mut self, desired: &Entries) {
        let database = DatabaseSlot {
            id: 1,
            name: "orders".to_owned(),
            mode: Mode::Enforce,
            ports: Port { udp: false, port: PORT }.into(),
            destinations: Destinations::default(),
        };
        let plan = diff(self.datapath.held(), desired);
        let change = Change { plan, databases: vec![database], ..Change::default() };
        self.datapath.apply(&change).expect("change the sets");
    }

    fn passes(&self, address: IpAddr) -> bool {
        passes(&self.reader, address)
    }

    /// Program, presence bits and a reader's lookup, against the model.
    fn check(&self, model: &Entries, address: IpAddr) {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let longest =
            (0..=bits).rev().find_map(|len| model.get(&Prefix::new(address, len)).copied());
        let outcome = self.reader.test_run(PROGRAM_XDP, &syn(address)).expect("run the program");
        let reason = Reason::from_u8(outcome.trace.reason).expect("a reason");
        match longest {
            Some(entry) => {
                assert_eq!((outcome.passes, reason), (true, Reason::Trusted), "{address}");
                assert_eq!(outcome.trace.rule, entry.rules, "{address}");
                assert!(self.reader.front(address).expect("read the bits"), "{address}");
            }
            None => assert_eq!((outcome.passes, reason), (false, Reason::Untrusted), "{address}"),
        }
        let found = self.reader.lookup(address).expect("look it up").map(|(_, entry)| entry);
        assert_eq!(found, longest, "{address}");
    }

    fn dump(&self) -> Entries {
        let mut entries = Entries::new();
        self.reader
            .for_each_entry(|_, prefix, entry| {
                assert_eq!(entries.insert(prefix, entry), None, "{prefix} is there once");
                Ok::<(), DatapathError>(())
            })
            .expect("read the maps");
        entries
    }
}

fn passes(reader: &Reader, address: IpAddr) -> bool {
    reader.test_run(PROGRAM_XDP, &syn(address)).expect("run the program").passes
}

fn syn(source: IpAddr) -> Vec<u8> {
    let macs = Macs { destination: [2, 0, 0, 0, 0, 1], source: [2, 0, 0, 0, 0, 2] };
    match source {
        IpAddr::V4(source) => {
            let host = Ipv4Addr::new(192, 0, 2, 1);
            let segment = Tcp::syn(PORT).bytes(source.into(), host.into());
            ethernet(macs, &[], IPV4, &Ip4::new(source, host).packet(protocol::TCP, &segment))
        }
        IpAddr::V6(source) => {
            let host = Ipv6Addr::from_bits(0x2001_0db8 << 96 | 1);
            let segment = Tcp::syn(PORT).bytes(source.into(), host.into());
            ethernet(macs, &[], IPV6, &Ip6::new(source, host).packet(protocol::TCP, &segment))
        }
    }
}

/// Addresses that share leading bits with each other.
fn address(rng: &mut SmallRng) -> IpAddr {
    if rng.random() {
        let word = [0x0a00_0000u32, 0x0a01_0000, 0xc633_6400][rng.random_range(0..3)];
        IpAddr::V4((word | rng.random::<u32>() & 0x0001_03ff).into())
    } else {
        let high = [0x2604_a880u128, 0x2604_a881, 0xfd00_0000][rng.random_range(0..3)];
        let (site, net, low) = (rng.random::<u8>() & 3, rng.random::<u8>() & 3, rng.random::<u8>());
        let bits = high << 96 | u128::from(site) << 80 | u128::from(net) << 64 | u128::from(low);
        IpAddr::V6(bits.into())
    }
}

fn prefix(rng: &mut SmallRng) -> Prefix {
    let address = address(rng);
    let len = if rng.random() { 128 } else { rng.random_range(1..=128) };
    Prefix::new(address, if address.is_ipv4() { len.min(8 + len % 25).max(1) } else { len })
}

#[test]
fn more_hosts_than_fit_change_nothing() {
    let netns = Netns::new("growth");
    let host = Host::new(&netns);
    let mut plane = Plane::open(&host);
    let address = |n: u32| IpAddr::V4((0x2000_0000 + n).into());
    let entry = Entry::new(1, 1);
    let model = Entries::from([(Prefix::host(address(0)), entry)]);
    plane.become_(&model);
    let writes = (1..=MAX_HOSTS).map(|n| (Prefix::host(address(n)), entry)).collect();
    let plan = Plan { writes, ..Plan::default() };
    let refused = plane.datapath.apply(&Change { plan, ..Change::default() });
    assert_eq!(
        refused.expect_err("one more than fit").to_string(),
        "4194305 prefixes do not fit into HOSTS4, which holds 4194304: nothing was changed"
    );
    assert_eq!(plane.dump(), model);
    for n in 0..2 {
        plane.check(&model, address(n));
    }
}

#[test]
fn after_any_change_every_verdict_is_the_models() {
    let netns = Netns::new("growth");
    let host = Host::new(&netns);
    let mut plane = Plane::open(&host);
    let seed = std::time::UNIX_EPOCH.elapsed().expect("a clock").subsec_nanos().into();
    println!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut model = Entries::new();
    for round in 0..60 {
        // Now and then so many hosts that a table grows, or so few that it shrinks.
        let many = round % 12 == 5;
        if round % 12 == 11 {
            model.retain(|_, _| rng.random_ratio(1, 50));
        }
        for _ in 0..rng.random_range(1..40) {
            let prefix = prefix(&mut rng);
            if rng.random_ratio(2, 3) {
                model.insert(prefix, Entry::new(1, rng.random_range(1..500)));
            } else {
                let near = model.range(prefix..).next().map(|(prefix, _)| *prefix);
                near.map(|near| model.remove(&near));
            }
        }
        if many {
            for n in 0..20_000u32 {
                let word = rng.random::<u32>();
                let high = u128::from(0x2001_0000 | n) << 96;
                let hosts = [IpAddr::V4(word.into()), IpAddr::V6((high | u128::from(word)).into())];
                for host in hosts.into_iter().filter(|host| !host.is_loopback()) {
                    model.insert(Prefix::host(host), Entry::new(1, rng.random_range(1..500)));
                }
            }
        }
        // The programs let no loopback address in, whoever trusts it.
        model.retain(|prefix, _| !prefix.covers(&Prefix::host(Ipv6Addr::LOCALHOST.into())));
        plane.become_(&model);
        for _ in 0..40 {
            plane.check(&model, address(&mut rng));
        }
        let picked: Vec<IpAddr> = (0..20)
            .filter_map(|_| model.range(prefix(&mut rng)..).next())
            .map(|(p, _)| p.addr())
            .collect();
        for address in picked {
            plane.check(&model, address);
        }
        if many || round % 10 == 0 {
            assert_eq!(plane.dump(), model);
        }
        if round % 20 == 7 {
            // The next agent finds the same.
            drop(plane);
            plane = Plane::open(&host);
            assert_eq!(plane.datapath.held().iter().collect::<BTreeMap<_, _>>(), model);
        }
    }
    let sizes = plane.reader.sizes().expect("count the entries");
    assert_eq!(sizes, plane.datapath.held().sizes());
}

#[test]
fn while_tables_grow_and_shrink_under_traffic_nobody_is_lost_or_let_in() {
    let netns = Netns::new("growing");
    let host = Host::new(&netns);
    let mut plane = Plane::open(&host);
    let address = |n: u32, v4: bool| -> IpAddr {
        let word = n.wrapping_mul(0x9e37_79b1);
        if v4 {
            IpAddr::V4((word & 0x00ff_ffff | 0x2c00_0000).into())
        } else {
            IpAddr::V6((0x2604_a880_0000_0001u128 << 64 | u128::from(word)).into())
        }
    };
    let base: Entries = (0..200)
        .flat_map(|n| [address(n, true), address(n, false)])
        .map(|address| (Prefix::host(address), Entry::new(1, 1)))
        .collect();
    plane.become_(&base);
    let sizes: BTreeSet<u32> = [400, 7_000, 30_000].into();
    let (done, packets) = (AtomicBool::new(false), AtomicU64::new(0));
    let traffic = |first: u32, trusted: bool| {
        let reader = Reader::open(host.pins().parent().expect("the pin directory"));
        let reader = reader.expect("open the maps");
        let mut n = 0;
        while !done.load(Ordering::Relaxed) {
            for v4 in [true, false] {
                let source = address(first + n % 200, v4);
                assert_eq!(passes(&reader, source), trusted, "{source}");
            }
            n += 1;
            packets.fetch_add(2, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let trusted = scope.spawn(|| traffic(0, true));
        let strangers = scope.spawn(|| traffic(1_000_000, false));
        for _ in 0..4 {
            for size in sizes.iter().chain(sizes.iter().rev()) {
                let mut desired = base.clone();
                for n in 200..*size {
                    // Other entries each time: ids change hands as well.
                    let entry = Entry::new(1, 1 + (n + size) % 7_000);
                    desired.insert(Prefix::host(address(n, true)), entry);
                    desired.insert(Prefix::host(address(n, false)), entry);
                }
                plane.become_(&desired);
            }
        }
        done.store(true, Ordering::Relaxed);
        trusted.join().expect("who is trusted was always let in");
        strangers.join().expect("no stranger was let in");
    });
    assert!(packets.into_inner() > 1_000, "there was hardly any traffic");
}

#[test]
fn more_kinds_of_entries_than_ids_go_to_the_trie_and_ids_come_back() {
    let netns = Netns::new("ids");
    let host = Host::new(&netns);
    let mut plane = Plane::open(&host);
    let hosts = |first: u32| -> Entries {
        (0..70_000u32)
            .map(|n| {
                let address = IpAddr::V4((0x0a00_0000 + n).into());
                (Prefix::host(address), Entry::new(1, first + n))
            })
            .collect()
    };
    for first in [1, 100_000] {
        let model = hosts(first);
        plane.become_(&model);
        assert_eq!(plane.dump(), model);
        let sizes = plane.datapath.held().sizes();
        assert!(sizes[NETS4] > 0 && sizes[HOSTS4] > 60_000, "{sizes:?}");
        for n in [0, 1, 255, 40_000, 69_999] {
            plane.check(&model, IpAddr::V4((0x0a00_0000u32 + n).into()));
        }
        plane.become_(&Entries::new());
        assert_eq!(
            plane.datapath.held().sizes()[HOSTS4] + plane.datapath.held().sizes()[HOSTS6],
            0
        );
        assert!(!plane.passes(IpAddr::V4(0x0a00_0000u32.into())));
    }
}
