//! What a provider may not do unasked: the plan that is refused, what it would cut, and the
//! confirmation of that plan and no other.

use std::{net::TcpStream, time::Duration};

use dbfw_tests::{
    agent::Host,
    pair::{
        FRIEND4, HOST4, PORT, Pair, STRANGER4, TRUSTED4, TRUSTED6, database, list_state, orders,
    },
    provider_server::{Resource, Server},
    traffic::{self, SILENCE},
};
use serde_json::Value;

use super::{
    common::{server, wait},
    readers::{
        agent_keys, assert_let_in, assert_refused, digitalocean, guarded_cluster, recorded, source,
        texts, wait_cut, wait_let_in, wait_list, wait_prefixes,
    },
};

const CLUSTER: &str = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";
const FIVE: [&str; 5] = [
    "ip_addr:10.77.0.2",
    "ip_addr:10.77.0.3",
    "ip_addr:10.0.0.4",
    "ip_addr:10.0.0.5",
    "ip_addr:10.0.0.6",
];

/// An agent that follows a cluster's list with the guards as they are by default.
fn started<'a>(pair: &'a Pair, server: &Server, rules: &[&str], keys: &str) -> Host<'a> {
    server.account(|account| account.add_database_as(CLUSTER, "orders", rules));
    let mut host = Host::new(&pair.db);
    configure(&host, server, keys);
    host.start();
    wait_list(&host, "ok");
    host
}

fn configure(host: &Host<'_>, server: &Server, keys: &str) {
    let database = orders(&format!("{}{keys}", guarded_cluster(CLUSTER)));
    host.configure(&agent_keys(""), &format!("{}\n{database}", digitalocean(server, "")));
}

fn set_rules(server: &Server, rules: &[&str]) {
    server.account(|account| {
        account.rules_mut(CLUSTER).clear();
        for rule in rules {
            let (kind, value) = rule.split_once(':').expect("type:value");
            account.add_rule(CLUSTER, kind, value);
        }
    });
}

/// The plan that is refused; null if there is none.
fn plan(host: &Host<'_>) -> Value {
    database(host)["refused"].take()
}

/// Waits for another plan than `before` to be refused, and returns it.
fn wait_plan(host: &Host<'_>, before: &Value) -> Value {
    let mut refused = Value::Null;
    wait(host, "a plan to be refused", || {
        refused = plan(host);
        refused["id"].is_string() && refused["id"] != before["id"]
    });
    refused
}

fn id(plan: &Value) -> &str {
    plan["id"].as_str().expect("the plan has an id")
}

fn confirm(host: &Host<'_>, id: &str) -> Option<i32> {
    host.dbfw(&["reload", "--confirm", id]).status.code()
}

/// Waits until everything was asked for again.
fn wait_polls(host: &Host<'_>, server: &Server) {
    let before = server.count(Resource::Firewall);
    wait(host, "the next polls", || server.count(Resource::Firewall) >= before + 2);
}

/// A connection that was used.
fn connection(pair: &Pair) -> TcpStream {
    let patience = Duration::from_secs(10);
    let target = (HOST4, PORT).into();
    let mut stream = traffic::connect(&pair.clients, FRIEND4, target, patience).expect("connect");
    traffic::round_trip(&mut stream, patience).expect("an answer");
    stream
}

#[test]
fn a_plan_that_loses_too_much_waits_for_a_word_about_it_alone() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let host = started(&pair, &server, &FIVE, "");
    wait_let_in(&host, &pair, FRIEND4);
    let mut live = connection(&pair);
    let patience = Duration::from_secs(10);

    set_rules(&server, &FIVE[..1]);
    let seen = wait_plan(&host, &Value::Null);
    assert_eq!(list_state(&host), "refused");
    assert_eq!(seen["guard"], "max_shrink", "{seen}");
    let mut lost = texts(&seen["lost"]);
    lost.sort_unstable();
    assert_eq!(lost, ["10.0.0.4/32", "10.0.0.5/32", "10.0.0.6/32", "10.77.0.3/32"]);
    assert_eq!((&seen["lost_total"], &seen["connections_total"]), (&4.into(), &1.into()), "{seen}");
    let cut = &seen["connections"][0];
    assert_eq!(cut["peer"], live.local_addr().expect("an address").to_string(), "{seen}");
    assert_eq!((&cut["port"], &cut["source_prefix"]), (&PORT.into(), &"10.77.0.3/32".into()));
    assert_eq!(seen["command"], format!("dbfw reload --confirm {}", id(&seen)));
    wait(&host, "the entry of the refusal", || recorded(&host, "refused").len() == 1);
    let entry = recorded(&host, "refused").remove(0);
    let message = entry["message"].as_str().expect("a message");
    assert!(message.ends_with(" (1 live connections)"), "{entry}");

    // Another plan's id lets nothing through.
    let wrong = if id(&seen) == "01234567" { "76543210" } else { "01234567" };
    assert_eq!(confirm(&host, wrong), Some(1));
    assert_eq!(plan(&host)["id"], seen["id"]);

    // The provider says something else meanwhile: the word was about the plan before.
    set_rules(&server, &["ip_addr:10.77.0.9"]);
    let other = wait_plan(&host, &seen);
    assert_eq!(confirm(&host, id(&seen)), Some(1));
    wait_polls(&host, &server);
    assert_eq!(plan(&host)["id"], other["id"]);
    assert_refused(&host, &pair, STRANGER4);
    assert_let_in(&host, &pair, TRUSTED4);
    traffic::round_trip(&mut live, patience).expect("the connection lives");

    // The same again is the same plan, and the word for it lets exactly it through.
    set_rules(&server, &FIVE[..1]);
    assert_eq!(wait_plan(&host, &other)["id"], seen["id"]);
    traffic::round_trip(&mut live, patience).expect("the connection lives");
    assert_eq!(confirm(&host, id(&seen)), Some(0), "{}", host.log());
    wait_cut(&host, &pair, FRIEND4);
    assert!(traffic::round_trip(&mut live, SILENCE).is_err(), "the connection is cut");
    assert_let_in(&host, &pair, TRUSTED4);
    assert!(plan(&host).is_null());
    wait_list(&host, "ok");

    // It was for once: the next loss is refused again.
    set_rules(&server, &FIVE);
    wait_let_in(&host, &pair, FRIEND4);
    set_rules(&server, &["ip_addr:10.0.0.5"]);
    wait_plan(&host, &seen);
    assert_let_in(&host, &pair, TRUSTED4);
}

/// The office has another address, and the list that names it no other: the new one is let in,
/// and the old one, which is somebody else's by now, is not.
#[test]
fn an_address_of_a_short_list_is_replaced() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let host = started(&pair, &server, &FIVE[..1], "");
    wait_let_in(&host, &pair, TRUSTED4);
    set_rules(&server, &FIVE[1..2]);
    wait_let_in(&host, &pair, FRIEND4);
    wait_cut(&host, &pair, TRUSTED4);
    // Nothing at all is another matter.
    set_rules(&server, &[]);
    let refused = wait_plan(&host, &Value::Null);
    assert_eq!(refused["guard"], "on_empty", "{refused}");
    assert_let_in(&host, &pair, FRIEND4);
}

#[test]
fn a_tag_that_loses_too_much_is_refused_as_a_list_is() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let droplets = server.account(|account| {
        ["10.77.0.2", "10.77.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
            .map(|address| account.add_droplet("web", &["backend"], &[address]))
    });
    let mut host = Host::new(&pair.db);
    let database = orders("trusted_sources = [\"tag:backend\"]");
    host.configure(&agent_keys(""), &format!("{}\n{database}", digitalocean(&server, "")));
    host.start();
    wait_let_in(&host, &pair, FRIEND4);
    server.account(|account| {
        for droplet in &droplets[1..] {
            account.untag_droplet(*droplet, "backend");
        }
    });
    let seen = wait_plan(&host, &Value::Null);
    assert_eq!(seen["lost_total"], 4, "{seen}");
    assert_let_in(&host, &pair, FRIEND4);
    assert_eq!(confirm(&host, id(&seen)), Some(0), "{}", host.log());
    wait_cut(&host, &pair, FRIEND4);
    assert_let_in(&host, &pair, TRUSTED4);
}

#[test]
fn everybody_is_for_the_configuration_to_let_in() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let host = started(&pair, &server, &FIVE[..1], "");
    let mut before = Value::Null;
    for everybody in ["0.0.0.0/0", "::/0", "10.0.0.0/7"] {
        set_rules(&server, &[FIVE[0], &format!("ip_addr:{everybody}")]);
        before = wait_plan(&host, &before);
        assert_eq!((&before["guard"], &before["command"]), (&"allow_any".into(), &"".into()));
        assert_eq!(confirm(&host, id(&before)), Some(1), "{everybody}");
        assert_eq!(host.dbfw(&["reload", "--confirm"]).status.code(), Some(1), "{everybody}");
        assert_refused(&host, &pair, STRANGER4);
        assert_let_in(&host, &pair, TRUSTED4);
    }
    set_rules(&server, &[FIVE[0], "ip_addr:0.0.0.0/0"]);
    before = wait_plan(&host, &before);
    assert_refused(&host, &pair, STRANGER4);
    configure(&host, &server, "allow_any = true");
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0), "{before}\n{}", host.log());
    wait_let_in(&host, &pair, STRANGER4);
    assert_refused(&host, &pair, TRUSTED6);
}

#[test]
fn how_wide_a_prefix_may_be_is_configured() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let keys = |length| format!("min_prefix = {{ ipv4 = {length} }}");
    let host = started(&pair, &server, &FIVE[..1], &keys(25));
    set_rules(&server, &[FIVE[0], "ip_addr:10.77.0.0/24"]);
    let refused = wait_plan(&host, &Value::Null);
    assert_eq!(refused["guard"], "allow_any", "{refused}");
    assert_refused(&host, &pair, STRANGER4);
    configure(&host, &server, &keys(24));
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0), "{}", host.log());
    wait_let_in(&host, &pair, STRANGER4);
}

#[test]
fn what_a_network_stands_for_is_not_let_in_as_everybody() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let vpc = server.account(|account| account.add_vpc("wide", "0.0.0.0/1"));
    let mut host = Host::new(&pair.db);
    let sources = [FIVE[0].to_owned(), format!("vpc:{vpc}")];
    let database = orders(&format!("trusted_sources = {sources:?}"));
    host.configure(&agent_keys(""), &format!("{}\n{database}", digitalocean(&server, "")));
    host.start();
    let refused = wait_plan(&host, &Value::Null);
    assert_eq!(refused["guard"], "allow_any", "{refused}");
    assert_let_in(&host, &pair, TRUSTED4);
    assert_refused(&host, &pair, STRANGER4);
}

/// A plan that is refused is the provider's affair: the operator's own word still counts.
#[test]
fn the_operator_adds_while_a_plan_is_refused() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let host = started(&pair, &server, &FIVE[..], "");
    wait_let_in(&host, &pair, FRIEND4);
    set_rules(&server, &["ip_addr:10.0.0.4"]);
    wait_plan(&host, &Value::Null);

    let stranger = ["ip_addr:10.77.0.9", "--database", "orders"];
    let add = |source: &[&str]| host.dbfw(&[&["trust", "add"], source].concat()).status.code();
    assert_eq!(add(&stranger), Some(0), "{}", host.log());
    assert_let_in(&host, &pair, STRANGER4);
    let remove = host.dbfw(&[&["trust", "rm"], &stranger[..]].concat());
    assert_eq!(remove.status.code(), Some(0), "{}", host.log());
    assert_refused(&host, &pair, STRANGER4);

    configure(&host, &server, "trusted_sources = [\"ip_addr:10.77.0.9\"]");
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(1), "the plan is refused as before");
    assert_let_in(&host, &pair, STRANGER4);
    assert_let_in(&host, &pair, TRUSTED4);
    assert_let_in(&host, &pair, FRIEND4);
    wait_list(&host, "refused");
}

#[test]
fn the_operator_adds_a_tag_while_a_plan_is_refused() {
    let pair = Pair::new();
    let server = server(&pair.db);
    server.account(|account| account.add_droplet("s", &["spare"], &["10.77.0.9"]));
    let host = started(&pair, &server, &FIVE[..], "");
    set_rules(&server, &["ip_addr:10.0.0.4"]);
    wait_plan(&host, &Value::Null);

    let add = host.dbfw(&["trust", "add", "tag:spare", "--database", "orders"]);
    assert_eq!(add.status.code(), Some(0), "{}", host.log());
    wait_prefixes(&host, "tag:spare", &["10.77.0.9/32"]);
    wait_let_in(&host, &pair, STRANGER4);
    wait_list(&host, "refused");
    assert_let_in(&host, &pair, TRUSTED4);
    assert_let_in(&host, &pair, FRIEND4);
    assert_eq!(source(&host, "tag:spare")["state"], "ok");
}
