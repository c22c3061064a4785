//! Somebody else's programs in the chain that ours is in.

use dbfw_tests::{
    agent::Host,
    foreign::{TCX_NEXT, TCX_PASS, TcxProgram},
    netns::Netns,
    site::{
        Answer::{Served, Silent},
        Line, wait_for_interface,
    },
    traffic::Echo,
};
use nix::sys::signal::Signal;

const PORT: u16 = 5432;
const TOLD: &str = "attached before all others again";

fn configure(host: &Host<'_>, line: &Line<'_>) {
    let database = format!(
        "[[database]]\nname = \"orders\"\nports = [{PORT}]\ntrusted_sources = [{}]",
        line.trusted_sources()
    );
    // Silence and answers are the hook's alone.
    host.configure("interfaces = [\"db0\"]\nattach = \"tcx\"\nbackstop = false", &database);
}

/// How often the first place was taken back.
fn taken_back(host: &Host<'_>) -> usize {
    host.log().matches(TOLD).count()
}

fn protection(host: &Host<'_>) -> String {
    let status = host.json(&["status"]).expect("a status");
    status["protection"].as_str().expect("a word").to_owned()
}

#[test]
fn a_program_put_before_ours_is_noticed_whatever_it_returns() {
    for verdict in [TCX_PASS, TCX_NEXT] {
        let (db, client) = (Netns::new("db"), Netns::new("client"));
        let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
        let _echo = Echo::start(&db, PORT);
        let mut host = Host::new(&db);
        configure(&host, &line);
        host.start();
        line.assert_answers(PORT, Served, Silent);
        let _other = TcxProgram::before(&db, "db0", verdict).expect("attach it");
        host.wait("the first place to be taken back", |host| taken_back(host) == 1);
        line.assert_answers(PORT, Served, Silent);
        assert_eq!(protection(&host), "yes", "{}", host.log());
        assert_eq!(wait_for_interface(&host, "db0")["mode"], "tcx");
        // What is pinned is what filters: without the agent, and for the next one.
        host.stop(Signal::SIGKILL);
        line.assert_answers(PORT, Served, Silent);
        assert_eq!(protection(&host), "yes");
        host.start();
        line.assert_answers(PORT, Served, Silent);
        assert_eq!(protection(&host), "yes");
        assert_eq!(taken_back(&host), 1, "{}", host.log());
    }
}

#[test]
fn a_program_put_before_ours_while_no_agent_runs_is_told_and_overtaken_by_the_next() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    let _echo = Echo::start(&db, PORT);
    let mut host = Host::new(&db);
    configure(&host, &line);
    host.start();
    host.stop(Signal::SIGKILL);
    let _other = TcxProgram::before(&db, "db0", TCX_PASS).expect("attach it");
    line.assert_answers(PORT, Served, Served);
    assert_eq!(protection(&host), "degraded");
    assert_eq!(host.dbfw(&["status"]).status.code(), Some(1));
    host.start();
    line.assert_answers(PORT, Served, Silent);
    assert_eq!(protection(&host), "yes", "{}", host.log());
}

#[test]
fn a_program_behind_ours_and_one_that_goes_disturb_nobody() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    let _echo = Echo::start(&db, PORT);
    let mut host = Host::new(&db);
    configure(&host, &line);
    host.start();
    let other = TcxProgram::behind(&db, "db0", TCX_PASS).expect("attach it");
    // Without the right to list the chain, a change is all that is seen.
    host.wait("the change to be seen", |host| taken_back(host) == 1);
    line.assert_answers(PORT, Served, Silent);
    drop(other);
    host.wait("the change to be seen", |host| taken_back(host) == 2);
    line.assert_answers(PORT, Served, Silent);
    assert_eq!(protection(&host), "yes");
}

#[test]
fn who_takes_the_first_place_again_and_again_makes_the_host_degraded() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    let _echo = Echo::start(&db, PORT);
    let mut host = Host::new(&db);
    configure(&host, &line);
    host.start();
    let mut others = Vec::new();
    for round in 1..=3 {
        others.push(TcxProgram::before(&db, "db0", TCX_PASS).expect("attach it"));
        host.wait("the first place to be taken back", |host| taken_back(host) == round);
        line.assert_answers(PORT, Served, Silent);
    }
    others.push(TcxProgram::before(&db, "db0", TCX_PASS).expect("attach it"));
    host.wait("the host to be degraded", |host| protection(host) == "degraded");
    let status = host.json(&["status"]).expect("a status");
    assert_eq!(status["agent"]["ready"], true, "{status}");
    let told = status["problems"].to_string();
    assert!(told.contains("db0: another program is attached before ours"), "{told}");
    assert_eq!(host.dbfw(&["status"]).status.code(), Some(1));
    assert_eq!(taken_back(&host), 3, "{}", host.log());
}
