//! Readers when the agent is gone, and when everything is.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Net, assert_exit, assert_snapshot, in_every_form, text, transcript};

#[test]
fn the_pins_answer_when_the_agent_is_killed() {
    let net = Net::new();
    let mut host = net.started();
    net.fixed_traffic(&host);
    let with_agent = ["map dump", "map lookup 10.77.0.3", "explain 10.77.0.3", "explain fd77::9"]
        .map(|line| (line, host.dbfw(&line.split(' ').collect::<Vec<_>>())));
    host.stop(Signal::SIGKILL);

    assert_snapshot("offline_status", &in_every_form(&host, "status"));
    for (line, expected) in with_agent {
        let found = host.dbfw(&line.split(' ').collect::<Vec<_>>());
        // The list is not kept up to date any more, which is a fact.
        let (found_text, expected_text) = (text(&found.stdout), text(&expected.stdout));
        let told = found_text.lines().filter(|line| !line.starts_with("  fact "));
        assert!(told.eq(expected_text.lines()), "{line} without the agent: {found_text}");
        assert_eq!(found.status.code(), expected.status.code(), "{line} without the agent");
        let said = text(&found.stderr);
        assert!(said.contains("no agent answers on "), "{line} says: {said}");
    }
    let metrics = host.dbfw(&["metrics"]);
    assert_exit(&metrics, 0, "metrics without the agent");
    assert!(text(&metrics.stderr).contains("no agent answers on "), "metrics says so");
    let dropped =
        "dbfw_dropped_packets_total{database=\"metering\",family=\"ipv4\",reason=\"untrusted\"} 4";
    assert!(text(&metrics.stdout).contains(dropped), "{}", text(&metrics.stdout));

    let only_the_agent = ["sources", "drops", "drops --follow", "trust list", "reload"];
    assert_snapshot("offline_needs_agent", &transcript(&host, &only_the_agent));
}

/// A wrong `--socket` does not make an agent that runs one that does not.
#[test]
fn a_wrong_socket_is_named() {
    let net = Net::new();
    let host = net.started();
    let pid = host.pid();
    let socket = host.path("other.sock").display().to_string();
    let status = host.dbfw(&["status", "-o", "plain", "--socket", &socket]);
    assert_exit(&status, 0, "status by the pins");
    let said = text(&status.stdout);
    let expected = format!("no agent answers on {socket}, but one runs (pid {pid})");
    assert!(said.contains(&expected), "{said}");
    let drops = host.dbfw(&["drops", "--socket", &socket]);
    assert_exit(&drops, 69, "drops");
    assert!(text(&drops.stderr).contains(&format!("no agent answers on {socket}")));
}

#[test]
fn followers_are_told_that_the_agent_went_away() {
    let net = Net::new();
    let mut host = net.started();
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let mut follower = host
            .command(&["drops", "--follow", "-o", "plain"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("follow the drops");
        let mut events = BufReader::new(follower.stdout.take().expect("a pipe"));
        net.while_a_stranger_knocks(|| events.read_line(&mut String::new()))
            .expect("the first refusal");
        host.stop(signal);
        std::io::copy(&mut events, &mut std::io::sink()).expect("the refusals until then");
        let ended = follower.wait_with_output().expect("wait for the follower");
        assert_exit(&ended, 69, &format!("drops --follow after {signal}"));
        let said = text(&ended.stderr);
        assert!(said.contains("the agent ended"), "{said}");
        host.start();
    }
}

#[test]
fn nothing_answers_where_nothing_ran() {
    let net = Net::new();
    let host = net.host();
    let status = host.dbfw(&["status", "-o", "json"]);
    assert_exit(&status, 1, "status");
    let answer: Value = serde_json::from_slice(&status.stdout).expect("a document");
    assert_eq!((&answer["protected"], &answer["protection"]), (&json!(false), &json!("no")));
    let lines = [
        "map dump",
        "map lookup 10.77.0.2",
        "explain 10.77.0.2",
        "metrics",
        "sources",
        "drops",
        "drops --follow",
        "trust list",
        "trust add ip_addr:10.77.0.9 -d orders",
        "reload",
    ];
    for line in lines {
        let output = host.dbfw(&line.split(' ').collect::<Vec<_>>());
        assert_exit(&output, 69, line);
        assert!(output.stdout.is_empty(), "{line} prints data: {}", text(&output.stdout));
        assert!(text(&output.stderr).contains("no agent answers"), "{line}");
    }
    assert_snapshot("nothing_runs", &transcript(&host, &["status", "reload", "detach --yes"]));
}
