//! Host names as trusted sources: their records are followed, and what vanishes is kept as
//! long as it is to be.

use std::{
    net::{SocketAddr, SocketAddrV6},
    time::{Duration, Instant},
};

use dbfw_tests::{
    agent::Host,
    dns_server::{DnsServer, Reply},
    netns::Netns,
    pair::{FRIEND4, INTERFACE, Pair, STRANGER4, TRUSTED4, TRUSTED6, orders},
};

use super::{
    common::wait,
    readers::{
        agent_keys, assert_let_in, assert_refused, source, wait_cut, wait_let_in, wait_prefixes,
        wait_state,
    },
};

const NAME: &str = "ci.example.test";
const SOURCE: &str = "dns:ci.example.test";

fn started<'a>(pair: &'a Pair, dns: &DnsServer, agent: &str, keys: &str) -> Host<'a> {
    asking(pair, dns.address(), agent, keys)
}

fn asking<'a>(pair: &'a Pair, server: SocketAddr, agent: &str, keys: &str) -> Host<'a> {
    let mut host = Host::new(&pair.db);
    let database = orders(&format!("max_shrink = \"off\"\ntrusted_sources = [\"{SOURCE}\"]"));
    let table = format!("[dns]\nservers = [\"{server}\"]\ntimeout = \"1s\"\n{keys}");
    host.configure(&agent_keys(agent), &format!("{table}\n\n{database}"));
    host.start();
    host
}

/// Waits until a name was asked for again, both families.
fn wait_asked(host: &Host<'_>, dns: &DnsServer) {
    let before = dns.asked(NAME);
    wait(host, "the name to be asked for", || dns.asked(NAME) >= before + 4);
}

#[test]
fn addresses_of_both_families_are_let_in_and_followed() {
    let pair = Pair::new();
    let dns = DnsServer::start(&pair.db);
    dns.set(NAME, Reply::addresses(1, &["10.77.0.2", "fd77::2"]));
    let host = started(&pair, &dns, "", "grace = \"0s\"\nmin_ttl = \"200ms\"");
    wait_prefixes(&host, SOURCE, &["10.77.0.2/32", "fd77::2/128"]);
    wait_let_in(&host, &pair, TRUSTED4);
    assert_let_in(&host, &pair, TRUSTED6);
    assert_refused(&host, &pair, FRIEND4);

    dns.set(NAME, Reply::addresses(1, &["10.77.0.3", "fd77::2"]));
    wait_let_in(&host, &pair, FRIEND4);
    wait_cut(&host, &pair, TRUSTED4);
    assert_let_in(&host, &pair, TRUSTED6);
}

/// As `nameserver fe80::53%db0` in resolv.conf: the address alone does not say over which link.
#[test]
fn a_server_of_one_link_is_asked_over_that_link() {
    let pair = Pair::new();
    pair.db.address(INTERFACE, "fe80::1/64");
    pair.clients.address("cl0", "fe80::53/64");
    let server = |netns: &Netns, interface| {
        let scope = netns.ifindex(interface);
        SocketAddrV6::new("fe80::53".parse().expect("an address"), 5353, 0, scope)
    };
    let dns = DnsServer::at(&pair.clients, server(&pair.clients, "cl0").into());
    dns.set(NAME, Reply::addresses(1, &["10.77.0.2", "fd77::2"]));
    let host = asking(&pair, server(&pair.db, INTERFACE).into(), "", "min_ttl = \"200ms\"");
    wait_prefixes(&host, SOURCE, &["10.77.0.2/32", "fd77::2/128"]);
    wait_let_in(&host, &pair, TRUSTED4);
    assert_refused(&host, &pair, FRIEND4);
}

#[test]
fn a_name_is_asked_for_when_its_records_end() {
    let pair = Pair::new();
    let dns = DnsServer::start(&pair.db);
    dns.set(NAME, Reply::addresses(3600, &["10.77.0.2"]));
    let host = started(&pair, &dns, "", "grace = \"0s\"\nmin_ttl = \"200ms\"\nmax_ttl = \"2s\"");
    wait_let_in(&host, &pair, TRUSTED4);
    // Not with every second, and yet not after an hour.
    let (before, began) = (dns.asked(NAME), Instant::now());
    dns.set(NAME, Reply::addresses(1, &["10.77.0.3"]));
    wait_let_in(&host, &pair, FRIEND4);
    let asked = dns.asked(NAME) - before;
    let expected = 2.0 * (began.elapsed().as_secs_f64() / 0.9 + 2.0);
    assert!((asked as f64) < expected, "{asked} questions in {:?}", began.elapsed());
    // Now with every second.
    let began = Instant::now();
    wait_asked(&host, &dns);
    wait_asked(&host, &dns);
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn an_address_that_vanished_is_kept_for_its_grace() {
    let pair = Pair::new();
    let dns = DnsServer::start(&pair.db);
    dns.set(NAME, Reply::addresses(1, &["10.77.0.2", "10.77.0.3"]));
    let host = started(&pair, &dns, "", "grace = \"6s\"\nmin_ttl = \"200ms\"");
    wait_let_in(&host, &pair, FRIEND4);
    let vanished = Instant::now();
    dns.set(NAME, Reply::addresses(1, &["10.77.0.2"]));
    wait_asked(&host, &dns);
    if vanished.elapsed() < Duration::from_secs(5) {
        assert_let_in(&host, &pair, FRIEND4);
    }
    wait_cut(&host, &pair, FRIEND4);
    let kept = vanished.elapsed();
    assert!(kept >= Duration::from_secs(6), "{kept:?}");
    assert_let_in(&host, &pair, TRUSTED4);
}

#[test]
fn a_server_that_fails_or_is_silent_keeps_what_was() {
    let pair = Pair::new();
    let dns = DnsServer::start(&pair.db);
    let good = || Reply::addresses(1, &["10.77.0.2"]);
    dns.set(NAME, good());
    let host = started(&pair, &dns, "", "grace = \"0s\"\nmin_ttl = \"200ms\"");
    wait_let_in(&host, &pair, TRUSTED4);
    for bad in [Reply::Failure, Reply::Silence] {
        dns.set(NAME, bad);
        wait_state(&host, SOURCE, "stale");
        assert!(source(&host, SOURCE)["error"].is_string());
        std::thread::sleep(Duration::from_secs(2));
        assert_let_in(&host, &pair, TRUSTED4);
        assert_refused(&host, &pair, STRANGER4);
        dns.set(NAME, good());
        wait_state(&host, SOURCE, "ok");
    }
}

#[test]
fn a_name_that_is_no_more_goes_after_gone_after() {
    let pair = Pair::new();
    let dns = DnsServer::start(&pair.db);
    dns.set(NAME, Reply::addresses(1, &["10.77.0.2"]));
    let keys = "grace = \"0s\"\nmin_ttl = \"200ms\"";
    let host = started(&pair, &dns, "gone_after = \"5s\"", keys);
    wait_let_in(&host, &pair, TRUSTED4);
    host.configure(
        &agent_keys("gone_after = \"5s\""),
        &format!(
            "[dns]\nservers = [\"{}\"]\ntimeout = \"1s\"\n{keys}\n\n{}",
            dns.address(),
            orders(&format!(
                "max_shrink = \"off\"\ntrusted_sources = [\"{SOURCE}\"]\non_empty = \"close\""
            ))
        ),
    );
    assert_eq!(host.dbfw(&["reload"]).status.code(), Some(0), "{}", host.log());
    let removed = Instant::now();
    dns.remove(NAME);
    wait_state(&host, SOURCE, "gone");
    if removed.elapsed() < Duration::from_secs(4) {
        assert_let_in(&host, &pair, TRUSTED4);
    }
    wait_cut(&host, &pair, TRUSTED4);
    assert!(removed.elapsed() >= Duration::from_secs(5), "{:?}", removed.elapsed());

    dns.set(NAME, Reply::addresses(1, &["10.77.0.2"]));
    wait_let_in(&host, &pair, TRUSTED4);
}
