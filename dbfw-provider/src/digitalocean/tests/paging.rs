use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dbfw_core::answers::{Cause, Outcome};
use serde_json::{Value, json};

use super::{
    fleet::{Fleet, Site, demand, droplet, droplet_page},
    lines,
    server::{Asked, Reply},
};

/// 450 droplets, all of them web: three pages.
fn large() -> Fleet {
    Fleet { droplets: (1..=450).map(|id| droplet(id, &["web"])).collect(), ..Fleet::default() }
}

/// A site that wants the tag, in which nothing has it yet.
async fn site() -> Site {
    let mut site = Site::start(Fleet::default(), demand(&["tag:web"])).await;
    site.bench.round().await;
    site
}

/// What becomes of the tag when the list of its droplets is answered like this, and how many
/// pages that took.
async fn with(
    site: &mut Site,
    answer: impl Fn(&Asked, Reply) -> Reply + Send + Sync + 'static,
) -> (Outcome, usize) {
    let fleet = large();
    site.server.take();
    site.server.set(move |asked| match asked.query("tag_name") {
        Some(_) => answer(asked, fleet.answer(asked)),
        None => fleet.answer_of_many(asked),
    });
    let heard = site.bench.polled().await;
    let pages = site.server.take().iter().filter(|asked| asked.query("tag_name").is_some()).count();
    (heard.source("web").clone(), pages)
}

/// The same for an answer whose JSON is changed.
async fn with_json(
    site: &mut Site,
    change: impl Fn(u64, &mut Value) + Send + Sync + 'static,
) -> (Outcome, usize) {
    with(site, move |asked, reply| {
        let Reply::Text(_, _, body) = reply else { panic!("{reply:?}") };
        let mut body = serde_json::from_str(&body).unwrap();
        change(asked.query("page").unwrap().parse().unwrap(), &mut body);
        Reply::json(&body)
    })
    .await
}

fn refused(outcome: &Outcome, why: &str) {
    let Outcome::Failed(error) = outcome else { panic!("{why}: {outcome:?}") };
    assert_eq!(error.cause, Cause::Invalid, "{error}");
    assert!(error.to_string().contains(why), "{error}");
    assert!(error.about.starts_with("DigitalOcean: GET /v2/droplets?tag_name=web"), "{error}");
}

#[tokio::test]
async fn every_page_counts() {
    let site = &mut site().await;
    let (outcome, pages) = with(site, |_, reply| reply).await;
    assert_eq!((lines(outcome).len(), pages), (450, 3));
}

#[tokio::test]
async fn a_missing_page_is_no_shorter_list() {
    let site = &mut site().await;
    let (outcome, _) = with(site, |asked, reply| match asked.query("page").as_deref() {
        Some("2") => Reply::not_found(),
        _ => reply,
    })
    .await;
    refused(&outcome, "answered 404 for a page of a list");
    let (outcome, _) = with(site, |asked, reply| match asked.query("page").as_deref() {
        Some("3") => Reply::error(500, "server_error"),
        _ => reply,
    })
    .await;
    let Outcome::Failed(error) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.cause, Cause::Server);
    assert!(error.to_string().contains("page=3"), "{error}");
    let (outcome, _) = with_json(site, |page, body| {
        if page == 2 {
            *body = json!({"links": {}, "meta": {"total": 450}});
        }
    })
    .await;
    refused(&outcome, "page 2 has no list");
    let (outcome, _) = with_json(site, |page, body| {
        if page == 3 {
            body["droplets"].as_array_mut().unwrap().pop();
        }
    })
    .await;
    refused(&outcome, "its pages have 449 of 450");
    let (outcome, pages) = with_json(site, |_, body| {
        body["droplets"].as_array_mut().unwrap().pop();
    })
    .await;
    refused(&outcome, "page 1 has 199 of 450");
    assert_eq!(pages, 1);
}

#[tokio::test]
async fn the_same_droplet_twice_is_refused() {
    let site = &mut site().await;
    let (outcome, _) = with_json(site, |page, body| {
        if page == 2 {
            body["droplets"][0]["id"] = json!(1);
        }
    })
    .await;
    refused(&outcome, "lists droplet 1 twice");
}

#[tokio::test]
async fn an_endless_list_ends() {
    let site = &mut site().await;
    // How long it is, only the count tells.
    let (outcome, pages) = with_json(site, |_, body| {
        body["meta"] = Value::Null;
        body["links"] = json!({"pages": {"next": "/v2/droplets?page=2"}});
    })
    .await;
    refused(&outcome, "page 1 is not the last, and does not count all (meta.total)");
    assert_eq!(pages, 1);
    let (outcome, pages) = with_json(site, |_, body| {
        body["links"] = json!({"pages": {"next": "/v2/droplets?page=4"}});
    })
    .await;
    refused(&outcome, "page 3 is not the last, as the count says");
    assert_eq!(pages, 3);
    let (outcome, pages) =
        with_json(site, |_, body| body["meta"]["total"] = json!(1_000_000)).await;
    refused(&outcome, "has more than 500 pages");
    assert_eq!(pages, 1);
}

#[tokio::test]
async fn links_elsewhere_are_not_followed() {
    let site = &mut site().await;
    let (outcome, pages) = with_json(site, |_, body| {
        let next = "http://127.0.0.1:1/v2/droplets?page=2";
        body["links"] = json!({"pages": {"next": next}});
    })
    .await;
    refused(&outcome, "page 3 is not the last, as the count says");
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn a_list_that_moves_is_read_once_more() {
    let site = &mut site().await;
    // A droplet is made while the first attempt is read.
    let asked = AtomicU64::new(0);
    let (outcome, pages) = with_json(site, move |page, body| {
        if page == 3 && asked.fetch_add(1, Relaxed) == 0 {
            body["meta"]["total"] = json!(451);
        }
    })
    .await;
    assert_eq!((lines(outcome).len(), pages), (450, 6));
    // It never stands still.
    let (outcome, pages) =
        with_json(site, |page, body| body["meta"]["total"] = json!(448 + page)).await;
    refused(&outcome, "the list changed meanwhile");
    assert_eq!(pages, 6);
}

#[tokio::test]
async fn a_server_that_ignores_the_tag_admits_nobody() {
    let site = &mut site().await;
    let all: Vec<_> = (1..=3).map(|id| droplet(id, &["other"])).collect();
    let (outcome, _) = with(site, move |asked, _| droplet_page(asked, &all)).await;
    refused(&outcome, "lists droplet 1, which does not have the tag \"web\"");
}
