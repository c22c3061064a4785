use super::*;

fn refused(source: &str) -> DropSource {
    DropSource {
        source: ip(source),
        database: "orders".to_owned(),
        port: 5432,
        reason: Reason::Untrusted,
        verdict: Verdict::Drop,
        estimated_packets: 12_300,
        first_seen: at("10:00:00"),
        last_seen: at("11:59:59"),
        ports: vec![5432],
        reasons: vec![Reason::Untrusted],
        interfaces: vec!["eth0".to_owned()],
        has_more: false,
        trusted_now: false,
        trusted_by: None,
    }
}

fn trusted(source: &str, by: &str) -> DropSource {
    DropSource { trusted_now: true, trusted_by: Some(by.to_owned()), ..refused(source) }
}

fn drops(sources: Vec<DropSource>) -> Drops {
    let remembered = sources.len();
    Drops { since: at("08:48:00"), sources, left_out: 0, remembered, forgotten: 0 }
}

#[test]
fn refused_sources() {
    let both = DropSource {
        ports: vec![5432, 6432],
        reasons: vec![Reason::Untrusted, Reason::Backstop],
        interfaces: vec!["eth0".to_owned(), "wg0".to_owned()],
        verdict: Verdict::Observe,
        ..refused("2001:db8::9")
    };
    let drops = drops(vec![refused("198.51.100.9"), both]);
    insta::assert_snapshot!(table(&drops), @"
    SOURCE        DATABASE  PORT       VERDICT  REASON              INTERFACE  PACKETS  FIRST SEEN  LAST SEEN
    198.51.100.9  orders    5432       drop     untrusted           eth0        ~12.3k  2h00m ago   1s ago
    2001:db8::9   orders    5432,6432  observe  untrusted,backstop  eth0,wg0    ~12.3k  2h00m ago   1s ago
    ");
    insta::assert_snapshot!(for_scripts(&drops), @r#"
    198.51.100.9→orders→5432→drop→untrusted→12300→2026-03-01T10:00:00Z→2026-03-01T11:59:59Z→5432→untrusted→eth0→no→
    2001:db8::9→orders→5432→observe→untrusted→12300→2026-03-01T10:00:00Z→2026-03-01T11:59:59Z→5432,6432→untrusted,backstop→eth0,wg0→no→
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
          "last_seen": "2026-03-01T11:59:59Z",
          "ports": [
            5432
          ],
          "reasons": [
            "untrusted"
          ],
          "interfaces": [
            "eth0"
          ],
          "has_more": false,
          "trusted_now": false,
          "trusted_by": null
        },
        {
          "source": "2001:db8::9",
          "database": "orders",
          "port": 5432,
          "reason": "untrusted",
          "verdict": "observe",
          "estimated_packets": 12300,
          "first_seen": "2026-03-01T10:00:00Z",
          "last_seen": "2026-03-01T11:59:59Z",
          "ports": [
            5432,
            6432
          ],
          "reasons": [
            "untrusted",
            "backstop"
          ],
          "interfaces": [
            "eth0",
            "wg0"
          ],
          "has_more": false,
          "trusted_now": false,
          "trusted_by": null
        }
      ],
      "left_out": 0,
      "remembered": 2,
      "forgotten": 0
    }
    "#);
}

#[test]
fn nothing_that_was_refused() {
    let none = |remembered, forgotten| {
        table(&Drops { remembered, forgotten, ..drops(Vec::new()) }).trim_end().to_owned()
    };
    insta::assert_snapshot!(none(0, 0), @"No refusal is known since 2026-03-01T08:48:00Z.");
    insta::assert_snapshot!(none(1, 0), @"One refused source is known since 2026-03-01T08:48:00Z, and it does not match.");
    insta::assert_snapshot!(none(4096, 2), @"
    4096 refused sources are known since 2026-03-01T08:48:00Z, and none matches.

    2 times the agent forgot the source with the fewest packets to make room for another
    ");
}

#[test]
fn what_is_trusted_now_does_not_look_refused() {
    let drops = drops(vec![
        trusted("198.51.100.7", "ip_addr:198.51.100.0/24"),
        refused("198.51.100.9"),
        // Trust does not let these in.
        DropSource { reason: Reason::Martian, ..trusted("198.51.100.8", "tag:backend") },
    ]);
    insta::assert_snapshot!(table(&drops), @"
    SOURCE        DATABASE  PORT  VERDICT  REASON     INTERFACE  PACKETS  FIRST SEEN  LAST SEEN
    198.51.100.9  orders    5432  drop     untrusted  eth0        ~12.3k  2h00m ago   1s ago
    198.51.100.8  orders    5432  drop     untrusted  eth0        ~12.3k  2h00m ago   1s ago

    Not trusted before, trusted now:
    SOURCE        DATABASE  PORT  VERDICT  REASON     INTERFACE  PACKETS  LAST SEEN  TRUSTED BY
    198.51.100.7  orders    5432  drop     untrusted  eth0        ~12.3k  1s ago     ip_addr:198.51.100.0/24
    ");
    let drops = Drops { sources: drops.sources[..1].to_vec(), ..drops };
    insta::assert_snapshot!(table(&drops), @"
    Not trusted before, trusted now:
    SOURCE        DATABASE  PORT  VERDICT  REASON     INTERFACE  PACKETS  LAST SEEN  TRUSTED BY
    198.51.100.7  orders    5432  drop     untrusted  eth0        ~12.3k  1s ago     ip_addr:198.51.100.0/24
    ");
}

#[test]
fn what_is_cut_is_counted() {
    let many = DropSource {
        ports: (6432..6448).collect(),
        interfaces: (0..16).map(|n| format!("eth{n}")).collect(),
        ..refused("198.51.100.9")
    };
    let more = DropSource { has_more: true, ..many.clone() };
    let drops = Drops { left_out: 12, forgotten: 34, remembered: 4096, ..drops(vec![many, more]) };
    insta::assert_snapshot!(table(&drops), @"
    SOURCE        DATABASE  PORT                        VERDICT  REASON     INTERFACE                   PACKETS  FIRST SEEN  LAST SEEN
    198.51.100.9  orders    6432,6433,6434,+13          drop     untrusted  eth0,eth1,eth2,+13           ~12.3k  2h00m ago   1s ago
    198.51.100.9  orders    6432,6433,6434,+13 or more  drop     untrusted  eth0,eth1,eth2,+13 or more   ~12.3k  2h00m ago   1s ago

    12 more sources are not shown: --limit 14
    34 times the agent forgot the source with the fewest packets to make room for another
    ");
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
        missed: 0,
    };
    let events =
        [event("198.51.100.9", "orders", 5432, "tcp"), event("2001:db8::bad", "*", 0, "17")];
    insta::assert_snapshot!(stream(&events), @r#"
    TIME                  VERDICT  REASON       DATABASE      PORT       INTERFACE  PACKETS  SOURCE
    2026-03-01T11:59:59Z  drop     untrusted    orders        tcp/5432   eth0           ~64  198.51.100.9
    2026-03-01T11:59:59Z  drop     untrusted    *             17/unread  eth0           ~64  2001:db8::bad
    2026-03-01T11:59:59.123456Z→198.51.100.9→orders→5432→tcp→eth0→untrusted→drop→64→0
    2026-03-01T11:59:59.123456Z→2001:db8::bad→*→0→17→eth0→untrusted→drop→64→0
    {"time":"2026-03-01T11:59:59.123456Z","source":"198.51.100.9","database":"orders","port":5432,"protocol":"tcp","interface":"eth0","reason":"untrusted","verdict":"drop","weight":64,"missed":0}
    {"time":"2026-03-01T11:59:59.123456Z","source":"2001:db8::bad","database":"*","port":0,"protocol":"17","interface":"eth0","reason":"untrusted","verdict":"drop","weight":64,"missed":0}
    "#);
}
