//! The history tells who was let in and cut off, by whom, also where no agent ran, and nothing else.

use std::{fs, os::unix::fs::symlink, thread, time::Duration};

use dbfw_tests::{
    agent::Host,
    pair::{FRIEND4, Pair, STRANGER4, TRUSTED4, interfaces, orders},
};
use nix::sys::signal::Signal;
use serde_json::Value;

fn configure(host: &Host<'_>, sources: &[&str]) {
    let sources: Vec<String> = sources.iter().map(|source| format!("\"{source}\"")).collect();
    let keys = format!("trusted_sources = [{}]\n", sources.join(", "));
    host.configure(&interfaces(), &orders(&keys));
}

fn started<'p>(pair: &'p Pair, sources: &[&str]) -> Host<'p> {
    let mut host = Host::new(&pair.db);
    configure(&host, sources);
    host.start();
    host
}

/// The entries of these kinds, as kind, source, prefixes in and prefixes out.
fn entries(host: &Host<'_>, kinds: &[&str]) -> Vec<String> {
    let document = host.json(&["history", "--limit", "1000"]).unwrap_or_default();
    let entries = document["entries"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let of_kind = entries.iter().filter(|entry| kinds.contains(&&*text(entry, "kind")));
    of_kind
        .map(|entry| {
            let (went_in, out) = (&entry["prefixes_in"], &entry["prefixes_out"]);
            format!("{} {} +{went_in} -{out}", text(entry, "kind"), text(entry, "source"))
        })
        .collect()
}

/// The last entry of a kind.
fn last(host: &Host<'_>, kind: &str) -> Value {
    let document = host.json(&["history", "--limit", "1000"]).unwrap_or_default();
    let entries = document["entries"].as_array().cloned().unwrap_or_default();
    entries.into_iter().rfind(|entry| entry["kind"] == kind).unwrap_or_default()
}

#[test]
fn who_was_let_in_before_and_is_now_is_no_entry() {
    let pair = Pair::new();
    let host = started(&pair, &["ip_addr:10.77.0.2", "ip_addr:10.77.8.0/22"]);
    let of = |host: &Host<'_>| entries(host, &["applied", "expired"]);
    host.wait("the first policy", |host| of(host).len() == 2);
    let first = of(&host);
    // Other spellings, halves, and one that is inside another.
    for sources in [
        &["ip_addr:10.77.0.2/32", "ip_addr:10.77.8.0/22"][..],
        &["ip_addr:10.77.0.2-10.77.0.2", "ip_addr:10.77.8.0/23", "ip_addr:10.77.10.0/23"],
        &["ip_addr:10.77.0.2", "ip_addr:10.77.8.0-10.77.11.255", "ip_addr:10.77.9.9"],
    ] {
        configure(&host, sources);
        assert!(host.dbfw(&["reload"]).status.success(), "{}", host.log());
        assert!(pair.reaches(TRUSTED4));
        assert_eq!(of(&host), first, "{sources:?}");
    }
    // Another origin, whichever goes first.
    let trust = |words: &[&str]| {
        let output =
            host.dbfw(&[&["trust"], words, &["ip_addr:10.77.0.2", "-d", "orders"]].concat());
        assert!(output.status.success(), "{output:?}");
    };
    trust(&["add"]);
    configure(&host, &["ip_addr:10.77.8.0/22"]);
    assert!(host.dbfw(&["reload"]).status.success(), "{}", host.log());
    assert!(pair.reaches(TRUSTED4));
    assert_eq!(of(&host), first);
    trust(&["rm"]);
    host.wait("the end of access", |_| !pair.reaches(TRUSTED4));
    host.wait("its entry", |host| of(host).len() == first.len() + 1);
    assert_eq!(of(&host)[2], "applied ip_addr:10.77.0.2 +0 -1");
    // What stays of a network that goes is named.
    configure(&host, &["ip_addr:10.77.9.0/24"]);
    assert!(host.dbfw(&["reload"]).status.success(), "{}", host.log());
    host.wait("both entries", |host| of(host).len() == first.len() + 3);
    let mut narrowed = of(&host).split_off(3);
    narrowed.sort_unstable();
    assert_eq!(
        narrowed,
        ["applied ip_addr:10.77.8.0/22 +0 -1", "applied ip_addr:10.77.9.0/24 +1 -0"]
    );
}

#[test]
fn a_source_that_ended_while_no_agent_ran_is_told_by_the_next_start() {
    let pair = Pair::new();
    for (is_written, is_lost) in [(true, false), (false, false), (false, true)] {
        let mut host = started(&pair, &["ip_addr:10.77.0.2"]);
        let snapshot = host.path("state/snapshot.json");
        host.wait("the snapshot", |_| snapshot.exists());
        let block = host.path("state/.new-snapshot.json");
        if !is_written {
            // The agent ends before the snapshot knows of the source.
            fs::create_dir(&block).expect("block the snapshot");
        }
        let add = [
            "trust",
            "add",
            "ip_addr:10.77.0.3",
            "-d",
            "orders",
            "--for",
            "2s",
            "--why",
            "incident 42",
        ];
        assert!(host.dbfw(&add).status.success(), "{}", host.log());
        assert!(pair.reaches(FRIEND4));
        if is_written {
            host.wait("it to be in the snapshot", |_| {
                fs::read_to_string(&snapshot).is_ok_and(|text| text.contains("10.77.0.3"))
            });
        }
        host.stop(Signal::SIGKILL);
        assert!(pair.reaches(FRIEND4), "the kernel goes on with the policy it has");
        if !is_written {
            fs::remove_dir(&block).expect("unblock the snapshot");
        }
        if is_lost {
            fs::remove_file(&snapshot).expect("lose the snapshot");
        }
        thread::sleep(Duration::from_millis(2100));
        host.start();
        host.wait("it to be cut", |_| !pair.reaches(FRIEND4));
        let case = format!("{is_written} {is_lost}");
        host.wait(&case, |host| entries(host, &["expired"]).len() == 1);
        assert_eq!(entries(&host, &["expired"]), ["expired ip_addr:10.77.0.3 +0 -1"], "{case}");
        let told = last(&host, "expired");
        let text = ["database", "origin", "why"].map(|key| told[key].as_str());
        assert_eq!(text, ["orders", "local", "incident 42"].map(Some), "{told}");
        let end = last(&host, "trust_added")["time"].as_str().expect("a time")[..15].to_owned();
        let message = told["message"].as_str().expect("a message");
        assert!(message.contains("its end was ") && message.contains(&end[..10]), "{message}");
        // Once: a start that finds the source in trust.json still tells nothing more.
        host.wait("the snapshot", |_| {
            fs::read_to_string(&snapshot).is_ok_and(|text| !text.contains("10.77.0.3"))
        });
        for end in [Signal::SIGKILL, Signal::SIGTERM] {
            host.stop(end);
            host.start();
            let starts = |host: &Host<'_>| entries(host, &["started"]).len();
            host.wait("the start", |host| starts(host) >= 2);
            assert_eq!(entries(&host, &["expired"]).len(), 1, "{case}");
        }
    }
}

#[test]
fn a_detach_without_an_agent_is_told_as_one_with_it() {
    let pair = Pair::new();
    let mut host = started(&pair, &["ip_addr:10.77.0.2"]);
    assert!(host.dbfw(&["detach", "--yes"]).status.success());
    host.wait("its entry", |host| entries(host, &["detached"]).len() == 1);
    host.stop(Signal::SIGKILL);
    // Nothing is attached, so nothing is detached.
    assert!(host.dbfw(&["detach", "--yes"]).status.success());
    assert_eq!(entries(&host, &["detached"]).len(), 1);
    host.start();
    host.stop(Signal::SIGKILL);
    // Half a line, as a crash leaves it.
    let log = host.path("state/history.log");
    let text = fs::read_to_string(&log).expect("the history") + "{\"time\":";
    fs::write(&log, text).expect("leave half a line");
    assert!(host.dbfw(&["detach", "--yes"]).status.success());
    assert!(pair.reaches(STRANGER4));
    assert_eq!(entries(&host, &["detached"]).len(), 2);
    let told = last(&host, "detached");
    assert_eq!(told["by"], "uid 0");
    assert_eq!(told["message"], "without the agent: db0, backstop");
    assert!(told["generation"].as_u64() > Some(0), "{told}");

    // Through no link, and into no file of somebody else's: that is said, and all is detached.
    let (moved, victim) = (host.path("state/history.log.1"), host.path("victim"));
    fs::rename(&log, moved).expect("move the history away");
    fs::write(&victim, "precious").expect("write the victim");
    symlink(&victim, &log).expect("plant a link");
    host.start();
    host.stop(Signal::SIGKILL);
    let output = host.dbfw(&["detach", "--yes"]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("it is a symbolic link"), "{said}");
    assert_eq!(fs::read_to_string(&victim).expect("the victim"), "precious");
    host.wait("the port to be open", |_| pair.reaches(STRANGER4));
    // The first start writes a new one, and so does a detach.
    fs::remove_file(&log).expect("remove the link");
    host.start();
    host.wait("the history to be written", |_| log.exists());
    host.stop(Signal::SIGKILL);
    fs::remove_file(&log).expect("remove the history");
    assert!(host.dbfw(&["detach", "--yes"]).status.success());
    assert_eq!(entries(&host, &["detached"]).len(), 3);
}
