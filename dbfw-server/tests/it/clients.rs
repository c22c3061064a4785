//! Requests as DigitalOcean's clients were seen to send them, and the fields they fail on.

use serde_json::{Value, json};

use crate::support::{Server, as_doctl, new_rule, source};

const DOCTL: &str = "doctl/1.146.0 (linux amd64) godo/1.171.0";

#[tokio::test(flavor = "multi_thread")]
async fn doctl_lists_appends_removes_and_replaces() {
    let server = Server::start();
    let id = server.database("orders");
    let admin = server.admin();
    let path = format!("/v2/databases/{id}/firewall");
    // Each command is a process with a connection of its own.
    let command = || async {
        let mut client = server.connect(&admin).await;
        client.agent = DOCTL;
        client
    };

    let mut list = command().await;
    assert_eq!(list.get(&path).await.expect(200).json(), json!({ "rules": [] }));

    let mut append = command().await;
    let reply = append.append(&id, "ip_addr", "203.0.113.7").await.expect(204);
    assert!(reply.body.is_empty());
    let first = append.rules(&id).await[0].clone();
    assert_eq!(source(&first), "ip_addr:203.0.113.7");
    assert_eq!(first["cluster_uuid"], id.as_str());
    // godo parses it as a time of RFC 3339.
    let created = first["created_at"].as_str().unwrap();
    assert!(created.parse::<jiff::Timestamp>().is_ok(), "{created}");

    let mut append = command().await;
    append.append(&id, "tag", "backend").await.expect(204);
    assert_eq!(append.sources(&id).await, ["tag:backend", "ip_addr:203.0.113.7"]);
    // What is there is appended again: nothing changes.
    let before = append.rules(&id).await;
    command().await.append(&id, "ip_addr", "203.0.113.7").await.expect(204);
    let mut after = append.rules(&id).await;
    after.sort_by_key(|rule| rule["uuid"].to_string());
    let mut sorted = before.clone();
    sorted.sort_by_key(|rule| rule["uuid"].to_string());
    assert_eq!(after, sorted);

    // `remove` sends all but one; of an unknown uuid, all.
    let mut remove = command().await;
    let rules = remove.rules(&id).await;
    let all: Vec<Value> = rules.iter().map(as_doctl).collect();
    remove.put(&id, &all).await.expect(204);
    let others: Vec<Value> =
        rules.iter().filter(|rule| rule["type"] != "tag").map(as_doctl).collect();
    let mut remove = command().await;
    remove.rules(&id).await;
    remove.put(&id, &others).await.expect(204);
    assert_eq!(remove.rules(&id).await, [first]);

    // `replace` reads nothing before, and names no uuid.
    let mut replace = command().await;
    let mut rules = [new_rule("", "droplet", "163973392"), new_rule("", "k8s", "ff2a6c52-5a44")];
    rules[0]["cluster_uuid"] = json!("");
    replace.put(&id, &rules).await.expect(204);
    assert_eq!(replace.sources(&id).await, ["droplet:163973392", "k8s:ff2a6c52-5a44"]);

    // The last removal is an empty list.
    let mut remove = command().await;
    remove.rules(&id).await;
    remove.put(&id, &[]).await.expect(204);
    assert_eq!(remove.sources(&id).await, [""; 0]);
    let changes = remove.get(&format!("/api/v1/databases/{id}/changes")).await.expect(200).json();
    assert_eq!(changes["changes"][0]["via"], "doctl");
    assert_eq!(changes["changes"][0]["agent"], DOCTL);
    assert_eq!(changes["changes"][0]["from"], "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn terraform_creates_plans_updates_and_destroys() {
    let server = Server::start();
    let id = server.database("orders");
    let admin = server.admin();
    let run = || async {
        let mut client = server.connect(&admin).await;
        client.agent = "HashiCorp Terraform/1.11.4 godo/1.171.0";
        client
    };
    let rule = |uuid: &Value, kind: &str, value: &str| {
        json!({"uuid": uuid, "cluster_uuid": "", "type": kind, "value": value,
               "created_at": "0001-01-01T00:00:00Z"})
    };
    let mut apply = run().await;
    let values = ["192.0.2.10", "10.0.0.0/8", "2001:db8::/64", "192.0.2.20-192.0.2.29"];
    let new: Vec<Value> = values.iter().map(|value| rule(&json!(""), "ip_addr", value)).collect();
    apply.put(&id, &new).await.expect(204);
    let state = apply.rules(&id).await;
    // The values are echoed byte for byte, and uuid and created_at are those of the state.
    assert_eq!(
        state.iter().map(|rule| rule["value"].as_str().unwrap()).collect::<Vec<_>>(),
        values
    );
    assert_eq!(run().await.rules(&id).await, state);

    // An update: a provider process of its own that reads, and then replaces.
    let mut update = run().await;
    update.rules(&id).await;
    let mut changed: Vec<Value> = state[1..]
        .iter()
        .map(|known| rule(&known["uuid"], "ip_addr", known["value"].as_str().unwrap()))
        .collect();
    changed.push(rule(&json!(""), "tag", "web"));
    update.put(&id, &changed).await.expect(204);
    let now = update.rules(&id).await;
    assert_eq!(now[..3], state[1..]);
    assert_eq!(source(&now[3]), "tag:web");

    // Its destroy.
    let mut destroy = run().await;
    destroy.put(&id, &[]).await.expect(204);
    assert_eq!(destroy.rules(&id).await, [] as [Value; 0]);
    // A database that is gone is 404, which drops it from the state; nothing else is.
    server.done(&["database", "rm", "orders"]);
    run().await.get(&format!("/v2/databases/{id}/firewall")).await.error(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_have_what_clients_dereference() {
    let server = Server::start();
    let ca = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    std::fs::write(server.path("db-ca.pem"), ca).unwrap();
    let ca_file = server.path("db-ca.pem");
    server.done(&[
        "database",
        "add",
        "orders",
        "--host",
        "db.example.com",
        "--port",
        "5432",
        "--tag",
        "prod",
        "--ca-file",
        ca_file.to_str().unwrap(),
    ]);
    server.database("other");
    let mut client = server.connect(&server.admin()).await;
    let listed = client.get("/v2/databases?page=1&per_page=200").await.expect(200).json();
    assert_eq!(listed["meta"], json!({ "total": 2 }));
    assert_eq!(listed["links"], json!({}));
    let orders = &listed["databases"][0];
    assert_eq!(orders["name"], "orders");
    assert_eq!(orders["connection"]["uri"], "postgresql://db.example.com:5432");
    for object in ["connection", "private_connection", "maintenance_window"] {
        assert!(orders[object].is_object(), "{object}");
    }
    assert_eq!(orders["storage_autoscale"], json!({ "enabled": false }));
    assert!(orders["rules"].is_array());
    let created = orders["created_at"].as_str().unwrap();
    assert!(created.parse::<jiff::Timestamp>().is_ok(), "{created}");
    let other = &listed["databases"][1];
    assert_eq!((&other["connection"]["uri"], &other["status"]), (&json!(""), &json!("online")));
    for page in ["", "0", "1"] {
        let listed = client.get(&format!("/v2/databases?page={page}")).await.expect(200).json();
        assert!(!listed["databases"].as_array().unwrap().is_empty(), "page {page:?}");
    }
    for page in ["x", "-1", "1e3", "1000000000000000000000"] {
        let refused = client.get(&format!("/v2/databases?page={page}")).await.error(400);
        assert!(refused.starts_with("page: "), "{refused}");
    }
    // Clients read one page; a second has nothing, so that nobody reads for ever.
    let second = client.get("/v2/databases?page=2&per_page=200").await.expect(200).json();
    assert_eq!(second["databases"], json!([]));
    let tagged = client.get("/v2/databases?tag_name=prod").await.expect(200).json();
    assert_eq!(tagged["databases"].as_array().map(Vec::len), Some(1));

    // By name as by id, and what data sources ask for.
    let id = orders["id"].as_str().unwrap();
    let by_id = client.get(&format!("/v2/databases/{id}")).await.expect(200).json();
    assert_eq!(by_id, client.get("/v2/databases/orders").await.expect(200).json());
    let autoscale = client.get("/v2/databases/orders/autoscale").await.expect(200).json();
    assert_eq!(autoscale, json!({ "storage": { "enabled": false } }));
    let found = client.get("/v2/databases/orders/ca").await.expect(200).json();
    assert_eq!(
        found["ca"]["certificate"],
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUIKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="
    );
    client.get("/v2/databases/other/ca").await.error(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_an_account_and_is_checked() {
    let mut server = Server::start();
    server.database("orders");
    let editor = server.token(&["ci", "--preset", "editor", "--database", "orders", "--for", "1h"]);
    assert!(editor.starts_with("do") && editor.len() == 71, "what doctl's prompt takes");
    let mut client = server.connect(&editor).await;
    let account = client.get("/v2/account").await.expect(200).json()["account"].clone();
    assert_eq!((&account["email"], &account["status"]), (&json!("ci"), &json!("active")));
    assert_eq!(account["team"]["name"], "dbfw");
    let info = client.get("/v1/oauth/token/info").await.expect(200).json();
    assert_eq!(
        info["scopes"],
        json!(["database:read", "database:update", "audit:read", "host:read"])
    );
    assert!(info["expires_in_seconds"].as_i64().is_some_and(|left| (3500..=3600).contains(&left)));
    assert!(info["resource_owner_id"].is_u64() && info["created_at"].is_i64());
    assert!(info["application"]["uid"].is_string());
    client.token = None;
    client.get("/v1/oauth/token/info").await.error(401);
    client.get("/v2/account").await.error(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_managed_here_is_not_implemented() {
    let server = Server::start();
    let id = server.database("orders");
    let mut client = server.connect(&server.admin()).await;
    for (method, path) in [
        ("GET", "/v2/droplets".to_owned()),
        ("GET", "/v2/droplets?tag_name=web".to_owned()),
        ("POST", "/v2/databases".to_owned()),
        ("DELETE", format!("/v2/databases/{id}")),
        ("GET", format!("/v2/databases/{id}/users")),
        ("POST", format!("/v2/databases/{id}/firewall")),
        ("GET", "/v2/databases/".to_owned()),
        ("GET", "/v2/kubernetes/clusters".to_owned()),
        ("GET", "/v2/".to_owned()),
    ] {
        let message = client.send(method, &path, &[], "{}").await.error(501);
        let asked = path.split('?').next().unwrap();
        assert!(message.contains(&format!("{asked:?} is not managed here")), "{message}");
    }
    // The panel has the rest.
    client.get("/").await.expect(303);
    client.get("/metrics").await.expect(404);
    // Nobody without a token learns what there is.
    client.token = None;
    client.get("/v2/droplets").await.error(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_an_id_a_rate_as_numbers_and_no_cache() {
    let server = Server::with("requests_per_minute = 10");
    server.database("orders");
    let mut client = server.connect(&server.admin()).await;
    let mut limited = 0;
    for at in 0..24_u32 {
        let reply = client.get("/v2/databases").await;
        assert!(reply.header("x-request-id").is_some_and(|id| id.len() == 36));
        for name in ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"] {
            let value = reply.header(name).expect(name);
            assert!(value.parse::<u64>().is_ok(), "{name}: {value}");
        }
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert!(reply.header("date").is_some());
        if reply.status == 429 {
            limited += 1;
            let wait: u64 = reply.header("retry-after").expect("retry-after").parse().unwrap();
            assert!((1..=60).contains(&wait));
            reply.error(429);
        } else {
            reply.expect(200);
            assert!(at < 20, "two windows at most");
        }
    }
    assert!(limited >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_with_the_rule_the_reason_and_the_fix() {
    let server = Server::start();
    let id = server.database("orders");
    let mut client = server.connect(&server.admin()).await;
    client.append(&id, "ip_addr", "192.0.2.1").await.expect(204);
    let before = client.rules(&id).await;
    let rule = |kind: &str, value: &str| json!({"type": kind, "value": value});
    for (rules, status, wanted) in [
        (json!([rule("ip_addr", "10.0.0.5/24")]), 422, "rules[0].value: "),
        (json!([rule("tag", "web"), rule("ip_addr", "0.0.0.0/0")]), 422, "rules[1].value: "),
        (json!([rule("ip_addr", "10.0.0.0/7")]), 422, "min_prefix"),
        (json!([rule("planet", "mars")]), 422, "rules[0].type: unknown type"),
        (json!([rule("ip_addr", "")]), 422, "rules[0].value: "),
        (json!([rule("feed", "/etc/passwd")]), 422, "rules[0].value: "),
        (json!([rule("feed", "https://x.example/list")]), 422, "[feeds] allow"),
        (json!([{"type": "tag"}]), 422, "rules[0]"),
        (json!([{"type": "droplet", "value": 7}]), 422, "rules[0].value"),
        (json!([{"type": "tag", "value": "a", "description": 5}]), 422, "rules[0].description"),
        (json!([{"type": "tag", "value": "a", "expires_at": "soon"}]), 422, "rules[0].expires_at"),
        (
            json!([{"type": "tag", "value": "a", "expires_at": "2020-01-01T00:00:00Z"}]),
            422,
            "passed",
        ),
        (json!(null), 422, "rules"),
        (json!({}), 422, "rules"),
    ] {
        let path = format!("/v2/databases/{id}/firewall");
        let message = client.document("PUT", &path, &json!({ "rules": rules })).await.error(status);
        assert!(message.contains(wanted), "{rules}: {message}");
    }
    let path = format!("/v2/databases/{id}/firewall");
    client.document("PUT", &path, &json!({})).await.error(422);
    client.send("PUT", &path, &[], "{\"rules\":").await.error(400);
    client.send("PUT", &path, &[], "").await.error(400);
    client.send("PUT", &path, &[], "{\"rules\":[]} x").await.error(400);
    let many: Vec<Value> = (0..1001).map(|n| rule("tag", &format!("t{n}"))).collect();
    let message = client.put(&id, &many).await.error(422);
    assert!(message.contains("1001"), "{message}");
    client.put(&id, &many[..1000]).await.expect(204);
    client.put(&id, &[rule("ip_addr", "192.0.2.1")]).await.expect(204);
    assert_eq!(source(&client.rules(&id).await[0]), source(&before[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptions_and_expiries_survive_clients_that_do_not_know_them() {
    let server = Server::start();
    let id = server.database("orders");
    let admin = server.admin();
    let mut panel = server.connect(&admin).await;
    let rule = json!({"type": "ip_addr", "value": "192.0.2.1", "description": "the office",
                      "expires_at": "2099-01-01T00:00:00Z"});
    panel.put(&id, &[rule]).await.expect(204);
    for n in 0..20 {
        let mut doctl = server.connect(&admin).await;
        doctl.append(&id, "ip_addr", &format!("198.51.100.{n}")).await.expect(204);
    }
    let rules = panel.rules(&id).await;
    let office = rules.iter().find(|rule| rule["value"] == "192.0.2.1").unwrap();
    assert_eq!(office["description"], "the office");
    assert_eq!(office["expires_at"], "2099-01-01T00:00:00Z");
    // Only what is said clears them.
    let mut said = office.clone();
    said["description"] = json!("");
    said["expires_at"] = Value::Null;
    panel.put(&id, &[said]).await.expect(204);
    let rules = panel.rules(&id).await;
    assert!(rules[0].get("description").is_none() && rules[0].get("expires_at").is_none());
}
