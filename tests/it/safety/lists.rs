use std::{
    fs::{self, File},
    io::Write as _,
    thread,
    time::Duration,
};

use dbfw_tests::{
    agent::Host,
    pair::{
        FRIEND4, OTHER_PORT, Pair, STRANGER4, TRUSTED4, database, interfaces, list_state, listed,
        metric,
    },
};
use nix::sys::signal::Signal;

const TRUSTED: &str = "10.77.0.2\n";

fn started<'a>(pair: &'a Pair, list: &str, keys: &str) -> Host<'a> {
    let mut host = Host::new(&pair.db);
    host.replace("orders.list", list);
    host.configure(&interfaces(), &listed(&host, keys));
    host.start();
    host
}

fn wait_for_state(host: &Host<'_>, state: &str) {
    host.wait(&format!("the list to be {state}"), |host| list_state(host) == state);
}

fn error(host: &Host<'_>) -> String {
    database(host)["provider"]["error"].as_str().unwrap_or_default().to_owned()
}

fn assert_answered(pair: &Pair, host: &Host<'_>, client: std::net::IpAddr) {
    host.wait(&format!("{client} to be answered"), |_| pair.reaches(client));
}

fn assert_refused(pair: &Pair, host: &Host<'_>, client: std::net::IpAddr) {
    assert!(!pair.reaches(client), "{client} was let in\n{}", host.log());
}

fn wait_refused(pair: &Pair, host: &Host<'_>, client: std::net::IpAddr) {
    host.wait(&format!("{client} to be refused"), |_| !pair.reaches(client));
}

#[test]
fn a_bad_list_leaves_the_last_good_one_in_force() {
    let pair = Pair::new();
    let host = started(&pair, TRUSTED, "");
    host.replace("orders.list", "10.77.0.3\nnonsense\n10.77.0.9\n");
    wait_for_state(&host, "stale");
    let told = error(&host);
    assert!(told.starts_with("line 2: ") && told.contains("orders.list"), "file and line: {told}");
    assert!(host.log().contains("line 2: "), "{}", host.log());
    let failures = "dbfw_sync_failures_total{cause=\"invalid\",database=\"orders\"}";
    let reversed = "dbfw_sync_failures_total{database=\"orders\",cause=\"invalid\"}";
    let failed = metric(&host, failures).or_else(|| metric(&host, reversed));
    assert!(failed.is_some_and(|failed| failed >= 1.0), "failed syncs: {failed:?}");
    assert_answered(&pair, &host, TRUSTED4);
    assert_refused(&pair, &host, STRANGER4);
    assert_refused(&pair, &host, FRIEND4);

    host.replace("orders.list", "10.77.0.2\n10.77.0.3\n");
    wait_for_state(&host, "ok");
    assert_answered(&pair, &host, FRIEND4);
    assert_refused(&pair, &host, STRANGER4);
}

#[test]
fn a_reload_that_cannot_read_the_list_does_not_make_it_younger() {
    let pair = Pair::new();
    let host = started(&pair, TRUSTED, "");
    wait_for_state(&host, "ok");
    let read_at = || database(&host)["provider"]["last_success"].take();
    let first = read_at();
    for bad in [Some("nonsense\n"), Some("10.77.0.999\n"), None] {
        thread::sleep(Duration::from_millis(1200));
        match bad {
            Some(bad) => host.replace("orders.list", bad),
            None => fs::remove_file(host.path("orders.list")).expect("remove the list"),
        }
        wait_for_state(&host, "stale");
        for _ in 0..2 {
            assert_eq!(host.dbfw(&["reload"]).status.code(), Some(1), "{}", host.log());
            assert_eq!(read_at(), first, "{bad:?}");
        }
    }
    host.replace("orders.list", TRUSTED);
    host.wait("the list to be confirmed", |_| read_at() != first);
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0));
}

#[test]
fn a_reload_that_cannot_read_a_list_is_told_by_log_and_history() {
    let pair = Pair::new();
    let host = started(&pair, TRUSTED, "");
    wait_for_state(&host, "ok");
    let last = |kind: &str| {
        let document = host.json(&["history"]).expect("a history");
        let mut entries = document["entries"].as_array().expect("entries").iter();
        let last = entries.rfind(|entry| entry["kind"] == kind);
        last.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0));
    assert_eq!(last("reloaded").as_deref(), Some(""), "everything was read");
    for bad in [Some("10.77.0.2\nnonsense\nmore\n"), Some("10.77.0.999\n"), None] {
        match bad {
            Some(bad) => host.replace("orders.list", bad),
            None => fs::remove_file(host.path("orders.list")).expect("remove the list"),
        }
        for words in [&["reload"][..], &["reload", "--trial", "1h"]] {
            assert_eq!(host.dbfw(words).status.code(), Some(1), "{}", host.log());
            let told = last("reloaded").expect("an entry");
            let says = "not read, and as before: orders";
            assert!(told.contains(says) && told.contains("orders.list"), "{told}");
            let log = host.log();
            let line = log.lines().rev().find(|line| line.contains(says)).expect("a line");
            assert!(line.contains("WARN") && line.contains("orders.list"), "{line}");
        }
        assert_eq!(host.dbfw(&["reload", "--revert"]).status.code(), Some(1));
    }
}

#[test]
fn an_empty_list_is_refused_until_confirmed_where_it_is_to_be_kept() {
    let pair = Pair::new();
    let host = started(&pair, TRUSTED, "on_empty = \"keep\"");
    host.replace("orders.list", "# nobody\n");
    wait_for_state(&host, "refused");
    assert!(error(&host).contains("dbfw reload --confirm"), "{}", error(&host));
    assert_answered(&pair, &host, TRUSTED4);
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(1), "a reload alone confirms nothing");
    assert_answered(&pair, &host, TRUSTED4);
    assert_eq!(host.dbfw(&["reload", "--confirm"]).status.code(), Some(0));
    assert_refused(&pair, &host, TRUSTED4);
    assert!(pair.reaches_port(TRUSTED4, OTHER_PORT), "only the database is closed");
}

#[test]
fn an_empty_list_closes_the_database_where_it_is_to() {
    let pair = Pair::new();
    let host = started(&pair, TRUSTED, "on_empty = \"close\"");
    host.replace("orders.list", "");
    wait_refused(&pair, &host, TRUSTED4);
    assert_refused(&pair, &host, STRANGER4);
    assert_eq!(list_state(&host), "ok");
    assert!(pair.reaches_port(STRANGER4, OTHER_PORT), "only the database is closed");
}

#[test]
fn an_empty_list_opens_the_database_where_it_is_to_and_a_later_one_closes_it() {
    let pair = Pair::new();
    let host = started(&pair, TRUSTED, "on_empty = \"open\"");
    assert_refused(&pair, &host, STRANGER4);
    host.replace("orders.list", "");
    host.wait("the stranger to be let in", |_| pair.reaches(STRANGER4));
    host.replace("orders.list", TRUSTED);
    wait_refused(&pair, &host, STRANGER4);
    assert_answered(&pair, &host, TRUSTED4);
}

#[test]
fn a_list_that_shrinks_too_much_waits_for_a_human_word_about_that_list() {
    let pair = Pair::new();
    let host = started(&pair, "10.77.0.2\n10.77.0.3\n10.0.0.4\n10.0.0.5\n10.0.0.6\n", "");
    host.replace("orders.list", "10.77.0.2\n");
    wait_for_state(&host, "refused");
    assert!(error(&host).contains("max_shrink"), "{}", error(&host));
    let guards = "dbfw_plan_refused_total{database=\"orders\",guard=\"max_shrink\"}";
    let refused = metric(&host, guards);
    assert_eq!(refused, Some(1.0), "refused plans");
    // The same list, read again, is not refused anew.
    let text = fs::read_to_string(host.path("orders.list")).expect("the list");
    host.replace("orders.list", &format!("{text}# read again\n"));
    host.dbfw(&["reload"]);
    assert_eq!(metric(&host, guards), Some(1.0), "refused plans");
    assert_answered(&pair, &host, FRIEND4);
    let plan = database(&host)["refused"]["id"].as_str().expect("a refused plan").to_owned();

    // Another list takes its place, unseen by agent and human: written through another name,
    // with the same size and time.
    let other_name = host.path("state").join("orders.list");
    fs::hard_link(host.path("orders.list"), &other_name).expect("a second name");
    host.signal(Signal::SIGSTOP);
    let mut file = File::options().write(true).open(&other_name).expect("open the list");
    let modified = file.metadata().and_then(|m| m.modified()).expect("its time");
    file.write_all(b"10.77.0.9\n").expect("write the list");
    file.set_modified(modified).expect("set its time");
    host.signal(Signal::SIGCONT);
    let confirmed = host.dbfw(&["reload", "--confirm", &plan]);
    assert_eq!(confirmed.status.code(), Some(1), "{}", host.log());
    assert_refused(&pair, &host, STRANGER4);
    assert_answered(&pair, &host, FRIEND4);

    host.replace("orders.list", "10.77.0.2\n");
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(1), "refused as before");
    assert_eq!(host.dbfw(&["reload", "--confirm"]).status.code(), Some(0));
    assert_answered(&pair, &host, TRUSTED4);
    assert_refused(&pair, &host, FRIEND4);
    assert_refused(&pair, &host, STRANGER4);
    assert_eq!(list_state(&host), "ok");
}

#[test]
fn a_plan_is_not_confirmed_while_the_list_cannot_be_read() {
    let pair = Pair::new();
    let whole = "10.77.0.2\n10.77.0.3\n10.0.0.4\n10.0.0.5\n10.0.0.6\n";
    let host = started(&pair, whole, "");
    for (less, bad) in [
        ("", Some("10.77.0.2\nnonsense\n")),
        ("10.77.0.2\n", Some("10.77.0.999\n")),
        ("10.0.0.4\n", None),
    ] {
        host.replace("orders.list", less);
        wait_for_state(&host, "refused");
        let plan = database(&host)["refused"]["id"].as_str().expect("a refused plan").to_owned();
        match bad {
            Some(bad) => host.replace("orders.list", bad),
            None => fs::remove_file(host.path("orders.list")).expect("remove the list"),
        }
        for (named, form) in [(&*plan, "plain"), ("", "plain"), (&plan, "json")] {
            let mut words = vec!["reload", "-o", form, "--confirm"];
            words.extend(Some(named).filter(|named| !named.is_empty()));
            let output = host.dbfw(&words);
            assert_eq!(output.status.code(), Some(1), "{}", host.log());
            let said = String::from_utf8_lossy(&output.stdout);
            let why =
                format!("plan {plan} of orders was not confirmed: the list could not be read");
            assert!(said.contains(&why), "{said}");
            assert!(String::from_utf8_lossy(&output.stderr).contains(&why), "{words:?}");
            assert_answered(&pair, &host, FRIEND4);
        }
        host.replace("orders.list", less);
        assert_eq!(host.dbfw(&["reload", "--confirm", &plan]).status.code(), Some(0));
        assert_refused(&pair, &host, FRIEND4);
        host.replace("orders.list", whole);
        host.wait("the whole list", |_| pair.reaches(FRIEND4));
    }
}

#[test]
fn a_list_cannot_open_the_database_to_everybody() {
    let pair = Pair::new();
    let host = started(&pair, TRUSTED, "");
    for everybody in ["0.0.0.0/0", "0.0.0.0/1\n128.0.0.0/1", "0.0.0.0-255.255.255.255", "::/0"] {
        host.replace("orders.list", &format!("10.77.0.2\n{everybody}\n"));
        wait_for_state(&host, "refused");
        assert!(error(&host).contains("allow_any"), "{everybody}: {}", error(&host));
        let reload = host.dbfw(&["reload"]);
        let said = String::from_utf8_lossy(&reload.stdout);
        assert!(said.contains("Refused: ") && !said.contains("--confirm"), "{said}");
        assert_refused(&pair, &host, STRANGER4);
        host.replace("orders.list", TRUSTED);
        wait_for_state(&host, "ok");
    }
    host.replace("orders.list", "10.77.0.2\n0.0.0.0/0\n");
    host.configure(&interfaces(), &listed(&host, "allow_any = true"));
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0));
    assert_answered(&pair, &host, STRANGER4);
}

#[test]
fn a_deleted_list_changes_nothing_and_is_followed_when_it_is_back() {
    let pair = Pair::new();
    let host = started(&pair, TRUSTED, "");
    fs::remove_file(host.path("orders.list")).expect("delete the list");
    wait_for_state(&host, "stale");
    assert!(error(&host).contains("does not exist"), "{}", error(&host));
    assert_answered(&pair, &host, TRUSTED4);
    assert_refused(&pair, &host, FRIEND4);
    host.replace("orders.list", "10.77.0.2\n10.77.0.3\n");
    assert_answered(&pair, &host, FRIEND4);
    assert_eq!(list_state(&host), "ok");
}

#[test]
fn a_first_start_without_a_list_closes_the_database_and_nothing_else() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &listed(&host, ""));
    host.start();
    assert_eq!(list_state(&host), "never");
    assert!(error(&host).contains("does not exist"), "{}", error(&host));
    assert_refused(&pair, &host, TRUSTED4);
    assert!(pair.reaches_port(STRANGER4, OTHER_PORT), "only the database is closed");
    host.replace("orders.list", TRUSTED);
    assert_answered(&pair, &host, TRUSTED4);
    assert_refused(&pair, &host, STRANGER4);
}

#[test]
fn a_start_without_the_list_enforces_the_last_good_one() {
    let pair = Pair::new();
    let mut host = started(&pair, TRUSTED, "");
    host.stop(Signal::SIGKILL);
    fs::remove_file(host.path("orders.list")).expect("delete the list");
    // As after a reboot: the snapshot is all there is.
    assert_eq!(host.dbfw(&["detach", "--yes"]).status.code(), Some(0));
    assert!(!host.pins().exists(), "detach removes the pins of an agent that is gone");
    host.wait("the ports to be open", |_| pair.reaches(STRANGER4));
    host.start();
    assert_answered(&pair, &host, TRUSTED4);
    assert_refused(&pair, &host, STRANGER4);
    assert_eq!(list_state(&host), "stale");
    // And once more, with the maps of the agent before.
    host.stop(Signal::SIGKILL);
    host.start();
    assert_answered(&pair, &host, TRUSTED4);
    assert_refused(&pair, &host, STRANGER4);
}

#[test]
fn another_provider_takes_over_when_its_list_is_good_and_no_sooner() {
    let pair = Pair::new();
    let mut host = started(&pair, TRUSTED, "");
    assert_answered(&pair, &host, TRUSTED4);
    let old = fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
    host.replace("dbfw.toml", &old.replace("orders.list", "other.list"));
    for start_anew in [false, true] {
        if start_anew {
            host.stop(Signal::SIGTERM);
            host.start();
        } else {
            let output = host.dbfw(&["reload"]);
            assert_eq!(output.status.code(), Some(1), "reload names the list that is missing");
        }
        wait_for_state(&host, "stale");
        assert!(error(&host).contains("other.list"), "{}", error(&host));
        assert_answered(&pair, &host, TRUSTED4);
        assert_refused(&pair, &host, STRANGER4);
    }
    host.replace("other.list", "10.77.0.2\n10.77.0.3\n");
    wait_for_state(&host, "ok");
    assert_answered(&pair, &host, FRIEND4);
}
