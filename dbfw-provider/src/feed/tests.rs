use std::fs;

use axum::http::header;
use dbfw_core::source::SourceType;

use super::*;
use crate::poller::bench::{
    Bench, sources,
    web::{Page, Server},
};

const LIST: &str = "10.0.0.1\n10.1.0.0/16\n";

fn config() -> FeedsConfig {
    let mut config = FeedsConfig { max_bytes: 1 << 20, ..FeedsConfig::default() };
    config.http.timeout = Duration::from_secs(1);
    config
}

fn begin(values: &[&str]) -> (Bench, Arc<Stats>) {
    let stats = Arc::new(Stats::default());
    let feeds = Feeds::new(config(), Arc::clone(&stats));
    (Bench::new(sources(SourceType::Feed, values), |mailbox| feeds.run(mailbox)), stats)
}

fn prefixes(outcome: &Outcome) -> String {
    let Outcome::Answer(answer) = outcome else { panic!("no answer: {outcome:?}") };
    assert_eq!(answer.grace, Duration::ZERO);
    match answer.parts.iter().collect::<Vec<_>>()[..] {
        [] => String::new(),
        [(name, Part::Prefixes(prefixes))] => {
            assert_eq!(name, "feed");
            prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        _ => panic!("not one part: {answer:?}"),
    }
}

fn failure(outcome: &Outcome) -> (Cause, &str) {
    let Outcome::Failed(error) = outcome else { panic!("not failed: {outcome:?}") };
    (error.cause, &error.reason)
}

#[tokio::test]
async fn an_unchanged_document_is_recognised() {
    let server = Server::start().await;
    let tagged = server.url("/tagged");
    let plain = server.url("/plain");
    server.tagged("/tagged", "\"1\"", LIST);
    server.status("/plain", 200, LIST);
    let (mut bench, stats) = begin(&[&tagged, &plain]);

    let heard = bench.round().await;
    for feed in [&tagged, &plain] {
        assert_eq!(prefixes(heard.source(feed)), "10.0.0.1/32 10.1.0.0/16");
        let Outcome::Answer(answer) = heard.source(feed) else { unreachable!() };
        assert_eq!(answer.from, format!("GET {feed}"));
    }
    assert!(server.asked().iter().all(|(_, sent)| !sent.contains_key(header::IF_NONE_MATCH)));

    let heard = bench.polled().await;
    for feed in [&tagged, &plain] {
        assert_eq!(prefixes(heard.source(feed)), "10.0.0.1/32 10.1.0.0/16");
    }
    for (path, sent) in server.asked() {
        assert_eq!(sent.contains_key(header::IF_NONE_MATCH), path == "/tagged");
    }

    // The same body under another tag is the same document.
    server.tagged("/tagged", "\"2\"", LIST);
    assert_eq!(prefixes(bench.polled().await.source(&tagged)), "10.0.0.1/32 10.1.0.0/16");
    server.tagged("/tagged", "\"3\"", "2001:db8::1");
    assert_eq!(prefixes(bench.polled().await.source(&tagged)), "2001:db8::1/128");
    server.tagged("/tagged", "\"4\"", "");
    assert_eq!(prefixes(bench.polled().await.source(&tagged)), "");
    assert_eq!(stats.values().requests, 10);
    assert_eq!(stats.values().failures.iter().sum::<u64>(), 0);
    bench.end().await;
}

#[tokio::test]
async fn every_failure_names_the_feed_and_its_cause() {
    let server = Server::start().await;
    let feed = server.url("/list");
    server.status("/list", 200, LIST);
    let (mut bench, stats) = begin(&[&feed]);
    bench.round().await;

    let large = "10.0.0.1\n".repeat(1 << 17);
    for (status, body, cause, words) in [
        (500, "", Cause::Server, "answered 500"),
        (429, "", Cause::RateLimited, "answered 429"),
        (401, "", Cause::Unauthorized, "fetched without a password or a token"),
        (403, "", Cause::Permission, "this machine may not have it"),
        (404, "", Cause::NotFound, "there is nothing at this address"),
        (410, "", Cause::NotFound, "there is nothing at this address"),
        (304, "", Cause::Invalid, "answered 304"),
        (206, LIST, Cause::Invalid, "not a whole document"),
        (204, "", Cause::Invalid, "not a whole document"),
        (418, "", Cause::Invalid, "answered 418"),
        (301, "", Cause::Redirect, "names no place to go"),
        (200, "<html>", Cause::Invalid, "is a page of HTML or XML"),
        (200, "10.0.0.1\nnonsense\n", Cause::Invalid, "line 2: \"nonsense\" is not"),
        (200, &large, Cause::TooLarge, "more than 1048576 bytes"),
    ] {
        server.status("/list", status, body);
        let heard = bench.polled().await;
        let (found, message) = failure(heard.source(&feed));
        assert_eq!(found, cause, "{status}: {message}");
        assert!(message.contains(words), "{status}: {message}");
        let Outcome::Failed(error) = heard.source(&feed) else { unreachable!() };
        assert!(error.about.contains(&feed), "{status}: {error:?}");
    }
    server.set("/list", Page::Hang);
    let heard = bench.polled().await;
    assert_eq!(failure(heard.source(&feed)).0, Cause::Timeout);
    server.status("/list", 200, LIST);
    assert_eq!(prefixes(bench.polled().await.source(&feed)), "10.0.0.1/32 10.1.0.0/16");
    assert!(stats.values().failures.iter().sum::<u64>() >= 14);
}

#[tokio::test]
async fn what_a_feed_made_of_an_unchanged_document_is_said_again() {
    let server = Server::start().await;
    let feed = server.url("/list#$.a");
    server.tagged("/list", "\"1\"", "{\"a\":[\"x\"]}");
    let (mut bench, _) = begin(&[&feed]);
    let first = bench.round().await;
    let (cause, message) = failure(first.source(&feed));
    assert_eq!(cause, Cause::Invalid);
    assert_eq!(
        message,
        "$['a'][0]: \"x\" is not an IPv4 or IPv6 address: the feed is not used until it is fixed"
    );
    let again = bench.polled().await;
    assert_eq!(again.source(&feed), first.source(&feed));
    assert!(server.asked()[1].1.contains_key(header::IF_NONE_MATCH));
}

#[tokio::test]
async fn feeds_of_one_document_share_a_request() {
    let server = Server::start().await;
    let url = server.url("/meta");
    let [hooks, web, none] = ["hooks", "web", "none"].map(|name| format!("{url}#$.{name}"));
    let body = r#"{"hooks":["192.30.252.0/22"],"web":["20.201.28.151/32"]}"#;
    server.tagged("/meta", "\"1\"", body);
    let (mut bench, stats) = begin(&[&hooks, &none]);
    let heard = bench.round().await;
    assert_eq!(prefixes(heard.source(&hooks)), "192.30.252.0/22");
    assert!(failure(heard.source(&none)).1.contains("the JSONPath selects nothing"));
    assert_eq!(server.asked().len(), 1);

    // A new one needs the whole document, though it did not change.
    bench.want(sources(SourceType::Feed, &[&hooks, &none, &web]));
    let heard = bench.round().await;
    assert_eq!(prefixes(heard.source(&web)), "20.201.28.151/32");
    assert_eq!(prefixes(heard.source(&hooks)), "192.30.252.0/22");
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert!(!asked[0].1.contains_key(header::IF_NONE_MATCH));

    bench.want(sources(SourceType::Feed, &[&hooks, &web]));
    let heard = bench.polled().await;
    assert_eq!(prefixes(heard.source(&web)), "20.201.28.151/32");
    assert_eq!(prefixes(heard.source(&hooks)), "192.30.252.0/22");
    assert_eq!(heard.sources.len(), 2);
    assert_eq!(stats.values().requests, 3);
}

#[tokio::test]
async fn one_that_hangs_does_not_hold_up_the_others() {
    let server = Server::start().await;
    let [slow, quick] = ["/slow", "/quick"].map(|path| server.url(path));
    server.set("/slow", Page::Hang);
    server.status("/quick", 200, LIST);
    let (mut bench, _) = begin(&[&slow, &quick]);
    let first = bench.reports().await;
    assert!(matches!(&first[..], [Report::Source { key, .. }] if key.value() == quick));
    assert_eq!(failure(bench.round().await.source(&slow)).0, Cause::Timeout);
}

#[tokio::test]
async fn large_documents_and_redirects() {
    let server = Server::start().await;
    let [large, moved] = ["/large", "/moved"].map(|path| server.url(path));
    let lines: String =
        (0..20_000_u32).map(|i| format!("10.{}.{}.0/24\n", i / 250, i % 250)).collect();
    assert!(lines.len() > 64 << 10);
    server.status("/large", 200, lines);
    let headers = vec![("location", "/large")];
    server.set("/moved", Page::Answer { status: 302, headers, body: String::new() });
    let (mut bench, _) = begin(&[&large, &moved]);
    let heard = bench.round().await;
    assert_eq!(prefixes(heard.source(&large)).split(' ').count(), 20_000);
    assert_eq!(prefixes(heard.source(&large)), prefixes(heard.source(&moved)));
}

#[tokio::test]
async fn plain_http_is_refused() {
    let (mut bench, _) = begin(&["http://192.0.2.1/list"]);
    let heard = bench.round().await;
    let (cause, message) = failure(heard.source("http://192.0.2.1/list"));
    assert_eq!(cause, Cause::Tls);
    assert!(message.contains("without TLS"), "{message}");
}

#[tokio::test]
async fn files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("list");
    let feed = path.display().to_string();
    let pipe = dir.path().join("pipe").display().to_string();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (mut bench, stats) = begin(&[&feed, &pipe]);
    let heard = bench.round().await;
    let (cause, message) = failure(heard.source(&feed));
    assert_eq!(cause, Cause::NotFound);
    assert_eq!(message, "the feed does not exist: create it, or correct the path");
    let (cause, message) = failure(heard.source(&pipe));
    assert_eq!(cause, Cause::Invalid);
    assert!(message.contains("is not a regular file"), "{message}");

    // All of it found by looking at the file, without a poll.
    fs::write(&path, LIST).unwrap();
    let found = until(&mut bench, &feed, |outcome| matches!(outcome, Outcome::Answer(_))).await;
    assert_eq!(prefixes(&found), "10.0.0.1/32 10.1.0.0/16");
    let Outcome::Answer(answer) = found else { unreachable!() };
    assert_eq!(answer.from, feed);

    fs::File::create(&path).unwrap().set_len((1 << 20) + 1).unwrap();
    let large = until(&mut bench, &feed, |outcome| matches!(outcome, Outcome::Failed(_))).await;
    let (cause, message) = failure(&large);
    assert_eq!(cause, Cause::TooLarge);
    assert!(message.contains("is larger than 1048576 bytes"), "{message}");

    fs::write(&path, LIST).unwrap();
    until(&mut bench, &feed, |outcome| matches!(outcome, Outcome::Answer(_))).await;
    assert_eq!(stats.values().requests, 0);
}

/// The first outcome of a feed that is wanted.
async fn until(bench: &mut Bench, feed: &str, wanted: impl Fn(&Outcome) -> bool) -> Outcome {
    loop {
        for report in bench.reports().await {
            if let Report::Source { key, outcome } = report
                && key.value() == feed
                && wanted(&outcome)
            {
                return outcome;
            }
        }
    }
}
