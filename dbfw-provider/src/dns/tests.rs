//! Against a DNS server of our own on loopback.

mod server;

use std::net::{IpAddr, SocketAddr};

use dbfw_core::answers::{Answer, Cause};

use self::server::{Reply, Server};
use super::*;
use crate::poller::bench::{Bench, sources};

const NAME: &str = "db.example";

fn config(servers: Vec<SocketAddr>) -> DnsConfig {
    DnsConfig {
        servers,
        timeout: Duration::from_secs(1),
        grace: Duration::from_secs(300),
        min_ttl: Duration::from_secs(60),
        max_ttl: Duration::from_secs(3600),
    }
}

fn begin(config: DnsConfig, names: &[&str]) -> (Bench, Arc<Stats>) {
    let stats = Arc::new(Stats::default());
    let worker = Names::new(config, Arc::clone(&stats));
    (Bench::new(sources(SourceType::Dns, names), |mailbox| worker.run(mailbox)), stats)
}

fn at(ttl: u32, addresses: &[&str]) -> Reply {
    Reply::addresses(ttl, addresses)
}

fn answer(outcome: &Outcome) -> &Answer {
    let Outcome::Answer(answer) = outcome else { panic!("no answer: {outcome:?}") };
    answer
}

fn part(outcome: &Outcome, name: &str) -> String {
    match answer(outcome).parts.get(name) {
        None => "none".to_owned(),
        Some(Part::Prefixes(prefixes)) => {
            prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        Some(Part::Failed(error)) => format!("failed: {error}"),
        Some(Part::Empty(why)) => format!("empty: {why}"),
    }
}

fn failure(outcome: &Outcome) -> (Cause, &str) {
    let Outcome::Failed(error) = outcome else { panic!("not failed: {outcome:?}") };
    (error.cause, &error.reason)
}

#[tokio::test]
async fn addresses_of_both_families() {
    let server = Server::start().await;
    server.set(NAME, "A", at(300, &["192.0.2.1", "10.0.0.1"]));
    server.set(NAME, "AAAA", at(300, &["2001:db8::1"]));
    server.set("only4.example", "A", at(300, &["192.0.2.4"]));
    // Written in capitals, with a dot: the same name.
    let names = [NAME, "DB.Example.", "only4.example", "_x._tcp.example"];
    let (mut bench, stats) = begin(config(vec![server.address]), &names);
    let heard = bench.round().await;
    for name in [NAME, "DB.Example."] {
        let outcome = heard.source(name);
        assert_eq!(part(outcome, "A"), "10.0.0.1/32 192.0.2.1/32");
        assert_eq!(part(outcome, "AAAA"), "2001:db8::1/128");
        assert_eq!(answer(outcome).grace, Duration::from_secs(300));
        assert_eq!(answer(outcome).from, format!("DNS A and AAAA of {name}"));
    }
    assert_eq!(part(heard.source("only4.example"), "A"), "192.0.2.4/32");
    assert_eq!(part(heard.source("only4.example"), "AAAA"), "none");
    assert!(matches!(heard.source("_x._tcp.example"), Outcome::Gone(_)));
    assert_eq!(stats.values().requests, 8);
    assert_eq!(stats.values().failures.iter().sum::<u64>(), 0);
    bench.end().await;
}

#[tokio::test]
async fn a_name_is_asked_again_when_its_ttl_is_over() {
    let server = Server::start().await;
    server.set("short.example", "A", at(0, &["192.0.2.1"]));
    server.set("long.example", "A", at(3600, &["192.0.2.2"]));
    let config = DnsConfig {
        min_ttl: Duration::from_millis(20),
        max_ttl: Duration::from_secs(3600),
        ..config(vec![server.address])
    };
    let (mut bench, _) = begin(config, &["short.example", "long.example"]);
    let (mut short, mut long) = (0, 0);
    for _ in 0..4 {
        let heard = bench.round().await;
        short += heard.sources.get("short.example").map_or(0, Vec::len);
        long += heard.sources.get("long.example").map_or(0, Vec::len);
    }
    assert!(short >= 4 && long == 1, "{short} {long}");
    // Nothing between dbfw and the server remembers answers.
    assert_eq!(server.asked("long.example", "A"), 1);
    bench.polled().await;
    assert_eq!(server.asked("long.example", "A"), 2);
}

#[tokio::test]
async fn a_long_ttl_is_not_believed_for_longer_than_configured() {
    let server = Server::start().await;
    server.set(NAME, "A", at(86_400, &["192.0.2.1"]));
    let (min_ttl, max_ttl) = (Duration::from_millis(10), Duration::from_millis(20));
    let config = DnsConfig { min_ttl, max_ttl, ..config(vec![server.address]) };
    let (mut bench, _) = begin(config, &[NAME]);
    for _ in 0..3 {
        assert_eq!(part(bench.round().await.source(NAME), "A"), "192.0.2.1/32");
    }
}

#[tokio::test]
async fn a_change_is_seen_and_a_failure_changes_nothing() {
    let server = Server::start().await;
    server.set(NAME, "A", at(300, &["192.0.2.1"]));
    server.set(NAME, "AAAA", at(300, &["2001:db8::1"]));
    let (mut bench, stats) = begin(config(vec![server.address]), &[NAME]);
    bench.round().await;

    server.set(NAME, "AAAA", Reply::Code("SERVFAIL"));
    let heard = bench.polled().await;
    assert_eq!(part(heard.source(NAME), "A"), "192.0.2.1/32");
    let failed = part(heard.source(NAME), "AAAA");
    assert!(
        failed.starts_with("failed: 127.0.0.1:") && failed.ends_with("(AAAA of dns:db.example)"),
        "{failed}"
    );
    assert!(failed.contains("answered SERVFAIL"), "{failed}");

    for (reply, cause, words) in [
        (Reply::Code("SERVFAIL"), Cause::Server, "answered SERVFAIL"),
        (Reply::Code("REFUSED"), Cause::Permission, "answered REFUSED"),
        (Reply::Code("NOTIMP"), Cause::Server, "answered"),
        (Reply::Silence, Cause::Timeout, "did not answer within 1s"),
        (Reply::Referral, Cause::Invalid, "only names other servers"),
        (at(300, &["127.0.0.1"]), Cause::Invalid, "DNS rebinding"),
    ] {
        server.set(NAME, "A", reply.clone());
        server.set(NAME, "AAAA", Reply::Nothing);
        let heard = bench.polled().await;
        let (found, message) = failure(heard.source(NAME));
        assert_eq!(found, cause, "{reply:?}: {message}");
        assert!(message.contains(words), "{reply:?}: {message}");
    }
    server.set(NAME, "A", at(300, &["192.0.2.2"]));
    assert_eq!(part(bench.polled().await.source(NAME), "A"), "192.0.2.2/32");
    assert_eq!(stats.values().failures.iter().sum::<u64>(), 7);
}

#[tokio::test]
async fn addresses_of_another_name_are_nobodys() {
    let server = Server::start().await;
    server.set(NAME, "A", Reply::Foreign);
    server.set(NAME, "AAAA", at(300, &["2001:db8::1"]));
    let (mut bench, _) = begin(config(vec![server.address]), &[NAME]);
    let heard = bench.round().await;
    assert_eq!(part(heard.source(NAME), "A"), "none");
    assert_eq!(part(heard.source(NAME), "AAAA"), "2001:db8::1/128");
}

#[tokio::test]
async fn a_name_that_goes_is_gone() {
    let server = Server::start().await;
    server.set(NAME, "A", at(300, &["192.0.2.1"]));
    let (mut bench, _) = begin(config(vec![server.address]), &[NAME]);
    bench.round().await;
    server.set(NAME, "A", Reply::Nothing);
    assert!(answer(bench.polled().await.source(NAME)).parts.is_empty());
    server.remove(NAME);
    let heard = bench.polled().await;
    let Outcome::Gone(why) = heard.source(NAME) else { panic!("{heard:?}") };
    assert_eq!(why, "there is no such name, NXDOMAIN (dns:db.example)");
}

#[tokio::test]
async fn cnames_are_followed_and_their_ttl_counts() {
    let server = Server::start().await;
    server.set(NAME, "A", Reply::Cname(0, "lb.example", vec!["192.0.2.7".parse().unwrap()]));
    server.set(NAME, "AAAA", Reply::Cname(300, "lb.example", Vec::new()));
    server.set("lb.example", "AAAA", at(300, &["2001:db8::7"]));
    let config = DnsConfig { min_ttl: Duration::from_millis(20), ..config(vec![server.address]) };
    let (mut bench, _) = begin(config, &[NAME]);
    for _ in 0..2 {
        let heard = bench.round().await;
        assert_eq!(part(heard.source(NAME), "A"), "192.0.2.7/32");
        assert_eq!(part(heard.source(NAME), "AAAA"), "2001:db8::7/128");
    }
}

#[tokio::test]
async fn what_is_too_long_for_udp_comes_by_tcp() {
    let server = Server::start().await;
    let addresses: Vec<IpAddr> = (0..200_u8).map(|i| IpAddr::from([10, 0, 0, i])).collect();
    server.set(NAME, "A", Reply::Addresses(300, addresses));
    let (mut bench, _) = begin(config(vec![server.address]), &[NAME]);
    let heard = bench.round().await;
    assert_eq!(part(heard.source(NAME), "A").split(' ').count(), 200);
    assert!(server.by_tcp() > 0);
}

#[tokio::test]
async fn the_next_resolver_is_asked_when_one_fails() {
    let (first, second) = (Server::start().await, Server::start().await);
    first.set(NAME, "A", Reply::Code("SERVFAIL"));
    first.set(NAME, "AAAA", Reply::Silence);
    second.set(NAME, "A", at(300, &["192.0.2.1"]));
    second.set(NAME, "AAAA", at(300, &["2001:db8::1"]));
    first.set("first.example", "A", at(300, &["192.0.2.2"]));
    second.set("first.example", "A", at(300, &["192.0.2.3"]));
    let servers = vec![first.address, second.address];
    let (mut bench, _) = begin(config(servers), &[NAME, "first.example"]);
    let heard = bench.round().await;
    assert_eq!(part(heard.source(NAME), "A"), "192.0.2.1/32");
    assert_eq!(part(heard.source(NAME), "AAAA"), "2001:db8::1/128");
    assert_eq!(part(heard.source("first.example"), "A"), "192.0.2.2/32");
    assert_eq!(second.asked("first.example", "A"), 0);

    second.set(NAME, "A", Reply::Code("REFUSED"));
    second.set(NAME, "AAAA", Reply::Code("REFUSED"));
    let heard = bench.polled().await;
    let (cause, message) = failure(heard.source(NAME));
    assert_eq!(cause, Cause::Permission);
    for words in ["answered SERVFAIL", "did not answer within", "answered REFUSED"] {
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn resolv_conf_is_read_again_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resolv.conf");
    let timeout = Duration::from_millis(100);
    // Nobody answers there: 192.0.2.0/24 is for documentation.
    std::fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
    let mut resolvers = Resolvers::of_file(&path, timeout);
    assert_eq!(resolvers.client().unwrap().addresses(), ["192.0.2.1:53".parse().unwrap()]);
    std::fs::write(&path, "nameserver 192.0.2.1\nnameserver 192.0.2.2\n").unwrap();
    assert_eq!(resolvers.client().unwrap().addresses().len(), 2);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(resolvers.client().unwrap().addresses(), ["127.0.0.1:53".parse().unwrap()]);
}

#[tokio::test]
async fn names_of_this_machine() {
    let server = Server::start().await;
    let (mut bench, _) = begin(config(vec![server.address]), &["localhost"]);
    let heard = bench.round().await;
    let (cause, message) = failure(heard.source("localhost"));
    assert_eq!(cause, Cause::Invalid);
    assert!(message.contains("127.0.0.1 is a loopback address"), "{message}");
}
