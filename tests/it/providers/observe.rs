//! Observe mode and `dbfw suggest`: who would have been refused, and what to trust for them.

use std::{collections::BTreeMap, net::IpAddr};

use dbfw_tests::{
    agent::Host,
    pair::{Pair, TRUSTED6, orders},
    provider_server::Server,
};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    common::{server, wait},
    readers::{
        agent_keys, assert_let_in, assert_refused, digitalocean, guarded_cluster, texts,
        wait_let_in, wait_list,
    },
};

const CLUSTER: &str = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";

/// Who connects, and nobody else.
const CLIENTS: [&str; 9] = [
    "10.77.0.2",
    "10.77.0.3",
    "10.77.0.5",
    "10.77.0.9",
    "10.78.0.2",
    "10.78.0.3",
    "10.78.0.4",
    "10.79.0.2",
    "fd77::9",
];

fn clients() -> impl Iterator<Item = IpAddr> {
    CLIENTS.iter().map(|client| client.parse().expect("an address"))
}

/// The sources to trust, each with the clients it is for.
type Proposal = BTreeMap<String, Vec<String>>;

/// Two machines of a tag, one alone, a node, three of a VPC network, and two that nobody
/// knows; what is to be proposed for them.
fn populate(pair: &Pair, server: &Server) -> Proposal {
    pair.clients.address("cl0", "10.77.0.5/24");
    for network in ["10.78.0", "10.79.0"] {
        pair.db.address("db0", &format!("{network}.1/24"));
        for last in 2..=4 {
            pair.clients.address("cl0", &format!("{network}.{last}/24"));
        }
    }
    let sources = server.account(|account| {
        account.add_droplet("web-1", &["web"], &["10.77.0.2", "198.51.100.2"]);
        account.add_droplet("web-2", &["web"], &["10.77.0.3", "198.51.100.3"]);
        let alone = account.add_droplet("alone", &[], &["10.77.0.9"]);
        let k8s = account.add_cluster("prod");
        account.reserve(&["10.77.0.5"]);
        account.add_pool(&k8s, "workers", 1);
        let vpc = account.add_vpc("lab", "10.78.0.0/24");
        [
            (format!("k8s:{k8s}"), &CLIENTS[2..3]),
            ("tag:web".to_owned(), &CLIENTS[0..2]),
            (format!("droplet:{alone}"), &CLIENTS[3..4]),
            (format!("vpc:{vpc}"), &CLIENTS[4..7]),
            ("ip_addr:10.79.0.2".to_owned(), &CLIENTS[7..8]),
            ("ip_addr:fd77::9".to_owned(), &CLIENTS[8..9]),
        ]
    });
    let texts = |clients: &[&str]| clients.iter().map(|client| (*client).to_owned()).collect();
    sources.into_iter().map(|(source, clients)| (source, texts(clients))).collect()
}

fn suggested(host: &Host<'_>) -> Value {
    host.json(&["suggest", "--database", "orders"]).unwrap_or_default()
}

fn proposal(suggestions: &Value) -> Proposal {
    let all = suggestions["suggestions"].as_array().into_iter().flatten();
    let one = |one: &Value| {
        let source = one["source"].as_str().unwrap_or_default().to_owned();
        (source, texts(&one["covers"]))
    };
    all.map(one).collect()
}

/// Lets every client in once, and waits until all are remembered with their connections.
fn observe(host: &Host<'_>, pair: &Pair) {
    for client in clients() {
        wait_let_in(host, pair, client);
    }
    wait(host, "all of them to be remembered", || {
        // An event can be skipped when many come at once: they connect again.
        let found = suggested(host);
        let mut all = found["suggestions"].as_array().into_iter().flatten();
        let seen =
            found["observed"] == CLIENTS.len() && all.all(|one| one["looks_like"] == "client");
        seen || !clients().all(|client| pair.reaches(client))
    });
}

fn configure(host: &Host<'_>, server: &Server, keys: &str) {
    let tables = digitalocean(server, "");
    host.configure(&agent_keys(""), &format!("{tables}\n{}", orders(keys)));
}

#[test]
fn what_is_proposed_lets_in_whoever_would_have_been_refused() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let expected = populate(&pair, &server);
    server.account(|account| account.add_database_as(CLUSTER, "orders", &["ip_addr:10.0.0.4"]));
    let mut host = Host::new(&pair.db);
    let cluster = guarded_cluster(CLUSTER);
    configure(&host, &server, &format!("{cluster}mode = \"observe\""));
    host.start();
    wait_list(&host, "ok");
    observe(&host, &pair);
    let suggestions = suggested(&host);
    assert_eq!(proposal(&suggestions), expected, "{suggestions:#}");
    assert!(suggestions["inventory_error"].is_null(), "{suggestions:#}");
    for one in suggestions["suggestions"].as_array().into_iter().flatten() {
        assert!(one["packets"].as_u64().is_some_and(|packets| packets > 0), "{one}");
        assert!(one["why"].as_str().is_some_and(|why| !why.is_empty()), "{one}");
    }

    // A restart remembers.
    host.stop(Signal::SIGTERM);
    host.start();
    wait_list(&host, "ok");
    assert_eq!(proposal(&suggested(&host)), expected);

    // Pasted as it is printed, and enforced.
    let output = host.dbfw(&["suggest", "--database", "orders", "--output", "plain"]);
    let plain = String::from_utf8(output.stdout).expect("text");
    configure(&host, &server, &format!("{cluster}{plain}"));
    let reloaded = host.dbfw(&["reload"]);
    assert_eq!(reloaded.status.code(), Some(0), "{plain}\n{reloaded:?}\n{}", host.log());
    for client in clients() {
        wait_let_in(&host, &pair, client);
    }
    let left = suggested(&host);
    assert!(proposal(&left).is_empty(), "{left:#}");
    assert_refused(&host, &pair, TRUSTED6);
    assert_refused(&host, &pair, "10.79.0.3".parse().expect("an address"));
}

/// A new database names nothing at DigitalOcean yet: that is when proposals are wanted most.
#[test]
fn machines_are_known_before_any_source_names_one() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let expected = populate(&pair, &server);
    let mut host = Host::new(&pair.db);
    configure(&host, &server, "mode = \"observe\"");
    host.start();
    observe(&host, &pair);
    let suggestions = suggested(&host);
    assert_eq!(proposal(&suggestions), expected, "{suggestions:#}");
}

#[test]
fn without_the_api_addresses_are_proposed_and_why_is_said() {
    let pair = Pair::new();
    let server = server(&pair.db);
    populate(&pair, &server);
    server.account(|account| account.add_database_as(CLUSTER, "orders", &["ip_addr:10.0.0.4"]));
    let mut host = Host::new(&pair.db);
    configure(&host, &server, &format!("{}mode = \"observe\"", guarded_cluster(CLUSTER)));
    host.start();
    wait_list(&host, "ok");
    server.down();
    observe(&host, &pair);
    let suggestions = suggested(&host);
    assert!(suggestions["inventory_error"].is_string(), "{suggestions:#}");
    let covered: Vec<String> = proposal(&suggestions).into_values().flatten().collect();
    let mut expected: Vec<&str> = CLIENTS.to_vec();
    let mut covered: Vec<&str> = covered.iter().map(String::as_str).collect();
    covered.sort_unstable();
    expected.sort_unstable();
    assert_eq!(covered, expected);
    assert!(proposal(&suggestions).keys().all(|source| source.starts_with("ip_addr:")));
    assert_let_in(&host, &pair, clients().next().expect("a client"));
}
