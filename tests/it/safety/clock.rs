use std::{fs, time::Duration};

use dbfw_tests::{
    agent::Host,
    pair::{FRIEND4, Pair, STRANGER4, TRUSTED4, interfaces, orders},
    skew::Skew,
};
use jiff::Timestamp;
use nix::sys::signal::Signal;

const YEAR: i64 = 31_536_000;
const HOUR: i64 = 3600;

/// TRUSTED4 by the configuration for `seconds`.
fn configure(host: &Host<'_>, seconds: u64) {
    let end = Timestamp::now() + Duration::from_secs(seconds);
    let source =
        format!("{{ type = \"ip_addr\", value = \"{TRUSTED4}\", expires_at = \"{end}\" }}");
    host.configure(&interfaces(), &orders(&format!("trusted_sources = [{source}]\n")));
}

fn start(host: &mut Host<'_>, skew: &Skew) {
    let wrapper = skew.wrapper();
    host.spawn_through(&wrapper.each_ref().map(String::as_str));
    host.wait("the agent to be ready", |host| {
        host.json(&["status"]).is_some_and(|status| status["agent"]["ready"] == true)
    });
}

/// FRIEND4 by hand for `time`.
fn trust(host: &Host<'_>, time: &str) {
    let friend = format!("ip_addr:{FRIEND4}");
    let added = host.dbfw(&["trust", "add", &friend, "--database", "orders", "--for", time]);
    assert_eq!(added.status.code(), Some(0), "{added:?}");
}

fn by_hand(host: &Host<'_>) -> String {
    fs::read_to_string(host.path("state/trust.json")).expect("the sources by hand")
}

/// Waits for both clients to be let in, or for neither.
fn assert_both(pair: &Pair, host: &Host<'_>, let_in: bool) {
    for client in [TRUSTED4, FRIEND4] {
        let what = format!("{client}: let in is {let_in}");
        host.wait(&what, |_| pair.reaches(client) == let_in);
    }
    assert!(!pair.reaches(STRANGER4), "a stranger was let in\n{}", host.log());
}

#[test]
fn a_clock_that_is_ahead_for_a_moment_ends_nothing() {
    let (pair, skew) = (Pair::new(), Skew::new());
    let mut host = Host::new(&pair.db);
    configure(&host, 2 * HOUR as u64);
    start(&mut host, &skew);
    trust(&host, "1h");
    assert_both(&pair, &host, true);
    for ahead in [YEAR, 3 * HOUR, 100 * YEAR] {
        skew.set(ahead, 0);
        assert_both(&pair, &host, false);
        skew.set(0, 0);
        assert_both(&pair, &host, true);
        assert!(by_hand(&host).contains(&FRIEND4.to_string()), "it is still on disk");
    }
    assert!(host.log().contains("the clock was set by"), "{}", host.log());
}

#[test]
fn a_clock_that_was_ahead_at_the_end_takes_nothing_from_the_next_run() {
    let (pair, skew) = (Pair::new(), Skew::new());
    let mut host = Host::new(&pair.db);
    configure(&host, 2 * HOUR as u64);
    start(&mut host, &skew);
    trust(&host, "1h");
    skew.set(YEAR, 0);
    assert_both(&pair, &host, false);
    host.stop(Signal::SIGTERM);
    assert!(by_hand(&host).contains(&FRIEND4.to_string()), "it is still on disk");
    skew.set(0, 0);
    start(&mut host, &skew);
    // The last moment of the run before counts until this clock has gone for ten minutes.
    assert_both(&pair, &host, false);
    skew.set(601, 601);
    assert_both(&pair, &host, true);
}

#[test]
fn an_end_by_a_clock_that_was_just_set_is_taken_back_and_one_by_a_steady_clock_is_not() {
    for steady in [false, true] {
        let (pair, skew) = (Pair::new(), Skew::new());
        let mut host = Host::new(&pair.db);
        configure(&host, 2 * HOUR as u64);
        start(&mut host, &skew);
        trust(&host, "1h");
        assert_both(&pair, &host, true);
        // Ten minutes of both clocks, without a step, and then hours.
        let minutes = if steady { 601 } else { 0 };
        skew.set(minutes, minutes);
        assert_both(&pair, &host, true);
        skew.set(minutes + 3 * HOUR, if steady { minutes + 3 * HOUR } else { 0 });
        assert_both(&pair, &host, false);
        skew.set(minutes, minutes + 3 * HOUR);
        assert_both(&pair, &host, !steady);
        assert_eq!(by_hand(&host).contains(&FRIEND4.to_string()), !steady, "on disk");
        // What has ended stays so over a restart with a clock that is behind.
        host.stop(Signal::SIGTERM);
        start(&mut host, &skew);
        if steady {
            assert_both(&pair, &host, false);
        }
    }
}

#[test]
fn a_boot_with_a_clock_that_is_behind_lets_nobody_in_whose_time_was_over() {
    for behind in [HOUR, YEAR, 50 * YEAR] {
        let (pair, skew) = (Pair::new(), Skew::new());
        let mut host = Host::new(&pair.db);
        configure(&host, 4);
        start(&mut host, &skew);
        trust(&host, "4s");
        assert_both(&pair, &host, false);
        host.stop(Signal::SIGTERM);
        skew.set(-behind, 0);
        start(&mut host, &skew);
        for client in [TRUSTED4, FRIEND4, STRANGER4] {
            assert!(!pair.reaches(client), "{client} was let in\n{}", host.log());
        }
        // NTP sets the clock.
        skew.set(0, 0);
        host.wait_for_log("the clock was set by");
        assert_both(&pair, &host, false);
    }
}
