//! File systems that do not answer: the agent goes on.

use std::{
    fs,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use dbfw_tests::{
    agent::Host,
    hang::Hang,
    pair::{FRIEND4, Pair, STRANGER4, TRUSTED4, interfaces, orders},
};
use serde_json::Value;

/// A command that does not read the configuration itself.
fn ask(host: &Host<'_>, arguments: &[&str]) -> Output {
    let socket = host.path("run/dbfw.sock").display().to_string();
    let mut command = host.command(&[arguments, &["--socket", &socket]].concat());
    command.stdin(Stdio::null()).output().expect("run dbfw")
}

fn problems(host: &Host<'_>) -> String {
    let output = ask(host, &["status", "-o", "json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    status["problems"].to_string()
}

#[test]
fn a_reload_of_a_file_that_hangs_is_refused_in_time() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders("trusted_sources = [\"ip_addr:10.77.0.2\"]\n"));
    host.start();
    fs::create_dir(host.path("conf.d")).expect("the directory of drop-ins");
    let drop_in = host.path("conf.d/hangs.toml");
    fs::write(&drop_in, "[agent]\nfragments = \"drop\"\n").expect("the drop-in");
    let hang = Hang::on(&drop_in);
    let began = Instant::now();
    let output = ask(&host, &["reload"]);
    let took = began.elapsed();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("could not be read within 10 s"), "{said}");
    assert!((Duration::from_secs(10)..Duration::from_secs(20)).contains(&took), "{took:?}");
    assert!(pair.reaches(TRUSTED4) && !pair.reaches(STRANGER4));
    assert!(problems(&host).contains("the last reload failed"), "{}", problems(&host));
    drop(hang);
    host.wait("the file to be read", |host| host.dbfw(&["reload"]).status.success());
    assert_eq!(problems(&host), "[]");
}

#[test]
fn a_look_at_a_file_that_hangs_does_not_stop_the_agent() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let good = orders("trusted_sources = [\"ip_addr:10.77.0.2\"]\n");
    host.configure(&interfaces(), &good);
    host.start();
    host.wait("the last good configuration", |host| host.path("state/config.json").exists());
    host.stop(nix::sys::signal::Signal::SIGTERM);
    host.configure(&interfaces(), &(good.clone() + "ports_ = 1\n"));
    host.start();
    let hang = Hang::on(&host.path("dbfw.toml"));
    host.wait("the agent to look at the file", |_| hang.hangs_somebody());
    // Everything else goes on: requests, changes, the clock of the loop.
    for _ in 0..3 {
        let began = Instant::now();
        assert!(problems(&host).contains("ports_"), "{}", problems(&host));
        let added =
            ask(&host, &["trust", "add", "ip_addr:10.77.0.3", "-d", "orders", "--for", "2s"]);
        assert!(added.status.success(), "{added:?}");
        assert!(pair.reaches(FRIEND4));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        host.wait("it to end", |_| !pair.reaches(FRIEND4));
    }
    drop(hang);
    host.configure(&interfaces(), &good);
    host.wait("the good file to be taken", |host| problems(host) == "[]");
    assert!(pair.reaches(TRUSTED4) && !pair.reaches(STRANGER4));
}
