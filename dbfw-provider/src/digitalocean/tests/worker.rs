use std::sync::Arc;

use dbfw_core::answers::{ListOutcome, Outcome};

use super::{
    fleet::{
        APP, CLUSTER, Fleet, LIST, Site, TOKEN, UUID, VPC, demand, droplet, everything, node, rule,
    },
    lines,
    server::Reply,
};
use crate::worker::{Demand, Report};

#[tokio::test]
async fn a_round_resolves_everything() {
    let mut site = Site::start(Fleet::small(), everything()).await;
    let heard = site.bench.round().await;
    let ListOutcome::Answer(list) = heard.list(LIST) else { panic!("{heard:?}") };
    assert_eq!(list.sources[0].to_string(), "tag:web");
    assert_eq!(list.problems.len(), 1);
    let lines_of = |value: &str| lines(heard.source(value).clone());
    assert_eq!(lines_of("1"), ["droplet 1: 10.0.0.1/32"]);
    assert_eq!(
        lines_of("web"),
        ["GPU droplet 9: 10.0.0.9/32", "droplet 1: 10.0.0.1/32", "droplet 2: 10.0.0.2/32"]
    );
    assert_eq!(
        lines_of(CLUSTER),
        [
            "node droplet 3: 10.0.0.3/32",
            "node n2: empty, is still being created: it has no droplet yet",
            "pod subnet: 10.244.0.0/16",
        ]
    );
    assert_eq!(lines_of(APP), ["dedicated IPs: 192.0.2.1/32"]);
    assert_eq!(lines_of(VPC), ["range: 10.116.0.0/20"]);
    let Outcome::Answer(address) = heard.source("10.116.0.0") else { panic!("{heard:?}") };
    assert!(address.notes[0].contains("write ip_addr:10.116.0.0/20 or vpc:5a49"), "{address:?}");
    let asked = site.server.take();
    assert!(asked.iter().all(|asked| asked.authorization == format!("Bearer {TOKEN}")));
    let mut targets: Vec<_> = asked.into_iter().map(|asked| asked.target).collect();
    targets.sort_unstable();
    assert_eq!(
        targets,
        [
            format!("/v2/apps/{APP}"),
            format!("/v2/databases/{UUID}/firewall"),
            "/v2/droplets?page=1&per_page=200".to_owned(),
            "/v2/droplets?type=gpus&page=1&per_page=200".to_owned(),
            format!("/v2/kubernetes/clusters/{CLUSTER}"),
            format!("/v2/vpcs/{VPC}"),
            "/v2/vpcs?page=1&per_page=200".to_owned(),
        ]
    );
    assert_eq!(site.stats.values().requests, 7);
    assert_eq!(site.stats.values().left_hour, 4993);
    site.bench.end().await;
}

#[tokio::test]
async fn the_same_answers_say_the_same() {
    let mut site = Site::start(Fleet::small(), everything()).await;
    let before = site.bench.round().await;
    let heard = site.bench.polled().await;
    // A list may have thousands of rules: the same body is not read again.
    match (heard.list(LIST), before.list(LIST)) {
        (ListOutcome::Answer(heard), ListOutcome::Answer(before)) => {
            assert!(Arc::ptr_eq(heard, before));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(heard.sources, before.sources);
    let mut fleet = Fleet::small();
    fleet.droplets[1].tags.clear();
    fleet.rules.push(rule("ip_addr", "192.0.2.9"));
    fleet.shown_by(&site.server);
    let heard = site.bench.polled().await;
    assert!(matches!(heard.list(LIST), ListOutcome::Answer(list) if list.sources.len() == 2));
    assert_eq!(
        lines(heard.source("web").clone()),
        ["GPU droplet 9: 10.0.0.9/32", "droplet 1: 10.0.0.1/32"]
    );
    let changed = heard.sources.iter().filter(|(key, said)| said[0] != before.sources[*key][0]);
    assert_eq!(changed.count(), 1);
}

#[tokio::test]
async fn after_a_failure_the_same_answer_is_told_in_full() {
    let mut site = Site::start(Fleet::small(), everything()).await;
    let first = site.bench.round().await;
    site.server.set(|_| Reply::error(500, "server_error"));
    let heard = site.bench.polled().await;
    assert!(matches!(heard.list(LIST), ListOutcome::Failed(_)));
    Fleet::small().shown_by(&site.server);
    let heard = site.bench.polled().await;
    assert_eq!(heard.list(LIST), first.list(LIST));
    for value in ["1", "web", CLUSTER, APP, VPC] {
        let [heard, first] = [&heard, &first].map(|heard| lines(heard.source(value).clone()));
        assert_eq!(heard, first, "{value}");
    }
}

#[tokio::test]
async fn an_etag_saves_the_body() {
    let fleet = Fleet::small();
    let mut site = Site::start(Fleet::default(), demand(&["droplet:1"])).await;
    site.bench.round().await;
    site.server.set(move |asked| match &asked.if_none_match {
        Some(tag) if tag == "\"v1\"" => Reply::Text(304, Vec::new(), String::new()),
        _ => match fleet.answer(asked) {
            Reply::Text(status, _, body) => {
                Reply::Text(status, vec!["etag: \"v1\"".to_owned()], body)
            }
            other => other,
        },
    });
    let heard = site.bench.polled().await;
    assert_eq!(lines(heard.source("1").clone()), ["droplet 1: 10.0.0.1/32"]);
    site.server.take();
    let before = heard;
    let heard = site.bench.polled().await;
    assert_eq!(heard.source("1"), before.source("1"));
    assert_eq!(heard.list(LIST), before.list(LIST));
    assert!(site.server.take().iter().all(|asked| asked.if_none_match.is_some()));
    // Nobody asked for it: not an answer.
    site.server.set(|_| Reply::Text(304, Vec::new(), String::new()));
    site.bench.want(demand(&["droplet:2"]));
    let report = site.bench.reports().await.remove(0);
    let Report::Source { outcome: Outcome::Failed(error), .. } = report else {
        panic!("{report:?}")
    };
    assert!(error.to_string().contains("answered 304"), "{error}");
}

#[tokio::test]
async fn what_is_new_is_asked_for_alone_and_at_once() {
    let mut site = Site::start(Fleet::small(), everything()).await;
    site.bench.round().await;
    site.server.take();
    let mut more = everything();
    more.sources.extend(demand(&["tag:two"]).sources);
    site.bench.want(more);
    let report = site.bench.reports().await.remove(0);
    let Report::Source { key, outcome } = report else { panic!("{report:?}") };
    assert_eq!(key.to_string(), "tag:two");
    assert_eq!(lines(outcome), ["droplet 2: 10.0.0.2/32"]);
    assert_eq!(
        site.server.targets(),
        [
            "/v2/droplets?tag_name=two&page=1&per_page=200",
            "/v2/droplets?type=gpus&page=1&per_page=200",
        ]
    );
    // Nor is what was not wanted meanwhile forgotten.
    site.bench.want(Demand::default());
    site.bench.polled().await;
    site.bench.want(demand(&["tag:two"]));
    let told = |reports: &Vec<Report>| reports.iter().any(|r| matches!(r, Report::Source { .. }));
    while !told(&site.bench.reports().await) {}
    let heard = site.bench.polled().await;
    assert_eq!(lines(heard.source("two").clone()), ["droplet 2: 10.0.0.2/32"]);
}

#[tokio::test]
async fn many_tags_cost_pages_of_droplets() {
    let tags: Vec<String> = (0..100).map(|tag| format!("t{tag}")).collect();
    let droplets = (1..=5000).map(|id| droplet(id, &[&format!("t{}", id % 100)])).collect();
    let fleet = Fleet { droplets, gpus: vec![droplet(9999, &["t0"])], ..Fleet::default() };
    let sources: Vec<String> = tags.iter().map(|tag| format!("tag:{tag}")).collect();
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    let mut site = Site::start(fleet, demand(&sources)).await;
    site.bench.round().await;
    site.server.take();
    for round in 0..2 {
        let heard = site.bench.polled().await;
        assert_eq!(heard.sources.len(), 100);
        assert_eq!(lines(heard.source("t0").clone()).len(), 51, "round {round}");
        assert_eq!(lines(heard.source("t7").clone()).len(), 50, "round {round}");
        // 25 pages of droplets, one of GPU droplets, the list.
        assert_eq!(site.server.take().len(), 27);
    }
}

#[tokio::test]
async fn nodes_share_the_list_of_droplets() {
    let mut fleet = Fleet::small();
    fleet.clusters[0].node_pools[0].nodes =
        (100..150).map(|id| node(&id.to_string(), Some(id))).collect();
    fleet.droplets.extend((100..149).map(|id| droplet(id, &[])));
    // The last node has a GPU.
    fleet.gpus.push(droplet(149, &[]));
    let mut site = Site::start(fleet, demand(&[&format!("k8s:{CLUSTER}")])).await;
    let expected = [
        format!("/v2/databases/{UUID}/firewall"),
        "/v2/droplets?page=1&per_page=200".to_owned(),
        "/v2/droplets?type=gpus&page=1&per_page=200".to_owned(),
        format!("/v2/kubernetes/clusters/{CLUSTER}"),
    ];
    let heard = site.bench.round().await;
    let parts = lines(heard.source(CLUSTER).clone());
    assert_eq!(parts.len(), 51);
    assert!(parts.contains(&"node droplet 149: 10.0.0.149/32".to_owned()));
    assert_eq!(site.server.targets(), expected);
    assert_eq!(lines(site.bench.polled().await.source(CLUSTER).clone()), parts);
    assert_eq!(site.server.targets(), expected);
}
