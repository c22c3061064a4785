//! check, doctor and run, and the codes they end with.

use dbfw_tests::agent::Host;
use nix::sys::signal::Signal;

use super::{
    DATABASES, Net, assert_exit, assert_snapshot, configure, in_every_form, record, text,
    transcript,
};

/// One line for nearly every kind of mistake.
const TYPOS: &str = r#"interface = ["db0"]
attach = "xdp"
backstop = "yes"
exempt_interfaces = "docker0"
state_dir = "relative"

[[database]]
name = "orders"
port = [5432]
mode = "enforced"
max_shrink = 50
on_empty = "open_all"
provider = { kind = "files", path = "orders.list" }
trusted_sources = [
  "10.77.0.0/30",
  "ip_addr:10.77.0.5/24",
  "ip:10.77.0.5",
  "tag:backend",
  "ip_addr:300.1.1.1",
  { type = "ip_addr", value = "10.77.0.5", expires = "2099-01-01T00:00:00Z" },
  { type = "ip_addr", value = "10.77.0.5", expires_at = "tomorrow" },
]

[[database]]
name = "orders"
ports = [5432, 70000, "sctp/1"]

[[database]]
name = "reports"
ports = [5432]

[databases]
"#;

#[test]
fn check_shows_what_would_be_enforced() {
    let net = Net::new();
    let host = net.host();
    assert_snapshot("check", &in_every_form(&host, "check"));
    configure(&host, &DATABASES.replace("10.77.0.0/30", "0.0.0.0/0"));
    assert_snapshot("check_warning", &in_every_form(&host, "check"));
}

#[test]
fn check_names_every_mistake_at_once() {
    let net = Net::new();
    let host = net.host();
    host.replace("dbfw.toml", &format!("[agent]\n{TYPOS}"));
    let broken = transcript(&host, &["check"]);
    host.replace("dbfw.toml", "[agent\n");
    let no_toml = transcript(&host, &["check", "check -o json"]);
    std::fs::remove_file(host.path("dbfw.toml")).expect("remove the configuration");
    let missing = transcript(&host, &["check -o plain"]);
    assert_snapshot("check_bad", &[broken, no_toml, missing].join("\n"));
}

#[test]
fn the_agent_says_why_it_does_not_start() {
    let net = Net::new();
    let mut host = net.host();
    host.start();
    let pid = host.pid().to_string();
    let second = host.dbfw(&["run"]);
    assert_exit(&second, 1, "a second agent");
    let said = text(&second.stderr);
    assert!(said.contains(&format!("another dbfw agent (pid {pid})")), "{said}");
    assert_eq!(host.stop(Signal::SIGTERM), Some(0), "SIGTERM ends the agent in order");
}

#[test]
fn a_bad_configuration_without_a_good_one_before_it_starts_no_agent() {
    let net = Net::new();
    let host = net.host();
    configure(&host, "[[database]]\nname = \"orders\"\nport = 5432\n");
    let output = host.dbfw(&["run"]);
    assert_exit(&output, 78, "run with a bad configuration");
    // A host without the group dbfw is told so first.
    let told = record(&host, "run", &output);
    let told: Vec<&str> = told.lines().filter(|line| !line.contains(" INFO ")).collect();
    assert_snapshot("run_bad_config", &told.join("\n"));
}

#[test]
fn doctor_says_what_to_do() {
    let net = Net::new();
    let host = net.host();
    let checks = findings(&host, 0);
    for check in [
        "config",
        "kernel",
        "programs",
        "btf",
        "bpffs",
        "capabilities",
        "pin_dir",
        "interfaces",
        "local_ports",
        "route_localnet",
    ] {
        assert!(checks.iter().any(|name| name == check), "no check {check} in {checks:?}");
    }
    // By netlink: the files of /sys/class/net are another namespace's.
    let found = host.json(&["doctor"]).expect("JSON");
    let found = |check: &str| {
        let findings = found["findings"].as_array().expect("findings");
        let finding = findings.iter().find(|finding| finding["check"] == check);
        let finding = finding.unwrap_or_else(|| panic!("no check {check}"));
        (finding["state"].clone(), finding["detail"].clone())
    };
    assert_eq!(found("interfaces"), ("ok".into(), "covered: db0".into()));
    assert_eq!(found("link db0"), ("ok".into(), "Ethernet".into()));
    assert_eq!(found("mtu db0"), ("ok".into(), "1500; a virtual device".into()));
    assert_eq!(found("bpf_jit").0, "ok");
    assert_eq!(found("programs").0, "ok", "{:?}", found("programs").1);

    let table = text(&host.dbfw(&["doctor"]).stdout);
    assert!(table.starts_with("STATE"), "{table}");
    assert!(table.contains("To fix it:"), "nothing listens here, and that is told: {table}");
    let plain = text(&host.dbfw(&["doctor", "-o", "plain"]).stdout);
    for line in plain.lines() {
        assert_eq!(line.split('\t').count(), 4, "{line}");
    }

    configure(&host, &DATABASES.replace("mode", "moode"));
    findings(&host, 1);
    let plain = text(&host.dbfw(&["doctor", "-o", "plain"]).stdout);
    assert!(plain.starts_with("fail\tconfig\t"), "{plain}");
}

/// A protected port that outgoing connections may be given.
#[test]
fn doctor_finds_a_port_that_is_lent_out() {
    let net = Net::new();
    let host = net.host();
    net.database.sysctl("net.ipv4.ip_local_port_range", "5000 60999");
    let found = host.json(&["doctor"]).expect("JSON");
    let found = found["findings"].as_array().expect("findings");
    let ports = found.iter().find(|finding| finding["check"] == "local_ports");
    let ports = ports.expect("the check of the local ports");
    assert_ne!(ports["state"], "ok", "{ports}");
    assert!(ports["fix"].as_str().is_some_and(|fix| fix.contains("sysctl")), "{ports}");
}

/// The checks of `dbfw doctor`, whose document is of the right shape.
fn findings(host: &Host<'_>, expected: i32) -> Vec<String> {
    let output = host.dbfw(&["doctor", "--output", "json"]);
    assert_exit(&output, expected, "doctor");
    let document: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("doctor prints JSON");
    let findings = document["findings"].as_array().expect("findings");
    for finding in findings {
        let state = finding["state"].as_str().expect("a state");
        assert!(["ok", "warn", "fail"].contains(&state), "{finding}");
        assert_eq!(finding["fix"].is_null(), state == "ok", "a fix where it is needed: {finding}");
        assert!(finding["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{finding}");
    }
    assert_eq!(findings.iter().any(|finding| finding["state"] == "fail"), expected == 1);
    findings.iter().filter_map(|finding| finding["check"].as_str()).map(str::to_owned).collect()
}
