//! The control plane with its real client and a real agent: a list that pydo edits at dbfw-server,
//! and what packets show of it.

pub(crate) mod joined;
mod resolved;

use std::{
    os::unix::fs::{MetadataExt as _, chown},
    path::Path,
    process::{Child, Output, Stdio},
};

use dbfw_tests::{
    agent::Host,
    control_plane::ControlPlane,
    pair::{FRIEND4, Pair, STRANGER4, TRUSTED4, TRUSTED6, orders},
};
use serde_json::Value;

use crate::providers::{
    common::wait,
    readers::{agent_keys, assert_let_in, assert_refused, cluster, wait_cut, wait_let_in},
};

const CLUSTER: &str = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";

/// Runs pydo with the first token; the rules afterwards.
pub(crate) fn pydo(server: &ControlPlane<'_>, arguments: &[&str]) -> Vec<String> {
    let output = server.pydo("rules.py", &server.token_file()).args(arguments).output();
    rules(&output.expect("run the script"))
}

fn rules(output: &Output) -> Vec<String> {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let rules: Value = serde_json::from_slice(&output.stdout).expect("the script prints JSON");
    let text = |rule: &Value, field: &str| rule[field].as_str().expect("a text").to_owned();
    let rules = rules.as_array().expect("a list");
    rules.iter().map(|rule| format!("{}:{}", text(rule, "type"), text(rule, "value"))).collect()
}

/// An agent that follows the list of the server's database.
fn agent<'p>(pair: &'p Pair, server: &ControlPlane<'_>) -> Host<'p> {
    let mut host = Host::new(&pair.db);
    let api = format!(
        "[digitalocean]\napi_url = \"{}\"\ntoken_file = \"{}\"\nca_file = \"{}\"\npoll = \"200ms\"\n\
         requests_per_hour = 1000000\nrequests_per_minute = 100000\n",
        server.url(),
        server.token_file().display(),
        server.ca_file().display(),
    );
    let database = orders(&format!("{}on_empty = \"close\"\n", cluster(CLUSTER)));
    host.configure(&agent_keys(""), &format!("{api}\n{database}"));
    host.start();
    host
}

#[test]
fn an_agent_enforces_what_pydo_writes_and_keeps_it_without_the_server() {
    let pair = Pair::new();
    let mut server = ControlPlane::start(&pair.db);
    server.done(&["database", "add", "orders", "--id", CLUSTER]);
    let host = agent(&pair, &server);
    assert_refused(&host, &pair, TRUSTED4);

    pydo(&server, &["append", CLUSTER, "ip_addr:10.77.0.2", "ip_addr:fd77::/64"]);
    wait_let_in(&host, &pair, TRUSTED4);
    wait_let_in(&host, &pair, TRUSTED6);
    assert_refused(&host, &pair, FRIEND4);
    // By its name as well, and a range.
    pydo(&server, &["append", "orders", "ip_addr:10.77.0.3-10.77.0.4"]);
    wait_let_in(&host, &pair, FRIEND4);
    pydo(&server, &["remove", CLUSTER, "ip_addr:10.77.0.2"]);
    wait_cut(&host, &pair, TRUSTED4);
    assert_let_in(&host, &pair, FRIEND4);

    // The server fails: nothing changes, and nothing is lost.
    server.kill();
    wait(&host, "the agent to notice", || {
        host.json(&["status"]).is_some_and(|status| status.to_string().contains("stale"))
    });
    assert_let_in(&host, &pair, FRIEND4);
    assert_refused(&host, &pair, TRUSTED4);
    assert_refused(&host, &pair, STRANGER4);
    server.spawn();
    pydo(&server, &["append", CLUSTER, "ip_addr:10.77.0.2"]);
    wait_let_in(&host, &pair, TRUSTED4);

    // An empty list is closed.
    pydo(&server, &["replace", CLUSTER]);
    wait_cut(&host, &pair, TRUSTED4);
    wait_cut(&host, &pair, FRIEND4);
}

#[test]
fn a_source_that_expires_at_the_server_is_cut_at_the_host() {
    let pair = Pair::new();
    let server = ControlPlane::start(&pair.db);
    server.done(&["database", "add", "orders", "--id", CLUSTER]);
    let host = agent(&pair, &server);
    pydo(&server, &["append", CLUSTER, "ip_addr:10.77.0.3"]);
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(6);
    let rule = format!(
        "[{{\"type\": \"ip_addr\", \"value\": \"10.77.0.2\", \"expires_at\": \"{end}\"}}, \
         {{\"type\": \"ip_addr\", \"value\": \"10.77.0.3\"}}]"
    );
    pydo(&server, &["write", CLUSTER, &rule]);
    wait_let_in(&host, &pair, TRUSTED4);
    wait_cut(&host, &pair, TRUSTED4);
    assert!(jiff::Timestamp::now() >= end, "it was cut before its time");
    assert_let_in(&host, &pair, FRIEND4);
    assert_eq!(pydo(&server, &["list", CLUSTER]), ["ip_addr:10.77.0.3"]);
}

#[test]
fn pydos_at_once_lose_nothing() {
    let pair = Pair::new();
    let server = ControlPlane::start(&pair.db);
    server.done(&["database", "add", "orders", "--id", CLUSTER]);
    for round in 0..3 {
        let append = |n: i32| -> Child {
            let rule = format!("ip_addr:198.51.{round}.{n}");
            server
                .pydo("rules.py", &server.token_file())
                .args(["append", CLUSTER, &rule])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("run the script")
        };
        let clients: Vec<Child> = (0..10).map(append).collect();
        for client in clients {
            rules(&client.wait_with_output().expect("wait for the script"));
        }
        assert_eq!(pydo(&server, &["list", CLUSTER]).len(), 10 * (round + 1));
    }
}

#[test]
fn pydo_is_told_why_not() {
    let pair = Pair::new();
    let server = ControlPlane::start(&pair.db);
    server.done(&["database", "add", "orders", "--id", CLUSTER]);
    let told = |token_file: &Path, arguments: &[&str]| {
        let output = server.pydo("rules.py", token_file).args(arguments).output();
        let output = output.expect("run the script");
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let admin = server.token_file();
    let none = "00000000-0000-4000-8000-000000000000";
    let error = told(&admin, &["list", none]);
    assert!(error.contains("not_found: there is no such database"), "{error}");
    let error = told(&admin, &["append", CLUSTER, "ip_addr:0.0.0.0/0"]);
    assert!(error.contains("rules[0].value") && error.contains("allow_any"), "{error}");
    let wrong = admin.with_file_name("wrong");
    std::fs::write(&wrong, "dodbfw_0").expect("write a token");
    let error = told(&wrong, &["list", CLUSTER]);
    assert!(error.contains("Unable to authenticate you"), "{error}");
    let viewer = server.done(&["token", "add", "viewer", "--preset", "viewer"]);
    std::fs::write(&wrong, viewer).expect("write a token");
    let error = told(&wrong, &["append", CLUSTER, "ip_addr:10.77.0.2"]);
    assert!(error.contains("database:update"), "{error}");
    // The list as it was read first is not the list any more.
    let stale = told(&admin, &["stale", CLUSTER]);
    assert!(stale.contains("412") || stale.contains("has changed since"), "{stale}");
    assert_eq!(pydo(&server, &["list", CLUSTER]), ["tag:first"]);
}

#[test]
fn what_root_makes_in_the_servers_directory_is_the_servers() {
    let server = ControlPlane::set_up(None, 0);
    let state = server.path("state");
    let (uid, gid) = (65_534, 65_533);
    chown(&state, Some(uid), Some(gid)).expect("give the directory away");
    std::fs::remove_file(state.join("store.redb")).expect("lose the store");
    std::fs::remove_dir_all(state.join("tls")).expect("lose the authority");
    server.done(&["init"]);
    let dump = server.done(&["store", "dump"]);
    assert!(dump.contains("\"key\":\"meta\""), "{dump}");
    for name in ["store.redb", "tls", "tls/ca.pem", "tls/ca.key"] {
        let found = std::fs::metadata(state.join(name)).expect("it is there");
        assert_eq!((found.uid(), found.gid()), (uid, gid), "{name}");
    }
}
