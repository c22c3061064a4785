//! Many clients at once.

use std::collections::{BTreeSet, HashMap};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};
use serde_json::{Value, json};

use crate::support::{Client, Server};

/// Versions of a database's history, the oldest first.
pub(crate) async fn versions(client: &mut Client, database: &str) -> Vec<u64> {
    let mut versions = Vec::new();
    let mut before = String::new();
    loop {
        let path = format!("/api/v1/databases/{database}/changes?limit=100{before}");
        let page = client.get(&path).await.expect(200).json();
        let page = page["changes"].as_array().expect("changes").clone();
        let Some(last) = page.last() else { break };
        before = format!("&before={}", last["version"]);
        versions.extend(page.iter().filter_map(|change| change["version"].as_u64()));
    }
    versions.reverse();
    versions
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_at_once_are_all_kept_without_a_gap() {
    let server = Server::start();
    let admin = server.admin();
    for (round, clients) in [10, 50, 10, 50].into_iter().enumerate() {
        let name = format!("db{round}");
        let id = server.database(&name);
        let mut connections = Vec::new();
        for _ in 0..clients {
            connections.push(server.connect(&admin).await);
        }
        // Each reads before any writes, so that each would lose all others.
        let mut tasks = Vec::new();
        let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(clients));
        for (n, mut client) in connections.into_iter().enumerate() {
            let (barrier, id) = (barrier.clone(), id.clone());
            tasks.push(tokio::spawn(async move {
                let mut rules = client.rules(&id).await;
                barrier.wait().await;
                rules.insert(0, json!({"type": "ip_addr", "value": format!("10.0.{n}.1")}));
                let reply = client.put(&id, &rules).await.expect(204);
                reply.header("x-dbfw-merged").map(|merged| merged.parse::<usize>().unwrap())
            }));
        }
        let mut merged = Vec::new();
        for task in tasks {
            merged.extend(task.await.unwrap());
        }
        let kept: BTreeSet<String> = server.sources(&id).await.into_iter().collect();
        let expected: BTreeSet<String> =
            (0..clients).map(|n| format!("ip_addr:10.0.{n}.1")).collect();
        assert_eq!(kept, expected);
        // All but the first kept what those before had added.
        merged.sort_unstable();
        assert_eq!(merged, Vec::from_iter(1..clients));
        let mut client = server.connect(&admin).await;
        assert_eq!(versions(&mut client, &id).await, Vec::from_iter(1..=clients as u64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_and_removals_at_once_leave_the_exact_set() {
    let server = Server::start();
    let (id, admin) = (server.database("orders"), server.admin());
    let mut first = server.connect(&admin).await;
    let old: Vec<Value> =
        (0..20).map(|n| json!({"type": "tag", "value": format!("old{n}")})).collect();
    first.put(&id, &old).await.expect(204);
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(40));
    let mut tasks = Vec::new();
    for n in 0..40 {
        let mut client = server.connect(&admin).await;
        let (barrier, id) = (barrier.clone(), id.clone());
        tasks.push(tokio::spawn(async move {
            let mut rules = client.rules(&id).await;
            barrier.wait().await;
            if n < 20 {
                rules.retain(|rule| rule["value"] != format!("old{n}"));
            } else {
                rules.insert(0, json!({"type": "tag", "value": format!("new{n}")}));
            }
            client.put(&id, &rules).await.expect(204);
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let left: BTreeSet<String> = server.sources(&id).await.into_iter().collect();
    assert_eq!(left, (20..40).map(|n| format!("tag:new{n}")).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_with_one_etag_one_wins() {
    let server = Server::start();
    let (id, admin) = (server.database("orders"), server.admin());
    let path = format!("/v2/databases/{id}/firewall");
    let mut reader = server.connect(&admin).await;
    for round in 0..5 {
        let tag = reader.get(&path).await.header("etag").expect("an ETag").to_owned();
        let mut tasks = Vec::new();
        for n in 0..20 {
            let mut client = server.connect(&admin).await;
            let (path, tag) = (path.clone(), tag.clone());
            tasks.push(tokio::spawn(async move {
                let body = json!({"rules": [{"type": "tag", "value": format!("r{round}n{n}")}]});
                client.send("PUT", &path, &[("if-match", &tag)], body.to_string()).await
            }));
        }
        let mut statuses = Vec::new();
        for task in tasks {
            let reply = task.await.unwrap();
            match reply.status {
                204 => assert_ne!(reply.header("etag"), Some(tag.as_str())),
                _ => assert!(!reply.json()["message"].is_null()),
            }
            statuses.push(reply.status);
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [&[204][..], &[412; 19]].concat());
    }
    // With If-Match nothing is merged, and `*` is any list.
    let body = json!({"rules": []}).to_string();
    reader.send("PUT", &path, &[("if-match", "*")], body).await.expect(204);
    assert_eq!(reader.rules(&id).await, [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn uuids_and_times_of_what_stays_are_the_same_after_a_thousand_changes() {
    let server = Server::start();
    let (id, admin) = (server.database("orders"), server.admin());
    let mut rng = SmallRng::seed_from_u64(13);
    let values: Vec<String> = (0..40).map(|n| format!("10.1.{n}.0/24")).collect();
    let mut client = server.connect(&admin).await;
    let mut known: HashMap<String, Value> = HashMap::new();
    let mut owners: HashMap<String, String> = HashMap::new();
    for round in 0..1000 {
        if rng.random_ratio(1, 50) {
            client = server.connect(&admin).await;
        }
        let mut chosen = values.clone();
        chosen.shuffle(&mut rng);
        chosen.truncate(rng.random_range(0..15));
        let rules: Vec<Value> = chosen
            .iter()
            .map(|value| json!({"uuid": "", "type": "ip_addr", "value": value}))
            .collect();
        client.put(&id, &rules).await.expect(204);
        let now = client.rules(&id).await;
        let order: Vec<&str> = now.iter().map(|rule| rule["value"].as_str().unwrap()).collect();
        assert_eq!(order, chosen, "round {round}");
        let mut next = HashMap::new();
        for rule in now {
            let value = rule["value"].as_str().unwrap().to_owned();
            if let Some(before) = known.get(&value) {
                assert_eq!(*before, rule, "round {round}");
            }
            let uuid = rule["uuid"].as_str().unwrap().to_owned();
            assert_eq!(*owners.entry(uuid).or_insert(value.clone()), value);
            next.insert(value, rule);
        }
        known = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_is_bound_to_client_connection_and_setting() {
    let mut server = Server::start();
    let id = server.database("orders");
    server.done(&["database", "add", "plain", "--no-merge"]);
    let (admin, other) = (server.admin(), server.token(&["other", "--preset", "editor"]));
    let tag = |name: &str| json!({"type": "tag", "value": name});
    // What a client that read `a` sends to keep `a` and add `c`, after another added `b`.
    for (what, is_merged) in [
        ("same", true),
        ("another connection", false),
        ("another agent", false),
        ("another token", false),
        ("a proxy's header", false),
        ("a proxy's header while reading", false),
    ] {
        let mut client = server.connect(&admin).await;
        client.put(&id, &[tag("a")]).await.expect(204);
        let path = format!("/v2/databases/{id}/firewall");
        let mut client = server.connect(&admin).await;
        let via = [("x-forwarded-for", "192.0.2.1")];
        let headers = if what.ends_with("reading") { &via[..] } else { &[] };
        client.send("GET", &path, headers, "").await.expect(200);
        server.connect(&admin).await.put(&id, &[tag("a"), tag("b")]).await.expect(204);
        let mut headers = Vec::new();
        match what {
            "another connection" => client = server.connect(&admin).await,
            "another agent" => client.agent = "another/1",
            "another token" => client.token = Some(other.clone()),
            "a proxy's header" => headers.extend(via),
            _ => {}
        }
        let body = json!({"rules": [tag("c"), tag("a")]}).to_string();
        let reply = client.send("PUT", &path, &headers, body).await.expect(204);
        assert_eq!(reply.header("x-dbfw-merged").is_some(), is_merged, "{what}");
        let left = server.sources(&id).await;
        assert_eq!(left.contains(&"tag:b".to_owned()), is_merged, "{what}: {left:?}");
    }
    // Where the database does not want it.
    let mut client = server.connect(&admin).await;
    client.rules("plain").await;
    server.connect(&admin).await.put("plain", &[tag("b")]).await.expect(204);
    client.put("plain", &[tag("c")]).await.expect(204);
    assert_eq!(server.sources("plain").await, ["tag:c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_writes_twice_means_what_it_wrote_first() {
    let server = Server::start();
    let (id, admin) = (server.database("orders"), server.admin());
    let tag = |name: &str| json!({"type": "tag", "value": name});
    let mut client = server.connect(&admin).await;
    client.rules(&id).await;
    client.put(&id, &[tag("a"), tag("b")]).await.expect(204);
    server.connect(&admin).await.append(&id, "tag", "other").await.expect(204);
    // It takes b back, of which its last read knows nothing.
    client.put(&id, &[tag("a")]).await.expect(204);
    let left: BTreeSet<String> = server.sources(&id).await.into_iter().collect();
    assert_eq!(left, ["tag:a", "tag:other"].map(str::to_owned).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_not_read_the_list_replaces_it() {
    let server = Server::start();
    let admin = server.admin();
    let rule = |value: &str| json!({"type": "ip_addr", "value": value});
    for (name, first) in [("a", "PUT"), ("b", "HEAD"), ("c", "GET")] {
        let id = server.database(name);
        let path = format!("/v2/databases/{id}/firewall");
        let mut client = server.connect(&admin).await;
        let wanted = json!({"rules": [rule("10.0.0.1")]}).to_string();
        match first {
            "PUT" => client.send("PUT", &path, &[], wanted.clone()).await.expect(204),
            method => client.send(method, &path, &[], String::new()).await.expect(200),
        };
        server.connect(&admin).await.put(&id, &[rule("10.0.0.2")]).await.expect(204);
        let reply = client.send("PUT", &path, &[], wanted).await.expect(204);
        let (merged, left): (bool, &[&str]) = match first {
            "GET" => (true, &["ip_addr:10.0.0.1", "ip_addr:10.0.0.2"]),
            _ => (false, &["ip_addr:10.0.0.1"]),
        };
        assert_eq!(reply.header("x-dbfw-merged").is_some(), merged, "after {first}");
        assert_eq!(server.sources(&id).await, left, "after {first}");
    }
}
