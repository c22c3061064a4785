//! Answers to changes: what they say is enforced, hosts said before.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use dbfw_wire::agent::{AppliedState, Hits, HostProblem, Refused, Report};
use jiff::Timestamp;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};
use uuid::Uuid;

use crate::{
    agent::{Agent, Streamed},
    support::{Client, Reply, Server},
};

/// Sources that agents are about to report, by the agent's number.
type Told = Arc<Mutex<HashSet<(usize, String)>>>;

/// Follows a list, and reports each change after a random time.
fn enforce(mut agent: Agent, mut stream: Streamed, number: usize, told: Told) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut rng = SmallRng::seed_from_u64(number as u64);
        loop {
            sleep(Duration::from_millis(rng.random_range(0..30))).await;
            let sources = agent.sources("orders").into_iter().map(|source| (number, source));
            told.lock().unwrap().extend(sources);
            agent.report().await;
            if agent.next(&mut stream).await.is_none() {
                return;
            }
        }
    })
}

fn state(reply: &Reply) -> (&str, Option<&str>) {
    (reply.header("x-dbfw-state").expect("a state"), reply.header("x-dbfw-hosts"))
}

async fn status(client: &mut Client, database: &str, query: &str) -> Value {
    client.get(&format!("/api/v1/databases/{database}/status{query}")).await.expect(200).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn active_is_never_said_before_the_last_host_has_said_it() {
    let server = Server::with("wait = \"20s\"");
    server.database("orders");
    let told = Told::default();
    let mut tasks = Vec::new();
    for number in 0..3 {
        let mut agent = Agent::join(&server, &format!("db-{number}"), &["orders"]).await;
        let (stream, _) = agent.sync().await;
        tasks.push(enforce(agent, stream, number, Arc::clone(&told)));
    }
    let mut editors = Vec::new();
    for editor in 0..2 {
        let (mut client, told) = (server.connect(&server.admin()).await, Arc::clone(&told));
        editors.push(tokio::spawn(async move {
            for round in 0..150 {
                let value = format!("10.{editor}.{round}.0/24");
                let reply = match round % 2 {
                    0 => client.append("orders", "ip_addr", &value).await.expect(204),
                    _ => {
                        let source = json!({"type": "ip_addr", "value": value});
                        let path = "/api/v1/databases/orders/sources";
                        client.document("POST", path, &source).await.expect(201)
                    }
                };
                let told = told.lock().unwrap();
                assert_eq!(state(&reply), ("active", None));
                for number in 0..3 {
                    let known = told.contains(&(number, format!("ip_addr:{value}")));
                    assert!(known, "db-{number} had not said that it has {value}");
                }
            }
        }));
    }
    for editor in editors {
        editor.await.unwrap();
    }
    let mut client = server.connect(&server.admin()).await;
    let status = status(&mut client, "orders", "").await;
    assert_eq!(status["state"], "ACTIVE");
    assert_eq!(status["connected"], 3);
    assert!(status["propagation"]["max_ms"].as_u64().unwrap() < 5000, "{status}");
    tasks.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_answer_is_named_after_the_wait() {
    let server = Server::start();
    server.database("orders");
    let mut editor = server.connect(&server.admin()).await;
    // Nobody is connected: there is nobody to wait for.
    let reply = editor.append("orders", "tag", "a").await.expect(204);
    assert_eq!(state(&reply), ("active", None));
    let mut one = Agent::join(&server, "db-1", &["orders"]).await;
    let mut two = Agent::join(&server, "db-2", &["orders"]).await;
    let before = status(&mut editor, "orders", "").await;
    assert_eq!(before["state"], "DEGRADED");
    assert_eq!(before["hosts"][0]["state"], "offline");

    let (mut first, _) = one.sync().await;
    let (second, _) = two.sync().await;
    one.report().await;
    two.report().await;
    assert_eq!(status(&mut editor, "orders", "").await["state"], "ACTIVE");
    let start = Instant::now();
    let reply = editor.append("orders", "tag", "b").await.expect(204);
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(state(&reply), ("pending", Some("db-1, db-2")));
    assert_eq!(status(&mut editor, "orders", "").await["state"], "PENDING");
    one.next(&mut first).await.unwrap();
    one.report().await;
    // A change that changes nothing waits for what is there.
    let same = editor.rules("orders").await;
    let reply = editor.put("orders", &same).await.expect(204);
    assert_eq!(state(&reply), ("pending", Some("db-2")));

    // Whoever breaks off without an answer has not answered.
    let breaking = tokio::spawn(async move {
        sleep(Duration::from_millis(300)).await;
        drop(second);
    });
    let reply = editor.append("orders", "tag", "c").await.expect(204);
    assert_eq!(state(&reply), ("pending", Some("db-1, db-2")));
    breaking.await.unwrap();
    let broken = status(&mut editor, "orders", "").await;
    assert_eq!(broken["state"], "DEGRADED");
    assert_eq!(broken["hosts"][1]["state"], "offline");
    // And a host that was removed is none that is waited for.
    one.next(&mut first).await.unwrap();
    one.report().await;
    server.done(&["hosts", "rm", "db-2"]);
    let active = status(&mut editor, "orders", "?wait=active&timeout=20s").await;
    assert_eq!(active["state"], "ACTIVE");

    // A database may say how long.
    let path = "/api/v1/databases/orders";
    editor.document("PATCH", path, &json!({"wait": "0s"})).await.expect(200);
    let start = Instant::now();
    let reply = editor.append("orders", "tag", "d").await.expect(204);
    assert_eq!(state(&reply), ("pending", Some("db-1")));
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    editor.document("PATCH", path, &json!({"wait": "31s"})).await.error(422);
    editor.document("PATCH", path, &json!({"wait": "soon"})).await.error(422);
    let reset = editor.document("PATCH", path, &json!({"wait": ""})).await.expect(200).json();
    assert!(reset["settings"]["wait"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_refuses_is_answered_and_shown() {
    let server = Server::with("wait = \"20s\"");
    server.database("orders");
    let mut agent = Agent::join(&server, "db-1", &["orders"]).await;
    let (mut stream, _) = agent.sync().await;
    agent.report().await;
    let admin = server.admin();
    let mut editor = server.connect(&admin).await;
    let put = tokio::spawn(async move {
        let reply = editor.append("orders", "ip_addr", "192.0.2.1").await.expect(204);
        (state(&reply).0.to_owned(), state(&reply).1.map(str::to_owned))
    });
    agent.next(&mut stream).await.unwrap();
    let refused = AppliedState::Refused {
        guard: "max_shrink".to_owned(),
        plan: Some("1a2b3c4d".to_owned()),
        message: "too much goes\u{1b}[2J".to_owned(),
    };
    let report = Report {
        host: agent.id,
        boot: agent.boot,
        protection: Some("degraded".to_owned()),
        problems: Some(vec![HostProblem { subject: "eth0".to_owned(), text: "down".to_owned() }]),
        applied: vec![agent.applied("orders", refused)],
        ..Report::default()
    };
    agent.send(&report).await.expect(204);
    assert_eq!(put.await.unwrap(), ("partial".to_owned(), Some("db-1".to_owned())));

    let mut client = server.connect(&admin).await;
    let shown = status(&mut client, "orders", "").await;
    assert_eq!(shown["state"], "DEGRADED");
    let host = &shown["hosts"][0];
    assert_eq!((&host["state"], &host["guard"]), (&json!("refused"), &json!("max_shrink")));
    assert_eq!(host["plan"], "1a2b3c4d");
    assert_eq!(host["message"], "too much goes\u{fffd}[2J");
    let hosts = client.get("/api/v1/hosts").await.expect(200).json();
    let live = &hosts["hosts"][0]["live"];
    assert_eq!(live["connected"], true);
    assert_eq!(live["protection"], "degraded");
    assert_eq!(live["problems"], json!([{"subject": "eth0", "text": "down"}]));
    assert!(server.done(&["hosts", "list"]).contains("connected"));

    // A report of an earlier start of the agent counts no more.
    let mut old = report.clone();
    old.boot = Uuid::new_v4();
    old.protection = Some("yes".to_owned());
    old.applied = vec![agent.applied("orders", AppliedState::Observing { prefixes: 1 })];
    agent.send(&old).await.expect(204);
    assert_eq!(status(&mut client, "orders", "").await["state"], "DEGRADED");
    // Once somebody has confirmed it on the host it is in force.
    agent.report().await;
    let shown = status(&mut client, "orders", "?wait=active").await;
    assert_eq!(shown["state"], "ACTIVE");
    for bad in ["?wait=refused", "?wait=active&timeout=61s", "?timeout=x"] {
        client.get(&format!("/api/v1/databases/orders/status{bad}")).await.error(422);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_and_used_sources_are_those_of_all_hosts() {
    let server = Server::start();
    let id: Uuid = server.database("orders").parse().unwrap();
    server.database("other");
    let mut client = server.connect(&server.admin()).await;
    client.append("orders", "ip_addr", "192.0.2.1").await.expect(204);
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    for (number, packets) in [(1, 10), (2, 5)] {
        let mut agent = Agent::join(&server, &format!("db-{number}"), &["orders"]).await;
        let (_stream, _) = agent.sync().await;
        let source = agent.lists["orders"].sources[0].uuid;
        let refused = |address: &str, packets: u64, port: &str| Refused {
            database: id,
            address: address.parse().unwrap(),
            ports: vec![port.to_owned(), "<script>".to_owned()],
            packets,
            first_seen: at(number),
            last_seen: at(100 * number),
        };
        let mut sources = vec![refused("198.51.100.1", packets, &format!("tcp/543{number}"))];
        if number == 1 {
            sources.push(refused("2001:db8::1", 100, "udp/5432"));
        }
        let hits = |source| Hits { database: id, source, packets, last_hit: Some(at(number)) };
        let report = Report {
            host: agent.id,
            boot: agent.boot,
            refused: sources,
            // One that is not in the list is not kept.
            hits: vec![hits(source), hits(Uuid::new_v4())],
            ..Report::default()
        };
        for _ in 0..2 {
            agent.send(&report).await.expect(204);
        }
    }
    let found = client.get("/api/v1/databases/orders/refused").await.expect(200).json();
    let found = found["refused"].as_array().unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!((&found[0]["address"], &found[0]["hosts"]), (&json!("2001:db8::1"), &json!(1)));
    assert_eq!(
        found[1],
        json!({"address": "198.51.100.1", "hosts": 2, "host_names": ["db-1", "db-2"],
               "ports": ["tcp/5431", "tcp/5432"], "packets": 15,
               "first_seen": at(1), "last_seen": at(200)})
    );
    let listed = client.get("/api/v1/databases/orders/sources").await.expect(200).json();
    assert_eq!(listed["sources"][0]["hits"], 15);
    assert_eq!(listed["sources"][0]["last_hit"], json!(at(2)));
    let other = client.get("/api/v1/databases/other/refused").await.expect(200).json();
    assert_eq!(other["refused"], json!([]));
    let cluster = client.get("/v2/databases/orders").await.expect(200).json();
    assert_eq!(cluster["database"]["num_nodes"], 2);
}
