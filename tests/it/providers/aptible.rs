//! The list of an endpoint at Aptible.

use dbfw_tests::{
    agent::Host,
    pair::{FRIEND4, Pair, STRANGER4, TRUSTED4, database, list_state, orders},
    provider_server::{Fault, On, Resource, Server},
};

use super::{
    common::{aptible, server, wait},
    readers::{agent_keys, assert_let_in, assert_refused, wait_cut, wait_let_in, wait_list},
};

const VHOST: u64 = 123;

fn set(server: &Server, list: &[&str]) {
    let list = list.iter().map(|entry| (*entry).to_owned()).collect();
    server.account(|account| account.vhosts.insert(VHOST, list));
}

fn started<'a>(pair: &'a Pair, server: &Server, keys: &str) -> Host<'a> {
    set(server, &["10.77.0.2", "10.77.0.3/32"]);
    let mut host = Host::new(&pair.db);
    let provider = format!("provider = {{ kind = \"aptible\", vhost = {VHOST} }}\n{keys}");
    let tables = format!("{}\n{}", aptible(server, "poll = \"200ms\""), orders(&provider));
    host.configure(&agent_keys(""), &tables);
    host.start();
    wait_let_in(&host, pair, TRUSTED4);
    wait_list(&host, "ok");
    host
}

#[test]
fn an_endpoints_list_is_followed() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let host = started(&pair, &server, "");
    assert_let_in(&host, &pair, FRIEND4);
    assert_refused(&host, &pair, STRANGER4);
    assert_eq!(database(&host)["provider"]["name"], "aptible:123");

    set(&server, &["10.77.0.2", "10.77.0.9"]);
    wait_let_in(&host, &pair, STRANGER4);
    wait_cut(&host, &pair, FRIEND4);
    assert_let_in(&host, &pair, TRUSTED4);

    let down = server.inject(On::resource(Resource::Vhost), Fault::Status(401));
    wait_list(&host, "stale");
    set(&server, &["10.77.0.3"]);
    assert_let_in(&host, &pair, STRANGER4);
    assert_refused(&host, &pair, FRIEND4);
    server.clear(down);
    set(&server, &["10.77.0.2", "10.77.0.3", "10.77.0.9"]);
    wait_let_in(&host, &pair, FRIEND4);
    wait_list(&host, "ok");
}

#[test]
fn an_empty_list_is_refused_where_it_is_to_be_kept() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let host = started(&pair, &server, "on_empty = \"keep\"");
    set(&server, &[]);
    wait_list(&host, "refused");
    let plan = database(&host)["refused"].take();
    assert_eq!((&plan["guard"], &plan["lost_total"]), (&"on_empty".into(), &2.into()), "{plan}");
    assert_let_in(&host, &pair, TRUSTED4);
    assert_let_in(&host, &pair, FRIEND4);
    assert_refused(&host, &pair, STRANGER4);
    let id = plan["id"].as_str().expect("an id");
    assert_eq!(host.dbfw(&["reload", "--confirm", id]).status.code(), Some(0), "{}", host.log());
    wait_cut(&host, &pair, TRUSTED4);
    assert_refused(&host, &pair, STRANGER4);
}

#[test]
fn an_empty_list_closes_where_it_is_to() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let host = started(&pair, &server, "on_empty = \"close\"");
    set(&server, &[]);
    wait_cut(&host, &pair, TRUSTED4);
    wait_cut(&host, &pair, FRIEND4);
    assert_refused(&host, &pair, STRANGER4);
    assert_eq!(list_state(&host), "ok");
    set(&server, &["10.77.0.3"]);
    wait_let_in(&host, &pair, FRIEND4);
}

#[test]
fn an_empty_list_opens_where_it_is_to_as_at_aptible() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let host = started(&pair, &server, "on_empty = \"open\"");
    set(&server, &[]);
    wait_let_in(&host, &pair, STRANGER4);
    set(&server, &["10.77.0.2"]);
    wait_cut(&host, &pair, STRANGER4);
    assert_let_in(&host, &pair, TRUSTED4);
    // One that has gone never opens.
    server.account(|account| account.vhosts.clear());
    wait(&host, "it to be gone", || list_state(&host) == "refused");
    assert_refused(&host, &pair, STRANGER4);
    assert_let_in(&host, &pair, TRUSTED4);
}
