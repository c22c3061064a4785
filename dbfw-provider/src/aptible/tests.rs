use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use axum::http::header;
use dbfw_core::answers::Cause;

use super::*;
use crate::{
    http::HttpConfig,
    poller::bench::{Bench, lists, web::Server},
    token::TokenSource,
};

/// In the shape of the API's own (aptible/app-ui, `DeployEndpointResponse`).
const DOCUMENT: &str = r#"{
  "id": 123,
  "_type": "vhost",
  "type": "tcp",
  "platform": "elb",
  "status": "provisioned",
  "acme": false,
  "acme_configuration": null,
  "container_exposed_ports": null,
  "container_ports": [],
  "default": false,
  "external_host": "elb-orders-123.aptible.in",
  "internal": false,
  "ip_whitelist": ["203.0.113.7", "198.51.100.0/24"],
  "security_group_id": "sg-0123456789abcdef0",
  "created_at": "2026-11-02T10:00:00.000Z",
  "updated_at": "2026-11-02T10:05:00.000Z",
  "_links": {
    "service": { "href": "https://api.aptible.com/services/45" },
    "self": { "href": "https://api.aptible.com/vhosts/123" }
  }
}"#;

const TOKEN: &str = "eyJhbGciOiJSUzUxMiJ9.secret";

fn write_token(path: &Path, token: &str) {
    // As configuration management does it: a new file in the place of the old one.
    let new = path.with_extension("new");
    fs::write(&new, token).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, path).unwrap();
}

fn config(server: &Server, token: PathBuf) -> AptibleConfig {
    AptibleConfig {
        api_url: server.url("").parse().unwrap(),
        token: TokenSource::File(token),
        http: HttpConfig::default(),
        poll: Duration::from_secs(3600),
    }
}

/// A task that wants these lists, with its token in a file.
fn begin(server: &Server, token: &Path, names: &[&str]) -> (Bench, Arc<Stats>) {
    let stats = Arc::new(Stats::default());
    let task = Aptible::new(config(server, token.to_path_buf()), Arc::clone(&stats));
    (Bench::new(lists(names), |mailbox| task.run(mailbox)), stats)
}

fn whitelist(server: &Server, vhost: u64, list: &str) {
    let body = format!("{{\"id\":{vhost},\"ip_whitelist\":{list}}}");
    server.status(&format!("/vhosts/{vhost}"), 200, body);
}

fn list(outcome: &ListOutcome) -> (Vec<String>, Vec<String>) {
    let ListOutcome::Answer(list) = outcome else { panic!("no list: {outcome:?}") };
    (list.sources.iter().map(ToString::to_string).collect(), list.problems.clone())
}

fn failure(outcome: &ListOutcome) -> (Cause, &str) {
    let ListOutcome::Failed(error) = outcome else { panic!("not failed: {outcome:?}") };
    assert!(!error.to_string().contains(TOKEN), "{error}");
    (error.cause, &error.reason)
}

#[tokio::test]
async fn a_list_and_its_changes() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    write_token(&token, TOKEN);
    let server = Server::start().await;
    server.status("/vhosts/123", 200, DOCUMENT);
    whitelist(&server, 45, "[]");
    whitelist(&server, 46, "null");
    let (mut bench, stats) = begin(&server, &token, &["aptible:123", "aptible:45", "aptible:46"]);

    let heard = bench.round().await;
    let sources = ["ip_addr:203.0.113.7", "ip_addr:198.51.100.0/24"].map(str::to_owned);
    assert_eq!(list(heard.list("aptible:123")), (sources.to_vec(), Vec::new()));
    for empty in ["aptible:45", "aptible:46"] {
        assert_eq!(list(heard.list(empty)), (Vec::new(), Vec::new()));
    }
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    for (path, sent) in asked {
        assert!(path.starts_with("/vhosts/"), "{path}");
        assert_eq!(sent[header::AUTHORIZATION], format!("Bearer {TOKEN}"));
        assert_eq!(sent[header::ACCEPT], "application/hal+json, application/json");
    }

    // Another time of the last change, the same rules.
    server.status("/vhosts/123", 200, DOCUMENT.replace("10:05", "11:05"));
    server.tagged("/vhosts/45", "\"1\"", "{\"ip_whitelist\":[\"10.0.0.1\"]}");
    let before = heard;
    let heard = bench.polled().await;
    assert_eq!(heard.list("aptible:123"), before.list("aptible:123"));
    assert_eq!(list(heard.list("aptible:45")).0, ["ip_addr:10.0.0.1"]);
    let heard = bench.polled().await;
    assert_eq!(list(heard.list("aptible:45")).0, ["ip_addr:10.0.0.1"]);
    let etags = server.asked().into_iter().filter(|(_, sent)| sent.contains_key("if-none-match"));
    assert_eq!(etags.count(), 1);
    assert_eq!(stats.values().requests, 9);
    assert_eq!(stats.values().failures.iter().sum::<u64>(), 0);
    bench.end().await;
}

#[tokio::test]
async fn what_is_no_rule_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    write_token(&token, TOKEN);
    let server = Server::start().await;
    whitelist(
        &server,
        123,
        r#"["10.0.0.1", "1.1.1.1/1", "all", 7, null, "", " 10.0.0.2", "2001:db8::/32"]"#,
    );
    let (mut bench, _) = begin(&server, &token, &["aptible:123"]);
    let (sources, problems) = list(bench.round().await.list("aptible:123"));
    assert_eq!(sources, ["ip_addr:10.0.0.1", "ip_addr:2001:db8::/32"]);
    let place = |i: usize| format!(": fix it there (Aptible: vhost 123, ip_whitelist[{i}])");
    assert_eq!(problems.len(), 6);
    assert_eq!(
        problems[0],
        "1.1.1.1/1 has host bits set; write 0.0.0.0/1, or 1.1.1.1 for the one address".to_owned()
            + &place(1)
    );
    assert_eq!(
        problems[1],
        "\"all\" is not an IPv4 or IPv6 address; write an address, a CIDR or a range".to_owned()
            + &place(2)
    );
    assert_eq!(problems[2], "is 7, not a string".to_owned() + &place(3));
    assert_eq!(problems[3], "is null, not a string".to_owned() + &place(4));
    assert!(problems[4].ends_with(&place(5)), "{}", problems[4]);
    assert!(problems[5].contains("white space around it"), "{}", problems[5]);
}

#[tokio::test]
async fn every_failure_names_the_endpoint_and_its_cause() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    write_token(&token, TOKEN);
    let server = Server::start().await;
    whitelist(&server, 123, "[\"10.0.0.1\"]");
    let (mut bench, stats) = begin(&server, &token, &["aptible:123"]);
    bench.round().await;

    let denied = r#"{"code":401,"error":"invalid_token","message":"Invalid token"}"#;
    let repeated = format!("{{\"message\":\"{TOKEN} is unknown\"}}");
    for (status, body, cause, words) in [
        (401, denied, Cause::Unauthorized, "Invalid token"),
        (401, &repeated, Cause::Unauthorized, "is unknown"),
        (403, "", Cause::Permission, "403"),
        (429, "", Cause::RateLimited, "429"),
        (503, "", Cause::Server, "503"),
        (302, "", Cause::Redirect, "place to go"),
        (304, "", Cause::Invalid, "answered 304"),
        (204, "", Cause::Invalid, "answered 204"),
        (200, "<html>", Cause::Invalid, "HTML"),
        (200, "{\"id\":123", Cause::Invalid, "ends too early"),
        (200, "[]", Cause::Invalid, "not the JSON that is documented"),
        (200, "{\"id\":123}", Cause::Invalid, "ip_whitelist: is missing"),
        (200, "{\"id\":124,\"ip_whitelist\":[]}", Cause::Invalid, "id: is 124"),
        (200, "{\"id\":123,\"ip_whitelist\":\"\"}", Cause::Invalid, "ip_whitelist"),
    ] {
        server.status("/vhosts/123", status, body);
        let heard = bench.polled().await;
        let (found, message) = failure(heard.list("aptible:123"));
        assert_eq!(found, cause, "{status} {body}: {message}");
        assert!(message.contains(words), "{status} {body}: {message}");
    }
    assert_eq!(stats.values().failures.iter().sum::<u64>(), 14);

    server.status("/vhosts/123", 404, r#"{"code":404,"error":"not_found"}"#);
    let heard = bench.polled().await;
    let ListOutcome::Gone(why) = heard.list("aptible:123") else { panic!("{heard:?}") };
    assert_eq!(why, "answered 404, not found (Aptible: GET /vhosts/123)");
    whitelist(&server, 123, "[\"10.0.0.1\"]");
    assert_eq!(list(bench.polled().await.list("aptible:123")).0, ["ip_addr:10.0.0.1"]);
}

#[tokio::test]
async fn a_renewed_token_is_tried_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    let server = Server::start().await;
    whitelist(&server, 123, "[]");
    let (mut bench, stats) = begin(&server, &token, &["aptible:123"]);
    let heard = bench.round().await;
    let (cause, message) = failure(heard.list("aptible:123"));
    assert_eq!(cause, Cause::Unauthorized);
    assert!(message.contains("does not exist"), "{message}");
    assert_eq!(stats.values().requests, 0);

    write_token(&token, TOKEN);
    assert_eq!(list(bench.round().await.list("aptible:123")).0, Vec::<String>::new());
    assert_eq!(server.asked()[0].1[header::AUTHORIZATION], format!("Bearer {TOKEN}"));
    write_token(&token, "another");
    assert_eq!(list(bench.round().await.list("aptible:123")).0, Vec::<String>::new());
    assert_eq!(server.asked()[0].1[header::AUTHORIZATION], "Bearer another");
}

#[test]
fn the_token_is_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    write_token(&token, TOKEN);
    let config = AptibleConfig {
        api_url: "https://api.aptible.com".parse().unwrap(),
        token: TokenSource::File(token),
        http: HttpConfig::default(),
        poll: Duration::from_secs(60),
    };
    let task = Aptible::new(config, Arc::default());
    let session = task.client.session().unwrap();
    assert!(!format!("{task:?} {session:?}").contains(TOKEN));
}
