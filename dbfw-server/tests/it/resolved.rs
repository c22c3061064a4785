//! Sources that the server resolves: what hosts get of them, and when nothing changes there.

use std::{
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use dbfw_core::answers::SourceState;
use dbfw_wire::agent::{Digest, Frame, SETS, SetState};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    agent::Agent,
    digitalocean::{DigitalOcean, Fault, TAG, address},
    metrics,
    panel::Browser,
    support::{Client, PATIENCE, Server},
    worker::Worker,
};

const MANY: u64 = 5000;

async fn trust_tag(server: &Server, database: &str) {
    let mut editor = server.connect(&server.admin()).await;
    editor.append(database, "tag", TAG).await.expect(204);
}

/// The resolution of the only source of a database, as the API has it.
async fn resolution(server: &Server, database: &str) -> Value {
    let mut client = server.connect(&server.admin()).await;
    let path = format!("/api/v1/databases/{database}/sources");
    client.get(&path).await.expect(200).json()["sources"][0]["resolved"].clone()
}

async fn wait_for(server: &Server, database: &str, what: &str, is_so: impl Fn(&Value) -> bool) {
    let start = Instant::now();
    loop {
        let resolution = resolution(server, database).await;
        if is_so(&resolution) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}: {resolution}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The set that a host's list refers to.
fn set_of(agent: &Agent, database: &str) -> Option<(Digest, usize, SetState)> {
    let set = agent.lists.get(database)?.sources.first()?.set.as_ref()?;
    Some((set.digest, set.count, set.state))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_of_5000_reaches_hosts_as_one_set_and_one_more_as_another() {
    let digitalocean = DigitalOcean::start(MANY).await;
    let mut server = digitalocean.server("");
    server.spawn(&[]);
    server.database("orders");
    let mut agent = Agent::join(&server, "db-1", &["orders"]).await;
    let mut worker = Worker::join(&server, "db-2", "orders").await;
    let (mut stream, _) = agent.sync().await;
    trust_tag(&server, "orders").await;
    let mut sizes = Vec::new();
    while set_of(&agent, "orders").is_none_or(|(_, count, _)| count == 0) {
        let before = agent.received;
        let frame = agent.next(&mut stream).await.unwrap();
        if let Frame::Bundle(list) = &frame {
            assert!(list.sets.is_empty(), "5,000 addresses do not ride along");
        }
        sizes.push(agent.received - before);
    }
    assert!(sizes.iter().all(|size| *size < 2000), "{sizes:?}");
    let (digest, count, state) = set_of(&agent, "orders").unwrap();
    assert_eq!((count, state), (5000, SetState::Ok));

    // By its digest, for who reads the list and nobody else.
    server.database("secret");
    let stranger = Agent::join(&server, "db-3", &["secret"]).await;
    let fetch = async |token: &str, digest: Digest| {
        let mut client = Client::tls(server.address(), &server.ca()).await;
        client.token = Some(token.to_owned());
        client.get(&format!("{SETS}{}", digest.digits())).await
    };
    let set = fetch(&agent.token, digest).await.expect(200);
    assert!(set.header("cache-control").unwrap().contains("immutable"));
    assert_eq!(Digest::of(&set.body), digest);
    let text = String::from_utf8(set.body).unwrap();
    assert_eq!(text.lines().count(), 5000);
    assert!(text.contains(&format!("{}/32\n", address(4711))));
    fetch(&stranger.token, digest).await.error(404);

    // The agent's own worker has them all, by one request.
    worker.wait("5,000 addresses", |worker| worker.prefixes() == 5000).await;
    assert!(worker.resolved().values().all(|resolved| resolved.state == SourceState::Ok));
    let fetched = worker.stats.values().requests;

    // One droplet more is another set, and the one before is there for who is fetching it.
    digitalocean.has(MANY + 1);
    let before = agent.received;
    while set_of(&agent, "orders").is_none_or(|(_, count, _)| count != 5001) {
        agent.next(&mut stream).await.unwrap();
    }
    assert!(agent.received - before < 2000, "{}", agent.received - before);
    let (newer, ..) = set_of(&agent, "orders").unwrap();
    assert_ne!(newer, digest);
    fetch(&agent.token, newer).await.expect(200);
    fetch(&agent.token, digest).await.expect(200);
    worker.wait("one more", |worker| worker.prefixes() == 5001).await;
    let more = worker.stats.values().requests - fetched;
    assert!((1..=3).contains(&more), "{more} requests for one change");
    assert_eq!(resolution(&server, "orders").await["prefixes"], 5001);

    // Nothing new is nothing sent.
    let (rounds, received) = (digitalocean.rounds(), agent.received);
    while digitalocean.rounds() < rounds + 10 {
        sleep(Duration::from_millis(50)).await;
    }
    let (_stream, frames) = agent.sync().await;
    let is_list = |frame: &&Frame| matches!(frame, Frame::Bundle(_) | Frame::Delta(_));
    assert_eq!(frames.iter().filter(is_list).count(), 0, "{frames:?}");
    assert!(agent.received - received < 4000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_digitalocean_gets_wrong_changes_nothing_at_hosts_and_is_told() {
    let digitalocean = DigitalOcean::start(20).await;
    let mut server = digitalocean.server("");
    server.spawn(&[]);
    server.database("orders");
    trust_tag(&server, "orders").await;
    let mut worker = Worker::join(&server, "db-1", "orders").await;
    worker.wait("20 addresses", |worker| worker.prefixes() == 20).await;
    let mut browser = Browser::logged_in(&server, &server.admin()).await;
    for (fault, state, words, cause, badge) in [
        (Fault::Unauthorized, "stale", "token", Some("unauthorized"), "not confirmed"),
        (Fault::Garbage, "stale", "JSON", Some("invalid"), "not confirmed"),
        (Fault::Empty, "gone", "empty", None, ">gone<"),
        (Fault::TooMany, "stale", "429", Some("rate_limited"), "not confirmed"),
    ] {
        digitalocean.fails(Some(fault));
        wait_for(&server, "orders", "a fault to be told", |told| {
            told["state"] == state && told.to_string().contains(words)
        })
        .await;
        worker.listen(Duration::from_millis(500), |worker| assert_eq!(worker.prefixes(), 20)).await;
        assert_eq!(resolution(&server, "orders").await["prefixes"], 20);
        let (_, text) = metrics::get(metrics::address(&server), "/metrics").await;
        let of = |name: &str, more: &str| {
            metrics::value(&text, &format!("dbfw_server_{name}{{provider=\"digitalocean\"{more}}}"))
        };
        assert_eq!(of("sources", "") as u64, 1);
        assert_eq!(of("failing_sources", "") as u64, u64::from(fault != Fault::Empty));
        assert!(of("oldest_answer_timestamp_seconds", "") > 1e9);
        if let Some(cause) = cause {
            let more = format!(",cause=\"{cause}\"");
            assert!(of("provider_failures_total", &more) >= 1.0);
        }
        // The panel has the number, and what is wrong with it.
        let page = browser.page("/databases/orders").await;
        assert!(page.contains("20 addresses") && page.contains(badge), "{page}");
        digitalocean.fails(None);
        wait_for(&server, "orders", "an answer", |told| told["state"] == "ok").await;
    }
    // A token that others may read is not sent at all.
    let token = server.path("do-token");
    let let_read = |mode| std::fs::set_permissions(&token, std::fs::Permissions::from_mode(mode));
    let_read(0o644).unwrap();
    wait_for(&server, "orders", "the refusal", |told| told.to_string().contains("everybody")).await;
    worker.listen(Duration::from_millis(500), |worker| assert_eq!(worker.prefixes(), 20)).await;
    let_read(0o600).unwrap();
    digitalocean.has(21);
    worker.wait("one more", |worker| worker.prefixes() == 21).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_without_digitalocean_keeps_what_it_last_said() {
    let digitalocean = DigitalOcean::start(300).await;
    let mut server = digitalocean.server("");
    server.spawn(&[]);
    server.database("orders");
    trust_tag(&server, "orders").await;
    let mut agent = Agent::join(&server, "db-1", &["orders"]).await;
    let (mut stream, _) = agent.sync().await;
    while set_of(&agent, "orders").is_none_or(|(_, count, _)| count == 0) {
        agent.next(&mut stream).await.unwrap();
    }
    let before = agent.lists["orders"].clone();
    digitalocean.fails(Some(Fault::Unauthorized));
    server.stop(Signal::SIGKILL);
    server.spawn(&[]);
    agent.moved(&server);
    let (_stream, frames) = agent.sync().await;
    let is_list = |frame: &&Frame| matches!(frame, Frame::Bundle(_) | Frame::Delta(_));
    assert_eq!(frames.iter().filter(is_list).count(), 0, "{frames:?}");
    assert_eq!(agent.lists["orders"], before);
    wait_for(&server, "orders", "the failure", |told| told["error"].is_string()).await;
    // A host that comes now gets them too.
    let mut worker = Worker::join(&server, "db-2", "orders").await;
    worker.wait("300 addresses", |worker| worker.prefixes() == 300).await;
    assert_eq!(resolution(&server, "orders").await["prefixes"], 300);

    // A backup has them, and what nobody refers to any more is gone from the store.
    let mut editor = server.connect(&server.admin()).await;
    let dump = server.done(&["store", "dump"]);
    assert_eq!(dump.matches("\"key\":\"resolved/").count(), 1);
    assert_eq!(dump.matches("\"key\":\"sets/").count(), 1);
    editor.put("orders", &[]).await.expect(204);
    let start = Instant::now();
    while server.done(&["store", "dump"]).contains("\"key\":\"sets/") {
        assert!(start.elapsed() < PATIENCE);
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_and_hosts_with_one_tag_ask_once() {
    let digitalocean = DigitalOcean::start(10).await;
    let mut server = digitalocean.server("");
    server.spawn(&[]);
    for name in ["orders", "reports"] {
        server.database(name);
        trust_tag(&server, name).await;
    }
    let mut workers = Vec::new();
    for (name, host) in [("orders", "db-1"), ("reports", "db-2"), ("reports", "db-3")] {
        workers.push(Worker::join(&server, host, name).await);
    }
    for worker in &mut workers {
        worker.wait("10 addresses", |worker| worker.prefixes() == 10).await;
    }
    let (rounds, start) = (digitalocean.rounds(), Instant::now());
    sleep(Duration::from_secs(3)).await;
    let asked = digitalocean.rounds() - rounds;
    // Once in 200 ms, sooner by a tenth.
    let most = usize::try_from(start.elapsed().as_millis() / 180).unwrap() + 1;
    assert!((1..=most).contains(&asked), "{asked} of {most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_loss_is_held_until_somebody_confirms_it() {
    let digitalocean = DigitalOcean::start(40).await;
    let mut server = digitalocean.server("[resolve]\ngone_after = \"1s\"\n");
    server.spawn(&[]);
    server.database("orders");
    trust_tag(&server, "orders").await;
    let mut worker = Worker::join(&server, "db-1", "orders").await;
    worker.wait("40 addresses", |worker| worker.prefixes() == 40).await;
    // Half may go.
    digitalocean.has(20);
    worker.wait("20 addresses", |worker| worker.prefixes() == 20).await;
    digitalocean.fails(Some(Fault::Empty));
    wait_for(&server, "orders", "a held loss", |told| told["held"].is_object()).await;
    worker.listen(Duration::from_millis(500), |worker| assert_eq!(worker.prefixes(), 20)).await;
    let held = resolution(&server, "orders").await["held"].clone();
    assert_eq!((&held["lost"], &held["of"]), (&json!(20), &json!(20)));
    let id = held["id"].as_str().unwrap();
    // A restart does not let it through either.
    server.stop(Signal::SIGKILL);
    server.spawn(&[]);
    wait_for(&server, "orders", "the held loss", |told| told["held"]["id"] == id).await;
    let limited = server.token(&["ci", "--preset", "editor", "--database", "orders"]);
    let mut client = server.connect(&limited).await;
    let path = format!("/api/v1/resolved/{id}/confirm");
    client.document("POST", &path, &json!({})).await.error(403);
    let listed = server.done(&["resolved", "list"]);
    assert!(listed.contains("tag:backend") && listed.contains(id), "{listed}");
    server.done(&["resolved", "confirm", id]);
    let mut worker = Worker::join(&server, "db-2", "orders").await;
    worker.wait("nobody", |worker| !worker.resolved().is_empty() && worker.prefixes() == 0).await;
    let mut client = server.connect(&server.admin()).await;
    client.document("POST", &path, &json!({})).await.error(404);
    let audit = client.get("/api/v1/audit").await.expect(200).json();
    let entries = audit["entries"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["action"] == "loss_confirmed").unwrap();
    assert_eq!(entry["subject"], "tag:backend");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_account_the_hosts_resolve() {
    let server = Server::with("wait = \"0s\"");
    server.database("orders");
    let mut agent = Agent::join(&server, "db-1", &["orders"]).await;
    let (mut stream, _) = agent.sync().await;
    trust_tag(&server, "orders").await;
    agent.next(&mut stream).await.unwrap();
    assert_eq!(agent.sources("orders"), ["tag:backend"]);
    assert_eq!(set_of(&agent, "orders"), None);
    assert_eq!(resolution(&server, "orders").await, Value::Null);
}
