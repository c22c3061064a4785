//! What a restart knows, with and without an API to ask, and what ends meanwhile.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use dbfw_tests::{
    agent::Host,
    pair::{FRIEND4, Pair, STRANGER4, TRUSTED4, database, list_state, orders},
    provider_server::{Fault, On, Resource, Server},
};
use jiff::Timestamp;
use nix::sys::signal::Signal;

use super::{
    common::{Kernel, server, wait},
    readers::{
        agent_keys, assert_let_in, assert_refused, cluster, digitalocean, guarded_cluster,
        prefixes, source, texts, wait_cut, wait_let_in, wait_list, wait_prefixes, wait_state,
    },
};

const CLUSTER: &str = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";

/// TRUSTED4 by a cluster's list, FRIEND4 by a tag of the configuration.
fn configured<'a>(pair: &'a Pair, server: &Server, agent: &str) -> Host<'a> {
    server.account(|account| {
        account.add_database_as(CLUSTER, "orders", &["ip_addr:10.77.0.2"]);
        account.add_droplet("web", &["backend"], &["10.77.0.3"]);
        account.add_droplet("spare", &["spare"], &["10.77.0.9", "198.51.100.9"]);
    });
    let host = Host::new(&pair.db);
    let database = orders(&format!("{}trusted_sources = [\"tag:backend\"]", cluster(CLUSTER)));
    host.configure(&agent_keys(agent), &format!("{}\n{database}", digitalocean(server, "")));
    host
}

/// Starts the agent and waits until everything it learned is on disk.
fn learn(host: &mut Host<'_>, pair: &Pair) {
    host.start();
    wait_let_in(host, pair, TRUSTED4);
    wait_let_in(host, pair, FRIEND4);
    wait(host, "the snapshot", || {
        let snapshot = fs::read_to_string(host.path("state").join("snapshot.json"));
        snapshot.is_ok_and(|text| text.contains("10.77.0.2") && text.contains("10.77.0.3"))
    });
}

/// Kills the agent and removes what it pinned, as a reboot does: the snapshot is all there is.
fn crash(host: &mut Host<'_>, pair: &Pair) {
    host.stop(Signal::SIGKILL);
    assert_eq!(host.dbfw(&["detach", "--yes"]).status.code(), Some(0));
    wait_let_in(host, pair, STRANGER4);
}

fn success(host: &Host<'_>) -> Timestamp {
    let at = database(host)["provider"]["last_success"].as_str().map(str::parse);
    at.expect("the list was read").expect("a time")
}

#[test]
fn a_restart_without_the_api_enforces_the_snapshot() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let mut host = configured(&pair, &server, "");
    learn(&mut host, &pair);
    wait_list(&host, "ok");
    server.down();
    let down = Timestamp::now();
    crash(&mut host, &pair);
    thread::sleep(Duration::from_secs(2));

    host.start();
    assert_let_in(&host, &pair, TRUSTED4);
    assert_let_in(&host, &pair, FRIEND4);
    assert_refused(&host, &pair, STRANGER4);
    assert_eq!(prefixes(&host, "tag:backend"), ["10.77.0.3/32"]);
    assert_eq!(prefixes(&host, "ip_addr:10.77.0.2"), ["10.77.0.2/32"]);
    wait(&host, "the source to say why", || !source(&host, "tag:backend")["error"].is_null());
    let told = source(&host, "tag:backend");
    assert_eq!(told["state"], "stale", "{told}");
    assert!(told["age_seconds"].as_u64().is_some_and(|age| age >= 2), "{told}");
    assert!(told["resolved_from"].is_string(), "{told}");
    assert_eq!(list_state(&host), "stale");
    assert!(success(&host) <= down, "the list is as old as it is");
    let status = database(&host);
    assert_eq!(status["stale_sources"], 1, "{status}");
    assert!(status["oldest_age_seconds"].as_u64().is_some_and(|age| age >= 2), "{status}");

    // Once more, with the maps of the agent before; then the API is back.
    host.stop(Signal::SIGKILL);
    host.start();
    assert_let_in(&host, &pair, FRIEND4);
    server.up();
    wait_state(&host, "tag:backend", "ok");
    wait_list(&host, "ok");
    assert!(success(&host) > down);
    server.account(|account| account.add_rule(CLUSTER, "ip_addr", "10.77.0.9"));
    wait_let_in(&host, &pair, STRANGER4);
}

#[test]
fn what_changed_while_the_agent_was_down_passes_the_guards() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let mut host = configured(&pair, &server, "");
    let guarded = orders(&format!(
        "{}trusted_sources = [\"tag:backend\"]\nmax_shrink = \"10%\"",
        guarded_cluster(CLUSTER)
    ));
    host.configure(&agent_keys(""), &format!("{}\n{guarded}", digitalocean(&server, "")));
    server.account(|account| {
        for address in ["10.0.0.4", "10.0.0.5", "10.0.0.6"] {
            account.add_rule(CLUSTER, "ip_addr", address);
        }
    });
    learn(&mut host, &pair);
    crash(&mut host, &pair);
    server.account(|account| {
        account.rules_mut(CLUSTER).clear();
        account.add_rule(CLUSTER, "ip_addr", "10.77.0.9");
    });
    host.start();
    wait_list(&host, "refused");
    let plan = database(&host)["refused"].take();
    let lost = ["10.0.0.4/32", "10.0.0.5/32", "10.0.0.6/32", "10.77.0.2/32"];
    assert_eq!(texts(&plan["lost"]), lost, "{plan}");
    // Another crash forgets the refusal and comes to the same.
    host.stop(Signal::SIGKILL);
    host.start();
    wait_list(&host, "refused");
    assert_eq!(database(&host)["refused"]["id"], plan["id"]);
    assert_let_in(&host, &pair, TRUSTED4);
    assert_let_in(&host, &pair, FRIEND4);
    assert_refused(&host, &pair, STRANGER4);
    let id = plan["id"].as_str().expect("an id");
    assert_eq!(host.dbfw(&["reload", "--confirm", id]).status.code(), Some(0), "{}", host.log());
    wait_cut(&host, &pair, TRUSTED4);
    assert_let_in(&host, &pair, STRANGER4);
    assert_let_in(&host, &pair, FRIEND4);
}

#[test]
fn a_first_start_without_the_api_is_closed_until_it_answers() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let mut host = configured(&pair, &server, "");
    server.down();
    host.start();
    wait(&host, "the source to say why", || !source(&host, "tag:backend")["error"].is_null());
    for client in [TRUSTED4, FRIEND4, STRANGER4] {
        assert_refused(&host, &pair, client);
    }
    assert_eq!(list_state(&host), "never");
    assert!(pair.reaches_port(STRANGER4, dbfw_tests::pair::OTHER_PORT), "only the database is");
    server.up();
    wait_let_in(&host, &pair, TRUSTED4);
    wait_let_in(&host, &pair, FRIEND4);
    wait_list(&host, "ok");
    wait_state(&host, "tag:backend", "ok");
    assert_refused(&host, &pair, STRANGER4);
}

#[test]
fn max_stale_ends_trust_and_counts_over_a_restart() {
    const MAX_STALE: Duration = Duration::from_secs(16);
    let pair = Pair::new();
    let server = server(&pair.db);
    let mut host = configured(&pair, &server, "max_stale = \"16s\"");
    learn(&mut host, &pair);
    let known = Instant::now();
    server.down();
    host.stop(Signal::SIGKILL);
    thread::sleep(Duration::from_secs(8));
    host.start();
    let started = Instant::now();
    let kernel = Kernel::open(&host);
    if known.elapsed() < Duration::from_secs(12) {
        assert!(kernel.admits("orders", TRUSTED4) && kernel.admits("orders", FRIEND4));
    }
    wait(&host, "both to be too old", || {
        !kernel.admits("orders", TRUSTED4) && !kernel.admits("orders", FRIEND4)
    });
    assert!(started.elapsed() < MAX_STALE, "counted from the restart\n{}", host.log());
    assert_refused(&host, &pair, TRUSTED4);
    assert_refused(&host, &pair, FRIEND4);
    wait_state(&host, "tag:backend", "expired");
    // And it does not come back by another restart.
    host.stop(Signal::SIGKILL);
    host.start();
    wait_cut(&host, &pair, FRIEND4);
    wait_cut(&host, &pair, TRUSTED4);
    server.up();
    wait_let_in(&host, &pair, TRUSTED4);
    wait_let_in(&host, &pair, FRIEND4);
}

#[test]
fn a_tag_trusted_by_hand_is_resolved_and_ends_to_the_second() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let mut host = configured(&pair, &server, "");
    learn(&mut host, &pair);
    let add = ["trust", "add", "tag:spare", "--database", "orders", "--for", "5s", "--why", "x"];
    assert_eq!(host.dbfw(&add).status.code(), Some(0), "{}", host.log());
    let list = host.json(&["trust", "list"]).unwrap_or_default();
    let expires_at = list["sources"][0]["expires_at"].as_str().map(str::parse::<Timestamp>);
    let expires_at = expires_at.expect("it has an end").expect("a time");
    let kernel = Kernel::open(&host);
    let mut last_held = None;
    wait(&host, "the tag to come and go", || {
        let now = Timestamp::now();
        let held = kernel.admits("orders", STRANGER4);
        if held {
            last_held = Some(now);
        }
        last_held.is_some() && !held
    });
    let gone = Timestamp::now();
    assert!(gone >= expires_at, "gone at {gone}, to expire at {expires_at}");
    let late = last_held.expect("it was let in").duration_since(expires_at);
    assert!(late.as_secs_f64() < 1.0, "in force {late} after it expired");
    assert_refused(&host, &pair, STRANGER4);
    assert!(source(&host, "tag:spare").is_null());
    assert_let_in(&host, &pair, FRIEND4);
}

#[test]
fn a_tag_trusted_by_hand_ends_while_the_agent_is_down() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let mut host = configured(&pair, &server, "");
    learn(&mut host, &pair);
    let add = ["trust", "add", "tag:spare", "--database", "orders", "--for", "4s"];
    assert_eq!(host.dbfw(&add).status.code(), Some(0), "{}", host.log());
    let added = Instant::now();
    wait_prefixes(&host, "tag:spare", &["10.77.0.9/32", "198.51.100.9/32"]);
    host.stop(Signal::SIGKILL);
    // With the API up or down: whether it resolves makes no difference.
    server.down();
    thread::sleep(Duration::from_millis(4500).saturating_sub(added.elapsed()));
    host.start();
    assert_refused(&host, &pair, STRANGER4);
    assert_let_in(&host, &pair, FRIEND4);
    assert!(source(&host, "tag:spare").is_null());
    server.up();
    wait_state(&host, "tag:backend", "ok");
    assert_refused(&host, &pair, STRANGER4);
}

#[test]
fn a_restart_does_not_take_a_list_that_lapsed_for_an_empty_one() {
    let pair = Pair::new();
    let server = server(&pair.db);
    server.account(|account| {
        account.add_database_as(CLUSTER, "orders", &["ip_addr:10.77.0.2"]);
    });
    let mut host = Host::new(&pair.db);
    let keys = format!("{}on_empty = \"open\"", cluster(CLUSTER));
    let database = format!("{}\n{}", digitalocean(&server, "timeout = \"20s\""), orders(&keys));
    host.configure(&agent_keys("max_stale = \"2s\""), &database);
    host.start();
    wait_let_in(&host, &pair, TRUSTED4);
    server.inject(On::resource(Resource::Firewall), Fault::Status(500));
    wait_cut(&host, &pair, TRUSTED4);

    // An empty list would let in everybody, until the API answered or failed.
    host.stop(Signal::SIGTERM);
    server.clear_faults();
    server.inject(On::resource(Resource::Firewall), Fault::Hang);
    host.start();
    for _ in 0..20 {
        assert_refused(&host, &pair, STRANGER4);
        thread::sleep(Duration::from_millis(100));
    }
}
