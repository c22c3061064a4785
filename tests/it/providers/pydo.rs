//! The real client changes the rules, and packets show it.

use std::{net::IpAddr, time::Duration};

use dbfw_tests::{
    agent::Host,
    pair::{FRIEND4, Pair, STRANGER4, TRUSTED4, TRUSTED6, orders},
    provider_server::Server,
    traffic,
};
use jiff::Timestamp;

use super::{
    common::{server, wait},
    readers::{
        agent_keys, assert_let_in, assert_refused, cluster, connects, digitalocean, source,
        wait_cut, wait_let_in,
    },
};

const CLUSTER: &str = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";

/// An agent that follows the list of a cluster.
fn started<'a>(pair: &'a Pair, server: &Server, rules: &[&str]) -> Host<'a> {
    server.account(|account| account.add_database_as(CLUSTER, "orders", rules));
    let mut host = Host::new(&pair.db);
    let database = orders(&cluster(CLUSTER));
    host.configure(&agent_keys(""), &format!("{}\n{database}", digitalocean(server, "")));
    host.start();
    host
}

/// Runs a script on the host, where the server is.
fn pydo(pair: &Pair, server: &Server, script: &str, arguments: &[&str]) {
    let output = server.pydo_command(Some(&pair.db), script).args(arguments).output();
    let output = output.expect("run the script");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} {arguments:?}: {error}");
}

/// Lets `change` happen, and waits until packets show that the client is let in, or cut off;
/// how long that took from the last request that changed something at the server.
fn follows(
    host: &Host<'_>,
    (pair, server): (&Pair, &Server),
    (client, let_in): (IpAddr, bool),
    change: impl FnOnce(),
) -> Duration {
    server.forget_requests();
    change();
    let mut seen = None;
    wait(host, &format!("{client} to be seen as changed"), || {
        seen = Some(Timestamp::now());
        connects(pair, client) == let_in && pair.reaches(client) == let_in
    });
    let requests = server.requests();
    let wrote = requests.iter().rev().find(|seen| seen.method != "GET").map(|seen| seen.at);
    let delay = wrote.zip(seen).map(|(wrote, seen)| seen.duration_since(wrote));
    Duration::try_from(delay.expect("the client wrote something")).unwrap_or_default()
}

#[test]
fn rules_that_are_appended_removed_and_replaced() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let host = started(&pair, &server, &["ip_addr:10.77.0.2"]);
    wait_let_in(&host, &pair, TRUSTED4);
    assert_refused(&host, &pair, FRIEND4);

    let rules = |action, rule| {
        let (pair, server) = (&pair, &server);
        move || pydo(pair, server, "rules.py", &[action, CLUSTER, rule])
    };
    let site = (&pair, &server);
    let appended = follows(&host, site, (FRIEND4, true), rules("append", "ip_addr:10.77.0.3"));
    assert_let_in(&host, &pair, TRUSTED4);
    let removed = follows(&host, site, (TRUSTED4, false), rules("remove", "ip_addr:10.77.0.2"));
    assert_let_in(&host, &pair, FRIEND4);
    let replaced = follows(&host, site, (STRANGER4, true), rules("replace", "ip_addr:10.77.0.9"));
    wait_cut(&host, &pair, FRIEND4);
    assert_refused(&host, &pair, TRUSTED4);
    println!("polled every 200 ms: append {appended:?}, remove {removed:?}, replace {replaced:?}");
}

#[test]
fn a_droplet_that_is_tagged_and_untagged() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let (web, spare) = server.account(|account| {
        let web = account.add_droplet("web", &["backend"], &["10.77.0.2"]);
        (web, account.add_droplet("spare", &[], &["10.77.0.3", "fd77::2"]))
    });
    let host = started(&pair, &server, &["tag:backend", "ip_addr:10.0.0.4"]);
    wait_let_in(&host, &pair, TRUSTED4);
    assert_refused(&host, &pair, FRIEND4);

    let tags = |action, droplet: u64| {
        let (pair, server) = (&pair, &server);
        move || pydo(pair, server, "tags.py", &[action, "backend", &droplet.to_string()])
    };
    let site = (&pair, &server);
    let tagged = follows(&host, site, (FRIEND4, true), tags("tag", spare));
    assert_let_in(&host, &pair, TRUSTED6);
    let untagged = follows(&host, site, (FRIEND4, false), tags("untag", spare));
    assert_refused(&host, &pair, TRUSTED6);
    assert_let_in(&host, &pair, TRUSTED4);
    // The last one: an empty answer is believed after a second.
    let emptied = follows(&host, site, (TRUSTED4, false), tags("untag", web));
    assert!(emptied >= Duration::from_millis(900), "gone_after is a second: {emptied:?}");
    println!("polled every 200 ms: tag {tagged:?}, untag {untagged:?}, the last {emptied:?}");
}

#[test]
fn a_node_pool_that_grows_and_shrinks() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let (k8s, pool) = server.account(|account| {
        let k8s = account.add_cluster("prod");
        account.reserve(&["10.77.0.2"]);
        let pool = account.add_pool(&k8s, "workers", 1);
        account.provisioning = None;
        (k8s, pool)
    });
    let name = format!("k8s:{k8s}");
    let host = started(&pair, &server, &[&name]);
    wait_let_in(&host, &pair, TRUSTED4);

    server.account(|account| account.reserve(&["10.77.0.3", "fd77::2"]));
    let resize = |count| {
        let (pair, server, k8s, pool) = (&pair, &server, &k8s, &pool);
        move || pydo(pair, server, "node_pool.py", &["resize", k8s, pool, count])
    };
    resize("2")();
    wait(&host, "the new node to be seen", || {
        source(&host, &name)["unresolved"].to_string().contains("still being created")
    });
    assert_refused(&host, &pair, FRIEND4);
    assert_let_in(&host, &pair, TRUSTED4);
    assert_eq!(source(&host, &name)["state"], "ok");

    let provisioned = Timestamp::now();
    server.account(|account| account.finish_provisioning());
    wait(&host, "the new node to be let in", || connects(&pair, FRIEND4));
    let grown = Timestamp::now().duration_since(provisioned);
    wait_let_in(&host, &pair, TRUSTED6);
    assert_eq!(source(&host, &name)["unresolved"].as_array().map(Vec::len), Some(0));

    let shrunk = follows(&host, (&pair, &server), (FRIEND4, false), resize("1"));
    assert_let_in(&host, &pair, TRUSTED4);
    println!("polled every 200 ms: node runs {grown:#}, node removed {shrunk:?}");
}

#[test]
fn a_connection_that_is_cut_is_cut_in_the_middle() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let host = started(&pair, &server, &["ip_addr:10.77.0.2", "ip_addr:10.77.0.3"]);
    wait_let_in(&host, &pair, FRIEND4);
    let target = (dbfw_tests::pair::HOST4, dbfw_tests::pair::PORT).into();
    let patience = Duration::from_secs(10);
    let mut stream =
        traffic::connect(&pair.clients, FRIEND4, target, patience).expect("a connection");
    traffic::round_trip(&mut stream, patience).expect("an answer");
    pydo(&pair, &server, "rules.py", &["remove", CLUSTER, "ip_addr:10.77.0.3"]);
    wait_cut(&host, &pair, FRIEND4);
    assert!(traffic::round_trip(&mut stream, traffic::SILENCE).is_err());
    assert_let_in(&host, &pair, TRUSTED4);
}
