//! The store through backups, kills and a full disk.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{PATIENCE, Server};

/// The lines of a dump besides the store's own document, its header and its end.
fn entries(dump: &str) -> Vec<&str> {
    let lines: Vec<&str> = dump.lines().collect();
    let inner = &lines[1..lines.len() - 1];
    inner.iter().copied().filter(|line| !line.starts_with("{\"key\":\"meta\"")).collect()
}

fn epoch(dump: &str) -> u64 {
    let line = dump.lines().find(|line| line.starts_with("{\"key\":\"meta\"")).expect("meta");
    let line: Value = serde_json::from_str(line).unwrap();
    line["value"]["epoch"].as_u64().expect("an epoch")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_loads_into_another_server() {
    let mut server = Server::start();
    for name in ["orders", "reports"] {
        server.database(name);
        let mut client = server.connect(&server.admin()).await;
        for n in 0..5 {
            client.append(name, "tag", &format!("t{n}")).await.expect(204);
        }
    }
    // While it runs, and while it does not: the same.
    let online = server.done(&["store", "dump"]);
    server.stop(Signal::SIGTERM);
    let offline = server.done(&["store", "dump"]);
    assert_eq!(entries(&online), entries(&offline));

    let mut other = Server::set_up("");
    let refused = other.run_with(&["store", "load"], online.as_bytes());
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--replace"));
    let cut =
        other.run_with(&["store", "load", "--replace"], &online.as_bytes()[..online.len() - 9]);
    assert_eq!(cut.status.code(), Some(1));
    let loaded = other.run_with(&["store", "load", "--replace"], online.as_bytes());
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    let again = other.done(&["store", "dump"]);
    assert_eq!(entries(&again), entries(&online));
    assert_eq!(epoch(&again), epoch(&online) + 1);

    // The tokens are those of the backup, and the other's first is gone.
    other.spawn(&[]);
    let mut client = other.connect(&server.admin()).await;
    assert_eq!(client.sources("orders").await.len(), 5);
    let mut client = other.connect(&other.admin()).await;
    client.get("/v2/account").await.error(401);
    // A running server holds its store.
    let held = other.run_with(&["store", "load", "--replace"], online.as_bytes());
    assert_eq!(held.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&held.stderr).contains("is open in another process"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_a_kill_in_the_middle() {
    let mut server = Server::start();
    let id = server.database("orders");
    let admin = server.admin();
    let mut expected = BTreeSet::new();
    for round in 0..6 {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for writer in 0..4 {
            let mut client = server.connect(&admin).await;
            let (id, stop) = (id.clone(), stop.clone());
            tasks.push(tokio::spawn(async move {
                let mut answered = Vec::new();
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let value = format!("r{round}w{writer}n{n}");
                    let body = json!({"type": "tag", "value": value}).to_string();
                    let path = format!("/api/v1/databases/{id}/sources");
                    match client.try_send("POST", &path, &[], body).await {
                        Some(reply) if reply.status == 201 => answered.push(value),
                        _ => break,
                    }
                }
                answered
            }));
        }
        tokio::time::sleep(Duration::from_millis(300 + 70 * round)).await;
        assert_eq!(server.stop(Signal::SIGKILL), None);
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            expected.extend(task.await.unwrap().into_iter().map(|value| format!("tag:{value}")));
        }
        server.spawn(&[]);
        let found: BTreeSet<String> = server.sources(&id).await.into_iter().collect();
        let lost: Vec<_> = expected.difference(&found).collect();
        assert_eq!(lost, [""; 0], "round {round}");
        // At most what was on its way and never answered is there besides.
        assert!(found.len() <= expected.len() + 4 * (round as usize + 1));
        expected.extend(found);
    }
    assert!(expected.len() > 20, "it wrote: {}", expected.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_nothing_is_lost() {
    let mut server = Server::set_up("");
    // The limit of a file's size stands for a disk that is full: writes beyond it fail.
    let size = fs::metadata(server.path("state/store.redb")).unwrap().len();
    let blocks = (size + (256 << 10)).div_ceil(1024);
    let script = format!("trap '' XFSZ; ulimit -S -f {blocks}; exec \"$@\"");
    server.spawn(&["bash", "-c", &script, "bash"]);
    let id = server.database("orders");
    let mut client = server.connect(&server.admin()).await;
    let rules = |n: usize| -> Vec<Value> {
        let value = |at: usize| format!("{}{:0>200}", (b'a' + (n % 26) as u8) as char, at);
        (0..400).map(|at| json!({"type": "tag", "value": value(at)})).collect()
    };
    let mut kept = Vec::new();
    let full = Instant::now() + PATIENCE;
    for n in 0.. {
        assert!(Instant::now() < full, "it never was full");
        let began = Instant::now();
        let reply = client.put(&id, &rules(n)).await;
        if reply.status == 204 {
            kept = client.sources(&id).await;
            continue;
        }
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        assert_eq!(reply.header("retry-after"), Some("1"));
        let message = reply.error(503);
        assert!(message.contains("try again"), "{message}");
        break;
    }
    server.wait("the store failed");
    // Reading goes on, and so does writing once there is room.
    assert_eq!(client.sources(&id).await, kept);
    // A backup needs no room in the store, and is whole.
    let dump = server.done(&["store", "dump"]);
    let mut other = Server::set_up("");
    let loaded = other.run_with(&["store", "load", "--replace"], dump.as_bytes());
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    other.spawn(&[]);
    let mut copy = other.connect(&server.admin()).await;
    assert_eq!(copy.sources("orders").await, kept);
    let pid = server.pid().to_string();
    let raised = std::process::Command::new("prlimit")
        .args(["--fsize=unlimited", "--pid", &pid])
        .status()
        .expect("run prlimit");
    assert!(raised.success());
    client.put(&id, &[json!({"type": "tag", "value": "after"})]).await.expect(204);
    server.stop(Signal::SIGKILL);
    server.spawn(&[]);
    assert_eq!(server.sources(&id).await, ["tag:after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_answers_what_it_was_asked() {
    let mut server = Server::start();
    let id = server.database("orders");
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(server.connect(&server.admin()).await);
    }
    let tasks: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(n, mut client)| {
            let path = format!("/api/v1/databases/{id}/sources");
            let body = json!({"type": "tag", "value": format!("t{n}")}).to_string();
            tokio::spawn(async move { client.try_send("POST", &path, &[], body).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(server.stop(Signal::SIGTERM), Some(0), "{}", server.log());
    let mut answered = 0;
    for task in tasks {
        answered += usize::from(task.await.unwrap().is_some_and(|reply| reply.status == 201));
    }
    server.spawn(&[]);
    assert!(server.sources(&id).await.len() >= answered);
}
