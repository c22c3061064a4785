use std::fs;

use dbfw_tests::{
    agent::Host,
    pair::{FRIEND4, OTHER_PORT, PORT, Pair, STRANGER4, TRUSTED4, interfaces, listed, problems},
};
use nix::sys::signal::Signal;
use serde_json::Value;

fn database(name: &str, port: u16, keys: &str) -> String {
    format!("[[database]]\nname = \"{name}\"\nports = [{port}]\n{keys}\n")
}

/// A database that everybody may reach, and is noted.
fn observed(name: &str, port: u16) -> String {
    database(name, port, "mode = \"observe\"")
}

/// The suggestions of `dbfw suggest`, as "database source".
fn suggested(host: &Host<'_>) -> Vec<String> {
    let found = host.json(&["suggest"]).expect("suggestions");
    let suggestions = found["suggestions"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    suggestions.map(|one| format!("{} {}", text(&one["database"]), text(&one["source"]))).collect()
}

fn reload(host: &Host<'_>, databases: &str) {
    host.configure(&interfaces(), databases);
    let output = host.dbfw(&["reload"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}\n{}", host.log());
}

#[test]
fn what_was_observed_outlives_a_reload_without_the_database() {
    let pair = Pair::new();
    let away = [
        observed("other", OTHER_PORT),
        // Two take its port's place, and neither has its ports.
        observed("orders", PORT + 1) + &database("other", OTHER_PORT, ""),
        observed("all", PORT).replace("[5432]", "[5432, 5433]"),
    ];
    for (without, restarted) in away.iter().flat_map(|text| [(text, false), (text, true)]) {
        let mut host = Host::new(&pair.db);
        host.configure(&interfaces(), &observed("shop", PORT));
        host.start();
        assert!(pair.reaches(STRANGER4));
        let known = ["shop ip_addr:10.77.0.9"];
        host.wait("the stranger to be noted", |host| suggested(host) == known);
        reload(&host, without);
        assert!(host.log().contains("is not configured any more"), "{}", host.log());
        assert!(!suggested(&host).iter().any(|text| text.starts_with("shop ")));
        if restarted {
            host.stop(Signal::SIGTERM);
            host.start();
        }
        reload(&host, &observed("shop", PORT));
        assert_eq!(suggested(&host), known, "{without}, restarted: {restarted}");
    }
}

#[test]
fn a_new_name_of_the_same_ports_has_what_was_observed() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &observed("shop", PORT));
    host.start();
    assert!(pair.reaches(STRANGER4));
    host.wait("the stranger to be noted", |host| suggested(host) == ["shop ip_addr:10.77.0.9"]);
    reload(&host, &(observed("orders", PORT) + &observed("other", OTHER_PORT)));
    assert_eq!(suggested(&host), ["orders ip_addr:10.77.0.9"]);
    host.stop(Signal::SIGTERM);
    let text = fs::read_to_string(host.path("state").join("refused.json")).expect("the file");
    assert!(text.contains("\"orders\"") && !text.contains("\"shop\""), "{text}");
    host.start();
    assert_eq!(suggested(&host), ["orders ip_addr:10.77.0.9"]);
}

/// The row of a trusted source in `dbfw sources`, wherever it is from.
fn used(host: &Host<'_>, source: &str) -> Value {
    let found = host.json(&["sources"]).expect("the sources");
    let sources = found["sources"].as_array().expect("an array").iter();
    let mut same = sources.filter(|one| one["source"] == source);
    same.next().unwrap_or_else(|| panic!("no source {source} in {found}")).clone()
}

/// The sources that were not used for some time, and what is noted about them.
fn unused(host: &Host<'_>, within: &str) -> (Vec<String>, String) {
    let output = host.dbfw(&["sources", "--unused", within, "--output", "json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let sources = found["sources"].as_array().expect("an array").iter();
    let names = sources.map(|one| one["source"].as_str().unwrap_or_default().to_owned());
    (names.collect(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A list whose first line is one address, then two that nobody has.
const LIST: &str = "10.77.0.2\n10.77.0.200\n10.77.0.201\n";

#[test]
fn the_last_use_of_a_source_outlives_reboots_moves_and_new_spellings() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.replace("orders.list", LIST);
    let listed = listed(&host, "max_shrink = \"off\"");
    host.configure(&interfaces(), &listed);
    host.start();
    let never = used(&host, "ip_addr:10.77.0.2");
    assert!(never["since"].is_string() && never["last_hit"].is_null(), "{never}");
    assert!(pair.reaches(TRUSTED4));
    let at_first = used(&host, "ip_addr:10.77.0.2");
    assert!(at_first["packets"].as_u64() > Some(0) && at_first["last_hit"].is_string());
    let same = |host: &Host<'_>, source: &str, context: &str| {
        let explained = host.json(&["explain", "10.77.0.2"]).expect("an explanation");
        for found in [&used(host, source), &explained[0]["sources"][0]] {
            assert_eq!(found["source"], source, "{context}: {found}");
            assert_eq!(found["packets"], at_first["packets"], "{context}: {found}");
            assert_eq!(found["since"], at_first["since"], "{context}: {found}");
            assert!(found["last_hit"].is_string(), "{context}: {found}");
        }
    };

    host.stop(Signal::SIGTERM);
    host.start();
    same(&host, "ip_addr:10.77.0.2", "a restart");
    host.stop(Signal::SIGTERM);
    fs::remove_dir_all(host.pins()).expect("remove the pins, as a reboot does");
    host.start();
    same(&host, "ip_addr:10.77.0.2", "a reboot");
    // It is written elsewhere, in another way, then only there.
    host.configure(
        &interfaces(),
        &(listed.clone() + "\ntrusted_sources = [\"ip_addr:10.77.0.2/32\"]"),
    );
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0), "{}", host.log());
    host.replace("orders.list", LIST.split_once('\n').expect("lines").1);
    host.wait("the list to be read", |host| {
        let found = host.json(&["sources"]).unwrap_or_default();
        found["sources"].as_array().is_some_and(|sources| sources.len() == 3)
    });
    same(&host, "ip_addr:10.77.0.2/32", "a move");
    // The database is away for one reload.
    reload(&host, &observed("other", OTHER_PORT));
    reload(&host, &(listed + "\ntrusted_sources = [\"ip_addr:10.77.0.2\"]"));
    same(&host, "ip_addr:10.77.0.2", "away for one reload");

    assert!(pair.reaches(TRUSTED4));
    let again = used(&host, "ip_addr:10.77.0.2");
    assert!(again["packets"].as_u64() > at_first["packets"].as_u64(), "{again}");
    let (names, noted) = unused(&host, "30d");
    assert_eq!(names, ["ip_addr:10.77.0.200", "ip_addr:10.77.0.201"]);
    assert!(noted.contains("2 of these have been counted for less than 30d"), "{noted}");
    host.wait("a second to pass", |host| unused(host, "1s").0.len() == 3);
    assert!(!unused(&host, "1s").1.contains("note"), "{:?}", unused(&host, "1s"));
}

const FRIEND: &str = "ip_addr:10.77.0.3";

fn trust_list(host: &Host<'_>) -> Value {
    let list = host.json(&["trust", "list"]).expect("the list");
    list["sources"].clone()
}

#[test]
fn temporary_access_keeps_its_end_through_a_new_name_and_a_lost_state_directory() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.replace("orders.list", "10.77.0.2\n");
    let listed = listed(&host, "");
    host.configure(&interfaces(), &listed);
    host.start();
    let add = ["trust", "add", FRIEND, "--database", "orders", "--for", "2h"];
    assert_eq!(host.dbfw(&add).status.code(), Some(0), "{}", host.log());
    assert!(pair.reaches(FRIEND4));
    let known = trust_list(&host);

    reload(&host, &listed.replace("\"orders\"", "\"shop\""));
    assert!(!pair.reaches(FRIEND4), "another database is another decision");
    for told in [host.log(), problems(&host)] {
        assert!(told.contains(&format!("{FRIEND} (until ")), "{told}");
        assert!(told.contains("database orders, which is not configured"), "{told}");
    }
    reload(&host, &listed);
    assert!(pair.reaches(FRIEND4));
    assert_eq!((trust_list(&host), &*problems(&host)), (known.clone(), ""));

    // The state directory is moved or lost while the maps live, and no list can be read.
    for (lost, keep_list) in [("trust.json", true), ("", true), ("", false)] {
        host.stop(Signal::SIGTERM);
        if lost.is_empty() {
            fs::remove_dir_all(host.path("state")).expect("lose the state");
        } else {
            fs::remove_file(host.path("state").join(lost)).expect("lose a file");
        }
        if !keep_list {
            fs::remove_file(host.path("orders.list")).expect("lose the list");
        }
        host.start();
        assert!(pair.reaches(FRIEND4) && pair.reaches(TRUSTED4), "{}", host.log());
        assert_eq!(trust_list(&host), known, "{}", host.log());
        if lost.is_empty() {
            // The maps held all of it: nobody was let in.
            let history = host.json(&["history"]).expect("JSON").to_string();
            assert!(!history.contains("10.77.0."), "{keep_list}: {history}");
        }
        assert!(problems(&host).contains("with their ends"), "{}", problems(&host));
        let found = host.json(&["sources"]).expect("the sources");
        for one in found["sources"].as_array().expect("an array") {
            let is_friend = one["prefixes"][0] == "10.77.0.3/32";
            assert!(!is_friend || one["expires_at"] == known[0]["expires_at"], "{found}");
        }
    }
}
