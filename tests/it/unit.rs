//! What is shipped and advised for systemd, under a real one.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use dbfw_tests::{
    agent::{Host, binary},
    control_plane::{self, ControlPlane},
    netns::Netns,
    pair::{Pair, STRANGER4, TRUSTED4, interfaces, orders},
    postgres::Postgres,
    systemd::Manager,
};
use serde_json::Value;

use crate::ca::ADDRESS;

const UNIT: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/systemd/dbfw.service"));
const SERVER_UNIT: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/systemd/dbfw-server.service"));
const AUDIT_UNIT: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/systemd/dbfw-audit.service"));
const AUDIT_TIMER: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/systemd/dbfw-audit.timer"));
const OPERATIONS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md"));

/// A database, behind the drop-in of the documentation.
fn database() -> String {
    let marker = "# drop-in: database behind the filter\n";
    let (_, rest) = OPERATIONS.split_once(marker).expect("operations.md has the drop-in");
    let (drop_in, _) = rest.split_once("```").expect("its end");
    format!("{drop_in}\n[Service]\nExecStart=/bin/sleep 901\n")
}

fn main_pid(manager: &Manager, unit: &str) -> String {
    manager.show(unit, "MainPID")
}

fn is_active(manager: &Manager, unit: &str) -> bool {
    manager.show(unit, "ActiveState") == "active"
}

#[test]
fn nothing_that_happens_to_the_filter_happens_to_the_database() {
    let filter = "[Service]\nExecStart=/bin/sleep 900\nRestart=on-failure\nRestartSec=0\n";
    let manager = Manager::start(&[("dbfw.service", filter), ("db.service", &database())]);
    manager.done(&["start", "db"]);
    assert!(is_active(&manager, "dbfw"), "the database wants the filter");
    let database = main_pid(&manager, "db");
    let unharmed = |what: &str| {
        assert!(is_active(&manager, "db"), "the database is down after: {what}");
        assert_eq!(main_pid(&manager, "db"), database, "restarted after: {what}");
    };
    manager.done(&["restart", "dbfw"]);
    unharmed("restart");
    let before = main_pid(&manager, "dbfw");
    manager.done(&["kill", "--signal=KILL", "dbfw"]);
    manager.wait("the filter to be started again", |manager| {
        is_active(manager, "dbfw") && main_pid(manager, "dbfw") != before
    });
    unharmed("crash");
    manager.done(&["stop", "dbfw"]);
    unharmed("stop");
    manager.done(&["start", "dbfw"]);
    unharmed("start");
}

#[test]
fn the_database_waits_for_the_filter_as_long_as_its_start_may_take() {
    let notify = |script: &str| {
        format!("[Service]\nType=notify\nNotifyAccess=all\nTimeoutStartSec=2\nExecStart={script}\n")
    };
    let ready =
        notify("/bin/sh -c 'read line < %t/gate && systemd-notify --ready && exec sleep 900'");
    let manager = Manager::start(&[("dbfw.service", &ready), ("db.service", &database())]);
    let gate = manager.path("run/gate");
    assert!(Command::new("mkfifo").arg(&gate).status().expect("run mkfifo").success());
    manager.done(&["start", "--no-block", "db"]);
    manager.wait("the filter to start", |m| m.show("dbfw", "ActiveState") == "activating");
    assert!(!is_active(&manager, "db"), "it started before the filter was ready");
    fs::write(&gate, "ready\n").expect("let it be ready");
    manager.wait("the database to start", |manager| is_active(manager, "db"));
    assert!(is_active(&manager, "dbfw"));
    drop(manager);

    // Never ready, and failed at once: the database starts all the same.
    for script in ["/bin/sleep 900", "/bin/false"] {
        let units = [("dbfw.service", &*notify(script)), ("db.service", &*database())];
        let manager = Manager::start(&units);
        manager.done(&["start", "db"]);
        assert!(is_active(&manager, "db"), "{script}");
        assert!(!is_active(&manager, "dbfw"), "{script}");
    }
}

/// The unit with another program, and without what only the system's manager can do.
fn unit(netns: &Netns, host: &Host<'_>) -> String {
    let keys = [
        "StartLimitIntervalSec",
        "Type",
        "ExecStart",
        "ExecReload",
        "TimeoutStartSec",
        "WatchdogSec",
        "Restart",
        "RestartSec",
        "RestartPreventExitStatus",
    ];
    let kept = UNIT.lines().filter(|line| {
        line.starts_with('[') || line.split_once('=').is_some_and(|(key, _)| keys.contains(&key))
    });
    let program =
        format!("/usr/bin/env nsenter --net={} {}", netns.path().display(), binary().display());
    let config = host.path("dbfw.toml");
    let lines = kept.map(|line| match line.starts_with("Exec") {
        true => {
            format!(
                "{} --config {}",
                line.replace("/usr/local/bin/dbfw", &program),
                config.display()
            )
        }
        false => line.to_owned(),
    });
    let log = host.path("agent.log");
    format!("{}\nStandardError=append:{}\n", lines.collect::<Vec<_>>().join("\n"), log.display())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_reload_that_is_refused_fails_and_the_agent_goes_on() {
    let pair = Pair::new();
    let host = Host::new(&pair.db);
    let trusted = |address: &str| orders(&format!("trusted_sources = [\"ip_addr:{address}\"]"));
    host.configure(&interfaces(), &trusted("10.77.0.2"));
    let manager = Manager::start(&[("dbfw.service", &unit(&pair.db, &host))]);
    manager.done(&["start", "dbfw"]);
    let agent = main_pid(&manager, "dbfw");
    assert!(pair.reaches(TRUSTED4) && !pair.reaches(STRANGER4));

    host.configure(&interfaces(), &trusted("10.77.0.9"));
    let reload = manager.systemctl(&["reload", "dbfw"]);
    assert!(reload.status.success(), "{}\n{}", said(&reload), host.log());
    assert!(pair.reaches(STRANGER4) && !pair.reaches(TRUSTED4), "the reload took effect");

    host.configure(&interfaces(), &trusted("10.77.0.300"));
    let reload = manager.systemctl(&["reload", "dbfw"]);
    assert!(!reload.status.success(), "a bad configuration was reloaded: {}", said(&reload));
    assert!(is_active(&manager, "dbfw"));
    assert_eq!(manager.show("dbfw", "SubState"), "running");
    assert!(pair.reaches(STRANGER4) && !pair.reaches(TRUSTED4), "the last one stands");

    host.configure(&interfaces(), &trusted("10.77.0.2"));
    manager.done(&["reload", "dbfw"]);
    // By the signal too, which tells systemd when it begins and ends.
    host.configure(&interfaces(), &trusted("10.77.0.9"));
    manager.done(&["kill", "--signal=HUP", "dbfw"]);
    host.wait("the signal to take effect", |_| pair.reaches(STRANGER4));
    assert_eq!(main_pid(&manager, "dbfw"), agent, "one agent all the time");
    manager.wait("the reload to end", |m| m.show("dbfw", "SubState") == "running");

    manager.done(&["kill", "--signal=KILL", "dbfw"]);
    manager.wait("systemd to start it again", |m| {
        is_active(m, "dbfw") && main_pid(m, "dbfw") != agent
    });
}

#[test]
fn a_bad_configuration_from_the_start_is_not_tried_again() {
    let pair = Pair::new();
    let host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders("mode = \"enforced\""));
    let manager = Manager::start(&[("dbfw.service", &unit(&pair.db, &host))]);
    let start = manager.systemctl(&["start", "dbfw"]);
    assert!(!start.status.success(), "it started");
    assert_eq!(manager.show("dbfw", "ActiveState"), "failed");
    assert_eq!(manager.show("dbfw", "ExecMainStatus"), "78");
    assert_eq!(manager.show("dbfw", "NRestarts"), "0");
}

/// Asks systemd-analyze about a unit, with a program in place of its own, which is not installed.
fn analyze(arguments: &[&str], name: &str, unit: &str, program: &Path) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join(format!("{name}.service"));
    let installed = program.file_name().expect("a name").to_string_lossy();
    let text = unit.replace(&format!("/usr/local/bin/{installed}"), &program.display().to_string());
    fs::write(&file, text).expect("write the unit");
    if name == "dbfw-audit" {
        fs::write(directory.path().join("dbfw-audit.timer"), AUDIT_TIMER).expect("write the timer");
    }
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).arg(&file);
    if name == "dbfw-audit" && arguments[0] == "verify" {
        command.arg(directory.path().join("dbfw-audit.timer"));
    }
    command.output().expect("run systemd-analyze")
}

#[test]
fn systemd_knows_every_setting_of_the_units() {
    for (name, unit, program) in [
        ("dbfw", UNIT, binary()),
        ("dbfw-audit", AUDIT_UNIT, binary()),
        ("dbfw-server", SERVER_UNIT, control_plane::binary()),
    ] {
        let output = analyze(&["verify", "--man=no"], name, unit, &program);
        assert!(output.status.success(), "{}", said(&output));
        // Of this unit; what else is installed here is not ours.
        let about: Vec<String> =
            said(&output).lines().filter(|l| l.contains(name)).map(str::to_owned).collect();
        assert_eq!(about, [""; 0]);
    }
}

#[test]
fn the_control_plane_is_exposed_to_little() {
    // At most 1.5 of 10.
    let arguments = ["security", "--offline=yes", "--threshold=15", "--no-pager"];
    let output = analyze(&arguments, "dbfw-server", SERVER_UNIT, &control_plane::binary());
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        said(&output)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Overall exposure level"), "{text}");
}

#[test]
fn the_audit_is_shipped_disabled_and_can_do_with_its_capabilities_all_that_it_has_to() {
    let netns = Netns::new("audit");
    netns.ip(&format!("address add {ADDRESS}/32 dev lo"));
    let host = Host::new(&netns);
    let database = "[[database]]\nname = \"orders\"\nports = [5432]\ntrusted_sources = []";
    host.configure("interfaces = [\"none\"]", database);
    let _postgres = Postgres::start(&netns, 5432);
    let set = AUDIT_UNIT.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let set = set.expect("a bounding set").to_lowercase().replace("cap_", "+");
    let bounding = format!("--bounding-set=-all,{}", set.replace(' ', ","));
    let found = |wrapper: &[&str]| {
        let mut command = netns.command(wrapper[0]);
        command.args(&wrapper[1..]).arg(binary());
        command.args(["audit", "--save", "-o", "json", "--config"]).arg(host.path("dbfw.toml"));
        let output = command.output().expect("run dbfw");
        assert!(output.status.success(), "{output:?}");
        let mut document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let saved = fs::read(host.path("state/audit.json")).expect("the saved result");
        let saved: Value = serde_json::from_slice(&saved).expect("JSON");
        assert_eq!(saved, document);
        document["findings"].take()
    };
    let bounded = found(&["setpriv", "--no-new-privs", &bounding]);
    assert_eq!(bounded, found(&["env"]));
    let text = bounded.to_string();
    assert!(text.contains("pg_hba.conf:"), "the rules were read: {text}");
    assert!(AUDIT_TIMER.contains("[Install]\nWantedBy=timers.target"), "it can be enabled");
    assert!(AUDIT_TIMER.contains("RandomizedDelaySec="), "hosts do not begin all at once");
    assert!(!AUDIT_UNIT.contains("[Install]"), "only the timer starts it");
}

#[test]
fn the_audit_is_exposed_to_no_more_than_the_agent() {
    let exposure = |name, unit| {
        let arguments = ["security", "--offline=yes", "--no-pager", "--threshold=100"];
        let output = analyze(&arguments, name, unit, &binary());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, rest) = text.split_once("Overall exposure level").expect("a level");
        let (_, rest) = rest.split_once(": ").expect("a number");
        rest.split_whitespace().next().expect("one").parse::<f64>().expect("a number")
    };
    let (audit, agent) = (exposure("dbfw-audit", AUDIT_UNIT), exposure("dbfw", UNIT));
    // It looks at other users' processes, which the agent does not.
    assert!(audit <= agent + 1.0, "{audit} and {agent}");
}

/// The unit of the control plane as a user's manager can run it: what the process may call and
/// open, and how it is started, without what needs another user and other mounts.
fn server_unit(server: &ControlPlane<'_>) -> String {
    let left_out = ["DynamicUser", "User", "PrivateUsers", "PrivateDevices", "PrivateTmp"];
    let needs_more = |key: &str| {
        left_out.contains(&key)
            || key.ends_with("Directory")
            || key.ends_with("DirectoryMode")
            || key.starts_with("Protect")
            || ["Wants", "After", "ProcSubset", "KeyringMode", "DevicePolicy"].contains(&key)
            || key.ends_with("Capabilities")
            || key == "CapabilityBoundingSet"
    };
    let kept = SERVER_UNIT.lines().filter(|line| {
        line.starts_with('[') || line.split_once('=').is_some_and(|(key, _)| !needs_more(key))
    });
    let program = control_plane::binary();
    let start = format!("{} serve --config {}", program.display(), server.config().display());
    let text = kept.collect::<Vec<_>>().join("\n");
    let text = text.replace("/usr/local/bin/dbfw-server serve", &start);
    assert!(text.contains("SystemCallFilter=~@privileged") && text.contains(&start), "{text}");
    format!("{text}\n[Service]\nStandardError=append:{}\n", server.path("log").display())
}

#[test]
fn the_control_plane_runs_with_what_its_unit_lets_it_do() {
    let server = ControlPlane::set_up(None, 0);
    let manager = Manager::start(&[("dbfw-server.service", &server_unit(&server))]);
    let started = manager.systemctl(&["start", "dbfw-server"]);
    assert!(started.status.success(), "{}{}", said(&started), server.log());
    // It writes, and answers on its socket.
    server.done(&["database", "add", "orders"]);
    assert!(server.done(&["store", "dump"]).contains("names/orders"));
    let before = main_pid(&manager, "dbfw-server");
    manager.done(&["kill", "--signal=KILL", "dbfw-server"]);
    manager.wait("systemd to start it again", |m| {
        is_active(m, "dbfw-server") && main_pid(m, "dbfw-server") != before
    });
    assert!(server.done(&["database", "list"]).contains("orders"));
    manager.done(&["stop", "dbfw-server"]);
    assert_eq!(manager.show("dbfw-server", "Result"), "success", "{}", server.log());

    fs::write(server.config(), "[server]\nlisten = 7\n").expect("write the configuration");
    assert!(!manager.systemctl(&["start", "dbfw-server"]).status.success(), "it started");
    assert_eq!(manager.show("dbfw-server", "ExecMainStatus"), "78");
    assert_eq!(manager.show("dbfw-server", "NRestarts"), "0");
}
