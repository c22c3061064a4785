use std::fs;

use dbfw_tests::{
    agent::Host,
    pair::{FRIEND4, Pair, STRANGER4, TRUSTED4, interfaces, orders, problems},
};
use nix::sys::signal::Signal;
use serde_json::Value;

fn started(pair: &Pair) -> Host<'_> {
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders("trusted_sources = [\"ip_addr:10.77.0.2\"]"));
    host.start();
    host
}

fn trusted_by_hand(host: &Host<'_>) -> Vec<String> {
    let list = host.json(&["trust", "list"]).expect("the list as JSON");
    let sources = list["sources"].as_array().expect("an array of sources");
    sources.iter().map(|source| source["source"].as_str().unwrap_or_default().to_owned()).collect()
}

const FRIEND: &str = "ip_addr:10.77.0.3";

#[test]
fn a_source_trusted_by_hand_for_a_while_ends_by_itself() {
    let pair = Pair::new();
    let host = started(&pair);
    assert!(!pair.reaches(FRIEND4));
    // Long enough to be seen on a busy machine.
    let add = ["trust", "add", FRIEND, "--database", "orders", "--for", "3s", "--why", "a test"];
    assert_eq!(host.dbfw(&add).status.code(), Some(0), "{}", host.log());
    assert_eq!(trusted_by_hand(&host), [FRIEND]);
    host.wait("it to expire", |host| trusted_by_hand(host).is_empty());
    host.wait("the friend to be refused", |_| !pair.reaches(FRIEND4));
    host.wait("the others to be left alone", |_| pair.reaches(TRUSTED4));
}

#[test]
fn a_source_trusted_by_hand_survives_a_crash_until_it_is_removed() {
    let pair = Pair::new();
    let mut host = started(&pair);
    let add = ["trust", "add", FRIEND, "--database", "orders", "--why", "a test"];
    assert_eq!(host.dbfw(&add).status.code(), Some(0), "{}", host.log());
    host.wait("the friend to be answered", |_| pair.reaches(FRIEND4));
    host.stop(Signal::SIGKILL);
    host.wait("the friend to be answered", |_| pair.reaches(FRIEND4));
    host.start();
    assert_eq!(trusted_by_hand(&host), [FRIEND]);
    host.wait("the friend to be answered", |_| pair.reaches(FRIEND4));

    let remove = ["trust", "rm", FRIEND, "--database", "orders"];
    assert_eq!(host.dbfw(&remove).status.code(), Some(0), "{}", host.log());
    assert_eq!(trusted_by_hand(&host), Vec::<String>::new());
    assert!(!pair.reaches(FRIEND4));
    let again = host.dbfw(&remove);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    host.stop(Signal::SIGKILL);
    host.start();
    assert!(!pair.reaches(FRIEND4), "what was removed does not come back");
}

#[test]
fn what_cannot_be_trusted_is_refused_and_changes_nothing() {
    let pair = Pair::new();
    let host = started(&pair);
    // What is no source at all is wrong usage; the agent is not even asked.
    for (source, database, code, said) in [
        (FRIEND, "nosuch", 1, "there is no database nosuch"),
        ("tag:backend", "orders", 1, "tag:backend"),
        ("ip_addr:10.77.0.3/24", "orders", 2, "host bits"),
        ("nonsense", "orders", 2, "nonsense"),
    ] {
        let output = host.dbfw(&["trust", "add", source, "--database", database]);
        assert_eq!(output.status.code(), Some(code), "{source}: {output:?}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(said), "{source}: {error}");
    }
    assert_eq!(trusted_by_hand(&host), Vec::<String>::new());
    assert!(!pair.reaches(STRANGER4) && !pair.reaches(FRIEND4));
}

#[test]
fn removing_says_who_still_lets_it_in() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(
        &interfaces(),
        &orders("trusted_sources = [\"ip_addr:10.77.0.2\", \"ip_addr:10.77.0.0/30\"]"),
    );
    host.start();
    let run = |verb: &str, source: &str| {
        let output = host.dbfw(&["trust", verb, source, "--database", "orders", "-o", "json"]);
        assert_eq!(output.status.code(), Some(0), "{verb} {source}: {output:?}");
        let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (document, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let by = |document: &Value| -> Vec<String> {
        let still = document["still_trusted_by"].as_array().cloned().unwrap_or_default();
        still.iter().map(|by| by["source"].as_str().unwrap_or_default().to_owned()).collect()
    };
    for (added, removed, still) in [
        (
            "ip_addr:10.77.0.2",
            "ip_addr:10.77.0.2/32",
            vec!["ip_addr:10.77.0.2", "ip_addr:10.77.0.0/30"],
        ),
        ("ip_addr:10.77.0.3/32", "ip_addr:10.77.0.3", vec!["ip_addr:10.77.0.0/30"]),
        ("ip_addr:10.77.0.9", "ip_addr:10.77.0.9-10.77.0.9", vec![]),
    ] {
        run("add", added);
        let (document, said) = run("rm", removed);
        let mut found = by(&document);
        found.sort();
        let mut wanted = still.clone();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{removed}");
        assert_eq!(said.contains("no longer trusted"), still.is_empty(), "{removed}: {said}");
        assert_eq!(said.contains("still let in by"), !still.is_empty(), "{removed}: {said}");
    }
    assert!(!pair.reaches(STRANGER4));
    assert!(pair.reaches(FRIEND4), "the network of the configuration lets it in");
}

#[test]
fn revoking_works_where_nothing_can_be_written() {
    let pair = Pair::new();
    let host = started(&pair);
    let add = ["trust", "add", FRIEND, "--database", "orders"];
    assert_eq!(host.dbfw(&add).status.code(), Some(0), "{}", host.log());
    host.wait("the friend to be answered", |_| pair.reaches(FRIEND4));
    // Where the file should go there is a directory now.
    let file = host.path("state/trust.json");
    fs::rename(&file, host.path("kept.json")).expect("move the file away");
    fs::create_dir_all(file.join("in the way")).expect("a directory in its place");
    let output = host.dbfw(&["trust", "rm", FRIEND, "--database", "orders"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("a restart of the agent trusts it again"), "{said}");
    assert!(!pair.reaches(FRIEND4), "it takes effect first");
    assert!(problems(&host).contains("removed by hand"), "{}", problems(&host));
    fs::remove_dir_all(&file).expect("make room");
    host.wait("it to be written", |host| problems(host).is_empty());
    let text = fs::read_to_string(&file).expect("the file");
    assert!(!text.contains("10.77.0.3"), "{text}");
}
