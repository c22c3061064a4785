//! The first word of `dbfw status` against what packets do.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use dbfw_tests::{
    agent::Host,
    pair::{
        HOST4, METRICS, OTHER_PORT, PORT, Pair, STRANGER4, TRUSTED4, interfaces, listed, orders,
        problems,
    },
    traffic,
};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::Signal,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use serde_json::Value;

const TRUSTED: &str = "trusted_sources = [\"ip_addr:10.77.0.2\"]";
/// Kills in the test of random moments.
const KILLS: u32 = 200;
/// Long enough for a connection in namespaces of one host, also where much else runs.
const GLIMPSE: Duration = Duration::from_millis(150);

fn status(host: &Host<'_>) -> Value {
    host.json(&["status"]).unwrap_or_default()
}

fn protection(host: &Host<'_>) -> String {
    status(host)["protection"].as_str().unwrap_or_default().to_owned()
}

fn gets_in(pair: &Pair) -> bool {
    traffic::connect(&pair.clients, STRANGER4, SocketAddr::new(HOST4, PORT), GLIMPSE).is_ok()
}

#[test]
fn a_start_with_too_few_descriptors_says_so_and_the_status_stays_right() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders(TRUSTED));
    host.start_through(&["prlimit", "--nofile=64:4096"]);
    assert_eq!(host.stop(Signal::SIGTERM), Some(0));
    assert_eq!(protection(&host), "yes", "the soft limit is raised");
    host.spawn_through(&["prlimit", "--nofile=64:64"]);
    assert_eq!(host.ended(), Some(1), "{}", host.log());
    assert!(host.log().contains("the limit on open files is 64"), "{}", host.log());
    assert!(host.log().contains("LimitNOFILE="), "{}", host.log());
    assert_eq!(protection(&host), "yes");
    assert!(!gets_in(&pair));
}

/// Kills the agent at a moment of its start, of a change, of a reload or of its end, on top of a
/// filter that works or of none.
#[test]
fn an_agent_killed_at_any_moment_leaves_a_headline_that_is_true() {
    let pair = Pair::new();
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut host = Host::new(&pair.db);
    host.replace("orders.list", "10.77.0.2\n");
    host.configure(&interfaces(), &listed(&host, "max_shrink = \"off\""));
    host.start();
    host.stop(Signal::SIGTERM);
    let (mut fresh, mut working) = (0, 0);
    for kill in 0..KILLS {
        let from_nothing = kill % 4 == 3;
        if from_nothing {
            let detached = host.dbfw(&["detach"]);
            assert!(detached.status.success(), "{detached:?}");
            assert!(gets_in(&pair), "kill {kill}: detached");
        }
        host.spawn();
        match kill % 3 {
            0 => thread::sleep(Duration::from_micros(random.random_range(0..300_000))),
            during => {
                host.wait("the agent to be ready", |host| status(host)["agent"]["ready"] == true);
                if during == 1 {
                    host.replace("orders.list", &format!("10.77.0.2\n10.78.0.{}\n", kill % 250));
                    host.signal(Signal::SIGHUP);
                } else {
                    host.signal(Signal::SIGTERM);
                }
                thread::sleep(Duration::from_micros(random.random_range(0..20_000)));
            }
        }
        host.stop(Signal::SIGKILL);
        let (said, open) = (protection(&host), gets_in(&pair));
        let context = || format!("seed {seed}, kill {kill}: {said}\n{}", problems(&host));
        if from_nothing && kill % 3 == 0 {
            // Half of it may be attached, which is no protection and may be a filter.
            assert!(said == "no" || said == "yes" && !open, "{}", context());
            fresh += 1;
            if said == "no" {
                host.start();
                host.stop(Signal::SIGTERM);
            }
        } else {
            assert_eq!((&*said, open), ("yes", false), "{}", context());
            working += 1;
        }
    }
    println!("{fresh} kills of a first start, {working} on top of a filter");
    assert!(pair.reaches(TRUSTED4));
}

/// A BPF file system of its own, where the pins of a host would be.
struct PrivateBpffs(PathBuf);

impl PrivateBpffs {
    fn mount(host: &Host<'_>) -> Self {
        let directory = host.pins().parent().expect("the pins have a parent").to_owned();
        fs::create_dir_all(&directory).expect("the pin directory");
        mount(Some("bpf"), &directory, Some("bpf"), MsFlags::empty(), Some("mode=0750"))
            .expect("mount a BPF file system");
        Self(directory)
    }

    fn unmount(&self) {
        umount2(&self.0, MntFlags::MNT_DETACH).expect("unmount the BPF file system");
        // What is below is on a BPF file system as well.
        fs::remove_dir_all(&self.0).expect("remove the pin directory");
        std::os::unix::fs::symlink("/dev/null", &self.0).expect("something that is no directory");
    }
}

impl Drop for PrivateBpffs {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn lost_pins_are_told_at_once_and_the_last_words_are_true() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let bpffs = PrivateBpffs::mount(&host);
    host.configure(&format!("{}\n{METRICS}", interfaces()), &orders(TRUSTED));
    host.start();
    bpffs.unmount();
    let lost = Instant::now();
    host.wait("the status to tell", |host| protection(host) == "no");
    println!("told after {:?}", lost.elapsed());
    assert!(problems(&host).contains("the pins are lost"), "{}", problems(&host));
    assert_eq!(pair.http("/readyz").map(|(code, _)| code), Some(503));
    assert!(!gets_in(&pair), "the filter works as long as the agent runs");
    assert!(pair.reaches(TRUSTED4));
    let doctor = String::from_utf8(host.dbfw(&["doctor"]).stdout).expect("text");
    assert!(!doctor.contains("another XDP program"), "{doctor}");
    thread::sleep(Duration::from_secs(3));
    assert_eq!(host.log().matches("cannot repair the pins").count(), 1, "{}", host.log());
    host.stop(Signal::SIGTERM);
    host.wait("the filter to end", |_| gets_in(&pair));
    let log = host.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("the ports are open"), "{last}");
}

#[test]
fn pins_that_come_back_are_kept_again() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let bpffs = PrivateBpffs::mount(&host);
    host.configure(&interfaces(), &orders(TRUSTED));
    host.start();
    bpffs.unmount();
    host.wait("the status to tell", |host| protection(host) == "no");
    fs::remove_file(&bpffs.0).expect("make room");
    let _bpffs = PrivateBpffs::mount(&host);
    host.wait("protection", |host| protection(host) == "yes");
    assert_eq!(host.stop(Signal::SIGTERM), Some(0));
    assert!(!gets_in(&pair), "pinned again: {}", host.log());
    assert_eq!(protection(&host), "yes");
}

#[test]
fn what_is_not_enforced_does_not_look_protected() {
    let pair = Pair::new();
    let database = |name: &str, port: u16, mode: &str| {
        format!("[[database]]\nname = \"{name}\"\nports = [{port}]\nmode = \"{mode}\"\n{TRUSTED}\n")
    };
    for (orders, other, enforced, head) in [
        ("enforce", "enforce", "yes", "PROTECTED  "),
        ("enforce", "off", "partly", "PROTECTED in part"),
        ("observe", "enforce", "partly", "PROTECTED in part"),
        ("observe", "off", "no", "NOTHING ENFORCED"),
        ("off", "off", "no", "NOTHING ENFORCED"),
    ] {
        let mut host = Host::new(&pair.db);
        let databases = [database("orders", PORT, orders), database("other", OTHER_PORT, other)];
        host.configure(&interfaces(), &databases.concat());
        host.start();
        for agent in ["running", "stopped"] {
            let context = format!("orders {orders}, other {other}, agent {agent}");
            let shown = status(&host);
            assert_eq!(shown["protection"], "yes", "{context}");
            assert_eq!(shown["enforced"], enforced, "{context}");
            assert_eq!(shown["protected"], enforced == "yes", "{context}");
            for (at, port, mode) in [(0, PORT, orders), (1, OTHER_PORT, other)] {
                let row = &shown["databases"][at];
                assert_eq!(
                    (row["mode"].as_str(), &row["ports"][0]),
                    (Some(mode), &format!("tcp/{port}").into()),
                    "{context}"
                );
                let told = problems(&host).contains(&format!("tcp/{port} is open to everyone"));
                assert_eq!(told, mode != "enforce", "{context}: {}", problems(&host));
            }
            assert_eq!(gets_in(&pair), orders != "enforce", "{context}");
            let table = host.dbfw(&["status"]);
            let text = String::from_utf8_lossy(&table.stdout).into_owned();
            assert!(text.starts_with(head), "{context}: {text}");
            assert_eq!(table.status.code(), Some(0), "{context}");
            let explained = host.dbfw(&["explain", "10.77.0.9", "--port", &OTHER_PORT.to_string()]);
            let text = String::from_utf8_lossy(&explained.stdout).into_owned();
            assert!(text.contains(&format!("of other ({other})")), "{context}: {text}");
            if agent == "running" {
                host.stop(Signal::SIGTERM);
            }
        }
    }
}
