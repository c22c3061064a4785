//! Readers when the agent is gone, and when everything is.

use nix::sys::signal::Signal;

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
        assert_eq!(text(&found.stdout), text(&expected.stdout), "{line} without the agent");
        assert_eq!(found.status.code(), expected.status.code(), "{line} without the agent");
        let said = text(&found.stderr);
        assert!(said.contains("the agent is not running"), "{line} says: {said}");
    }
    let metrics = host.dbfw(&["metrics"]);
    assert_exit(&metrics, 0, "metrics without the agent");
    assert!(text(&metrics.stderr).contains("the agent is not running"), "metrics says so");
    let dropped =
        "dbfw_dropped_packets_total{database=\"metering\",family=\"ipv4\",reason=\"untrusted\"} 4";
    assert!(text(&metrics.stdout).contains(dropped), "{}", text(&metrics.stdout));

    let only_the_agent = ["sources", "drops", "drops --follow", "trust list", "reload"];
    assert_snapshot("offline_needs_agent", &transcript(&host, &only_the_agent));
}

#[test]
fn nothing_answers_where_nothing_ran() {
    let net = Net::new();
    let host = net.host();
    let lines = [
        "status",
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
