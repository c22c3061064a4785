use std::time::{Duration, Instant};

use dbfw_core::answers::{Cause, ListOutcome, Outcome};
use dbfw_wire::digitalocean::App;

use super::{
    fleet::{APP, CLUSTER, Fleet, LIST, Site, cluster, demand, droplet, node, vpc},
    server::Reply,
};
use crate::budget::RequestLimits;

fn droplets(count: u64) -> Fleet {
    Fleet { droplets: (1..=count).map(|id| droplet(id, &[])).collect(), ..Fleet::default() }
}

/// A site with 30 tags, in an account of so many droplets that each is asked for alone.
async fn thirty_tags(poll: Duration, limits: RequestLimits) -> Site {
    let tags: Vec<String> = (0..30).map(|tag| format!("tag:t{tag}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let site = Site::with(Fleet::default(), demand(&tags), |config| {
        (config.poll, config.limits) = (poll, limits);
    })
    .await;
    site.server.set(|asked| Fleet::default().answer_of_many(asked));
    site
}

#[tokio::test]
async fn the_budget_is_never_exceeded() {
    let limits = RequestLimits { per_hour: 100, per_minute: 10 };
    let mut site = thirty_tags(Duration::from_secs(3600), limits).await;
    let begun = Instant::now();
    let heard = site.bench.round().await;
    // What waits for the next minute is not waited for.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(site.server.take().len(), 10);
    assert_eq!(heard.sources.len(), 30);
    let refused = heard.sources.values().filter_map(|outcomes| match outcomes.as_slice() {
        [Outcome::Failed(error)] if error.cause == Cause::RateLimited => Some(error),
        _ => None,
    });
    let refused: Vec<_> = refused.collect();
    assert!(!refused.is_empty());
    for error in refused {
        assert!(error.to_string().contains("the request budget is used up until"), "{error}");
        assert!(error.retry_after.is_some());
    }
    site.bench.polled().await;
    assert_eq!(site.server.take().len(), 0);
    let values = site.stats.values();
    assert_eq!((values.requests, values.left_minute, values.limit_minute), (10, 0, 10));
}

#[tokio::test]
async fn a_thousand_rules_cost_few_requests() {
    let mut fleet = droplets(2000);
    let nodes = |cluster: u64| {
        (1..=10).map(|n| cluster * 10 + n).map(|id| node(&id.to_string(), Some(id))).collect()
    };
    fleet.clusters = (0..100).map(|c| cluster(&format!("c-{c}"), nodes(c))).collect();
    fleet.apps = (0..100).map(|n| App { id: format!("a-{n}"), ..App::default() }).collect();
    fleet.vpcs = (0..100).map(|n| vpc(&format!("v-{n}"), "10.0.0.0/24")).collect();
    let mut sources: Vec<String> = (0..400).map(|tag| format!("tag:t{tag}")).collect();
    sources.extend((1..=300).map(|id| format!("droplet:{id}")));
    sources.extend(
        (0..100).flat_map(|n| [format!("k8s:c-{n}"), format!("app:a-{n}"), format!("vpc:v-{n}")]),
    );
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    let mut site = Site::start(fleet, demand(&sources)).await;
    site.bench.round().await;
    site.server.take();
    for _ in 0..2 {
        let heard = site.bench.polled().await;
        assert_eq!(heard.sources.len(), 1000);
        let failed = heard.sources.values().filter(|o| matches!(o[0], Outcome::Failed(_)));
        assert_eq!(failed.count(), 0);
        // Droplets, GPU droplets, clusters, apps, VPC networks, the list.
        assert_eq!(site.server.take().len(), 10 + 5);
    }
    // At the default interval that is far below the limit of an hour.
    assert_eq!(site.stats.values().interval, Duration::from_secs(3600));
}

#[tokio::test]
async fn the_interval_follows_the_cost() {
    let limits = RequestLimits { per_hour: 1000, per_minute: 1000 };
    let mut site = thirty_tags(Duration::from_secs(5), limits).await;
    site.bench.round().await;
    site.bench.polled().await;
    // 30 tags, the first of many pages of droplets, the GPU droplets and the list; four fifths
    // of 1,000 are 800 an hour.
    assert_eq!(site.stats.values().interval, Duration::from_millis(148_500));
}

#[tokio::test]
async fn a_refusal_stops_the_round_and_is_honoured() {
    let fleet = Fleet::small();
    let key = format!("k8s:{CLUSTER}");
    let app = format!("app:{APP}");
    let mut site = Site::start(fleet, demand(&[&key, &app, "tag:web"])).await;
    site.bench.round().await;
    site.server.take();
    site.server.set(|_| {
        let headers = vec!["retry-after: 100".to_owned(), "ratelimit-remaining: 0".to_owned()];
        let body = r#"{"id": "too_many_requests", "message": "API rate limit exceeded."}"#;
        Reply::Text(429, headers, body.to_owned())
    });
    let heard = site.bench.polled().await;
    let asked = site.server.take().len();
    assert!(asked <= 5, "{asked}");
    let ListOutcome::Failed(error) = heard.list(LIST) else { panic!("{heard:?}") };
    assert_eq!(error.cause, Cause::RateLimited);
    assert!(error.retry_after.is_some_and(|wait| wait > Duration::from_secs(90)), "{error:?}");
    for value in [CLUSTER, APP, "web"] {
        assert!(matches!(heard.source(value), Outcome::Failed(e) if e.cause == Cause::RateLimited));
    }
    // Not even an order breaks the server's word.
    site.bench.polled().await;
    assert_eq!(site.server.take().len(), 0);
}
