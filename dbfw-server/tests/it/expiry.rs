//! Sources whose time is over.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{PATIENCE, Server};

fn after(seconds: i64) -> String {
    (Timestamp::now() + SignedDuration::from_secs(seconds)).to_string()
}

async fn wait_for(server: &Server, database: &str, sources: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = server.sources(database).await;
        if now == sources {
            return;
        }
        assert!(Instant::now() < deadline, "{now:?} should be {sources:?}\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_goes_by_itself_and_the_history_says_so() {
    let server = Server::start();
    let id = server.database("orders");
    let mut client = server.connect(&server.admin()).await;
    let end = after(2);
    let rules = [
        json!({"type": "tag", "value": "stays"}),
        json!({"type": "ip_addr", "value": "192.0.2.1", "expires_at": end}),
        json!({"type": "ip_addr", "value": "192.0.2.2", "expires_at": after(3600)}),
    ];
    client.put(&id, &rules).await.expect(204);
    let rule = client.rules(&id).await[1].clone();
    let told: Timestamp = rule["expires_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(told, end.parse().unwrap());
    wait_for(&server, &id, &["tag:stays", "ip_addr:192.0.2.2"]).await;
    assert!(Timestamp::now() >= told);
    let changes = client.get(&format!("/api/v1/databases/{id}/changes")).await.expect(200).json();
    let last = &changes["changes"][0];
    assert_eq!((&last["by"], &last["via"]), (&json!("expiry"), &json!("server")));
    assert_eq!(last["removed"][0]["value"], "192.0.2.1");
    assert_eq!(last["version"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expired_while_the_server_was_down_goes_when_it_starts() {
    let mut server = Server::start();
    let id = server.database("orders");
    let mut client = server.connect(&server.admin()).await;
    let rules = [json!({"type": "tag", "value": "short", "expires_at": after(1)})];
    client.put(&id, &rules).await.expect(204);
    assert_eq!(server.stop(Signal::SIGKILL), None);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    server.spawn(&[]);
    wait_for(&server, &id, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_that_is_put_off_is_the_later_one() {
    let server = Server::start();
    let id = server.database("orders");
    let mut client = server.connect(&server.admin()).await;
    let rule = |end: String| [json!({"type": "tag", "value": "a", "expires_at": end})];
    client.put(&id, &rule(after(2))).await.expect(204);
    client.put(&id, &rule(after(3600))).await.expect(204);
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(server.sources(&id).await, ["tag:a"]);
}
