//! Changes of the configuration: what they open, what they close and whom they cut off is told.

use std::{fs, net::SocketAddr, time::Duration};

use dbfw_tests::{
    agent::Host,
    pair::{HOST4, OTHER_PORT, PORT, Pair, STRANGER4, TRUSTED4, interfaces},
    traffic,
};
use nix::sys::signal::Signal;
use serde_json::Value;

fn table(name: &str, port: u16, mode: &str) -> String {
    format!(
        "[[database]]\nname = \"{name}\"\nports = [{port}]\nmode = \"{mode}\"\n\
         trusted_sources = [\"ip_addr:10.77.0.2\"]\n"
    )
}

/// The kind, database and message of the history's entries, the newest last.
fn history(host: &Host<'_>) -> Vec<(String, String, String)> {
    let document = host.json(&["history", "--limit", "1000"]).unwrap_or_default();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let entries = document["entries"].as_array().cloned().unwrap_or_default();
    let told =
        |entry: &Value| (text(entry, "kind"), text(entry, "database"), text(entry, "message"));
    entries.iter().map(told).collect()
}

#[test]
fn what_a_reload_opens_or_closes_is_told_by_reload_log_and_history() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let other = table("other", OTHER_PORT, "enforce");
    host.configure(&interfaces(), &format!("{}{other}", table("orders", PORT, "enforce")));
    host.start();
    let steps = [
        (
            table("orders", PORT, "observe") + &other,
            true,
            "orders: enforce → observe: tcp/5432 is open to everyone",
        ),
        (
            table("orders", PORT, "enforce") + &other,
            false,
            "orders: observe → enforce: tcp/5432 is closed to sources that are not trusted",
        ),
        (
            table("orders", PORT, "off") + &other,
            true,
            "orders: enforce → off: tcp/5432 is open to everyone",
        ),
        (
            table("store", PORT, "enforce") + &other,
            false,
            "orders (off) → store (enforce): tcp/5432 is closed to sources that are not trusted",
        ),
        (
            other.clone(),
            true,
            "store (enforce): port no longer protected: tcp/5432 is open to everyone",
        ),
        (
            table("orders", PORT, "enforce") + &other,
            false,
            "orders (enforce): port added: tcp/5432 is closed to sources that are not trusted",
        ),
    ];
    for (at, (databases, open, text)) in steps.into_iter().enumerate() {
        host.configure(&interfaces(), &databases);
        // Told whoever asks for it.
        if at % 2 == 0 {
            let output = host.dbfw(&["reload"]);
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(printed.contains(text), "{text}: {printed}");
        } else {
            host.signal(Signal::SIGHUP);
        }
        host.wait(text, |host| history(host).iter().any(|(_, _, message)| message == text));
        assert!(host.log().contains(text), "{text}: {}", host.log());
        let told = history(&host);
        let entry = told.iter().find(|(_, _, message)| message == text).expect("the entry");
        assert_eq!(entry.0, "config_changed");
        assert!(text.contains(&entry.1) && !entry.1.is_empty(), "{entry:?}");
        let target = SocketAddr::new(HOST4, PORT);
        let gets_in =
            traffic::connect(&pair.clients, STRANGER4, target, Duration::from_millis(500));
        assert_eq!(gets_in.is_ok(), open, "{text}");
    }
}

#[test]
fn a_drop_in_that_comes_and_goes_is_told() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &table("orders", PORT, "enforce"));
    host.start();
    fs::create_dir(host.path("conf.d")).expect("the directory of drop-ins");
    let drop_in = host.path("conf.d/other.toml");
    fs::write(&drop_in, table("other", OTHER_PORT, "enforce")).expect("the drop-in");
    let output = String::from_utf8(host.dbfw(&["reload", "-o", "json"]).stdout).expect("text");
    let document: Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!(document["changes"][0]["effect"], "closes", "{output}");
    assert_eq!(document["changes"][0]["database"], "other", "{output}");
    fs::remove_file(&drop_in).expect("remove the drop-in");
    let document = host.json(&["reload"]).expect("JSON");
    assert_eq!(document["changes"][0]["effect"], "opens", "{document}");
}

#[test]
fn whom_enforce_cuts_off_is_told() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &table("orders", PORT, "observe"));
    host.start();
    let target = SocketAddr::new(HOST4, PORT);
    let patience = Duration::from_secs(5);
    let mut open = traffic::connect(&pair.clients, STRANGER4, target, patience).expect("let in");
    let trusted = traffic::connect(&pair.clients, TRUSTED4, target, patience).expect("let in");
    host.wait("observe mode to see the stranger", |host| {
        let seen = host.json(&["suggest"]).unwrap_or_default();
        seen["observed"].as_u64().is_some_and(|observed| observed > 0)
    });
    host.configure(&interfaces(), &table("orders", PORT, "enforce"));
    let document = host.json(&["reload"]).expect("JSON");
    let cut_off = document["cut_off"].as_array().cloned().unwrap_or_default();
    assert_eq!(cut_off.len(), 1, "{document}");
    assert_eq!(cut_off[0]["source"], STRANGER4.to_string());
    assert_eq!(
        (&cut_off[0]["connections"], &document["connections_error"]),
        (&1.into(), &Value::Null)
    );
    assert!(cut_off[0]["last_seen"].is_string(), "{document}");
    assert!(traffic::round_trip(&mut open, Duration::from_secs(1)).is_err(), "it is cut");
    drop(trusted);
    assert!(host.log().contains("cut off now (1): 10.77.0.9"), "{}", host.log());
    // Nobody is cut off a second time.
    let document = host.json(&["reload"]).expect("JSON");
    assert_eq!(document["cut_off"], Value::Array(Vec::new()));
}

#[test]
fn a_plan_that_is_not_there_is_not_confirmed() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &table("orders", PORT, "enforce"));
    host.start();
    let output = host.dbfw(&["reload", "--confirm", "deadbeef"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no plan deadbeef"), "{output:?}");
    for plans in [&["deadbeef"][..], &["deadbeef", "00000000"]] {
        let words = [&["reload", "--confirm"], plans, &["-o", "json"]].concat();
        let output = host.dbfw(&words);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
        let error = &document["error"];
        assert_eq!((&error["kind"], &error["exit"]), (&"invalid".into(), &1.into()), "{document}");
        let message = error["message"].as_str().expect("a message");
        assert!(plans.iter().all(|plan| message.contains(plan)), "{message}");
        assert!(document["generation"].is_u64(), "the reload that was made: {document}");
    }
}

#[test]
fn what_takes_effect_at_a_restart_is_named_until_then() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    let tables = table("orders", PORT, "enforce");
    host.configure(&interfaces(), &tables);
    host.start();
    let base = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
    let listening =
        base.replace("metrics_listen = \"off\"", "metrics_listen = \"127.0.0.1:19787\"");
    let moved = listening.replace("/run\"", "/run2\"");
    for (text, keys) in [
        (&listening, &["agent.metrics_listen"][..]),
        // Until the restart also a reload that changes nothing names it.
        (&listening, &["agent.metrics_listen"]),
        (&moved, &["agent.metrics_listen", "agent.run_dir"]),
        (&listening, &["agent.metrics_listen"]),
        (&base, &[]),
    ] {
        host.replace("dbfw.toml", text);
        // The socket stays where it is.
        let socket = host.path("run/dbfw.sock").display().to_string();
        let reload = |form| host.dbfw(&["reload", "--socket", &socket, "-o", form]);
        let output = reload("json");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(document["restart"], Value::from(keys), "{document}");
        let [table, plain] = ["table", "plain"]
            .map(|form| String::from_utf8_lossy(&reload(form).stdout).into_owned());
        assert_eq!(table.contains("at a restart of the agent"), !keys.is_empty(), "{table}");
        for key in keys {
            assert!(table.contains(key) && plain.contains(&format!("restart\t{key}\n")), "{table}");
            assert!(host.log().contains(key), "{}", host.log());
        }
    }
    host.replace("dbfw.toml", &listening);
    let refused = host.dbfw(&["reload", "--trial", "1h"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("agent.metrics_listen"));
    assert!(host.dbfw(&["reload"]).status.success());
    host.stop(Signal::SIGTERM);
    host.start();
    let document = host.json(&["reload"]).expect("JSON");
    assert_eq!(document["restart"].as_array().map(Vec::len), Some(0), "it was taken");
}
