use super::*;

#[test]
fn drops() {
    let drops = Drops {
        since: at("08:48:00"),
        sources: vec![DropSource {
            source: ip("198.51.100.9"),
            database: "orders".to_owned(),
            port: 5432,
            reason: Reason::Untrusted,
            verdict: Verdict::Drop,
            estimated_packets: 12_300,
            first_seen: at("10:00:00"),
            last_seen: at("11:59:59"),
        }],
    };
    insta::assert_snapshot!(table(&drops), @"
    SOURCE        DATABASE  PORT  VERDICT  REASON     PACKETS  FIRST SEEN  LAST SEEN
    198.51.100.9  orders    5432  drop     untrusted   ~12.3k  2h00m ago   1s ago
    ");
    insta::assert_snapshot!(for_scripts(&drops), @r#"
    198.51.100.9→orders→5432→drop→untrusted→12300→2026-03-01T10:00:00Z→2026-03-01T11:59:59Z
    {
      "since": "2026-03-01T08:48:00Z",
      "sources": [
        {
          "source": "198.51.100.9",
          "database": "orders",
          "port": 5432,
          "reason": "untrusted",
          "verdict": "drop",
          "estimated_packets": 12300,
          "first_seen": "2026-03-01T10:00:00Z",
          "last_seen": "2026-03-01T11:59:59Z"
        }
      ]
    }
    "#);
    let none = Drops { since: drops.since, sources: Vec::new() };
    insta::assert_snapshot!(table(&none), @"Nothing was refused since 2026-03-01T08:48:00Z.");
}

#[test]
fn drops_as_they_happen() {
    let event = |source: &str, database: &str, port, protocol: &str| DropEvent {
        time: at("11:59:59.123456"),
        source: ip(source),
        database: database.to_owned(),
        port,
        protocol: protocol.to_owned(),
        interface: "eth0".to_owned(),
        reason: Reason::Untrusted,
        verdict: Verdict::Drop,
        weight: 64,
    };
    let events =
        [event("198.51.100.9", "orders", 5432, "tcp"), event("2001:db8::bad", "*", 0, "17")];
    insta::assert_snapshot!(stream(&events), @r#"
    TIME                  VERDICT  REASON       DATABASE      PORT       INTERFACE  PACKETS  SOURCE
    2026-03-01T11:59:59Z  drop     untrusted    orders        tcp/5432   eth0           ~64  198.51.100.9
    2026-03-01T11:59:59Z  drop     untrusted    *             17/unread  eth0           ~64  2001:db8::bad
    2026-03-01T11:59:59.123456Z→198.51.100.9→orders→5432→tcp→eth0→untrusted→drop→64
    2026-03-01T11:59:59.123456Z→2001:db8::bad→*→0→17→eth0→untrusted→drop→64
    {"time":"2026-03-01T11:59:59.123456Z","source":"198.51.100.9","database":"orders","port":5432,"protocol":"tcp","interface":"eth0","reason":"untrusted","verdict":"drop","weight":64}
    {"time":"2026-03-01T11:59:59.123456Z","source":"2001:db8::bad","database":"*","port":0,"protocol":"17","interface":"eth0","reason":"untrusted","verdict":"drop","weight":64}
    "#);
}
