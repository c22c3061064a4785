use std::{fs, thread, time::Duration};

use dbfw_tests::{
    agent::Host,
    pair::{
        Pair, STRANGER4, STRANGER6, TRUSTED4, TRUSTED6, database, interfaces, listed, metric,
        orders, problems,
    },
};
use nix::sys::signal::Signal;

const TRUSTED: &str = "trusted_sources = [\"ip_addr:10.77.0.2\", \"ip_addr:fd77::2\"]\n";
const RELOAD_METRIC: &str = "dbfw_config_last_reload_successful";

fn assert_unchanged(pair: &Pair, host: &Host<'_>) {
    for trusted in [TRUSTED4, TRUSTED6] {
        host.wait("the trusted client to be answered", |_| pair.reaches(trusted));
    }
    for stranger in [STRANGER4, STRANGER6] {
        assert!(!pair.reaches(stranger), "{stranger} was let in");
    }
}

#[test]
fn a_bad_configuration_at_reload_leaves_the_old_one_in_force() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders(TRUSTED));
    host.start();
    assert_unchanged(&pair, &host);
    assert_eq!(metric(&host, RELOAD_METRIC), Some(1.0));
    let good = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");

    // It would let strangers in, if any of it were used.
    let bad =
        good.replace("10.77.0.2", "10.77.0.9").replace("fd77::2", "10.77.0.5/24") + "ports_ = 1\n";
    host.replace("dbfw.toml", &bad);
    let check = host.dbfw(&["check"]);
    let reload = host.dbfw(&["reload"]);
    for output in [check, reload] {
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for problem in ["dbfw.toml:", "10.77.0.5/24 has host bits set", "ports_"] {
            assert!(said.contains(problem), "every problem is told at once, but: {said}");
        }
    }
    assert_eq!(metric(&host, RELOAD_METRIC), Some(0.0));
    assert!(problems(&host).contains("the last reload failed"), "{}", problems(&host));
    assert_unchanged(&pair, &host);

    host.signal(Signal::SIGHUP);
    host.wait_for_log("ports_");
    assert_unchanged(&pair, &host);

    host.replace("dbfw.toml", &good);
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0));
    assert_eq!(metric(&host, RELOAD_METRIC), Some(1.0));
    assert_eq!(problems(&host), "");
    assert_unchanged(&pair, &host);
}

#[test]
fn a_refused_reload_is_over_when_the_files_are_those_in_force_again() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders(TRUSTED));
    host.start();
    let good = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
    let other = good.replace("10.77.0.2", "10.77.0.9");
    fs::create_dir(host.path("conf.d")).expect("a directory of drop-ins");
    for (bad, drop_in) in [
        (good.clone() + "ports_ = 1\n", None),
        (good.clone() + "[[database\n", None),
        (good.clone(), Some("[[database\n")),
    ] {
        host.replace("dbfw.toml", &bad);
        if let Some(text) = drop_in {
            fs::write(host.path("conf.d/more.toml"), text).expect("a drop-in");
        }
        assert_eq!(host.dbfw(&["reload"]).status.code(), Some(78));
        assert!(problems(&host).contains("the last reload failed"), "{}", problems(&host));
        if drop_in.is_some() {
            fs::remove_file(host.path("conf.d/more.toml")).expect("no drop-in");
        } else {
            // Good files that are others wait for a reload.
            host.replace("dbfw.toml", &other);
            thread::sleep(Duration::from_millis(2500));
            assert!(problems(&host).contains("the last reload failed"), "{}", problems(&host));
            assert_unchanged(&pair, &host);
            host.replace("dbfw.toml", &good);
        }
        host.wait("the refusal to be over", |host| problems(host).is_empty());
        assert_eq!(metric(&host, RELOAD_METRIC), Some(1.0));
        assert_unchanged(&pair, &host);
    }
}

#[test]
fn a_mode_changes_in_place() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let switch = |host: &Host<'_>, mode: &str| {
        host.configure(&interfaces(), &orders(&format!("{TRUSTED}mode = \"{mode}\"\n")));
    };
    switch(&host, "observe");
    host.start();
    let count = |host: &Host<'_>, what: &str| {
        database(host)[what].as_u64().unwrap_or_else(|| panic!("no {what} in the status"))
    };

    host.wait("observe mode to let the stranger in", |_| pair.reaches(STRANGER4));
    host.wait("observe mode to let the stranger in", |_| pair.reaches(STRANGER6));
    assert_eq!(database(&host)["mode"], "observe");
    assert_eq!(count(&host, "dropped_packets"), 0);
    let observed = count(&host, "observed_packets");
    assert!(observed > 0, "observe mode counts what it would have dropped");

    switch(&host, "enforce");
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0));
    assert_unchanged(&pair, &host);
    assert!(count(&host, "dropped_packets") > 0);
    assert_eq!(count(&host, "observed_packets"), observed);

    switch(&host, "off");
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0));
    let (dropped, observed) = (count(&host, "dropped_packets"), count(&host, "observed_packets"));
    host.wait("mode off to let the stranger in", |_| pair.reaches(STRANGER4));
    assert_eq!(count(&host, "dropped_packets"), dropped);
    assert_eq!(count(&host, "observed_packets"), observed);

    switch(&host, "enforce");
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0));
    assert_unchanged(&pair, &host);
    assert!(count(&host, "dropped_packets") > dropped, "the counters went on");
    assert!(!host.log().contains("was lost"), "nothing was attached anew: {}", host.log());
}

#[test]
fn a_reload_that_fails_half_way_leaves_the_lists_in_force() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.replace("orders.list", "10.77.0.2\n");
    host.configure(&interfaces(), &listed(&host, ""));
    host.start();
    assert!(pair.reaches(TRUSTED4));
    // Nothing can be written to it any more, as when memory has run out.
    let nets = host.pins().join("NETS4");
    let frozen = std::process::Command::new("bpftool")
        .args(["map", "freeze", "pinned"])
        .arg(&nets)
        .output()
        .expect("run bpftool");
    assert!(frozen.status.success(), "{frozen:?}");
    host.configure(&interfaces(), &orders("trusted_sources = [\"ip_addr:192.0.2.0/24\"]"));
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(1), "{}", host.log());
    let reads = |host: &Host<'_>| host.json(&["status"]).map(|s| s["agent"]["generation"].clone());
    let before = reads(&host);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(reads(&host), before, "ticks change nothing");
    assert!(pair.reaches(TRUSTED4), "the list that was in force still is\n{}", host.log());
    assert!(!pair.reaches(STRANGER4));
}
