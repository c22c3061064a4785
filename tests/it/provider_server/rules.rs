//! The trusted sources of a database cluster: read, and replaced as a whole.

use dbfw_tests::provider_server::{Options, Server};
use serde_json::{Value, json};

use super::{get, send};

const CLUSTER: &str = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";

fn firewall() -> String {
    format!("/v2/databases/{CLUSTER}/firewall")
}

#[test]
fn a_list_of_rules_is_replaced_as_a_whole() {
    let server = Server::start(Options::default());
    server.account(|account| {
        account.add_database_as(CLUSTER, "orders", &["tag:backend", "ip_addr:192.0.2.1"]);
        account.rules_mut("orders")[1].description = Some("an office".to_owned());
    });
    let before = get(&server, &firewall()).json();
    let [tag, office] = before["rules"].as_array().expect("rules").as_slice() else {
        panic!("{before}")
    };

    // The office without its description and by its uuid; the tag by type and value.
    let wanted = json!({ "rules": [
        { "type": "ip_addr", "value": "192.0.2.0/24" },
        { "uuid": office["uuid"], "cluster_uuid": "", "type": "ip_addr", "value": "192.0.2.2" },
        { "uuid": "", "type": "tag", "value": "backend", "created_at": "0001-01-01T00:00:00Z" },
    ]});
    let reply = send(&server, "PUT", &firewall(), &wanted);
    assert_eq!((reply.status, reply.body.as_slice()), (204, b"".as_slice()));

    let after = get(&server, &firewall()).json();
    let rules = after["rules"].as_array().expect("rules");
    let values: Vec<_> = rules.iter().map(|rule| &rule["value"]).collect();
    assert_eq!(values, ["192.0.2.0/24", "192.0.2.2", "backend"], "byte for byte, in order");
    assert!(rules.iter().all(|rule| rule["cluster_uuid"] == CLUSTER), "{after}");
    assert_ne!(rules[0]["uuid"], "");
    for (old, new) in [(office, &rules[1]), (tag, &rules[2])] {
        assert_eq!((&old["uuid"], &old["created_at"]), (&new["uuid"], &new["created_at"]));
    }
    assert_eq!(rules[1]["description"], "an office", "doctl sends none");
    assert!(rules[2].get("description").is_none());

    // An empty one takes it away; an empty list is a list.
    let bare = json!({ "rules": [{ "uuid": office["uuid"], "type": "ip_addr",
        "value": "192.0.2.2", "description": "" }] });
    assert_eq!(send(&server, "PUT", &firewall(), &bare).status, 204);
    assert!(get(&server, &firewall()).json()["rules"][0].get("description").is_none());
    assert_eq!(send(&server, "PUT", &firewall(), &json!({ "rules": [] })).status, 204);
    assert_eq!(get(&server, &firewall()).json(), json!({ "rules": [] }));
}

#[test]
fn rules_that_digitalocean_has_not_are_refused_and_change_nothing() {
    let server = Server::start(Options::default());
    server.account(|account| account.add_database_as(CLUSTER, "orders", &["tag:backend"]));
    let rule = |kind: &str, value: &str| json!({ "rules": [{ "type": kind, "value": value }] });
    let many: Vec<Value> =
        (0..101).map(|n| json!({ "type": "ip_addr", "value": format!("192.0.2.{n}") })).collect();
    let cases = [
        (rule("ip_addr", "2001:db8::1"), 422),
        (rule("ip_addr", "backend"), 422),
        (rule("vpc", "default"), 422),
        (json!({ "rules": many }), 422),
        (json!({ "rules": {} }), 400),
        (json!([]), 400),
    ];
    for (body, status) in cases {
        let reply = send(&server, "PUT", &firewall(), &body);
        assert_eq!(reply.status, status, "{body}");
        let error = reply.json();
        let expected = if status == 400 { "bad_request" } else { "unprocessable_entity" };
        assert_eq!(error["id"], expected);
        assert!(error["request_id"].is_string() && error["message"].is_string(), "{error}");
    }
    assert_eq!(server.account(|account| account.rules("orders")), ["tag:backend"]);
    let unknown = get(&server, "/v2/databases/00000000-0000-4000-8000-000000000000/firewall");
    assert_eq!((unknown.status, &unknown.json()["id"]), (404, &json!("not_found")));
}
