use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Documents of the first version are still read.
#[test]
fn documents_without_the_later_fields_are_read() {
    let request: Request = read(json!({"verb": "reload"}));
    assert_eq!(request, Request::Reload { plans: Vec::new(), trial_seconds: None });
    let reloaded: Reloaded =
        read(json!({"generation": 1, "added": 0, "removed": 0, "refused": []}));
    assert_eq!((reloaded.failed.len(), reloaded.pending.len()), (0, 0));
    let source: SourceStatus = read(json!({
        "database": "orders", "source": "ip_addr:10.0.0.1", "origin": "config",
        "description": null, "expires_at": null, "prefixes": ["10.0.0.1/32"], "packets": 0,
        "last_hit": null,
    }));
    assert_eq!((source.state, source.unresolved.len()), (SourceState::Literal, 0));
    let status: Status = read(json!({
        "version": "0.1.0", "protected": true, "protection": "yes", "problems": [],
        "agent": null, "interfaces": [], "backstop": null, "databases": [{
            "name": "orders", "ports": ["tcp/5432"], "mode": "enforce", "sources": 1,
            "prefixes_ipv4": 1, "prefixes_ipv6": 0, "allowed_packets": 0, "dropped_packets": 0,
            "observed_packets": 0, "drops_per_second": null, "provider": null,
        }],
    }));
    assert_eq!(status.databases[0].refused, None);
    assert_eq!((status.databases[0].stale_sources, status.accounts.len()), (0, 0));
}

#[test]
fn only_what_changes_something_is_roots_alone() {
    let reads = ["status", "sources", "map_dump", "metrics", "trust_list"];
    for verb in reads {
        assert!(!read::<Request>(json!({ "verb": verb })).changes(), "{verb}");
    }
    assert!(!read::<Request>(json!({"verb": "suggest", "database": "orders"})).changes());
    let plans = json!({"verb": "reload", "plans": ["1a2b3c4d"]});
    assert!(read::<Request>(plans).changes());
    let misspelt = json!({"verb": "reload", "plan": ["1a2b3c4d"]});
    assert!(serde_json::from_value::<Request>(misspelt).is_err());
}

#[test]
fn a_request_for_all_drops_is_that_of_earlier_versions() {
    let text = r#"{"verb":"drops","follow":true,"limit":0}"#;
    let request: Request = serde_json::from_str(text).unwrap();
    let order = DropOrder::Newest;
    let (address, database, since) = (None, None, None);
    let all = Request::Drops { follow: true, limit: 0, address, database, since, order };
    assert_eq!(request, all);
    assert_eq!(serde_json::to_string(&all).unwrap(), text);
    let some = Request::Drops {
        follow: false,
        limit: usize::MAX,
        address: Some("10.0.0.0/8".parse().unwrap()),
        database: Some("orders".to_owned()),
        since: Some("2026-03-01T00:00:00Z".parse().unwrap()),
        order: DropOrder::Packets,
    };
    let text = serde_json::to_string(&some).unwrap();
    assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), some, "{text}");
}

#[test]
fn drops_of_earlier_versions_are_read() {
    let drops: Drops = read(json!({
        "since": "2026-03-01T00:00:00Z",
        "sources": [{
            "source": "10.0.0.1", "database": "orders", "port": 5432, "reason": "untrusted",
            "verdict": "drop", "estimated_packets": 4, "first_seen": "2026-03-01T00:00:00Z",
            "last_seen": "2026-03-01T00:00:00Z",
        }],
    }));
    assert_eq!((drops.left_out, drops.remembered, drops.forgotten), (0, 0, 0));
    let [source] = &drops.sources[..] else { panic!("{drops:?}") };
    assert!(!source.trusted_now && !source.has_more && source.ports.is_empty());
}
