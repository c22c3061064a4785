use std::{
    fs,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use dbfw_datapath::Reader;
use dbfw_tests::{
    agent::Host,
    pair::{FRIEND4, Pair, STRANGER4, TRUSTED4, interfaces, orders},
};
use jiff::Timestamp;
use nix::sys::signal::Signal;

fn reader(host: &Host<'_>) -> Reader {
    let pins = host.pins();
    Reader::open(pins.parent().expect("the pins have a parent")).expect("open the pinned maps")
}

fn is_in_force(reader: &Reader, address: IpAddr) -> bool {
    reader.lookup(address).expect("read the maps").is_some()
}

fn source(address: IpAddr, expires_at: Timestamp) -> String {
    format!("{{ type = \"ip_addr\", value = \"{address}\", expires_at = \"{expires_at}\" }}")
}

/// TRUSTED4 by the configuration and FRIEND4 by a list, both until `expires_at`.
fn configure(host: &Host<'_>, expires_at: Timestamp) {
    let list = host.path("orders.toml");
    let text = format!("trusted_sources = [{}]\n", source(FRIEND4, expires_at));
    host.replace("orders.toml", &text);
    let keys = format!(
        "trusted_sources = [{}]\non_empty = \"close\"\nmax_shrink = \"off\"\n\
         provider = {{ kind = \"file\", path = \"{}\" }}\n",
        source(TRUSTED4, expires_at),
        list.display()
    );
    host.configure(&interfaces(), &orders(&keys));
}

fn soon() -> Timestamp {
    Timestamp::now() + Duration::from_secs(4)
}

fn far() -> Timestamp {
    Timestamp::now() + Duration::from_secs(3600)
}

#[test]
fn a_source_ends_when_it_expires_and_not_before() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    configure(&host, far());
    host.start();
    let expires_at = soon();
    configure(&host, expires_at);
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0), "{}", host.log());
    let reader = reader(&host);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut last_held = None;
    loop {
        let (trusted, friend) = (is_in_force(&reader, TRUSTED4), is_in_force(&reader, FRIEND4));
        let now = Timestamp::now();
        if now < expires_at {
            assert!(trusted && friend, "ended at {now}, before {expires_at}\n{}", host.log());
            last_held = Some(now);
        } else if !trusted && !friend {
            println!("in force until {last_held:?}, gone at {now}, to expire at {expires_at}");
            break;
        }
        assert!(Instant::now() < deadline, "still in force at {now}, after {expires_at}");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(last_held.is_some(), "the reload took longer than the sources live");
    for client in [TRUSTED4, FRIEND4, STRANGER4] {
        assert!(!pair.reaches(client), "{client} was let in");
    }
}

#[test]
fn a_source_that_expires_while_the_agent_is_down_is_not_in_force_after_a_start() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    configure(&host, far());
    host.start();
    let expires_at = soon();
    configure(&host, expires_at);
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0), "{}", host.log());
    assert!(is_in_force(&reader(&host), TRUSTED4) && is_in_force(&reader(&host), FRIEND4));
    host.stop(Signal::SIGKILL);
    // The list of the snapshot has the expiry as well.
    fs::remove_file(host.path("orders.toml")).expect("delete the list");
    host.wait("the expiry", |_| Timestamp::now() > expires_at);
    assert!(pair.reaches(TRUSTED4), "nobody takes it out");
    let status = host.json(&["status"]).expect("JSON");
    let told = format!("ip_addr:{TRUSTED4}");
    let is_told = |problem: &serde_json::Value| {
        let problem = problem.to_string();
        problem.contains(&told) && problem.contains("expired and stay trusted until an agent runs")
    };
    let problems = status["problems"].as_array().cloned().unwrap_or_default();
    assert!(problems.iter().any(is_told), "{status}");
    host.start();
    let reader = reader(&host);
    assert!(!is_in_force(&reader, TRUSTED4), "from the configuration\n{}", host.log());
    assert!(!is_in_force(&reader, FRIEND4), "from the snapshot\n{}", host.log());
    assert!(!pair.reaches(TRUSTED4) && !pair.reaches(FRIEND4));
}
