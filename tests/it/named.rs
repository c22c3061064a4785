//! What the configuration names is filtered, or the status is DEGRADED.

use dbfw_tests::{
    agent::Host,
    netns::Netns,
    site::{
        Answer::{Served, Silent},
        Line, wait_for_interface,
    },
    traffic::Echo,
    tun::Tun,
};

const PORT: u16 = 5432;

fn orders(lines: &[&Line<'_>]) -> String {
    let sources: Vec<String> = lines.iter().map(|line| line.trusted_sources()).collect();
    format!(
        "[[database]]\nname = \"orders\"\nports = [{PORT}]\ntrusted_sources = [{}]",
        sources.join(", ")
    )
}

fn interfaces(names: &str) -> String {
    format!("interfaces = [{names}]\nbackstop = false")
}

/// Protection, whether the agent is ready, and the exit code of `dbfw status`.
fn state(host: &Host<'_>) -> (String, bool, Option<i32>) {
    let status = host.json(&["status"]).expect("a status");
    let protection = status["protection"].as_str().expect("a word").to_owned();
    let ready = status["agent"]["ready"] == true;
    (protection, ready, host.dbfw(&["status"]).status.code())
}

fn problems(host: &Host<'_>) -> String {
    host.json(&["status"]).map(|status| status["problems"].to_string()).unwrap_or_default()
}

#[test]
fn an_interface_is_filtered_by_any_of_its_names() {
    for names in
        ["\"enp3s0\"", "\"enp*\"", "\"a-name-of-more-than-15-bytes\"", "\"db0\", \"enp3s0\""]
    {
        let (db, client) = (Netns::new("db"), Netns::new("client"));
        let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
        db.ip("link property add dev db0 altname enp3s0");
        db.ip("link property add dev db0 altname a-name-of-more-than-15-bytes");
        let mut host = Host::new(&db);
        host.configure(&interfaces(names), &orders(&[&line]));
        host.start();
        let _echo = Echo::start(&db, PORT);
        line.assert_answers(PORT, Served, Silent);
        assert_eq!(state(&host), ("yes".to_owned(), true, Some(0)), "{names}: {}", problems(&host));
    }
}

#[test]
fn a_name_that_comes_later_is_followed() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let first = Line::new((&db, "db0"), (&client, "cl0"), 1);
    let second = Line::new((&db, "db1"), (&client, "cl1"), 2);
    let mut host = Host::new(&db);
    host.configure(&interfaces("\"db0\", \"enp4s0\""), &orders(&[&first, &second]));
    host.start();
    let _echo = Echo::start(&db, PORT);
    assert_eq!(state(&host), ("degraded".to_owned(), true, Some(1)));
    assert!(problems(&host).contains("enp4s0: no such interface"), "{}", problems(&host));
    second.assert_answers(PORT, Served, Served);
    db.ip("link property add dev db1 altname enp4s0");
    wait_for_interface(&host, "db1");
    second.assert_answers(PORT, Served, Silent);
    host.wait("all to be well", |host| state(host) == ("yes".to_owned(), true, Some(0)));
    host.wait_for_log("no longer degraded: enp4s0");
}

#[test]
fn a_name_that_can_match_nothing_is_degraded_and_a_warning() {
    for (name, said) in [
        ("db0:1", "the label of an address of db0"),
        ("db0@if2", "how ip link shows db0"),
        ("lo", "loopback"),
    ] {
        let (db, client) = (Netns::new("db"), Netns::new("client"));
        let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
        let mut host = Host::new(&db);
        host.configure(&interfaces(&format!("\"db0\", \"{name}\"")), &orders(&[&line]));
        host.start();
        assert_eq!(state(&host), ("degraded".to_owned(), true, Some(1)), "{name}");
        assert!(problems(&host).contains(said), "{name}: {}", problems(&host));
        let check = host.dbfw(&["check"]);
        assert_eq!(check.status.code(), Some(0));
        let warned = String::from_utf8_lossy(&check.stderr).into_owned();
        assert!(warned.contains(said), "{name}: {warned}");
        let doctor = host.dbfw(&["doctor"]);
        let told = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(told.contains(name), "{name}: {told}");
    }
}

/// By its name, an alternative name, and globs of either.
#[test]
fn a_link_that_no_program_fits_is_told_however_it_is_named() {
    // ARPHRD_IEEE1394 and ARPHRD_INFINIBAND: a tun device may say that it is anything.
    for (link_type, names) in
        [(24, "\"tun0\""), (24, "\"wan6\""), (32, "\"tu*\""), (32, "\"wan*\"")]
    {
        let (db, client) = (Netns::new("db"), Netns::new("client"));
        let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
        let tun = Tun::new(&db, "tun0");
        tun.set_link_type(link_type);
        db.ip("link property add dev tun0 altname wan6");
        let mut host = Host::new(&db);
        host.configure(&interfaces(&format!("\"db0\", {names}")), &orders(&[&line]));
        host.start();
        assert_eq!(state(&host), ("degraded".to_owned(), true, Some(1)), "{names}");
        assert!(problems(&host).contains("tun0: no program fits"), "{}", problems(&host));
        drop(tun);
        // A glob may match nothing; a name may not.
        let after = if names.contains('*') { "yes" } else { "degraded" };
        host.wait("the device to be gone", |host| state(host).0 == after);
    }
}

#[test]
fn more_exempt_interfaces_than_fit_are_degraded() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    for number in 0..9 {
        db.ip(&format!("link add ex{number} type veth peer name fx{number}"));
    }
    let mut host = Host::new(&db);
    let agent = "interfaces = [\"db0\"]\nexempt_interfaces = [\"ex*\", \"fx*\"]";
    host.configure(agent, &orders(&[&line]));
    host.start();
    assert_eq!(state(&host), ("degraded".to_owned(), true, Some(1)));
    assert!(
        problems(&host).contains("18 interfaces match exempt_interfaces"),
        "{}",
        problems(&host)
    );
    db.ip("link delete ex8");
    host.wait("16 to be exempt", |host| state(host).0 == "yes");
    db.ip("link property add dev db0 altname ex9");
    host.wait("an alternative name to count", |host| state(host).0 == "degraded");
}

#[test]
fn with_only_interfaces_to_come_the_backstop_makes_the_host_ready() {
    let (db, client) = (Netns::new("db"), Netns::new("client"));
    let line = Line::new((&db, "db0"), (&client, "cl0"), 1);
    let mut host = Host::new(&db);
    host.configure("interfaces = [\"wg7\"]", &orders(&[&line]));
    host.start();
    assert_eq!(state(&host), ("degraded".to_owned(), true, Some(1)));
    host.stop(nix::sys::signal::Signal::SIGKILL);
    let status = host.json(&["status"]).expect("the pins answer");
    assert_eq!(status["protection"], "degraded", "{status}");
    assert!(!problems(&host).contains("the ports are open"), "{}", problems(&host));
    // With nothing at all in force, nothing is.
    host.configure("interfaces = [\"wg7\"]\nbackstop = false", &orders(&[&line]));
    host.spawn();
    host.wait("the agent to say so", |host| {
        host.json(&["status"]).is_some_and(|status| status["protection"] == "no")
    });
}
