//! Streams of lists to hosts.

use std::{
    fs,
    time::{Duration, Instant},
};

use dbfw_wire::agent::{Frame, Have, Hello, REPORT, WATCH};
use nix::sys::signal::Signal;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::{
    agent::{Agent, join_token},
    support::{Client, PATIENCE, Server},
};

fn rule(value: &str) -> Value {
    json!({"type": "ip_addr", "value": value})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_gets_its_lists_and_every_change_and_nothing_that_it_has() {
    let server = Server::with("wait = \"0s\"");
    let id: Uuid = server.database("orders").parse().unwrap();
    server.database("secret");
    let mut editor = server.connect(&server.admin()).await;
    editor.append("orders", "ip_addr", "192.0.2.1").await.expect(204);
    let mut agent = Agent::join(&server, "db-1", &["orders"]).await;
    agent.wants(&["orders", "secret", "no such", "ORDERS"]);

    let (mut stream, frames) = agent.sync().await;
    let [Frame::Welcome { server: name, epoch: 1, beat_seconds: 15, trust, .. }, rest @ ..] =
        &frames[..]
    else {
        panic!("{frames:?}")
    };
    assert_eq!(name, "dbfw");
    assert_eq!(*trust, [fs::read_to_string(server.ca()).unwrap()]);
    // Another's list is as one that there is not.
    let mut gone: Vec<&str> = rest
        .iter()
        .filter_map(|frame| match frame {
            Frame::Gone { name, reason } => {
                assert_eq!(*reason, format!("the server has no database {name:?} for this host"));
                Some(name.as_str())
            }
            _ => None,
        })
        .collect();
    gone.sort_unstable();
    assert_eq!(gone, ["ORDERS", "no such", "secret"]);
    let bundle = rest.iter().find_map(|frame| match frame {
        Frame::Bundle(bundle) => Some(bundle),
        _ => None,
    });
    let bundle = bundle.unwrap();
    assert_eq!((bundle.database, bundle.name.as_str()), (id, "orders"));
    assert_eq!(bundle.by.as_deref(), Some("admin"));
    assert_eq!(agent.sources("orders"), ["ip_addr:192.0.2.1"]);

    // One more is a change, and not the list again.
    let many: Vec<Value> = (1..=40).map(|n| rule(&format!("192.0.2.{n}"))).collect();
    editor.put("orders", &many).await.expect(204);
    agent.next(&mut stream).await.unwrap();
    editor.append("orders", "ip_addr", "198.51.100.1").await.expect(204);
    let Some(Frame::Delta(delta)) = agent.next(&mut stream).await else { panic!() };
    assert_eq!(delta.put.len(), 1);
    assert_eq!(agent.sources("orders")[0], "ip_addr:198.51.100.1");
    drop(stream);

    // Who comes back with it is sent nothing.
    let (stream, frames) = agent.sync().await;
    let is_list = |frame: &&Frame| matches!(frame, Frame::Bundle(_) | Frame::Delta(_));
    assert_eq!(frames.iter().filter(is_list).count(), 0, "{frames:?}");
    drop(stream);
    // And who was away for one edit, that edit.
    editor.append("orders", "ip_addr", "198.51.100.2").await.expect(204);
    // It is sent some milliseconds after the answer, which did not wait for anybody.
    let mut lists = Vec::new();
    let patience = Instant::now();
    while lists.is_empty() && patience.elapsed() < PATIENCE {
        let (_stream, frames) = agent.sync().await;
        lists.extend(frames.into_iter().filter(|frame| is_list(&frame)));
    }
    assert!(matches!(lists[..], [Frame::Delta(_)]), "{lists:?}");
    // Who says that it has something else gets the list.
    agent.lists.get_mut("orders").unwrap().revision += 1;
    let (_stream, frames) = agent.sync().await;
    let lists: Vec<&Frame> = frames.iter().filter(is_list).collect();
    assert!(matches!(lists[..], [Frame::Bundle(_)]), "{lists:?}");
    assert_eq!(agent.sources("orders").len(), 42);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_lives_without_edits_and_ends_with_a_farewell() {
    let mut server = Server::start();
    server.database("orders");
    let mut agent = Agent::join(&server, "db-1", &["orders"]).await;
    let (mut stream, _) = agent.sync().await;
    let start = Instant::now();
    for beat in 1..=3_u32 {
        assert_eq!(agent.next(&mut stream).await, Some(Frame::Beat {}));
        let (elapsed, expected) = (start.elapsed(), Duration::from_secs(15) * beat);
        assert!(elapsed + Duration::from_secs(1) > expected, "{elapsed:?}");
    }
    let farewell = tokio::spawn(async move {
        let frame = agent.next(&mut stream).await;
        assert!(matches!(frame, Some(Frame::Goodbye { after_ms: 1000.. })), "{frame:?}");
        assert_eq!(agent.next(&mut stream).await, None);
    });
    assert_eq!(server.stop(Signal::SIGTERM), Some(0));
    farewell.await.unwrap();
    assert!(!server.log().contains("were not answered"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_removed_is_cut_off_at_once() {
    let server = Server::start();
    server.database("orders");
    let mut agent = Agent::join(&server, "db-1", &["orders"]).await;
    let (mut stream, _) = agent.sync().await;
    server.done(&["hosts", "rm", "db-1"]);
    stream.end(Duration::from_secs(5)).await;
    assert_eq!(agent.try_open().await.err(), Some(401));
    agent.send(&dbfw_wire::agent::Report::default()).await.error(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_may_name_a_list_by_its_id() {
    let server = Server::with("wait = \"0s\"");
    let id = server.database("orders");
    let mut agent = Agent::join(&server, "db-1", &["orders"]).await;
    agent.wants(&[&id]);
    let (mut stream, frames) = agent.sync().await;
    assert!(frames.iter().any(|frame| matches!(frame, Frame::Bundle(_))));
    let mut editor = server.connect(&server.admin()).await;
    editor.append(&id, "tag", "a").await.expect(204);
    agent.next(&mut stream).await.unwrap();
    assert_eq!(agent.sources("orders"), ["tag:a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_more_streams_than_the_configuration_allows() {
    let server = Server::with("max_agents = 1");
    server.database("orders");
    let mut first = Agent::join(&server, "db-1", &["orders"]).await;
    let second = Agent::join(&server, "db-2", &["orders"]).await;
    let (stream, _) = first.sync().await;
    let mut client = Client::tls(server.address(), &server.ca()).await;
    client.token = Some(second.token.clone());
    let hello = serde_json::to_value(second.hello()).unwrap();
    let reply = client.document("POST", WATCH, &hello).await;
    assert_eq!(reply.header("retry-after"), Some("30"));
    assert!(reply.error(503).contains("max_agents"));
    // The same host again takes its own place.
    let mut old = stream;
    let (_stream, _) = first.sync().await;
    old.end(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_with_one_token_are_told_of() {
    let mut server = Server::start();
    server.database("orders");
    let mut agent = Agent::join(&server, "db-1", &["orders"]).await;
    let (mut stream, _) = agent.sync().await;
    assert!(!server.log().contains("two agents use the token"));
    agent.boot = Uuid::new_v4();
    let (_second, _) = agent.sync().await;
    server.wait("two agents use the token of one host");
    // Neither is cut off: nobody knows which one is the host.
    let mut editor = server.connect(&server.admin()).await;
    editor.append("orders", "tag", "a").await.expect(204);
    agent.next(&mut stream).await.unwrap();
}

/// Resident memory of the server, in kB.
fn memory(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_costs_nobody_anything_and_gets_the_newest() {
    let server = Server::with("wait = \"0s\"");
    server.database("orders");
    let mut slow = Agent::join(&server, "db-1", &["orders"]).await;
    let mut fast = Agent::join(&server, "db-2", &["orders"]).await;
    let mut editor = server.connect(&server.admin()).await;
    // Every edit changes all of a list of 100 kB.
    let edit = |round: u32| -> Vec<Value> {
        (0..500).map(|n| json!({"type": "ip_addr", "value": format!("10.{}.{}.{}", n % 250, n / 250, round % 250),
                                "description": "x".repeat(100)})).collect()
    };
    editor.put("orders", &edit(0)).await.expect(204);
    let (mut stuck, _) = slow.sync().await;
    let (mut stream, _) = fast.sync().await;
    let mut before = 0;
    let is_at = |agent: &Agent, round: u32| {
        let first = agent.lists["orders"].sources.first();
        first.is_some_and(|source| source.value == format!("10.0.0.{}", round % 250))
    };
    for round in 1..=300 {
        editor.put("orders", &edit(round)).await.expect(204);
        let sent = Instant::now();
        while !is_at(&fast, round) {
            let frame = fast.next(&mut stream).await;
            assert!(matches!(frame, Some(Frame::Bundle(_) | Frame::Delta(_))), "round {round}");
        }
        assert!(sent.elapsed() < Duration::from_secs(5));
        // The last commits are kept in memory, up to 16 MiB, and are complete by then.
        if round == 100 {
            before = memory(&server);
        }
    }
    let grown = memory(&server).saturating_sub(before);
    // 200 lists of 100 kB would be 20 MB.
    assert!(grown < 8 << 10, "{grown} kB");
    // It was away for too long, or is given the newest after a few that were on their way.
    let newest = fast.lists["orders"].revision;
    let mut frames = 0;
    let caught_up = timeout(PATIENCE, async {
        while slow.lists["orders"].revision < newest {
            if slow.next(&mut stuck).await.is_none() {
                (stuck, _) = slow.sync().await;
            }
            frames += 1;
        }
    });
    caught_up.await.expect("it catches up");
    assert!(frames < 250, "{frames} frames of 300 edits");
    assert!(slow.lists["orders"] == fast.lists["orders"], "they have the same list");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_cut_anywhere_lead_to_the_same_list() {
    let mut server = Server::with("wait = \"0s\"");
    let names = ["a", "b"];
    for name in names {
        server.database(name);
    }
    let mut rng = SmallRng::seed_from_u64(13);
    let mut agents = Vec::new();
    for n in 0..4 {
        agents.push(Agent::join(&server, &format!("db-{n}"), &names).await);
    }
    for phase in 0..4 {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut tasks = Vec::new();
        for (n, mut agent) in agents.drain(..).enumerate() {
            let mut stopped = stopped.clone();
            tasks.push(tokio::spawn(async move {
                let mut rng = SmallRng::seed_from_u64(phase * 100 + n as u64);
                while !*stopped.borrow() {
                    let Ok(mut stream) = agent.try_open().await else {
                        sleep(Duration::from_millis(10)).await;
                        continue;
                    };
                    stream.left = rng.random_range(1..6000);
                    loop {
                        tokio::select! {
                            frame = agent.next(&mut stream) => if frame.is_none() { break },
                            _ = stopped.changed() => break,
                        }
                        if rng.random_ratio(1, 20) {
                            sleep(Duration::from_millis(rng.random_range(0..30))).await;
                        }
                    }
                }
                agent
            }));
        }
        let mut editor = server.connect(&server.admin()).await;
        for _ in 0..250 {
            let name = names.choose(&mut rng).unwrap();
            let mut rules: Vec<Value> = (0..30).map(|n| rule(&format!("10.0.{n}.0/24"))).collect();
            rules.retain(|_| rng.random_ratio(1, 2));
            if rng.random_ratio(1, 4) {
                rules.reverse();
            }
            editor.put(name, &rules).await.expect(204);
        }
        stop.send_replace(true);
        for task in tasks {
            agents.push(task.await.unwrap());
        }
        // Killed, as a power cut would.
        server.stop(Signal::SIGKILL);
        server.spawn(&[]);
        for agent in &mut agents {
            agent.moved(&server);
        }
    }
    for agent in &mut agents {
        agent.sync().await;
    }
    // No revision has two contents.
    let mut seen = std::collections::HashMap::new();
    for (database, revision, digest) in agents.iter().flat_map(|agent| agent.seen.iter().copied()) {
        assert_eq!(*seen.entry((database, revision)).or_insert(digest), digest);
    }
    assert!(seen.len() > 200, "{}", seen.len());
    for name in names {
        let stored = server.sources(name).await;
        for agent in &agents {
            assert_eq!(agent.sources(name), stored);
            assert_eq!(agent.lists[name].digest, agents[0].lists[name].digest);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hosts_send_is_answered_in_one_form_whatever_it_is() {
    let server = Server::start();
    let id = server.database("orders");
    let agent = Agent::join(&server, "db-1", &["orders"]).await;
    let mut client = Client::tls(server.address(), &server.ca()).await;
    client.token = Some(agent.token.clone());
    // Other tokens are none of a host.
    for token in [server.admin(), join_token(&server, &["orders"], 1), String::new()] {
        let mut client = server.connect(&token).await;
        for path in [WATCH, REPORT] {
            client.document("POST", path, &json!({})).await.error(401);
        }
        client.get("/agent/v1/sets/0").await.error(401);
    }
    let host = agent.id.to_string();
    let hello = serde_json::to_value(agent.hello()).unwrap();
    let with = |field: &str, value: Value| {
        let mut hello = hello.clone();
        hello[field] = value;
        hello
    };
    let many: Vec<Value> = (0..257)
        .map(|n| {
            let mut one = hello["databases"][0].clone();
            one["database"] = json!(n.to_string());
            one
        })
        .collect();
    for (body, wanted) in [
        (with("protocol", json!(2)), "protocol: 2 is not spoken"),
        (with("host", json!(Uuid::nil())), "host: is another"),
        (with("databases", json!(many)), "databases: there are 257"),
        (with("databases", json!(1)), "databases"),
        (json!([]), "missing"),
    ] {
        let message = client.document("POST", WATCH, &body).await.error(422);
        assert!(message.to_lowercase().contains(wanted) || wanted == "missing", "{message}");
    }
    for (body, status) in [
        (json!({"host": host, "boot": host, "more": 1}), 204),
        (json!({"host": Uuid::nil(), "boot": host}), 422),
        (json!({"host": host}), 422),
        (json!({"host": host, "boot": host, "applied": [{"database": id, "epoch": 1}]}), 422),
        (
            json!({"host": host, "boot": host, "applied": [{"database": Uuid::new_v4(), "epoch": 1,
            "revision": u64::MAX, "state": "observing", "prefixes": 0}]}),
            204,
        ),
        (
            json!({"host": host, "boot": host, "protection": "\u{202e}", "problems": vec![
            json!({"subject": "x".repeat(10_000), "text": "\u{0}"}); 80]}),
            204,
        ),
        (
            json!({"host": host, "boot": host, "audit": {"at": "2026-01-01T00:00:00Z",
            "level": "x".repeat(10_000), "findings": vec![
            json!({"check": "\u{202e}", "severity": "x".repeat(1000), "more": 1}); 400]}}),
            204,
        ),
        (json!({"host": host, "boot": host, "audit": {"at": 1}}), 422),
    ] {
        let reply = client.document("POST", REPORT, &body).await;
        assert_eq!(reply.status, status, "{body}");
    }
    client.send("POST", REPORT, &[], "x".repeat((1 << 20) + 1)).await.error(413);
    for set in ["0", "..", &"0".repeat(64), "%00"] {
        client.get(&format!("/agent/v1/sets/{set}")).await.error(404);
    }
    // Mutated reports.
    let report = json!({
        "host": host, "boot": host, "protection": "yes",
        "problems": [{"subject": "eth0", "text": "x"}],
        "applied": [{"database": id, "epoch": 1, "revision": 9, "state": "refused", "guard": "within",
                     "plan": "1a2b", "message": "m", "left_out": [], "left_out_total": 3}],
        "refused": [{"database": id, "address": "192.0.2.1", "ports": ["tcp/5432"], "packets": 7,
                     "first_seen": "2026-01-01T00:00:00Z", "last_seen": "2026-01-01T00:00:00Z"}],
        "hits": [{"database": id, "source": host, "packets": 1, "last_hit": null}],
        "audit": {"at": "2026-01-01T00:00:00Z", "level": "wire", "more": false, "findings": [
            {"database": id, "check": "X-5", "severity": "high", "subject": "s"},
            {"check": "E-1", "severity": "high"},
        ]},
    })
    .to_string()
    .into_bytes();
    let mut rng = SmallRng::seed_from_u64(13);
    for _ in 0..3000 {
        let mut body = report.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..body.len());
            match rng.random_range(0..3) {
                0 => body[at] = rng.random(),
                1 => drop(body.drain(at..(at + 5).min(body.len()))),
                _ => drop(body.splice(at..at, *b"-1e9")),
            }
        }
        let reply = client.send("POST", REPORT, &[], body).await;
        match reply.status {
            204 => {}
            status @ (400 | 422) => drop(reply.error(status)),
            status => panic!("{status}"),
        }
    }
    let have =
        Have { epoch: u64::MAX, revision: u64::MAX, digest: dbfw_wire::agent::Digest::of(b"") };
    let mut odd: Hello = agent.hello();
    odd.databases[0].have = Some(have);
    odd.databases[0].mode = "\u{202e}".repeat(1000);
    let odd = serde_json::to_value(&odd).unwrap();
    let reply = timeout(Duration::from_millis(500), client.document("POST", WATCH, &odd));
    // It is a stream, which does not end.
    assert!(reply.await.is_err());
    assert!(!server.log().contains("panicked"));
}
