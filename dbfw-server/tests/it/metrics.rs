//! Metrics and health, as monitoring reads them.

use std::{
    io::Write as _,
    net::SocketAddr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    agent::Agent,
    support::{Client, PATIENCE, Server},
};

/// The address of the metrics, by the log.
pub(crate) fn address(server: &Server) -> SocketAddr {
    let log = server.log();
    let (_, rest) = log.split_once("metrics=").expect("it says where");
    rest.split_whitespace().next().expect("an address").parse().expect("an address with a port")
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let reply = Client::plain(address).await.get(path).await;
    (reply.status, String::from_utf8(reply.body).expect("text"))
}

/// The value of a line of metrics.
pub(crate) fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("no {series} in\n{metrics}"));
    value.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_hosts_edits_requests_and_refused_tokens() {
    let server = Server::with("metrics_listen = \"127.0.0.1:0\"");
    let metrics = address(&server);
    // Every label is there before anything happened.
    let (status, before) = get(metrics, "/metrics").await;
    assert_eq!(status, 200);
    for series in [
        "dbfw_server_rejected_logins_total{kind=\"join\"}",
        "dbfw_server_requests_total{route=\"watch\",status=\"5xx\"}",
        "dbfw_server_list_changes_total{via=\"terraform\"}",
        "dbfw_server_store_errors_total{operation=\"commit\"}",
        "dbfw_server_failing_sources{provider=\"dns\"}",
        "dbfw_server_provider_failures_total{provider=\"feeds\",cause=\"rate_limited\"}",
    ] {
        assert_eq!(value(&before, series) as u64, 0, "{series}");
    }

    server.database("orders");
    let mut agent = Agent::join(&server, "db-1", &["orders"]).await;
    let (mut stream, _) = agent.sync().await;
    let (_, text) = get(metrics, "/metrics").await;
    assert_eq!(value(&text, "dbfw_server_streams") as u64, 1);
    let mut editor = server.connect(&server.admin()).await;
    let edit = editor.append("orders", "ip_addr", "192.0.2.1");
    let host = async {
        agent.next(&mut stream).await.expect("a list");
        agent.report().await;
    };
    let (edited, ()) = tokio::join!(edit, host);
    edited.expect(204);
    let mut stranger = server.connect("dodbfw_0").await;
    stranger.get("/v2/account").await.error(401);
    let body = json!({"token": "dbfwj_x", "hostname": "db-2"});
    stranger.document("POST", "/agent/v1/join", &body).await.error(401);

    let (_, text) = get(metrics, "/metrics").await;
    for (series, expected) in [
        ("dbfw_server_up", 1),
        ("dbfw_server_hosts{database=\"orders\",state=\"applied\"}", 1),
        ("dbfw_server_hosts{database=\"orders\",state=\"offline\"}", 0),
        ("dbfw_server_propagation_seconds_count", 1),
        ("dbfw_server_list_changes_total{via=\"api\"}", 1),
        ("dbfw_server_requests_total{route=\"watch\",status=\"2xx\"}", 1),
        ("dbfw_server_requests_total{route=\"agent\",status=\"4xx\"}", 1),
        ("dbfw_server_rejected_logins_total{kind=\"api\"}", 1),
        ("dbfw_server_rejected_logins_total{kind=\"join\"}", 1),
        ("dbfw_server_rejected_logins_total{kind=\"panel\"}", 0),
        ("dbfw_server_store_errors_total{operation=\"read\"}", 0),
        ("dbfw_server_host_tokens_used_twice", 0),
    ] {
        assert_eq!(value(&text, series) as u64, expected, "{series}");
    }
    assert!(value(&text, "dbfw_server_sent_bytes_total") > 100.0);
    let left = value(&text, "dbfw_server_certificate_expiry_timestamp_seconds")
        - jiff::Timestamp::now().as_second() as f64;
    assert!((89.0..=90.0).contains(&(left / 86_400.0)), "{left}");
    // No secret and nothing that a client sent is in them.
    assert!(!text.contains("192.0.2.1") && !text.contains("dodbfw_"), "{text}");

    // Who breaks off is offline at once.
    drop(stream);
    let series = "dbfw_server_hosts{database=\"orders\",state=\"offline\"}";
    let patience = Instant::now();
    while value(&get(metrics, "/metrics").await.1, series) < 1.0 {
        assert!(patience.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_takes_the_metrics() {
    let server = Server::with("metrics_listen = \"127.0.0.1:0\"");
    server.database("orders");
    let (_, text) = get(address(&server), "/metrics").await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run promtool");
    promtool.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("write to it");
    let output = promtool.wait_with_output().expect("its output");
    assert!(output.status.success(), "{output:?}\n{text}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}\n{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_the_store_and_nothing_else_is_served() {
    let mut server = Server::with("metrics_listen = \"127.0.0.1:0\"");
    let metrics = address(&server);
    assert_eq!(get(metrics, "/healthz").await, (200, "ok\n".to_owned()));
    // It listens a moment before the lists were read.
    let patience = Instant::now();
    loop {
        match get(metrics, "/readyz").await {
            (200, text) => {
                assert_eq!(text, "ok\n");
                break;
            }
            (status, reason) => {
                assert_eq!((status, &*reason), (503, "the lists were not read yet\n"));
                assert!(patience.elapsed() < PATIENCE);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    for path in ["/v2/account", "/api/v1/databases", "/agent/v1/watch", "/login", "/admin/v1/store"]
    {
        assert_eq!(get(metrics, path).await.0, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let reply = Client::plain(metrics).await.send(method, "/metrics", &[], "").await;
        assert_eq!(reply.status, 405, "{method}");
    }
    // And the other port has no metrics.
    let mut client = server.connect(&server.admin()).await;
    for path in ["/metrics", "/readyz"] {
        assert_eq!(client.get(path).await.status, 404, "{path}");
    }
    assert_eq!(server.stop(Signal::SIGTERM), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_port_of_the_metrics_is_taken_runs_without() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    let server = Server::with(&format!("metrics_listen = \"{address}\""));
    assert!(server.log().contains("no metrics"), "{}", server.log());
    let mut client = server.connect(&server.admin()).await;
    client.get("/v2/account").await.expect(200);
}
