//! The history: every change of policy, with what came in and what went out.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

use dbfw_tests::{
    agent::Host,
    pair::{Pair, STRANGER4, TRUSTED4, database, orders},
    provider_server::Server,
};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    common::{server, wait},
    readers::{
        agent_keys, digitalocean, guarded_cluster, recorded, source, texts, wait_let_in, wait_list,
        wait_prefixes, wait_state,
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

fn started<'a>(pair: &'a Pair, server: &Server) -> Host<'a> {
    server.account(|account| {
        account.add_database_as(CLUSTER, "orders", &FIVE);
        account.add_droplet("spare", &["spare"], &["10.77.0.9", "198.51.100.9"]);
    });
    let mut host = Host::new(&pair.db);
    let database = orders(&guarded_cluster(CLUSTER));
    host.configure(&agent_keys(""), &format!("{}\n{database}", digitalocean(server, "")));
    host.start();
    wait_let_in(&host, pair, TRUSTED4);
    host
}

/// Source, prefixes in and prefixes out of every entry of a kind, sorted.
fn counts(host: &Host<'_>, kind: &str) -> Vec<(String, u64, u64)> {
    let mut counts: Vec<_> = recorded(host, kind).iter().map(count).collect();
    counts.sort_unstable();
    counts
}

fn count(entry: &Value) -> (String, u64, u64) {
    let number = |key: &str| entry[key].as_u64().expect("a number");
    let source = entry["source"].as_str().unwrap_or_default().to_owned();
    (source, number("prefixes_in"), number("prefixes_out"))
}

fn rows(rows: &[(&str, u64, u64)]) -> Vec<(String, u64, u64)> {
    let mut rows: Vec<_> = rows.iter().map(|(s, i, o)| ((*s).to_owned(), *i, *o)).collect();
    rows.sort_unstable();
    rows
}

/// Waits for these entries of a kind, and asserts that there are no others.
fn wait_counts(host: &Host<'_>, kind: &str, expected: &[(&str, u64, u64)]) {
    let expected = rows(expected);
    wait(host, &format!("{kind} entries"), || counts(host, kind).len() >= expected.len());
    assert_eq!(counts(host, kind), expected, "{kind}");
}

#[test]
fn every_change_is_written_down_with_its_counts() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let host = started(&pair, &server);
    let listed = FIVE.map(|rule| (rule, 1, 0));
    wait_counts(&host, "applied", &listed);
    let origin = format!("digitalocean:{CLUSTER}");
    for entry in recorded(&host, "applied") {
        assert_eq!(
            (&entry["origin"], &entry["database"]),
            (&origin.as_str().into(), &"orders".into())
        );
    }

    let add = ["trust", "add", "tag:spare", "--database", "orders", "--for", "3s", "--why", "42"];
    assert_eq!(host.dbfw(&add).status.code(), Some(0), "{}", host.log());
    wait_prefixes(&host, "tag:spare", &["10.77.0.9/32", "198.51.100.9/32"]);
    let added = recorded(&host, "trust_added");
    assert_eq!(added.len(), 1, "{added:?}");
    let told = ["source", "why", "by", "database"].map(|key| added[0][key].as_str());
    assert_eq!(told, ["tag:spare", "42", "uid 0", "orders"].map(Some));
    wait_counts(&host, "expired", &[("tag:spare", 0, 2)]);
    let mut applied = listed.to_vec();
    applied.push(("tag:spare", 2, 0));
    wait_counts(&host, "applied", &applied);

    server.account(|account| account.rules_mut(CLUSTER).truncate(1));
    wait_list(&host, "refused");
    wait_counts(&host, "refused", &[("", 0, 4)]);
    let refused = recorded(&host, "refused").remove(0);
    let plan = database(&host)["refused"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        (&refused["guard"], &refused["plan"]),
        (&"max_shrink".into(), &plan.as_str().into())
    );
    let mut lost = texts(&refused["removed"]);
    lost.sort_unstable();
    assert_eq!(lost, ["10.0.0.4/32", "10.0.0.5/32", "10.0.0.6/32", "10.77.0.3/32"]);

    assert_eq!(host.dbfw(&["reload", "--confirm", &plan]).status.code(), Some(0));
    applied.extend(FIVE[1..].iter().map(|rule| (*rule, 0, 1)));
    wait_counts(&host, "applied", &applied);
    let confirmed = recorded(&host, "confirmed");
    assert_eq!(confirmed.len(), 1, "{confirmed:?}");
    assert_eq!(confirmed[0]["plan"], plan.as_str());
    assert_eq!(confirmed[0]["by"], "uid 0");
    assert_eq!(recorded(&host, "refused").len(), 1, "said once, not with every poll");
}

#[test]
fn a_refused_change_is_written_down_with_what_would_come_and_who_confirms_it() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let host = started(&pair, &server);
    wait_list(&host, "ok");
    server.account(|account| {
        account.rules_mut(CLUSTER).truncate(1);
        for address in ["10.1.0.1", "10.1.0.2/31", "2001:db8::1"] {
            account.add_rule(CLUSTER, "ip_addr", address);
        }
    });
    wait_list(&host, "refused");
    wait_counts(&host, "refused", &[("", 3, 4)]);
    let refused = recorded(&host, "refused").remove(0);
    let mut come = texts(&refused["added"]);
    come.sort_unstable();
    assert_eq!(come, ["10.1.0.1/32", "10.1.0.2/31", "2001:db8::1/128"]);
    assert_eq!(texts(&refused["removed"]).len(), 4);
    // Whom a refused change would have let in was never let in, nor cut off.
    let explained = host.json(&["explain", "10.1.0.1", "--port", "5432"]).expect("an answer");
    assert!(!explained.to_string().contains("was trusted"), "{explained}");
    assert_eq!(host.dbfw(&["reload", "--confirm"]).status.code(), Some(0));
    wait(&host, "the confirmation", || !recorded(&host, "confirmed").is_empty());
    let confirmed = recorded(&host, "confirmed").remove(0);
    assert_eq!((&confirmed["by"], &confirmed["plan"]), (&"uid 0".into(), &refused["plan"]));
}

#[test]
fn a_restart_that_changes_nothing_writes_nothing_down() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let mut host = started(&pair, &server);
    let listed = FIVE.map(|rule| (rule, 1, 0));
    wait_counts(&host, "applied", &listed);
    wait_list(&host, "ok");
    host.stop(Signal::SIGTERM);
    host.start();
    wait_list(&host, "ok");
    // A change, so that whatever the start had to say has been written.
    server.account(|account| account.add_rule(CLUSTER, "ip_addr", "10.0.0.7"));
    let mut applied = listed.to_vec();
    applied.push(("ip_addr:10.0.0.7", 1, 0));
    wait(&host, "the change", || {
        counts(&host, "applied").contains(&("ip_addr:10.0.0.7".to_owned(), 1, 0))
    });
    assert_eq!(counts(&host, "applied"), rows(&applied));
}

#[test]
fn every_start_is_written_down() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let mut host = started(&pair, &server);
    wait(&host, "the start", || recorded(&host, "started").len() == 1);
    host.stop(Signal::SIGTERM);
    host.start();
    wait(&host, "the second start", || recorded(&host, "started").len() == 2);
}

#[test]
fn what_ended_while_the_agent_was_down_is_written_down() {
    let pair = Pair::new();
    let server = server(&pair.db);
    let mut host = started(&pair, &server);
    let add = ["trust", "add", "tag:spare", "--database", "orders", "--for", "3s"];
    assert_eq!(host.dbfw(&add).status.code(), Some(0), "{}", host.log());
    wait_prefixes(&host, "tag:spare", &["10.77.0.9/32", "198.51.100.9/32"]);
    host.stop(Signal::SIGTERM);
    wait(&host, "the end of the source", || {
        let list = fs::read_to_string(host.path("state").join("trust.json"));
        let list: Value = serde_json::from_str(&list.unwrap_or_default()).unwrap_or_default();
        let at =
            list["sources"][0]["source"]["expires_at"].as_str().map(str::parse::<jiff::Timestamp>);
        at.is_some_and(|at| at.expect("a time") < jiff::Timestamp::now())
    });
    host.start();
    wait_list(&host, "ok");
    assert!(!pair.reaches(STRANGER4));
    wait_counts(&host, "expired", &[("tag:spare", 0, 2)]);
    assert!(source(&host, "tag:spare").is_null());
    wait_state(&host, FIVE[0], "literal");
}

/// A line of an earlier version.
fn former(minute: u32, plan: &str) -> String {
    format!(
        "{{\"time\":\"2025-03-01T12:{minute:02}:00Z\",\"kind\":\"confirmed\",\"generation\":1,\
         \"database\":\"orders\",\"plan\":\"{plan}\",\"prefixes_in\":0,\"prefixes_out\":0}}\n"
    )
}

#[test]
fn what_an_earlier_version_wrote_is_read_and_continued() {
    let pair = Pair::new();
    let server = server(&pair.db);
    server.account(|account| account.add_database_as(CLUSTER, "orders", &FIVE));
    let mut host = Host::new(&pair.db);
    let database = orders(&guarded_cluster(CLUSTER));
    host.configure(&agent_keys(""), &format!("{}\n{database}", digitalocean(&server, "")));
    let state = host.path("state");
    fs::create_dir(&state).expect("a state directory");
    for (name, content) in [
        ("audit.log-20260228.gz", "compressed".to_owned()),
        ("audit.log.2", former(0, "00000001")),
        ("audit.log.1", former(1, "00000002") + &former(2, "00000003")),
        // An agent that was killed left half a line.
        ("audit.log", former(3, "00000004") + "{\"time\":\"2025-"),
    ] {
        fs::write(state.join(name), content).expect("a file of an earlier version");
    }
    // Such as an earlier version left where the umask was 077.
    fs::set_permissions(state.join("audit.log"), fs::Permissions::from_mode(0o600))
        .expect("close the file to the group");
    let plans = || {
        let confirmed = recorded(&host, "confirmed");
        let plans = confirmed.iter().filter_map(|entry| entry["plan"].as_str());
        plans.map(str::to_owned).collect::<Vec<_>>()
    };
    let all = ["00000001", "00000002", "00000003", "00000004"];
    assert_eq!(plans(), all, "before the agent starts");

    host.start();
    wait(&host, "the start", || recorded(&host, "started").len() == 1);
    let plans = || recorded(&host, "confirmed").len();
    assert_eq!(plans(), all.len());
    let mut names: Vec<String> = fs::read_dir(&state)
        .expect("the state directory")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.contains(".log"))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["history.log", "history.log-20260228.gz", "history.log.1", "history.log.2"]);
    let metadata = fs::metadata(state.join("history.log")).expect("the history");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
    let text = fs::read_to_string(state.join("history.log")).expect("the history");
    assert!(text.starts_with(&former(3, "00000004")), "{text}");
    // Changes that are asked for at once are made one after the other.
    let added = ["ip_addr:10.77.0.7", "ip_addr:10.77.0.8", "ip_addr:10.77.0.9"];
    let adding = added.map(|source| {
        let mut add = host.command(&["trust", "add", source, "--database", "orders"]);
        add.stdout(Stdio::null()).spawn().expect("start dbfw")
    });
    for mut add in adding {
        assert!(add.wait().expect("wait for dbfw").success(), "{}", host.log());
    }
    wait(&host, "the entries", || recorded(&host, "trust_added").len() == added.len());
    for source in added {
        let remove = ["trust", "rm", source, "--database", "orders"];
        assert_eq!(host.dbfw(&remove).status.code(), Some(0), "{}", host.log());
        assert_eq!(host.dbfw(&remove).status.code(), Some(1), "it is gone");
    }
    let list = host.json(&["history", "--limit", "100000"]).expect("the history");
    let entries = list["entries"].as_array().expect("entries");
    let kinds: Vec<_> = entries.iter().filter_map(|entry| entry["kind"].as_str()).collect();
    assert_eq!(kinds[..4], ["confirmed"; 4]);
    assert!(kinds[4..].contains(&"started"), "{kinds:?}");
}
