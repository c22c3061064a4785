//! The own API: single sources, history and going back, databases, tokens.

use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn single_sources_are_added_changed_and_removed() {
    let server = Server::start();
    let id = server.database("orders");
    let mut client = server.connect(&server.admin()).await;
    let path = format!("/api/v1/databases/{id}/sources");
    let request = json!({"type": "ip_addr", "value": "192.0.2.1", "description": "CI",
                         "for": "1h", "reason": "ticket 4711"});
    let added = client.document("POST", &path, &request).await.expect(201);
    assert!(added.header("etag").is_some());
    let added = added.json();
    assert_eq!((&added["description"], &added["created_by"]), (&json!("CI"), &json!("admin")));
    assert!(added["expires_at"].is_string());
    // Once more: it is there, and keeps what nothing is said of.
    let again = json!({"type": "ip_addr", "value": "192.0.2.1"});
    let again = client.document("POST", &path, &again).await.expect(200).json();
    assert_eq!(again, added);

    let one = format!("{path}/{}", added["uuid"].as_str().unwrap());
    let patch = json!({"description": null, "expires_at": "never"});
    let patched = client.document("PATCH", &one, &patch).await.expect(200).json();
    assert_eq!((&patched["description"], &patched["expires_at"]), (&Value::Null, &Value::Null));
    client.send("DELETE", &one, &[], "").await.expect(204);
    client.send("DELETE", &one, &[], "").await.error(404);
    client.send("DELETE", &format!("{path}/x"), &[], "").await.error(404);

    client.document("POST", &path, &json!({"type": "tag", "value": "web"})).await.expect(201);
    let by_value = format!("{path}?source=tag%3Aweb&reason=no+longer+used");
    client.send("DELETE", &by_value, &[], "").await.expect(204);
    client.send("DELETE", &by_value, &[], "").await.error(404);
    client.send("DELETE", &path, &[], "").await.error(422);
    client.send("DELETE", &format!("{path}?source=x"), &[], "").await.error(422);

    for (request, wanted) in [
        (json!({"type": "tag", "value": "a", "for": "1h", "expires_at": null}), "for: "),
        (json!({"type": "tag", "value": "a", "for": "soon"}), "for: "),
        (json!({"type": "tag", "value": "a", "for": "-1h"}), "for: "),
        (json!({"type": "tag", "value": "a", "unknown": 1}), "unknown"),
        (json!({"type": "tag", "value": "a", "reason": "x".repeat(300)}), "reason: "),
        (json!({"type": "ip_addr", "value": "0.0.0.0/0"}), "value: "),
    ] {
        let message = client.document("POST", &path, &request).await.error(422);
        assert!(message.contains(wanted), "{request}: {message}");
    }
    let changes = client.get(&format!("/api/v1/databases/{id}/changes")).await.expect(200).json();
    let reasons: Vec<_> =
        changes["changes"].as_array().unwrap().iter().map(|c| c["reason"].clone()).collect();
    let expected =
        [json!("no longer used"), json!(null), json!(null), json!(null), json!("ticket 4711")];
    assert_eq!(reasons, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_list_needs_if_match() {
    let server = Server::start();
    let id = server.database("orders");
    let mut client = server.connect(&server.admin()).await;
    let path = format!("/api/v1/databases/{id}/sources");
    let body = json!({"sources": [{"type": "tag", "value": "a"}]});
    client.document("PUT", &path, &body).await.error(428);
    let tag = client.get(&path).await.header("etag").unwrap().to_owned();
    let headers = [("if-match", tag.as_str())];
    let reply = client.send("PUT", &path, &headers, body.to_string()).await.expect(200);
    assert_eq!(reply.json()["version"], 1);
    client.send("PUT", &path, &headers, body.to_string()).await.error(412);
    // And for single sources it is checked if it is there.
    client
        .send("POST", &path, &headers, json!({"type": "tag", "value": "b"}).to_string())
        .await
        .error(412);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_a_chain_and_a_list_goes_back() {
    let server = Server::start();
    let id = server.database("orders");
    let mut client = server.connect(&server.admin()).await;
    let rule = |value: &str| json!({"type": "tag", "value": value});
    client.put(&id, &[rule("a"), rule("b")]).await.expect(204);
    let first = client.rules(&id).await;
    let mut described = first.clone();
    described[0]["description"] = json!("first");
    client.put(&id, &described).await.expect(204);
    client.put(&id, &[rule("c"), rule("a")]).await.expect(204);
    client.put(&id, &[]).await.expect(204);
    let revert = |version: u64| format!("/api/v1/databases/{id}/changes/{version}/revert");
    let reverted =
        client.document("POST", &revert(1), &json!({"reason": "oops"})).await.expect(200);
    assert_eq!(reverted.json()["version"], 5);
    assert_eq!(client.rules(&id).await, first, "uuids and times too");
    client.document("POST", &revert(0), &json!({})).await.expect(200);
    assert_eq!(client.rules(&id).await, [] as [Value; 0]);
    client.document("POST", &revert(99), &json!({})).await.error(404);
    // To where it is: nothing changes.
    let same = client.document("POST", &revert(6), &json!({})).await.expect(200).json();
    assert_eq!(same["version"], 6);
    let changes = client.get(&format!("/api/v1/databases/{id}/changes")).await.expect(200).json();
    let changes = changes["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 6);
    assert_eq!((&changes[1]["reverts_to"], &changes[1]["reason"]), (&json!(1), &json!("oops")));
    assert_eq!(changes[4]["edited"][0]["description"], "first");
    // The chain, from the store itself.
    let mut previous = String::new();
    for line in server.done(&["store", "dump"]).lines() {
        let Some((_, value)) = line.split_once("\",\"value\":") else { continue };
        if !line.starts_with("{\"key\":\"changes/") {
            continue;
        }
        let value = value.strip_suffix('}').unwrap();
        let change: Value = serde_json::from_str(value).unwrap();
        assert_eq!(change["previous_sha256"], previous.as_str());
        previous = dbfw_server::model::digest(value.as_bytes());
    }
    assert_eq!(previous.len(), 64);
    let page = client.get(&format!("/api/v1/databases/{id}/changes?limit=2&before=4")).await;
    let page = page.expect(200).json();
    let versions: Vec<_> =
        page["changes"].as_array().unwrap().iter().map(|c| c["version"].as_u64()).collect();
    assert_eq!(versions, [Some(3), Some(2)]);
    client.get(&format!("/api/v1/databases/{id}/changes?limit=x")).await.error(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_are_added_changed_and_removed() {
    let server = Server::start();
    let mut client = server.connect(&server.admin()).await;
    let path = "/api/v1/databases";
    let known = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";
    let request = json!({"name": "orders", "id": known, "settings": {"engine": "mysql"}});
    let added = client.document("POST", path, &request).await.expect(201).json();
    assert_eq!((&added["id"], &added["list_version"]), (&json!(known), &json!(0)));
    for taken in [json!({"name": "orders"}), json!({"name": "other", "id": known})] {
        client.document("POST", path, &taken).await.error(409);
    }
    for (bad, wanted) in [
        (json!({"name": "Orders"}), "name: "),
        (json!({"name": known}), "looks like an id"),
        (json!({"name": "x", "settings": {"engin": "pg"}}), "settings"),
        (json!({"name": "x", "settings": {"min_prefix": {"ipv4": 0}}}), "min_prefix: "),
        (json!({"name": "x", "settings": {"ca": "x"}}), "ca: "),
        (json!({"name": "x", "settings": {"host": "a\nb"}}), "host: "),
        (json!({"name": "x", "settings": {"port": 70000}}), "port"),
    ] {
        let message = client.document("POST", path, &bad).await.error(422);
        assert!(message.contains(wanted.trim_start_matches("looks")), "{bad}: {message}");
    }
    let one = format!("{path}/orders");
    let patch = json!({"allow_any": true, "min_prefix": {"ipv4": 1}});
    let patched = client.document("PATCH", &one, &patch).await.expect(200).json();
    assert_eq!(patched["settings"]["min_prefix"], json!({"ipv4": 1, "ipv6": 19}));
    assert_eq!(patched["settings"]["engine"], "mysql");
    let any = json!({"type": "ip_addr", "value": "0.0.0.0/0"});
    client.put("orders", &[any]).await.expect(204);
    client.send("DELETE", &one, &[], "").await.expect(204);
    client.send("DELETE", &one, &[], "").await.error(404);
    // The name is free again, and the list is a new one.
    client.document("POST", path, &json!({"name": "orders"})).await.expect(201);
    assert_eq!(client.rules("orders").await, [] as [Value; 0]);
    client.send("PATCH", path, &[], "{}").await.error(405);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_and_revoked() {
    let server = Server::start();
    let mut client = server.connect(&server.admin()).await;
    let request = json!({"name": "ci", "preset": "viewer", "expires_at": "2099-01-01T00:00:00Z"});
    let issued = client.document("POST", "/api/v1/tokens", &request).await.expect(201).json();
    let secret = issued["secret"].as_str().unwrap();
    let mut other = server.connect(secret).await;
    other.get("/v2/databases").await.expect(200);
    let listed = client.get("/api/v1/tokens").await.expect(200).json();
    assert!(!listed.to_string().contains(secret));
    let path = format!("/api/v1/tokens/{}", issued["token"]["id"].as_str().unwrap());
    client.send("DELETE", &path, &[], "").await.expect(204);
    client.send("DELETE", &path, &[], "").await.error(404);
    other.get("/v2/databases").await.error(401);
    for bad in [
        json!({"name": "x"}),
        json!({"name": "", "preset": "viewer"}),
        json!({"name": "x", "preset": "root"}),
        json!({"name": "x", "scopes": ["database:write"]}),
        json!({"name": "x", "preset": "viewer", "databases": []}),
        json!({"name": "x", "preset": "viewer", "databases": ["none"]}),
        json!({"name": "x", "preset": "viewer", "expires_at": "2020-01-01T00:00:00Z"}),
        json!({"name": "x\u{202e}", "preset": "viewer"}),
    ] {
        client.document("POST", "/api/v1/tokens", &bad).await.error(422);
    }
}
