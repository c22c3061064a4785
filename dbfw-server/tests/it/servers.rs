//! Several servers on one etcd.

use std::{
    collections::BTreeSet,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use dbfw_wire::agent::Frame;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::{sync::Barrier, time::sleep};

use crate::{
    agent::Agent,
    etcd::{Etcd, PASSWORD},
    races::versions,
    support::{Client, PATIENCE, Reply, Server},
};

/// The first server of an etcd, set up and running.
fn first(etcd: &Etcd) -> Server {
    Server::with(&etcd.config())
}

async fn post(client: &mut Client, database: &str, value: &str) -> Reply {
    let path = format!("/api/v1/databases/{database}/sources");
    client.document("POST", &path, &json!({"type": "ip_addr", "value": value})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_sources_over_three_servers_are_all_kept_without_a_gap() {
    let etcd = Etcd::start();
    let one = first(&etcd);
    let servers = [one.beside(&etcd.config()), one.beside(&etcd.config()), one];
    let [_, _, one] = &servers;
    let (id, admin) = (one.database("orders"), one.admin());
    let barrier = Arc::new(Barrier::new(100));
    let mut tasks = Vec::new();
    for n in 0..100 {
        let mut client = servers[n % 3].connect(&admin).await;
        let (barrier, id) = (barrier.clone(), id.clone());
        tasks.push(tokio::spawn(async move {
            barrier.wait().await;
            post(&mut client, &id, &format!("10.0.{n}.1")).await.expect(201);
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let expected: BTreeSet<String> = (0..100).map(|n| format!("ip_addr:10.0.{n}.1")).collect();
    for server in &servers {
        let kept: BTreeSet<String> = server.sources(&id).await.into_iter().collect();
        assert_eq!(kept, expected);
        let mut client = server.connect(&admin).await;
        assert_eq!(versions(&mut client, &id).await, Vec::from_iter(1..=100));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_at_one_server_is_at_the_agents_of_another() {
    let etcd = Etcd::start();
    let one = first(&etcd);
    let other = one.beside(&etcd.config());
    let admin = one.admin();
    one.database("orders");
    // It joins at one, and follows the other.
    let mut agent = Agent::join(&one, "db-1", &["orders"]).await;
    agent.moved(&other);
    let patience = Instant::now() + PATIENCE;
    let mut stream = loop {
        let (stream, frames) = agent.sync().await;
        // The other hears of the host some milliseconds later.
        if frames.iter().any(|frame| matches!(frame, Frame::Bundle(_))) {
            break stream;
        }
        assert!(Instant::now() < patience, "{frames:?}\n{}", other.log());
    };
    let mut editor = one.connect(&admin).await;
    for n in 1..=5 {
        editor.append("orders", "ip_addr", &format!("192.0.2.{n}")).await.expect(204);
        while agent.sources("orders").len() < n {
            agent.next(&mut stream).await.expect("the list");
        }
        // What is read at the other is what was written at the one.
        assert_eq!(other.sources("orders").await.len(), n);
    }
    let host = agent.id.to_string();
    one.done(&["hosts", "rm", &host]);
    while agent.next(&mut stream).await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_file_to_etcd_and_back_is_the_same() {
    let etcd = Etcd::start();
    let mut file = Server::start();
    for name in ["orders", "reports"] {
        let id = file.database(name);
        let mut client = file.connect(&file.admin()).await;
        // More than one transaction of etcd takes.
        for n in 0..70 {
            post(&mut client, &id, &format!("10.0.{n}.1")).await.expect(201);
        }
    }
    let mut there = Server::bare(&etcd.config());
    let to = there.config();
    let copy = ["store", "copy", "--to", to.to_str().unwrap()];
    let refused = file.run(&copy);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is open in another process"));
    file.stop(Signal::SIGTERM);
    let before = file.done(&["store", "dump"]);
    file.done(&copy);
    let again = file.run(&copy);
    assert!(String::from_utf8_lossy(&again.stderr).contains("--replace"));
    file.done(&[&copy[..], &["--replace"]].concat());
    assert_eq!(entries(&there.done(&["store", "dump"])), entries(&before));

    // A server runs on it, and has what was in the file.
    there.done(&["init"]);
    there.spawn(&[]);
    let mut client = there.connect(&file.admin()).await;
    assert_eq!(client.sources("orders").await.len(), 70);
    let loaded = there.run_with(&["store", "load", "--replace"], before.as_bytes());
    let complaint = String::from_utf8_lossy(&loaded.stderr).into_owned();
    assert!(complaint.contains("runs on the store: stop it first"), "{complaint}");
    assert_eq!(entries(&there.done(&["store", "dump"])), entries(&before));
    assert_eq!(there.stop(Signal::SIGTERM), Some(0));

    // It gave its leases back: nothing has to be waited for.
    let back = Server::bare("");
    there.done(&["store", "copy", "--to", back.config().to_str().unwrap()]);
    assert_eq!(entries(&back.done(&["store", "dump"])), entries(&before));
}

/// The entries of a dump but that of the store itself, which counts how often it was loaded.
fn entries(dump: &str) -> Vec<&str> {
    let lines: Vec<&str> = dump.lines().collect();
    let inner = &lines[1..lines.len() - 1];
    inner.iter().copied().filter(|line| !line.starts_with("{\"key\":\"meta\"")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_not_loaded_to_its_end_is_no_store() {
    let etcd = Etcd::start();
    let mut server = Server::set_up(&etcd.config());
    let dump = server.done(&["store", "dump"]);
    // As it is in the middle.
    let meta = etcd.ctl(&["get", "/dbfw/v1/meta", "--print-value-only"]);
    etcd.ctl(&["put", "/dbfw/v1/meta", &meta.replace("\"format\":1", "\"format\":0")]);
    let refused = server.run(&["serve"]);
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(complaint.contains("was not loaded to its end"), "{complaint}");
    let loaded = server.run_with(&["store", "load", "--replace"], dump.as_bytes());
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    server.spawn(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_etcd_clients_are_told_and_agents_go_on() {
    let mut etcd = Etcd::start();
    let server = Server::with(&format!("{}wait = \"0s\"\n", etcd.config()));
    let (id, admin) = (server.database("orders"), server.admin());
    let mut editor = server.connect(&admin).await;
    editor.append(&id, "ip_addr", "192.0.2.1").await.expect(204);
    let mut agent = Agent::join(&server, "db-1", &["orders"]).await;
    agent.sync().await;
    // Gone, and hanging.
    for hangs in [false, true] {
        match hangs {
            true => etcd.signal(0, Signal::SIGSTOP),
            false => etcd.kill(0),
        }
        for _ in 0..3 {
            let began = Instant::now();
            let reply = post(&mut editor, &id, "192.0.2.2").await;
            assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
            assert_eq!(reply.header("retry-after"), Some("1"));
            reply.error(503);
        }
        // A host that comes anew gets the list.
        agent.lists.clear();
        let (mut stream, _) = agent.sync().await;
        assert!(agent.sources("orders").contains(&"ip_addr:192.0.2.1".to_owned()));
        match hangs {
            true => etcd.signal(0, Signal::SIGCONT),
            false => etcd.spawn(0),
        }
        etcd.wait();
        let value = if hangs { "192.0.2.3" } else { "192.0.2.2" };
        let patience = Instant::now() + PATIENCE;
        while post(&mut editor, &id, value).await.status >= 500 {
            assert!(Instant::now() < patience, "{}", server.log());
            sleep(Duration::from_millis(100)).await;
        }
        while !agent.sources("orders").contains(&format!("ip_addr:{value}")) {
            agent.next(&mut stream).await.expect("the list");
        }
    }
    assert_eq!(server.sources(&id).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_leads_and_another_follows_it() {
    let etcd = Etcd::start();
    let metrics = format!("{}metrics_listen = \"127.0.0.1:0\"\n", etcd.config());
    let mut one = Server::with(&metrics);
    assert_eq!(leaders(&[&one], 1).await, [true]);
    let other = one.beside(&metrics);
    assert_eq!(leaders(&[&one, &other], 1).await, [true, false]);
    // It alone knows of sources and losses, and the other does not say that there are none.
    resolves(&one).await;
    let mut client = other.connect(&other.admin()).await;
    let told = client.get("/api/v1/resolved").await.error(503);
    assert!(told.contains("another one of the store does"), "{told}");
    client.document("POST", "/api/v1/resolved/1a2b3c4d/confirm", &json!({})).await.error(503);
    one.stop(Signal::SIGKILL);
    assert_eq!(leaders(&[&other], 1).await, [true]);
    resolves(&other).await;
    client.document("POST", "/api/v1/resolved/1a2b3c4d/confirm", &json!({})).await.error(404);
}

/// Waits until a server says what its sources resolve to.
async fn resolves(server: &Server) {
    let patience = Instant::now() + PATIENCE;
    let mut client = server.connect(&server.admin()).await;
    loop {
        let reply = client.get("/api/v1/resolved").await;
        if reply.status == 200 {
            return;
        }
        assert!(Instant::now() < patience, "{}", server.log());
        sleep(Duration::from_millis(100)).await;
    }
}

/// The servers that lead, once so many do.
async fn leaders(servers: &[&Server], count: usize) -> Vec<bool> {
    let patience = Instant::now() + PATIENCE;
    loop {
        let mut leads = Vec::new();
        for server in servers {
            let log = server.log();
            let (_, rest) = log.split_once("metrics=").expect("it says where");
            let address = rest.split_whitespace().next().unwrap().parse().unwrap();
            let text = Client::plain(address).await.get("/metrics").await.expect(200).body;
            let text = String::from_utf8(text).unwrap();
            leads.push(text.lines().any(|line| line == "dbfw_server_leader 1"));
        }
        if leads.iter().filter(|leads| **leads).count() == count {
            return leads;
        }
        assert!(Instant::now() < patience, "{leads:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_and_a_key_are_told_nobody() {
    let mut etcd = Etcd::with(1, true, &[]);
    etcd.enable_auth();
    let mut server = Server::with(&etcd.config());
    let id = server.database("orders");
    let mut client = server.connect(&server.admin()).await;
    post(&mut client, &id, "192.0.2.1").await.expect(201);
    let dump = server.done(&["store", "dump"]);
    let checked = server.done(&["check"]);
    assert!(checked.contains("store   etcd https://127.0.0.1:"), "{checked}");
    etcd.write_password("wrong-6b1f");
    server.stop(Signal::SIGTERM);
    let refused = server.run(&["store", "dump"]);
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(complaint.contains("check user and password_file"), "{complaint}");
    let key = fs::read_to_string(etcd.path("client.key")).unwrap();
    let key = key.lines().nth(1).unwrap();
    for text in [&server.log(), &dump, &checked, &complaint] {
        for secret in [PASSWORD, "wrong-6b1f", key] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}
