use std::time::{Duration, Instant};

use dbfw_core::answers::{Cause, FetchError, ListOutcome, Outcome};
use dbfw_wire::digitalocean::{OneApp, OneCluster, OneDroplet, OneVpc};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    answer,
    fleet::{APP, CLUSTER, Fleet, LIST, Site, UUID, VPC, everything},
    lines,
    server::Reply,
};
use crate::{budget::RequestLimits, poller::bench::Heard};

/// The requests, and what depends on each.
fn resources() -> [(String, &'static str); 6] {
    [
        (format!("/v2/databases/{UUID}/firewall"), LIST),
        ("/v2/droplets/1".to_owned(), "1"),
        ("/v2/droplets?tag_name=web".to_owned(), "web"),
        (format!("/v2/kubernetes/clusters/{CLUSTER}"), CLUSTER),
        (format!("/v2/apps/{APP}"), APP),
        (format!("/v2/vpcs/{VPC}"), VPC),
    ]
}

/// The failure of a list or source, if it failed.
fn error_of<'a>(heard: &'a Heard, name: &str) -> Option<&'a FetchError> {
    if name == LIST {
        return match heard.list(LIST) {
            ListOutcome::Failed(error) => Some(error),
            _ => None,
        };
    }
    match heard.source(name) {
        Outcome::Failed(error) => Some(error),
        _ => None,
    }
}

/// A site where every thing is asked for alone.
async fn singly(timeout: Duration) -> Site {
    let mut site = Site::with(Fleet::small(), everything(), |config| {
        config.http.timeout = timeout;
        config.limits = RequestLimits { per_hour: 1_000_000, per_minute: 1_000_000 };
    })
    .await;
    mend(&site);
    site.bench.round().await;
    site
}

fn mend(site: &Site) {
    let fleet = Fleet::small();
    site.server.set(move |asked| fleet.answer_of_many(asked));
}

/// One request ends like this, and no other.
async fn one(site: &mut Site, (path, name): (String, &str), fault: Reply, cause: Cause, why: &str) {
    let (fleet, broken) = (Fleet::small(), path.clone());
    site.server.set(move |asked| match asked.target.starts_with(&broken) {
        true => fault.clone(),
        false => fleet.answer_of_many(asked),
    });
    let heard = site.bench.polled().await;
    let error = error_of(&heard, name).unwrap_or_else(|| panic!("{path}: {heard:?}"));
    assert_eq!(error.cause, cause, "{path}: {error}");
    assert!(error.about.starts_with(&format!("DigitalOcean: GET {path}")), "{error}");
    assert!(error.to_string().contains(why), "{path}: {error}");
    for (_, other) in resources().iter().filter(|(_, other)| *other != name) {
        assert_eq!(error_of(&heard, other), None, "{path} broke {other}");
    }
    assert!(!matches!(heard.source("10.116.0.0"), Outcome::Failed(_)));
    // And mends by itself.
    mend(site);
    let heard = site.bench.polled().await;
    assert_eq!(error_of(&heard, name), None);
}

/// The same for every kind of thing.
async fn each(site: &mut Site, fault: Reply, cause: Cause, why: &str) {
    for resource in resources() {
        one(site, resource, fault.clone(), cause, why).await;
    }
}

#[tokio::test]
async fn a_server_error() {
    let site = &mut singly(Duration::from_secs(20)).await;
    each(site, Reply::error(500, "server_error"), Cause::Server, "answered 500").await;
    each(site, Reply::error(403, "forbidden"), Cause::Permission, "answered 403").await;
    each(site, Reply::error(422, "unprocessable_entity"), Cause::Invalid, "answered 422").await;
    let nothing = Reply::Text(204, Vec::new(), String::new());
    each(site, nothing, Cause::Invalid, "answered 204, not 200").await;
}

#[tokio::test]
async fn no_whole_answer() {
    let site = &mut singly(Duration::from_secs(20)).await;
    each(site, Reply::Reset, Cause::Connect, "broke").await;
    each(site, Reply::Endless, Cause::TooLarge, "more than").await;
}

#[tokio::test]
async fn no_answer() {
    let mut sites = Vec::new();
    for _ in resources() {
        sites.push(singly(Duration::from_secs(2)).await);
    }
    let hang = |(site, resource)| async move {
        let mut site: Site = site;
        one(&mut site, resource, Reply::Hang, Cause::Timeout, "no whole answer").await;
    };
    join_all(sites.into_iter().zip(resources()).map(hang)).await;
}

#[tokio::test]
async fn not_the_documented_answer() {
    let site = &mut singly(Duration::from_secs(20)).await;
    for (body, why) in [
        ("<html>Sign in</html>", "HTML instead of JSON"),
        (r#"{"rules": [{"type":"#, "ends too early"),
        ("{}", ""),
        ("null", ""),
        (r#"{"id": "x", "message": "y"}"#, ""),
    ] {
        let fault = Reply::Text(200, Vec::new(), body.to_owned());
        each(site, fault, Cause::Invalid, why).await;
    }
    let html = Reply::Text(404, Vec::new(), "<html>nginx</html>".to_owned());
    each(site, html, Cause::NotFound, "not in DigitalOcean's words").await;
}

#[tokio::test]
async fn a_redirect() {
    let away = Reply::Text(302, vec!["location: http://127.0.0.1:1/".to_owned()], String::new());
    let site = &mut singly(Duration::from_secs(20)).await;
    each(site, away, Cause::Redirect, "redirected to 127.0.0.1").await;
}

#[tokio::test]
async fn a_wrong_type_names_the_field() {
    let wrong = [
        ("/droplet/networks/v4/0/ip_address", json!(5)),
        ("/droplets/0/networks/v4/0/ip_address", json!(5)),
        ("/kubernetes_cluster/node_pools/0/nodes/0/droplet_id", json!(3)),
        ("/rules/0/value", json!(["web"])),
    ];
    let mut site = singly(Duration::from_secs(10)).await;
    let fleet = Fleet::small();
    site.server.set(move |asked| {
        let Reply::Text(200, _, body) = fleet.answer_of_many(asked) else {
            return Reply::not_found();
        };
        let mut body: Value = serde_json::from_str(&body).unwrap();
        // The first page of all of them decides that each is asked for alone.
        let is_first = asked.target.starts_with("/v2/droplets?page=1");
        for (pointer, value) in wrong.iter().filter(|_| !is_first) {
            if let Some(field) = body.pointer_mut(pointer) {
                *field = value.clone();
            }
        }
        Reply::json(&body)
    });
    let heard = site.bench.polled().await;
    for (name, path, field) in [
        ("1", "/v2/droplets/1", "droplet.networks.v4[0].ip_address"),
        ("web", "/v2/droplets?tag_name=web", "droplets[0].networks.v4[0].ip_address"),
        (CLUSTER, "/v2/kubernetes", "kubernetes_cluster.node_pools[0].nodes[0].droplet_id"),
        (LIST, "/v2/databases", "rules[0].value"),
    ] {
        let error = error_of(&heard, name).unwrap();
        assert_eq!(error.cause, Cause::Invalid);
        let starts = format!("DigitalOcean: GET {path}");
        assert!(error.about.starts_with(&starts) && error.to_string().contains(field), "{error}");
    }
}

#[tokio::test]
async fn gone_is_not_failed() {
    let mut site = singly(Duration::from_secs(10)).await;
    site.server.set(|asked| match asked.query("page") {
        Some(_) => Fleet::default().answer_of_many(asked),
        None => Reply::not_found(),
    });
    let heard = site.bench.polled().await;
    assert!(matches!(heard.list(LIST), ListOutcome::Gone(_)));
    for value in ["1", CLUSTER, APP, VPC] {
        let Outcome::Gone(message) = heard.source(value) else { panic!("{heard:?}") };
        assert!(message.contains(value), "{message}");
    }
    assert_eq!(lines(heard.source("web").clone()), [""; 0]);
}

#[tokio::test]
async fn another_resource_than_asked_for() {
    let mut fleet = Fleet::small();
    let another = || "another".to_owned();
    (fleet.clusters[0].id, fleet.apps[0].id, fleet.vpcs[0].id) = (another(), another(), another());
    let mut site = singly(Duration::from_secs(10)).await;
    site.server.set(move |asked| match asked.path() {
        "/v2/droplets/1" => Reply::json(&OneDroplet { droplet: fleet.droplets[1].clone() }),
        path if path.contains("clusters/") => {
            Reply::json(&OneCluster { kubernetes_cluster: fleet.clusters[0].clone() })
        }
        path if path.contains("apps/") => Reply::json(&OneApp { app: fleet.apps[0].clone() }),
        path if path.contains("vpcs/") => Reply::json(&OneVpc { vpc: fleet.vpcs[0].clone() }),
        _ => fleet.answer_of_many(asked),
    });
    let heard = site.bench.polled().await;
    for (value, noun) in
        [("1", "droplet"), (CLUSTER, "Kubernetes cluster"), (APP, "app"), (VPC, "VPC network")]
    {
        let error = error_of(&heard, value).unwrap();
        assert!(error.reason.ends_with(&format!("answered with another {noun}")), "{error}");
    }
}

#[tokio::test]
async fn gpu_droplets_that_cannot_be_listed_stay() {
    let mut site = Site::start(Fleet::small(), everything()).await;
    site.bench.round().await;
    let fleet = Fleet::small();
    site.server.set(move |asked| match asked.query("type") {
        Some(_) => Reply::error(500, "server_error"),
        None => fleet.answer(asked),
    });
    let heard = site.bench.polled().await;
    let web = heard.source("web").clone();
    assert_eq!(lines(web.clone()), ["droplet 1: 10.0.0.1/32", "droplet 2: 10.0.0.2/32"]);
    let rest = answer(web).unanswered.expect("the GPU droplets could not be listed");
    assert_eq!(rest.parts, "GPU droplet");
    assert!(rest.error.about.starts_with("DigitalOcean: GET /v2/droplets?type=gpus"));
}

#[tokio::test]
async fn everything_hangs_and_the_round_ends() {
    let many: Vec<String> = (1..=100).map(|id| format!("droplet:{id}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let timeout = Duration::from_millis(300);
    let mut site = Site::with(Fleet::default(), super::fleet::demand(&many), |config| {
        config.http.timeout = timeout;
    })
    .await;
    site.bench.round().await;
    site.server.set(|_| Reply::Hang);
    let begun = Instant::now();
    let heard = site.bench.polled().await;
    assert!(begun.elapsed() < timeout * 4, "{:?}", begun.elapsed());
    assert_eq!(heard.sources.len(), 100);
    for name in heard.sources.keys() {
        assert_eq!(error_of(&heard, name).unwrap().cause, Cause::Timeout);
    }
    // Nobody is there.
    let begun = Instant::now();
    let url = site.server.url.clone();
    drop(site.server);
    let heard = site.bench.polled().await;
    assert!(begun.elapsed() < timeout * 4, "{url}: {:?}", begun.elapsed());
    assert_eq!(heard.sources.len(), 100);
    for name in heard.sources.keys() {
        assert!(error_of(&heard, name).is_some());
    }
}
