//! The limits of the API, on a clock that tests move.

use std::time::Duration;

use dbfw_tests::provider_server::{Fault, Limits, On, Options, Server};

use super::get;

const PATH: &str = "/v2/droplets";

#[test]
fn every_answer_says_what_is_left_of_a_sliding_hour() {
    let server = Server::start(Options::default());
    server.account(|account| account.limits = Limits { hour: 3, minute: None });
    let first = get(&server, PATH);
    let reset = first.number("ratelimit-reset");
    assert_eq!((first.number("ratelimit-limit"), first.number("ratelimit-remaining")), (3, 2));

    server.advance(Duration::from_secs(1800));
    // Faults cost as much as answers.
    server.inject(On::any().times(1), Fault::Status(500));
    let second = get(&server, PATH);
    assert_eq!((second.status, second.number("ratelimit-remaining")), (500, 1));
    assert_eq!(get(&server, "/v2/nothing").number("ratelimit-remaining"), 0);

    let refused = get(&server, PATH);
    assert_eq!((refused.status, refused.number("ratelimit-remaining")), (429, 0));
    assert_eq!(refused.number("ratelimit-reset"), reset, "when the oldest expires");
    assert_eq!(refused.json()["id"], "too_many_requests");
    assert!(!refused.headers.contains_key("retry-after"), "{refused:?}");

    server.advance(Duration::from_secs(1801));
    let again = get(&server, PATH);
    assert_eq!((again.status, again.number("ratelimit-remaining")), (200, 0), "one expired");
    assert_eq!(get(&server, PATH).status, 429);
}

#[test]
fn a_burst_is_told_when_to_come_again() {
    let server = Server::start(Options::default());
    server.account(|account| account.limits = Limits { hour: 5000, minute: Some(2) });
    get(&server, PATH);
    server.advance(Duration::from_secs(20));
    get(&server, PATH);
    let refused = get(&server, PATH);
    assert_eq!((refused.status, refused.number("ratelimit-remaining")), (429, 0));
    let wait = refused.number("retry-after");
    // Twenty seconds of the minute have passed, and what the requests themselves took.
    assert!((35..=40).contains(&wait), "{wait} s");
    server.advance(Duration::from_secs(wait as u64));
    assert_eq!(get(&server, PATH).status, 200);
}

#[test]
fn an_answer_with_an_etag_is_not_sent_twice() {
    let server = Server::start(Options::default());
    assert!(!get(&server, PATH).headers.contains_key("etag"), "DigitalOcean has none");
    server.account(|account| account.etags = true);
    let etag = get(&server, PATH).headers["etag"].clone();
    let condition = format!("If-None-Match: {etag}");
    let same = super::ask(&server, PATH, &["--header", &condition]);
    assert_eq!((same.status, same.body.len(), &same.headers["etag"]), (304, 0, &etag));
    assert!(same.headers.contains_key("ratelimit-remaining"));
    server.account(|account| account.add_droplet("web", &[], &[]));
    let other = super::ask(&server, PATH, &["--header", &condition]);
    assert_eq!(other.status, 200);
    assert_ne!(other.headers["etag"], etag);
}
