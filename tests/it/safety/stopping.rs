use dbfw_tests::{
    agent::Host,
    pair::{INTERFACE, Pair, STRANGER4, STRANGER6, TRUSTED4, interfaces, orders, problems},
};
use nix::sys::signal::Signal;

fn started(pair: &Pair) -> Host<'_> {
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders("trusted_sources = [\"ip_addr:10.77.0.2\"]"));
    host.start();
    host
}

fn assert_filtered(pair: &Pair, host: &Host<'_>) {
    host.wait("the trusted client to be answered", |_| pair.reaches(TRUSTED4));
    for stranger in [STRANGER4, STRANGER6] {
        assert!(!pair.reaches(stranger), "{stranger} was let in\n{}", host.log());
    }
}

#[test]
fn a_second_agent_is_refused_with_the_pid_of_the_first() {
    let pair = Pair::new();
    let host = started(&pair);
    let second = host.second_agent();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&format!("pid {}", host.pid())), "{said}");
    // The first one goes on working, its socket included.
    assert_eq!(problems(&host), "");
    let add = ["trust", "add", "ip_addr:10.77.0.3", "--database", "orders"];
    assert_eq!(host.dbfw(&add).status.code(), Some(0), "{}", host.log());
    assert_filtered(&pair, &host);
}

#[test]
fn the_filter_outlives_the_agent_however_it_ends() {
    let pair = Pair::new();
    let mut host = started(&pair);
    for (signal, code) in
        [(Signal::SIGTERM, Some(0)), (Signal::SIGINT, Some(0)), (Signal::SIGKILL, None)]
    {
        assert_eq!(host.stop(signal), code, "{signal}: {}", host.log());
        assert_filtered(&pair, &host);
        assert_eq!(host.dbfw(&["reload"]).status.code(), Some(69), "no agent answers");
        let status = host.json(&["status"]).expect("the pins tell the status");
        assert_eq!(status["protected"], true, "{status}");
        assert!(problems(&host).contains("no agent answers on "), "{}", problems(&host));
        host.start();
        assert_filtered(&pair, &host);
    }
}

#[test]
fn only_detach_opens_the_ports_and_a_reload_closes_them_again() {
    let pair = Pair::new();
    let mut host = started(&pair);
    assert_filtered(&pair, &host);

    assert_eq!(host.dbfw(&["detach", "--yes"]).status.code(), Some(0));
    for stranger in [STRANGER4, STRANGER6] {
        host.wait("the ports to be open", |_| pair.reaches(stranger));
    }
    let output = host.dbfw(&["status"]);
    assert_eq!(output.status.code(), Some(1), "not protected is a failure of status");
    assert!(problems(&host).contains("detached by the operator"), "{}", problems(&host));
    // What an operator detached is no damage to repair: several seconds of checks later
    // it is still open.
    let mut checks = 0;
    host.wait("some checks to pass", |host| {
        checks += usize::from(host.json(&["status"]).is_some());
        checks > 100
    });
    assert!(pair.reaches(STRANGER4));

    host.stop(Signal::SIGTERM);
    let last = host.log().lines().last().unwrap_or_default().to_owned();
    assert!(last.contains("stopped; the ports are open"), "{last}");
    host.start();
    assert_filtered(&pair, &host);
    assert_eq!(host.dbfw(&["detach", "--yes"]).status.code(), Some(0));
    host.wait("the ports to be open", |_| pair.reaches(STRANGER4));

    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0), "{}", host.log());
    assert_filtered(&pair, &host);
    assert_eq!(problems(&host), "");

    // Without an agent it works through the pins, and a start attaches again.
    host.stop(Signal::SIGTERM);
    assert_eq!(host.dbfw(&["detach", "--yes"]).status.code(), Some(0));
    host.wait("the ports to be open", |_| pair.reaches(STRANGER4));
    host.start();
    assert_filtered(&pair, &host);
}

#[test]
fn an_agent_in_another_namespace_leaves_the_pins_of_the_first_alone() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders("trusted_sources = [\"ip_addr:10.77.0.2\"]"));
    host.start();
    host.stop(Signal::SIGKILL);
    let mut other = Host::new(&pair.clients);
    let config = std::fs::read_to_string(host.path("dbfw.toml")).expect("the configuration");
    other.replace("dbfw.toml", &config.replace(INTERFACE, "cl0"));
    other.spawn();
    assert_eq!(other.ended(), Some(1), "{}", other.log());
    assert!(other.log().contains("another network namespace"), "{}", other.log());
    assert!(pair.reaches(TRUSTED4));
    assert!(!pair.reaches(STRANGER4), "the filter of the first namespace goes on");
}

#[test]
fn without_the_agent_a_backstop_that_is_gone_is_no_protection() {
    let pair = Pair::new();
    let mut host = started(&pair);
    host.stop(Signal::SIGTERM);
    let status = |host: &Host<'_>| host.json(&["status"]).expect("the pins answer");
    assert_eq!(status(&host)["protected"], true);
    std::fs::remove_file(host.pins().join("link_backstop")).expect("detach the backstop");
    assert_eq!(status(&host)["protected"], false);
    assert!(problems(&host).contains("the backstop is not attached"), "{}", problems(&host));
    assert_eq!(host.dbfw(&["status"]).status.code(), Some(1));
}
