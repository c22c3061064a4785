use std::time::{Duration, Instant};

use dbfw_core::answers::{Cause, ListOutcome, Outcome};

use super::{
    fleet::{APP, CLUSTER, Fleet, LIST, Site, TOKEN, VPC, demand, everything, write_token},
    lines,
    server::Reply,
};
use crate::budget::RequestLimits;

#[tokio::test]
async fn a_refused_token_costs_little_until_it_changes() {
    let many: Vec<String> = (1..=100).map(|id| format!("droplet:{id}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut site = Site::start(Fleet::small(), demand(&many)).await;
    site.bench.round().await;
    site.server.take();
    site.server.set(|_| Reply::error(401, "unauthorized"));
    let heard = site.bench.polled().await;
    // The list and the first page of droplets.
    assert_eq!(site.server.take().len(), 2);
    for outcomes in heard.sources.values() {
        let [Outcome::Failed(error)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
        assert_eq!(error.cause, Cause::Unauthorized);
        assert!(!error.to_string().contains(TOKEN));
    }
    let ListOutcome::Failed(error) = heard.list(LIST) else { panic!("{heard:?}") };
    assert!(error.to_string().contains("/firewall"), "{error}");
    let heard = site.bench.polled().await;
    assert_eq!((heard.sources.len(), site.server.take().len()), (100, 2));
    // The first look at the file after it changed begins a round.
    let fleet = Fleet::small();
    site.server.set(move |asked| match asked.authorization.as_str() {
        "Bearer dop_v1_new" => fleet.answer(asked),
        _ => Reply::error(401, "unauthorized"),
    });
    write_token(&site.token, "dop_v1_new");
    let heard = site.bench.round().await;
    assert_eq!(lines(heard.source("1").clone()), ["droplet 1: 10.0.0.1/32"]);
}

#[tokio::test]
async fn rounds_repeat_and_failures_put_them_off() {
    let poll = Duration::from_millis(50);
    let mut site = Site::with(Fleet::small(), demand(&["droplet:1"]), |config| {
        config.poll = poll;
        config.limits = RequestLimits { per_hour: 1_000_000, per_minute: 1_000_000 };
    })
    .await;
    for _ in 0..5 {
        site.bench.round().await;
    }
    site.server.set(|_| Reply::error(401, "unauthorized"));
    site.bench.round().await;
    site.bench.round().await;
    let begun = Instant::now();
    site.bench.round().await;
    // At least four polls less a fifth after the first refusal, so more after the second.
    assert!(begun.elapsed() >= poll * 3, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn without_a_token_everything_says_so() {
    let mut site = Site::start(Fleet::small(), everything()).await;
    site.bench.round().await;
    site.server.take();
    std::fs::remove_file(&site.token).unwrap();
    let heard = site.bench.polled().await;
    let ListOutcome::Failed(error) = heard.list(LIST) else { panic!("{heard:?}") };
    assert!(
        error.to_string().contains("token file") && error.to_string().contains(LIST),
        "{error}"
    );
    for value in ["1", "web", CLUSTER, APP, VPC] {
        let Outcome::Failed(error) = heard.source(value) else { panic!("{heard:?}") };
        assert!(error.to_string().contains(value) && error.cause == Cause::Unauthorized, "{error}");
    }
    // It needs nobody.
    assert_eq!(lines(heard.source("10.116.0.0").clone()), ["address: 10.116.0.0/32"]);
    assert_eq!(site.server.take().len(), 0);
}
