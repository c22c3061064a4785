//! A host that has joined: its list comes over one stream, and goes on without the server.

use std::{fs, os::unix::fs::PermissionsExt as _, thread, time::Duration};

use dbfw_tests::{
    agent::Host,
    control_plane::ControlPlane,
    pair::{FRIEND4, Pair, STRANGER4, TRUSTED4, orders},
};
use serde_json::Value;

use super::{CLUSTER, pydo};
use crate::providers::{
    common::wait,
    readers::{agent_keys, assert_let_in, assert_refused, wait_cut, wait_let_in},
};

const PROVIDER: &str = "provider = { kind = \"server\", database = \"orders\" }\n";

/// Makes a join token, and joins the host with it.
fn join(host: &Host<'_>, server: &ControlPlane<'_>, arguments: &[&str]) -> String {
    let printed = server.done(&["join-token", "--database", "orders"]);
    let token = printed.split_whitespace().find(|word| word.starts_with("dbfwj_"));
    let file = host.path("join-token");
    fs::write(&file, token.expect("a join token")).expect("write the join token");
    let file = file.display().to_string();
    let arguments = [&["join", server.url(), "--token-file", &file], arguments].concat();
    let output = host.dbfw(&arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// An agent of a host that has joined.
pub(crate) fn joined<'p>(pair: &'p Pair, server: &ControlPlane<'_>, keys: &str) -> Host<'p> {
    let mut host = Host::new(&pair.db);
    host.configure(&agent_keys(""), &orders(&format!("{PROVIDER}{keys}")));
    let said = join(&host, server, &[]);
    assert!(said.contains("next: `dbfw reload`"), "{said}");
    host.start();
    host
}

fn problems(host: &Host<'_>) -> String {
    host.json(&["status"]).map(|status| status["problems"].to_string()).unwrap_or_default()
}

#[test]
fn an_edit_reaches_packets_and_the_list_outlives_the_server_and_the_token() {
    let pair = Pair::new();
    let mut server = ControlPlane::start(&pair.db);
    server.done(&["database", "add", "orders", "--id", CLUSTER]);
    let host = joined(&pair, &server, "");
    assert_refused(&host, &pair, TRUSTED4);
    pydo(&server, &["append", CLUSTER, "ip_addr:10.77.0.2", "ip_addr:10.77.0.3"]);
    wait_let_in(&host, &pair, TRUSTED4);
    wait_let_in(&host, &pair, FRIEND4);
    pydo(&server, &["remove", CLUSTER, "ip_addr:10.77.0.2"]);
    wait_cut(&host, &pair, TRUSTED4);
    assert_let_in(&host, &pair, FRIEND4);

    // The author and the origin are told.
    let history = host.json(&["history"]).expect("a history").to_string();
    let by_admin = "\"by\":\"admin\"";
    assert!(history.contains("\"server:orders\"") && history.contains(by_admin), "{history}");
    let sources = host.json(&["sources"]).expect("sources").to_string();
    assert!(sources.contains("\"origin\":\"server:orders\""), "{sources}");

    // The server is killed: nothing changes.
    server.kill();
    wait(&host, "the agent to notice", || {
        let status = host.json(&["status"]).unwrap_or_default();
        status["databases"][0]["provider"]["state"] == "stale"
    });
    assert_let_in(&host, &pair, FRIEND4);
    assert_refused(&host, &pair, TRUSTED4);
    assert_refused(&host, &pair, STRANGER4);
    // It comes back: an edit counts again.
    server.spawn();
    pydo(&server, &["append", CLUSTER, "ip_addr:10.77.0.2"]);
    wait_let_in(&host, &pair, TRUSTED4);
    wait(&host, "all to be well", || problems(&host) == "[]");

    // The host is removed: its list stays.
    let hosts = server.done(&["hosts", "list"]);
    let id = hosts.split_whitespace().find(|word| word.len() == 36).expect("an id").to_owned();
    server.done(&["hosts", "rm", &id]);
    wait(&host, "the agent to be refused", || problems(&host).contains("dbfw join"));
    assert_let_in(&host, &pair, TRUSTED4);
    assert_refused(&host, &pair, STRANGER4);
    // Joined again, by the advice.
    join(&host, &server, &["--force"]);
    pydo(&server, &["remove", CLUSTER, "ip_addr:10.77.0.2"]);
    wait_cut(&host, &pair, TRUSTED4);
    // An empty list is closed.
    pydo(&server, &["replace", CLUSTER]);
    wait_cut(&host, &pair, FRIEND4);
}

#[test]
fn a_restart_without_the_server_enforces_the_last_list() {
    let pair = Pair::new();
    let mut server = ControlPlane::start(&pair.db);
    server.done(&["database", "add", "orders", "--id", CLUSTER]);
    let mut host = joined(&pair, &server, "");
    pydo(&server, &["append", CLUSTER, "ip_addr:10.77.0.2"]);
    wait_let_in(&host, &pair, TRUSTED4);
    wait(&host, "the list to be on disk", || {
        let kept = fs::read_to_string(host.path("state/server.json")).unwrap_or_default();
        let snapshot = fs::read_to_string(host.path("state/snapshot.json")).unwrap_or_default();
        kept.contains("10.77.0.2") && snapshot.contains("10.77.0.2")
    });
    let mode = fs::metadata(host.path("state/server.json")).expect("it is there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    server.kill();
    host.stop(nix::sys::signal::Signal::SIGKILL);
    host.start();
    assert_let_in(&host, &pair, TRUSTED4);
    assert_refused(&host, &pair, STRANGER4);
    thread::sleep(Duration::from_secs(2));
    assert_let_in(&host, &pair, TRUSTED4);
    server.spawn();
    wait(&host, "all to be well", || problems(&host) == "[]");
    pydo(&server, &["replace", CLUSTER, "ip_addr:10.77.0.3"]);
    wait_let_in(&host, &pair, FRIEND4);
    wait_cut(&host, &pair, TRUSTED4);
}

#[test]
fn temporary_access_ends_on_the_host_while_the_server_is_down() {
    let pair = Pair::new();
    let mut server = ControlPlane::start(&pair.db);
    server.done(&["database", "add", "orders", "--id", CLUSTER]);
    let mut host = joined(&pair, &server, "");
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(20);
    let rules = format!(
        "[{{\"type\": \"ip_addr\", \"value\": \"10.77.0.2\", \"expires_at\": \"{end}\"}}, \
         {{\"type\": \"ip_addr\", \"value\": \"10.77.0.3\"}}]"
    );
    let mut write = server.pydo("rules.py", &server.token_file());
    let written = write.args(["write", CLUSTER, &rules]).output().expect("run the script");
    assert!(written.status.success(), "{written:?}");
    wait_let_in(&host, &pair, TRUSTED4);
    server.kill();
    // A restart of the agent neither forgets the end nor ends it before.
    wait(&host, "the list to be on disk", || {
        let kept = fs::read_to_string(host.path("state/server.json")).unwrap_or_default();
        kept.contains("10.77.0.2")
    });
    host.stop(nix::sys::signal::Signal::SIGKILL);
    host.start();
    wait_cut(&host, &pair, TRUSTED4);
    assert!(jiff::Timestamp::now() >= end, "it was cut before its time");
    assert_let_in(&host, &pair, FRIEND4);
    assert_refused(&host, &pair, STRANGER4);
}

#[test]
fn a_host_trusts_no_more_than_its_own_ceiling() {
    let pair = Pair::new();
    let server = ControlPlane::start(&pair.db);
    server.done(&["database", "add", "orders", "--id", CLUSTER]);
    let host = joined(&pair, &server, "");
    pydo(&server, &["append", CLUSTER, "ip_addr:10.77.0.2"]);
    wait_let_in(&host, &pair, TRUSTED4);
    let table = host.path("conf.d/server.toml");
    let text = fs::read_to_string(&table).expect("joining wrote it");
    fs::write(&table, format!("{text}within = [\"10.77.0.2/31\"]\n")).expect("write the ceiling");
    assert!(host.dbfw(&["reload"]).status.success(), "{}", host.log());
    pydo(&server, &["append", CLUSTER, "ip_addr:10.77.0.9", "ip_addr:10.77.0.3"]);
    wait_let_in(&host, &pair, FRIEND4);
    assert_refused(&host, &pair, STRANGER4);
    assert_let_in(&host, &pair, TRUSTED4);
    let sources = host.json(&["sources"]).expect("sources").to_string();
    assert!(sources.contains("outside `within` of [server]"), "{sources}");
    assert!(problems(&host).contains("1 source of the list"), "{}", problems(&host));
}

#[test]
fn joining_refuses_what_it_cannot_do_before_the_token_is_used() {
    let pair = Pair::new();
    let server = ControlPlane::start(&pair.db);
    server.done(&["database", "add", "orders", "--id", CLUSTER]);
    let host = Host::new(&pair.db);
    host.configure(&agent_keys(""), &orders(""));
    let said = join(&host, &server, &[]);
    assert!(said.contains("give a [[database]] provider = { kind = \"server\""), "{said}");
    let mode = |name: &str| {
        fs::metadata(host.path(name)).expect("it is there").permissions().mode() & 0o777
    };
    assert_eq!((mode("host-token"), mode("server-ca.pem")), (0o600, 0o644));
    assert!(host.dbfw(&["check"]).status.success());

    let refused = |arguments: &[&str], words: &str| {
        let output = host.dbfw(&[&["join"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{said}");
        assert!(!said.contains("dbfwj_"), "the token is not shown: {said}");
    };
    let file = host.path("join-token").display().to_string();
    refused(&[server.url(), "--token-file", &file], "--force");
    // It was used.
    refused(&[server.url(), "--token-file", &file, "--force"], "dbfw-server join-token");
    refused(&["https://localhost:1", "--token-file", &file, "--force"], "no connection");
    refused(&["http://ctl.example.com", "--token-file", &file, "--force"], "https://HOST:PORT");
}

#[test]
fn a_saved_audit_is_told_but_nothing_of_a_database_that_the_host_keeps_to_itself() {
    let pair = Pair::new();
    let server = ControlPlane::start(&pair.db);
    server.done(&["database", "add", "orders", "--id", CLUSTER]);
    let own = "\n[[database]]\nname = \"own\"\nports = [5999]\nmode = \"observe\"\n";
    let host = joined(&pair, &server, &format!("mode = \"observe\"\n{own}"));
    let header = host.path("header");
    let token = fs::read_to_string(server.token_file()).expect("the token");
    fs::write(&header, format!("Authorization: Bearer {}\n", token.trim())).expect("write it");
    let told = || -> Value {
        let mut curl = pair.db.command("curl");
        curl.args(["--silent", "--cacert"]).arg(server.ca_file());
        curl.arg("--header").arg(format!("@{}", header.display()));
        let output = curl.arg(format!("{}/api/v1/hosts", server.url())).output().expect("run curl");
        let mut hosts: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        hosts["hosts"][0]["live"]["audit"].take()
    };
    wait(&host, "the host to be heard of", || told().is_null());
    let saved = host.dbfw(&["audit", "--save", "--no-probe"]);
    assert!(saved.status.success(), "{saved:?}");
    wait(&host, "the audit to be told", || !told().is_null());
    let audit = told();
    assert_eq!(audit["level"], "host");
    let findings = audit["findings"].as_array().expect("findings");
    let observed: Vec<&Value> = findings.iter().filter(|one| one["check"] == "E-5").collect();
    assert_eq!(observed.len(), 1, "{audit:#}");
    assert_eq!(observed[0]["database"], CLUSTER);
    assert_eq!(observed[0]["severity"], "medium");
}
