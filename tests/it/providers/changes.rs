//! Sources written in the configuration or a list: what they resolve to, and who is let in.

use std::net::IpAddr;

use dbfw_tests::{
    agent::Host,
    pair::{FRIEND4, Pair, STRANGER4, TRUSTED4, TRUSTED6, list_state, orders, problems},
    provider_server::Server,
};

use super::{
    common::{server, wait},
    readers::{
        agent_keys, assert_let_in, assert_refused, cluster, digitalocean, prefixes, source, texts,
        wait_cut, wait_let_in, wait_list, wait_prefixes, wait_state,
    },
};

const CLUSTER: &str = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// An agent with these sources in its configuration.
fn started<'a>(pair: &'a Pair, server: &Server, keys: &str, sources: &[&str]) -> Host<'a> {
    let mut host = Host::new(&pair.db);
    configure(&host, server, keys, sources);
    host.start();
    host
}

fn configure(host: &Host<'_>, server: &Server, keys: &str, sources: &[&str]) {
    let database = orders(&format!("trusted_sources = {sources:?}"));
    host.configure(&agent_keys(""), &format!("{}\n{database}", digitalocean(server, keys)));
}

#[test]
fn every_type_in_the_configuration_is_resolved() {
    let pair = Pair::new();
    // Beyond the pair's own: a GPU droplet, an app, an address of a VPC, and a pod.
    for client in ["10.77.0.4/24", "10.77.0.6/24", "10.77.0.18/24", "10.244.3.3/32"] {
        pair.clients.address("cl0", client);
    }
    pair.db.ip("route add 10.244.0.0/16 dev db0");
    let server = server(&pair.db);
    let [droplet, k8s, app, mute, vpc] = server.account(|account| {
        let addresses = ["10.77.0.2", "198.51.100.2", "fd77::2"];
        let droplet = account.add_droplet("web", &[], &addresses);
        account.add_droplet("job", &["backend"], &["10.77.0.3", "198.51.100.3"]);
        account.add_gpu_droplet("gpu", &["backend"], &["10.77.0.4"]);
        account.add_gpu_droplet("other-gpu", &["frontend"], &["198.51.100.66"]);
        let k8s = account.add_cluster("prod");
        account.reserve(&["10.77.0.5", "2001:db8::5"]);
        account.add_pool(&k8s, "workers", 1);
        let app = account.add_app("shop", &["198.51.100.7"], &["10.77.0.6"]);
        let mute = account.add_app("mute", &[], &[]);
        let vpc = account.add_vpc("lab", "10.77.0.16/28");
        [
            format!("droplet:{droplet}"),
            format!("k8s:{k8s}"),
            format!("app:{app}"),
            format!("app:{mute}"),
            format!("vpc:{vpc}"),
        ]
    });
    let sources = [&*droplet, "tag:backend", &*k8s, &*app, &*mute, &*vpc];
    let host = started(&pair, &server, "pod_subnets = true", &sources);

    wait_prefixes(&host, &droplet, &["10.77.0.2/32", "198.51.100.2/32", "fd77::2/128"]);
    wait_prefixes(&host, "tag:backend", &["10.77.0.3/32", "10.77.0.4/32", "198.51.100.3/32"]);
    wait_prefixes(&host, &k8s, &["10.77.0.5/32", "10.244.0.0/16", "2001:db8::5/128"]);
    wait_prefixes(&host, &app, &["10.77.0.6/32", "198.51.100.7/32"]);
    wait_prefixes(&host, &vpc, &["10.77.0.16/28"]);
    wait_state(&host, &mute, "unresolvable");
    assert!(prefixes(&host, &mute).is_empty());
    let why = source(&host, &mute)["unresolved"].to_string();
    assert!(why.contains("dedicated IP"), "{why}");
    for name in [&*droplet, "tag:backend", &*k8s, &*app, &*vpc] {
        let told = source(&host, name);
        assert_eq!(told["state"], "ok", "{told}");
        assert!(told["resolved_from"].as_str().is_some_and(|from| from.contains("/v2/")), "{told}");
        assert!(told["age_seconds"].as_u64().is_some_and(|age| age < 60), "{told}");
    }

    let let_in = [TRUSTED4, TRUSTED6, FRIEND4];
    let more = ["10.77.0.4", "10.77.0.6", "10.77.0.18", "10.244.3.3"].map(address);
    for client in let_in.into_iter().chain(more) {
        assert_let_in(&host, &pair, client);
    }
    assert_refused(&host, &pair, STRANGER4);
}

#[test]
fn only_the_kinds_of_addresses_that_are_wanted() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let addresses = ["10.77.0.2", "198.51.100.2", "fd77::2"];
    let id = server.account(|account| account.add_droplet("web", &["backend"], &addresses));
    let droplet = format!("droplet:{id}");
    let sources = [&*droplet, "tag:backend"];
    let host = started(&pair, &server, "addresses = [\"private\"]", &sources);
    for name in sources {
        wait_prefixes(&host, name, &["10.77.0.2/32"]);
    }
    wait_let_in(&host, &pair, TRUSTED4);
    assert_refused(&host, &pair, TRUSTED6);

    configure(&host, &server, "addresses = [\"private\", \"v6\"]", &sources);
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0), "{}", host.log());
    for name in sources {
        wait_prefixes(&host, name, &["10.77.0.2/32", "fd77::2/128"]);
    }
    wait_let_in(&host, &pair, TRUSTED6);

    configure(&host, &server, "addresses = [\"v6\"]", &sources);
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0), "{}", host.log());
    wait_cut(&host, &pair, TRUSTED4);
    assert_let_in(&host, &pair, TRUSTED6);
}

#[test]
fn rules_that_mean_nothing_are_reported_and_the_others_count() {
    let pair = Pair::new();
    let server = server(&pair.db);
    server.account(|account| {
        account.add_database_as(CLUSTER, "orders", &["ip_addr:10.77.0.2", "planet:mars"]);
        account.add_rule(CLUSTER, "ip_addr", "10.77.0.300");
        account.add_rule(CLUSTER, "droplet", "web");
        account.add_rule(CLUSTER, "ip_addr", "10.77.0.3");
    });
    let mut host = Host::new(&pair.db);
    let database = orders(&cluster(CLUSTER));
    host.configure(&agent_keys(""), &format!("{}\n{database}", digitalocean(&server, "")));
    host.start();
    wait_let_in(&host, &pair, TRUSTED4);
    wait_let_in(&host, &pair, FRIEND4);
    assert_eq!(list_state(&host), "ok");
    let told = problems(&host);
    for rule in ["planet", "10.77.0.300", "web"] {
        assert!(told.contains(rule), "{rule} in\n{told}");
    }
    assert_refused(&host, &pair, STRANGER4);

    server.account(|account| account.remove_rule(CLUSTER, "planet", "mars"));
    wait(&host, "the rule to be forgotten", || !problems(&host).contains("planet"));
}

#[test]
fn a_networks_own_address_is_taken_literally_and_noted() {
    let pair = Pair::new();
    pair.clients.address("cl0", "10.77.0.0/32");
    let server = server(&pair.db);
    let vpc = server.account(|account| account.add_vpc("lab", "10.77.0.0/24"));
    let host = started(&pair, &server, "", &["ip_addr:10.77.0.0", "ip_addr:10.77.0.2"]);
    wait(&host, "it to be noted", || {
        let notes = texts(&source(&host, "ip_addr:10.77.0.0")["notes"]).join("\n");
        notes.contains("ip_addr:10.77.0.0/24") && notes.contains(&format!("vpc:{vpc}"))
    });
    assert!(texts(&source(&host, "ip_addr:10.77.0.2")["notes"]).is_empty());
    assert_eq!(prefixes(&host, "ip_addr:10.77.0.0"), ["10.77.0.0/32"]);
    assert_let_in(&host, &pair, TRUSTED4);
    assert_refused(&host, &pair, FRIEND4);
}

#[test]
fn what_comes_and_goes_again_and_again_is_followed_each_time() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let droplet = server.account(|account| {
        account.add_database_as(CLUSTER, "orders", &["ip_addr:10.77.0.2", "ip_addr:10.77.0.9"]);
        account.add_droplet("steady", &["backend"], &["10.77.0.2"]);
        account.add_droplet("flapping", &["backend"], &["10.77.0.3"])
    });
    let mut host = Host::new(&pair.db);
    let list = cluster(CLUSTER);
    let database = orders(&format!("trusted_sources = [\"tag:backend\"]\n{list}"));
    host.configure(&agent_keys(""), &format!("{}\n{database}", digitalocean(&server, "")));
    host.start();
    for _ in 0..4 {
        wait_let_in(&host, &pair, FRIEND4);
        wait_let_in(&host, &pair, STRANGER4);
        server.account(|account| {
            account.untag_droplet(droplet, "backend");
            account.remove_rule(CLUSTER, "ip_addr", "10.77.0.9");
        });
        wait_cut(&host, &pair, FRIEND4);
        wait_cut(&host, &pair, STRANGER4);
        server.account(|account| {
            account.tag_droplet(droplet, "backend");
            account.add_rule(CLUSTER, "ip_addr", "10.77.0.9");
        });
    }
    assert_let_in(&host, &pair, TRUSTED4);
    wait_list(&host, "ok");
}
