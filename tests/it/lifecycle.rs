//! Policy changes, crashes and upgrades while clients never rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use dbfw::{control::client::Client, state::snapshot::Snapshot};
use dbfw_common::{ABI_VERSION, Mode};
use dbfw_core::{
    Destinations, Port,
    policy::{Changed, Policy, SlotTable},
};
use dbfw_datapath::{Change, DatabaseSlot, Datapath, interfaces};
use dbfw_tests::{
    agent::Host,
    netns::finish,
    pair::{
        HOST4, HOST6, INTERFACE, PORT, Pair, STRANGER4, STRANGER6, TRUSTED4, TRUSTED6, interfaces,
        listed,
    },
    steady::{self, Seen},
};
use dbfw_wire::control::{Protection, Request, Status};
use nix::sys::signal::Signal;
use serde_json::Value;

const CHANGES: u32 = 200;
const CRASHES: u32 = 20;
const UPGRADES: u32 = 10;

/// The database, TCP and UDP, with a list that may change as it likes.
fn configure(host: &Host<'_>) {
    host.configure(
        &interfaces(),
        &listed(host, "max_shrink = \"off\"")
            .replace(&format!("[{PORT}]"), &format!("[{PORT}, \"udp/{PORT}\"]")),
    );
}

/// The `n`th list: different from every other, trusting the trusted clients by ever other
/// prefixes of ever other lengths, and never the strangers.
fn list(n: u32) -> String {
    let (v4, v6) = match n % 5 {
        0 => ("10.77.0.2", "fd77::2"),
        1 => ("10.77.0.0/30", "fd77::/125"),
        2 => ("10.77.0.1-10.77.0.6", "fd77::2/127"),
        3 => ("10.77.0.2/31\n10.77.0.2", "fd77::1-fd77::4\nfd77::2"),
        _ => ("10.77.0.0/29\n10.77.0.2/31", "fd77::/126\nfd77::2/127"),
    };
    let (a, b) = (n / 250 % 250, n % 250);
    // Neighbours in the trie and in the same /24 come and go as well.
    format!("{v4}\n{v6}\n10.77.0.{}\n10.{}.{b}.0/24\nfd78:{n:x}::/32\n", 16 + n % 200, 100 + a)
}

/// Runs `work` while every client is busy, and panics if any of them saw something wrong.
fn under_traffic(pair: &Pair, work: impl FnOnce(&Seen)) {
    let seen = Seen::default();
    let (target4, target6) = (SocketAddr::new(HOST4, PORT), SocketAddr::new(HOST6, PORT));
    let clients = &pair.clients;
    let listener = steady::udp_listener(&pair.db, PORT);
    thread::scope(|scope| {
        let seen = &seen;
        scope.spawn(|| steady::udp_server(&listener, &[STRANGER4, STRANGER6], seen));
        for (trusted, stranger, target) in
            [(TRUSTED4, STRANGER4, target4), (TRUSTED6, STRANGER6, target6)]
        {
            scope.spawn(move || steady::trusted_udp(clients, trusted, target, seen));
            scope.spawn(move || steady::untrusted_udp(clients, stranger, target, seen));
        }
        scope.spawn(move || steady::trusted_tcp(clients, TRUSTED4, target4, seen));
        scope.spawn(move || steady::untrusted_tcp(clients, STRANGER4, target4, seen));
        // The clients must end even if the work panics, or the scope never does.
        let _stop = StopWhenDropped(seen);
        work(seen);
    });
    assert!(seen.wrong().is_empty(), "{:#?}", seen.wrong());
}

struct StopWhenDropped<'a>(&'a Seen);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn status(host: &Host<'_>) -> Option<Status> {
    Client::connect(&host.path("run/dbfw.sock")).ok()?.call(&Request::Status {}).ok()
}

/// Puts the `n`th list in force.
fn change(host: &Host<'_>, n: u32) {
    let before = status(host).and_then(|status| status.agent).expect("the agent answers");
    host.replace("orders.list", &list(n));
    host.wait("the list to be in force", |host| {
        let agent = status(host).and_then(|status| status.agent);
        agent.is_some_and(|agent| agent.generation > before.generation)
    });
}

/// Id of a pinned link, and of the program it runs.
fn link(pin: &Path) -> (u64, u64) {
    let shown = finish(
        std::process::Command::new("bpftool").args(["-j", "link", "show", "pinned"]).arg(pin),
    );
    let shown: Value = serde_json::from_str(&shown).expect("bpftool prints JSON");
    let number = |key: &str| shown[key].as_u64().unwrap_or_else(|| panic!("no {key} in {shown}"));
    (number("id"), number("prog_id"))
}

fn links(host: &Host<'_>) -> Vec<(u64, u64)> {
    [format!("link_native_{INTERFACE}"), "link_backstop".to_owned()]
        .iter()
        .map(|pin| link(&host.pins().join(pin)))
        .collect()
}

/// Asserts that both hooks have the links they had, with other programs.
fn assert_upgraded(before: &[(u64, u64)], after: &[(u64, u64)]) {
    for ((link, program), (link_now, program_now)) in before.iter().zip(after) {
        assert_eq!(link, link_now, "the link must stay, or packets pass between two of them");
        assert_ne!(program, program_now, "the program must be replaced");
    }
}

/// The counters that live in pinned maps, by series.
fn counters(metrics: &str) -> BTreeMap<String, u64> {
    const NAMES: [&str; 3] = ["dbfw_allowed_", "dbfw_dropped_", "dbfw_observed_"];
    metrics
        .lines()
        .filter(|line| NAMES.iter().any(|name| line.starts_with(name)))
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?)))
        .collect()
}

/// Scrapes until `stop`, with the agent and without, and holds every sample against the
/// last. Returns how often that was.
fn watch_counters(host: &Host<'_>, stop: &AtomicBool) -> u64 {
    let mut last = BTreeMap::new();
    let mut scrapes = 0;
    while !stop.load(Ordering::Relaxed) {
        let output = host.dbfw(&["metrics"]);
        // The agent may be killed while it answers.
        if !output.status.success() {
            continue;
        }
        let now = counters(&String::from_utf8_lossy(&output.stdout));
        assert!(!now.is_empty(), "no counters among the metrics");
        for (series, before) in &last {
            match now.get(series) {
                Some(value) => assert!(value >= before, "{series} went from {before} to {value}"),
                None => panic!("{series} has vanished"),
            }
        }
        last = now;
        scrapes += 1;
        // Rather often, but not so that it starves the clients of CPU time.
        thread::sleep(Duration::from_millis(50));
    }
    scrapes
}

fn total(host: &Host<'_>, name: &str) -> u64 {
    let metrics = host.dbfw(&["metrics"]).stdout;
    let counters = counters(&String::from_utf8_lossy(&metrics));
    counters.iter().filter(|(series, _)| series.starts_with(name)).map(|(_, value)| value).sum()
}

#[test]
fn changes_crashes_and_upgrades_disturb_nobody_and_let_nobody_in() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.replace("orders.list", &list(0));
    configure(&host);
    host.start();
    let stop = AtomicBool::new(false);
    let scrapes = AtomicU64::new(0);
    let refused = AtomicU64::new(0);
    under_traffic(&pair, |seen| {
        // Only the path and the configuration matter to the scraper, not the agent.
        let scraper = Host::new(&pair.db);
        fs::copy(host.path("dbfw.toml"), scraper.path("dbfw.toml")).expect("copy the config");
        thread::scope(|scope| {
            let watcher = scope.spawn(|| watch_counters(&scraper, &stop));
            let mut n = 0;
            for crash in 0..CRASHES {
                for _ in 0..CHANGES / CRASHES {
                    n += 1;
                    change(&host, n);
                }
                // Killed at whatever it is doing with the next list.
                n += 1;
                host.replace("orders.list", &list(n));
                let before = links(&host);
                host.stop(Signal::SIGKILL);
                assert_eq!(links(&host), before, "crash {crash}: the filter outlives the agent");
                host.start();
                assert_upgraded(&before, &links(&host));
            }
            for _ in 0..UPGRADES {
                let before = links(&host);
                assert_eq!(host.stop(Signal::SIGTERM), Some(0), "{}", host.log());
                host.start();
                assert_upgraded(&before, &links(&host));
            }
            stop.store(true, Ordering::Relaxed);
            let count = watcher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            scrapes.store(count, Ordering::Relaxed);
        });
        refused.store(seen.refused.load(Ordering::Relaxed), Ordering::Relaxed);
        assert!(seen.answered.load(Ordering::Relaxed) > 1000, "the trusted client hardly sent");
        assert!(seen.connected.load(Ordering::Relaxed) > 100, "hardly any connection was made");
    });
    let (refused, scrapes) = (refused.into_inner(), scrapes.into_inner());
    println!("{refused} packets of strangers refused, {scrapes} scrapes");
    assert!(scrapes > 50, "the counters were hardly looked at");
    let dropped = total(&host, "dbfw_dropped_packets_total");
    assert!(dropped >= refused, "{refused} packets of strangers, {dropped} counted as dropped");
}

/// Makes another ABI's maps equal to the snapshot and moves the links over, as the agent of
/// such a version would at its start.
fn move_to_abi(host: &Host<'_>, abi: u32, pin_dir: &Path, index: u32) {
    let snapshot = Snapshot::load(&host.path("state")).expect("the agent left a snapshot");
    let mut datapath = Datapath::open_abi(pin_dir, abi).expect("open the other ABI's maps");
    let mut slots = SlotTable::default();
    let (nothing, policy) = (Policy::default(), Policy::build(snapshot.policies()));
    let assigned = slots.assign(&nothing, &policy, &Changed::Everything, datapath.held());
    let database = DatabaseSlot {
        id: 1,
        name: "orders".to_owned(),
        mode: Mode::Enforce,
        ports: [false, true].map(|udp| Port { udp, port: PORT }).into_iter().collect(),
        destinations: Destinations::default(),
    };
    let change = Change {
        fresh_rules: assigned.fresh,
        plan: assigned.plan,
        databases: vec![database],
        flags: 0,
    };
    datapath.apply(&change).expect("fill the other ABI's maps");
    let here = interfaces::list_now().expect("list the interfaces");
    assert!(here.iter().any(|interface| interface.index == index), "{INTERFACE} is not here");
    let problems = datapath.adopt(&here).expect("take over the links");
    assert_eq!(problems, Vec::<String>::new());
    datapath.attach_backstop().expect("attach the backstop");
    assert_eq!(datapath.check_attachments(), []);
    assert_eq!(datapath.attachments().len(), 1);
    datapath.remove_other_versions().expect("remove the old pins");
}

fn pin_directories(pin_dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(pin_dir).expect("the pin directory");
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

#[test]
fn an_upgrade_to_another_abi_and_back_disturbs_nobody_and_lets_nobody_in() {
    let other = ABI_VERSION + 1;
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.replace("orders.list", &list(0));
    configure(&host);
    host.start();
    let pin_dir = host.pins().parent().expect("the pins have a parent").to_owned();
    let index = pair.db.ifindex(INTERFACE);
    let pin = format!("link_native_{INTERFACE}");
    under_traffic(&pair, |_| {
        for _ in 0..3 {
            let before = link(&host.pins().join(&pin));
            host.stop(Signal::SIGTERM);
            pair.db.run(|| move_to_abi(&host, other, &pin_dir, index));
            let moved = link(&pin_dir.join(format!("v{other}")).join(&pin));
            assert_upgraded(&[before], &[moved]);
            assert_eq!(pin_directories(&pin_dir), BTreeSet::from([format!("v{other}")]));
            host.start();
            assert_upgraded(&[moved], &[link(&host.pins().join(&pin))]);
            assert_eq!(pin_directories(&pin_dir), BTreeSet::from([format!("v{ABI_VERSION}")]));
            let protection = status(&host).map(|status| status.protection);
            assert_eq!(protection, Some(Protection::Yes), "{}", host.log());
        }
    });
}

#[test]
fn the_lists_of_this_test_are_what_they_should_be() {
    let trusts = |list: &str, address: IpAddr| {
        list.lines().any(|line| {
            let source: dbfw_core::source::TrustedSource =
                format!("ip_addr:{line}").parse().expect("a source");
            let prefixes = source.key().prefixes().expect("an address").to_vec();
            prefixes.iter().any(|prefix| prefix.contains(address))
        })
    };
    let mut known = BTreeSet::new();
    for n in 0..1000 {
        let list = list(n);
        assert!(trusts(&list, TRUSTED4) && trusts(&list, TRUSTED6), "{list}");
        assert!(!trusts(&list, STRANGER4) && !trusts(&list, STRANGER6), "{list}");
        assert!(known.insert(list), "list {n} is not new");
    }
}

#[test]
fn a_database_that_is_renamed_disturbs_nobody_and_lets_nobody_in() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    // Enough for a change of all of them to take many packets' time.
    let many: String = (0..4_000).map(|n| format!("172.16.{}.{}\n", n / 250, n % 250)).collect();
    host.replace("orders.list", &format!("{}{many}", list(0)));
    configure(&host);
    host.start();
    let orders = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
    let shop = orders.replace("name = \"orders\"", "name = \"shop\"");
    under_traffic(&pair, |_| {
        for name in ["shop", "orders", "shop", "orders"] {
            host.replace("dbfw.toml", if name == "shop" { &shop } else { &orders });
            let output = host.dbfw(&["reload"]);
            assert!(output.status.success(), "reload to {name}: {output:?}\n{}", host.log());
            let names: Vec<String> = status(&host)
                .map(|status| status.databases.into_iter().map(|database| database.name).collect())
                .unwrap_or_default();
            assert_eq!(names, [name]);
        }
    });
}
