//! The description of the own API against the routes: its paths, methods, scopes and documents.

use std::collections::BTreeSet;

use dbfw_wire::agent::{AppliedState, HostProblem, Refused, Report};
use serde_json::{Value, json};

use crate::{
    agent::Agent,
    rights::{REMOVING, ROUTES},
    support::{Reply, Server},
};

const DESCRIPTION: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"));

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn description() -> Value {
    serde_json::from_str(DESCRIPTION).unwrap()
}

/// Method, path and scope of every operation.
fn operations(description: &Value) -> BTreeSet<(String, String, String)> {
    let mut found = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in METHODS {
            if let Some(scope) = item[method]["x-scope"].as_str() {
                found.insert((method.to_uppercase(), path.clone(), scope.to_owned()));
            }
        }
    }
    found
}

/// Everything in which a document differs from a schema.
fn differences(description: &Value, schema: &Value, document: &Value, at: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        let schema = description.pointer(pointer).unwrap_or_else(|| panic!("{reference}"));
        return differences(description, schema, document, at);
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => Vec::from_iter(kind.as_str()),
    };
    let kind = match document {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let mut found = Vec::new();
    if !kinds.contains(&kind) {
        found.push(format!("{at} is {kind}, not one of {kinds:?}"));
    }
    if let (Some(allowed), Some(text)) = (schema["enum"].as_array(), document.as_str())
        && !allowed.contains(&json!(text))
    {
        found.push(format!("{at} is {text}"));
    }
    match document {
        Value::Object(fields) => {
            if let Some(schema) = schema.get("additionalProperties").filter(|it| it.is_object()) {
                for (name, value) in fields {
                    let at = format!("{at}.{name}");
                    found.extend(differences(description, schema, value, &at));
                }
                return found;
            }
            let properties = schema["properties"].as_object().unwrap();
            for required in schema["required"].as_array().unwrap() {
                if !fields.contains_key(required.as_str().unwrap()) {
                    found.push(format!("{at} has no {required}"));
                }
            }
            for (name, value) in fields {
                match properties.get(name) {
                    None => found.push(format!("{at} has {name}, which is not described")),
                    Some(schema) => {
                        let at = format!("{at}.{name}");
                        found.extend(differences(description, schema, value, &at));
                    }
                }
            }
        }
        Value::Array(elements) => {
            for element in elements {
                found.extend(differences(description, &schema["items"], element, at));
            }
        }
        _ => {}
    }
    found
}

#[test]
fn it_has_every_route_with_its_scope_and_no_other() {
    let routes = ROUTES.iter().chain(&REMOVING).filter_map(|(method, path, scope, _)| {
        let path = path.strip_prefix("/api/v1")?;
        let path = path
            .replace("/databases/ID", "/databases/{id}")
            .replace("/databases/GONE", "/databases/{id}")
            .replace("/RULE", "/{uuid}")
            .replace("/TOKEN", "/{id}")
            .replace("/9/", "/{version}/");
        Some(((*method).to_owned(), path, scope.unwrap_or_default().to_owned()))
    });
    assert_eq!(operations(&description()), routes.collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_as_described() {
    let server = Server::start();
    let mut client = server.connect(&server.admin()).await;
    let description = description();
    let mut left: BTreeSet<(String, String)> =
        operations(&description).into_iter().map(|(method, path, _)| (method, path)).collect();
    let mut check = |method: &str, path: &str, reply: &Reply| {
        left.remove(&(method.to_owned(), path.to_owned()));
        let operation = &description["paths"][path][method.to_lowercase()];
        let mut described = &operation["responses"][reply.status.to_string()];
        if let Some(reference) = described["$ref"].as_str() {
            described = description.pointer(reference.strip_prefix('#').unwrap()).unwrap();
        }
        assert!(described.is_object(), "{method} {path}: {reply:?}");
        match &described["content"]["application/json"]["schema"] {
            Value::Null => assert!(reply.body.is_empty(), "{method} {path}"),
            schema => {
                let found = differences(&description, schema, &reply.json(), "it");
                assert_eq!(found, [""; 0], "{method} {path}: {}", reply.json());
            }
        }
    };
    let api = "/api/v1";
    let new = json!({"name": "orders", "settings": {"tags": ["a"], "ca": ""}});
    let reply = client.document("POST", &format!("{api}/databases"), &new).await;
    check("POST", "/databases", &reply);
    let reply = client.get(&format!("{api}/databases")).await;
    check("GET", "/databases", &reply);
    let one = format!("{api}/databases/orders");
    let reply = client.get(&one).await;
    check("GET", "/databases/{id}", &reply);
    let reply = client.document("PATCH", &one, &json!({"region": "x"})).await;
    check("PATCH", "/databases/{id}", &reply);

    let sources = format!("{one}/sources");
    let source = json!({"type": "ip_addr", "value": "192.0.2.1", "for": "1h", "reason": "r"});
    let reply = client.document("POST", &sources, &source).await.expect(201);
    check("POST", "/databases/{id}/sources", &reply);
    let uuid = reply.json()["uuid"].as_str().unwrap().to_owned();
    let same = json!({"type": "ip_addr", "value": "192.0.2.1"});
    let reply = client.document("POST", &sources, &same).await.expect(200);
    check("POST", "/databases/{id}/sources", &reply);
    let reply = client.get(&sources).await;
    check("GET", "/databases/{id}/sources", &reply);
    let tag = reply.header("etag").unwrap().to_owned();
    let same = json!({"sources": [{"type": "ip_addr", "value": "192.0.2.1"},
                                  {"type": "tag", "value": "a"}]});
    let headers = [("if-match", tag.as_str())];
    let reply = client.send("PUT", &sources, &headers, same.to_string()).await;
    check("PUT", "/databases/{id}/sources", &reply);
    let reply = client.send("PUT", &sources, &headers, same.to_string()).await.expect(412);
    check("PUT", "/databases/{id}/sources", &reply);
    let reply = client.document("PUT", &sources, &same).await.expect(428);
    check("PUT", "/databases/{id}/sources", &reply);
    let rule = format!("{sources}/{uuid}");
    let details = json!({"description": "d", "expires_at": null});
    let reply = client.document("PATCH", &rule, &details).await;
    check("PATCH", "/databases/{id}/sources/{uuid}", &reply);
    let reply = client.send("DELETE", &rule, &[], "").await;
    check("DELETE", "/databases/{id}/sources/{uuid}", &reply);
    let reply = client.send("DELETE", &format!("{sources}?source=tag:a"), &[], "").await;
    check("DELETE", "/databases/{id}/sources", &reply);
    let reply = client.get(&format!("{one}/changes")).await;
    assert!(reply.json()["changes"].as_array().is_some_and(|changes| changes.len() > 3));
    check("GET", "/databases/{id}/changes", &reply);
    let reply = client.document("POST", &format!("{one}/changes/2/revert"), &json!({})).await;
    check("POST", "/databases/{id}/changes/{version}/revert", &reply);

    let token = json!({"name": "x", "preset": "viewer", "databases": ["orders"]});
    let reply = client.document("POST", &format!("{api}/tokens"), &token).await;
    check("POST", "/tokens", &reply);
    let id = reply.json()["token"]["id"].as_str().unwrap().to_owned();
    let reply = client.get(&format!("{api}/tokens")).await;
    check("GET", "/tokens", &reply);
    let reply = client.send("DELETE", &format!("{api}/tokens/{id}"), &[], "").await;
    check("DELETE", "/tokens/{id}", &reply);
    let wanted = json!({"databases": ["orders"], "uses": 2, "for": "1h"});
    let reply = client.document("POST", &format!("{api}/join-tokens"), &wanted).await;
    check("POST", "/join-tokens", &reply);
    let issued = reply.json();
    let join = json!({"token": issued["secret"], "hostname": "db-0"});
    client.document("POST", "/agent/v1/join", &join).await.expect(201);
    let reply = client.get(&format!("{api}/join-tokens")).await;
    assert_eq!(reply.json()["join_tokens"][0]["uses"], 1);
    check("GET", "/join-tokens", &reply);
    let id = issued["join_token"]["id"].as_str().unwrap();
    let reply = client.send("DELETE", &format!("{api}/join-tokens/{id}"), &[], "").await;
    check("DELETE", "/join-tokens/{id}", &reply);
    let mut agent = Agent::join(&server, "db-1", &["orders"]).await;
    let (_stream, _) = agent.sync().await;
    let failed = AppliedState::Failed { message: "m".to_owned() };
    let refused = Refused {
        database: agent.lists["orders"].database,
        address: "192.0.2.1".parse().unwrap(),
        ports: vec!["tcp/5432".to_owned()],
        packets: 1,
        first_seen: jiff::Timestamp::UNIX_EPOCH,
        last_seen: jiff::Timestamp::UNIX_EPOCH,
    };
    let report = Report {
        host: agent.id,
        boot: agent.boot,
        protection: Some("no".to_owned()),
        problems: Some(vec![HostProblem { subject: "s".to_owned(), text: "t".to_owned() }]),
        applied: vec![agent.applied("orders", failed)],
        refused: vec![refused],
        audit: Some(agent.audit("orders")),
        ..Report::default()
    };
    agent.send(&report).await.expect(204);
    let reply = client.get(&format!("{one}/status?wait=active&timeout=1s")).await;
    check("GET", "/databases/{id}/status", &reply);
    let reply = client.get(&format!("{one}/refused")).await;
    assert_eq!(reply.json()["refused"].as_array().map(Vec::len), Some(1));
    check("GET", "/databases/{id}/refused", &reply);
    let reply = client.get(&format!("{api}/hosts")).await;
    check("GET", "/hosts", &reply);
    client.document("POST", &sources, &json!({"type": "dns", "value": "x.invalid"})).await;
    let resolved = client.get(&format!("{api}/resolved")).await;
    assert_eq!(resolved.json()["sources"][0]["value"], "x.invalid");
    check("GET", "/resolved", &resolved);
    let confirm = format!("{api}/resolved/0/confirm");
    let none = client.document("POST", &confirm, &json!({})).await;
    check("POST", "/resolved/{id}/confirm", &none);
    let entries = client.get(&format!("{api}/audit")).await;
    assert!(entries.json()["entries"].as_array().is_some_and(|entries| entries.len() > 5));
    check("GET", "/audit", &entries);
    server.done(&["hosts", "rm", &agent.id.to_string()]);
    let id = reply.json()["hosts"][0]["id"].as_str().unwrap().to_owned();
    let reply = client.send("DELETE", &one, &[], "").await.expect(409);
    check("DELETE", "/databases/{id}", &reply);
    let reply = client.send("DELETE", &format!("{api}/hosts/{id}"), &[], "").await;
    check("DELETE", "/hosts/{id}", &reply);
    let reply = client.send("DELETE", &one, &[], "").await;
    check("DELETE", "/databases/{id}", &reply);
    assert_eq!(left, BTreeSet::new(), "operations that nothing here called");

    // What is not described is not there.
    for (path, item) in description["paths"].as_object().unwrap() {
        let path = path.replace(['{', '}'], "");
        for method in METHODS.iter().filter(|method| item[**method].is_null()) {
            let reply =
                client.send(&method.to_uppercase(), &format!("{api}{path}"), &[], "{}").await;
            reply.error(405);
        }
    }
}
