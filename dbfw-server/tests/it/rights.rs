//! Tokens: what each may do, on every route, and where they never appear.

use std::fs;

use serde_json::{Value, json};

use crate::support::Server;

/// Every route: method, path (`ID` is a database, `RULE` a rule, `TOKEN` a token), the scope that
/// it needs, and a body. `None`: any token.
pub(crate) const ROUTES: [(&str, &str, Option<&str>, &str); 30] = [
    ("GET", "/v2/account", None, ""),
    ("GET", "/v1/oauth/token/info", None, ""),
    ("GET", "/v2/databases", Some("database:read"), ""),
    ("GET", "/v2/databases/ID", Some("database:read"), ""),
    ("GET", "/v2/databases/ID/firewall", Some("database:read"), ""),
    ("GET", "/v2/databases/ID/ca", Some("database:read"), ""),
    ("GET", "/v2/databases/ID/autoscale", Some("database:read"), ""),
    ("PUT", "/v2/databases/ID/firewall", Some("database:update"), "{}"),
    ("GET", "/api/v1/databases", Some("database:read"), ""),
    ("GET", "/api/v1/databases/ID", Some("database:read"), ""),
    ("POST", "/api/v1/databases", Some("database:create"), "{}"),
    ("PATCH", "/api/v1/databases/ID", Some("database:create"), "[]"),
    ("GET", "/api/v1/databases/ID/sources", Some("database:read"), ""),
    ("POST", "/api/v1/databases/ID/sources", Some("database:update"), "{}"),
    ("PUT", "/api/v1/databases/ID/sources", Some("database:update"), "{}"),
    ("DELETE", "/api/v1/databases/ID/sources", Some("database:update"), ""),
    ("PATCH", "/api/v1/databases/ID/sources/RULE", Some("database:update"), "[]"),
    ("DELETE", "/api/v1/databases/ID/sources/RULE", Some("database:update"), ""),
    ("GET", "/api/v1/databases/ID/changes", Some("audit:read"), ""),
    ("POST", "/api/v1/databases/ID/changes/9/revert", Some("database:update"), "{}"),
    ("GET", "/api/v1/databases/ID/status", Some("database:read"), ""),
    ("GET", "/api/v1/databases/ID/refused", Some("database:read"), ""),
    ("GET", "/api/v1/resolved", Some("database:read"), ""),
    ("POST", "/api/v1/resolved/TOKEN/confirm", Some("database:update"), "{}"),
    ("GET", "/api/v1/audit", Some("audit:read"), ""),
    ("GET", "/api/v1/hosts", Some("host:read"), ""),
    ("GET", "/api/v1/join-tokens", Some("host:read"), ""),
    ("POST", "/api/v1/join-tokens", Some("host:create"), "{}"),
    ("GET", "/api/v1/tokens", Some("token:read"), ""),
    ("POST", "/api/v1/tokens", Some("token:create"), "{}"),
];

/// Those that remove what others need: tried last.
pub(crate) const REMOVING: [(&str, &str, Option<&str>, &str); 4] = [
    ("DELETE", "/api/v1/tokens/TOKEN", Some("token:delete"), ""),
    ("DELETE", "/api/v1/hosts/TOKEN", Some("host:delete"), ""),
    ("DELETE", "/api/v1/join-tokens/TOKEN", Some("host:delete"), ""),
    ("DELETE", "/api/v1/databases/GONE", Some("database:delete"), ""),
];

const SCOPES: [&str; 11] = [
    "database:read",
    "database:update",
    "database:create",
    "database:delete",
    "audit:read",
    "token:read",
    "token:create",
    "token:delete",
    "host:read",
    "host:create",
    "host:delete",
];

fn scopes_of(preset: &str) -> &'static [&'static str] {
    match preset {
        "viewer" => &["database:read", "audit:read", "host:read"],
        "editor" => &["database:read", "database:update", "audit:read", "host:read"],
        _ => &SCOPES,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_for_every_preset_and_every_scope() {
    let mut server = Server::start();
    let id = server.database("orders");
    let mut callers: Vec<(String, Vec<&str>, String)> = Vec::new();
    for preset in ["viewer", "editor", "admin"] {
        let secret = server.token(&[preset, "--preset", preset]);
        callers.push((preset.to_owned(), scopes_of(preset).to_vec(), secret));
    }
    for scope in SCOPES {
        let secret = server.token(&[scope, "--scope", scope]);
        callers.push((scope.to_owned(), vec![scope], secret));
    }
    for (name, scopes, secret) in &callers {
        let mut client = server.connect(secret).await;
        for (method, path, scope, body) in ROUTES.iter().chain(&REMOVING) {
            let path = path
                .replace("ID", &id)
                .replace("RULE", "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30")
                .replace("TOKEN", "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30")
                .replace("GONE", "gone");
            let reply = client.send(method, &path, &[], *body).await;
            let may = scope.is_none_or(|scope| scopes.contains(&scope));
            if may {
                assert!(![401, 403].contains(&reply.status), "{name}: {method} {path}: {reply:?}");
            } else {
                assert_eq!(reply.status, 403, "{name}: {method} {path}");
                reply.error(403);
            }
        }
    }
    // And without a token, with a bad one, and with one in another place.
    let admin = server.admin();
    let bad = ["dodbfw_0".to_owned(), "0".repeat(71), format!("{admin}0")].map(Some);
    for token in bad.into_iter().chain([None]) {
        // A server of its own: so many refusals are answered with 429 otherwise.
        let server = Server::start();
        let mut client = server.connect("").await;
        client.token = token;
        for (method, path, _, body) in ROUTES.iter().chain(&REMOVING) {
            client.send(method, &path.replace("ID", &id), &[], *body).await.error(401);
        }
    }
    let mut client = server.connect("").await;
    client.token = None;
    let basic = [("authorization", "Basic ZG9kYmZ3Og==")];
    client.send("GET", "/v2/account", &basic, "").await.error(401);
    client.get(&format!("/v2/account?token={admin}")).await.error(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_some_databases_sees_no_other() {
    let mut server = Server::start();
    let [own, other] = ["own", "other"].map(|name| server.database(name));
    let secret = server.token(&["limited", "--preset", "admin", "--database", "own"]);
    let mut client = server.connect(&secret).await;
    client.append("own", "tag", "a").await.expect(204);
    // Existing or not, by id or by name: the same answer.
    let mut answers = Vec::new();
    for name in [other.as_str(), "other", "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30", "none", "%00"] {
        for (method, path, _, body) in ROUTES.iter().filter(|(_, path, ..)| path.contains("/ID")) {
            let path = path.replace("ID", name).replace("RULE", &own);
            answers.push(client.send(method, &path, &[], *body).await.error(403));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    for path in ["/v2/databases", "/api/v1/databases"] {
        let listed = client.get(path).await.expect(200).json();
        assert_eq!(listed["databases"].as_array().map(Vec::len), Some(1));
        assert!(!listed.to_string().contains(&other));
    }
    // It makes no database, sees no token, and passes on no more than it has.
    client.document("POST", "/api/v1/databases", &json!({"name": "new"})).await.error(403);
    client.get("/api/v1/tokens").await.error(403);
    let token = |extra: Value| {
        let mut request = json!({"name": "x", "preset": "viewer"});
        request.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        request
    };
    let path = "/api/v1/tokens";
    client.document("POST", path, &token(json!({}))).await.error(403);
    client.document("POST", path, &token(json!({"databases": ["other"]}))).await.error(422);
    client.document("POST", path, &token(json!({"databases": ["own"]}))).await.expect(201);
    let maker = server.token(&["maker", "--scope", "token:create", "--scope", "database:read"]);
    let mut maker = server.connect(&maker).await;
    maker.document("POST", path, &token(json!({}))).await.error(403);
    let read = json!({"name": "x", "scopes": ["database:read"]});
    maker.document("POST", path, &read).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_when_it_is_revoked_or_expires() {
    let mut server = Server::start();
    let short = server.token(&["short", "--preset", "viewer", "--for", "2s"]);
    let long = server.token(&["long", "--preset", "viewer"]);
    let mut client = server.connect(&long).await;
    client.get("/v2/account").await.expect(200);
    let mut shorter = server.connect(&short).await;
    shorter.get("/v2/account").await.expect(200);
    let listed: Value =
        serde_json::from_str(&server.done(&["token", "list", "--output", "json"])).unwrap();
    let found = listed["tokens"].as_array().unwrap().iter().find(|token| token["name"] == "long");
    let found = found.unwrap();
    assert_eq!(found["begins_with"], long[..13]);
    assert!(!listed.to_string().contains(&long));
    server.done(&["token", "rm", found["id"].as_str().unwrap()]);
    client.get("/v2/account").await.error(401);
    let patience = std::time::Instant::now() + crate::support::PATIENCE;
    while shorter.get("/v2/account").await.status == 200 {
        assert!(std::time::Instant::now() < patience);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    shorter.get("/v2/account").await.error(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_in_a_log_an_argument_an_error_or_a_backup() {
    let mut server = Server::start();
    let id = server.database("orders");
    server.token(&["ci", "--preset", "editor"]);
    let mut texts = Vec::new();
    for secret in server.secrets() {
        let mut client = server.connect(secret).await;
        client.append(&id, "tag", "a").await.expect(204);
        texts.push(client.get("/v2/droplets").await.error(501));
        let bad = format!(
            "{{\"rules\": [{{\"type\": \"tag\", \"value\": 5, \"token\": \"{secret}\"}}]}}"
        );
        let path = format!("/v2/databases/{id}/firewall");
        texts.push(client.send("PUT", &path, &[], bad).await.error(422));
        let mut wrong = server.connect(&secret.replace("dodbfw_", "dop_v1_")).await;
        texts.push(wrong.get(&path).await.error(401));
    }
    let pid = server.pid();
    for file in ["cmdline", "environ"] {
        texts.push(
            String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}")).unwrap()).into(),
        );
    }
    texts.push(server.done(&["store", "dump"]));
    texts.push(server.done(&["token", "list"]));
    for path in ["state/store.redb", "dbfw-server.toml", "log"] {
        texts.push(String::from_utf8_lossy(&fs::read(server.path(path)).unwrap()).into_owned());
    }
    assert!(server.log().contains("a list changed"), "the log is the server's");
    for secret in server.secrets() {
        let digits = &secret["dodbfw_".len()..];
        for text in &texts {
            assert!(!text.contains(digits), "a secret is in\n{}", &text[..text.len().min(2000)]);
        }
    }
    let cores = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let cores = cores.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(cores.split_whitespace().nth(4) == Some("0"), "{cores}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tries_tokens_is_slowed_down() {
    let server = Server::start();
    let mut client = server.connect("dodbfw_0").await;
    let mut refused = 0;
    for _ in 0..300 {
        match client.get("/v2/account").await.status {
            401 => refused += 1,
            status => assert_eq!(status, 429),
        }
    }
    // Two windows at most.
    assert!((120..=240).contains(&refused), "{refused}");
    // Who has a token does not suffer for a neighbour behind the same address.
    client.token = Some(server.admin());
    client.get("/v2/account").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_not_outlived_by_those_made_with_it() {
    let mut server = Server::start();
    let own = server.token(&["short", "--preset", "admin", "--for", "1h"]);
    let mut client = server.connect(&own).await;
    let add = |expiry: Value| {
        let mut body = json!({"name": "child", "preset": "viewer"});
        if !expiry.is_null() {
            body["expires_at"] = expiry;
        }
        body
    };
    let made = client.document("POST", "/api/v1/tokens", &add(Value::Null)).await.expect(201);
    assert!(made.json()["token"]["expires_at"].is_string());
    for later in ["never", "2999-01-01T00:00:00Z"] {
        let refused = client.document("POST", "/api/v1/tokens", &add(json!(later))).await;
        assert!(refused.error(422).contains("after the end of the token"), "{later}");
    }
    let admin = server.admin();
    let mut client = server.connect(&admin).await;
    let made = client.document("POST", "/api/v1/tokens", &add(json!("never"))).await.expect(201);
    assert!(made.json()["token"]["expires_at"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_token_does_not_keep_a_connection() {
    let server = Server::start();
    let admin = server.admin();
    for (token, path, is_closed) in [
        ("", "/v2/account", true),
        ("dodbfw_0", "/v2/account", true),
        ("", "/nothing", true),
        (&*admin, "/v2/account", false),
        (&*admin, "/v2/nothing", false),
    ] {
        let mut client = server.connect(token).await;
        let reply = client.get(path).await;
        assert_eq!(reply.header("connection") == Some("close"), is_closed, "{token:.6} {path}");
    }
}
