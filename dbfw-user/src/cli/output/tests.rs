mod setup;
mod status;

use std::net::IpAddr;

use crate::control::wire::*;

use super::*;

const NOW: &str = "2026-03-01T12:00:00Z";

fn at(time: &str) -> Timestamp {
    format!("2026-03-01T{time}Z").parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn text(document: &impl Render, format: Format) -> String {
    let text = render(document, format, NOW.parse().unwrap()).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    anstream::adapter::strip_str(&text).to_string()
}

fn table(document: &impl Render) -> String {
    text(document, Format::Table)
}

/// The other two forms, with tabs that can be seen.
fn for_scripts(document: &impl Render) -> String {
    text(document, Format::Plain).replace('\t', "→") + &text(document, Format::Json)
}

fn stream<T: Item>(items: &[T]) -> String {
    let forms = [Format::Table, Format::Plain, Format::Json];
    let shown = forms.map(|format| {
        let lines =
            items.iter().map(|item| render_item(item, format, NOW.parse().unwrap()).unwrap());
        render_header::<T>(format) + &lines.collect::<String>()
    });
    anstream::adapter::strip_str(&shown.concat()).to_string().replace('\t', "→")
}

#[test]
fn sources() {
    let sources = Sources {
        sources: vec![
            SourceStatus {
                database: "orders".to_owned(),
                source: "ip_addr:10.10.0.0/16".to_owned(),
                origin: "config".to_owned(),
                description: None,
                expires_at: None,
                prefixes: vec!["10.10.0.0/16".to_owned()],
                packets: 12_345,
                last_hit: Some(at("11:59:58")),
            },
            SourceStatus {
                database: "orders".to_owned(),
                source: "ip_addr:10.0.0.1-10.0.0.6".to_owned(),
                origin: "file:/etc/dbfw/orders.list".to_owned(),
                description: Some("CI\trunners".to_owned()),
                expires_at: Some(at("14:00:00")),
                prefixes: vec!["10.0.0.1/32".to_owned(), "10.0.0.2/31".to_owned()],
                packets: 0,
                last_hit: None,
            },
        ],
    };
    insta::assert_snapshot!(table(&sources), @r"
    DATABASE  SOURCE                     ORIGIN                      PREFIXES      PACKETS  LAST USED  EXPIRES   DESCRIPTION
    orders    ip_addr:10.10.0.0/16       config                      10.10.0.0/16    12.3k  2s ago     -         -
    orders    ip_addr:10.0.0.1-10.0.0.6  file:/etc/dbfw/orders.list  2 prefixes          0  -          in 2h00m  CI\trunners
    ");
    insta::assert_snapshot!(for_scripts(&sources), @r#"
    orders→ip_addr:10.10.0.0/16→config→10.10.0.0/16→12345→2026-03-01T11:59:58Z→→
    orders→ip_addr:10.0.0.1-10.0.0.6→file:/etc/dbfw/orders.list→10.0.0.1/32,10.0.0.2/31→0→→2026-03-01T14:00:00Z→CI\trunners
    {
      "sources": [
        {
          "database": "orders",
          "source": "ip_addr:10.10.0.0/16",
          "origin": "config",
          "description": null,
          "expires_at": null,
          "prefixes": [
            "10.10.0.0/16"
          ],
          "packets": 12345,
          "last_hit": "2026-03-01T11:59:58Z"
        },
        {
          "database": "orders",
          "source": "ip_addr:10.0.0.1-10.0.0.6",
          "origin": "file:/etc/dbfw/orders.list",
          "description": "CI\trunners",
          "expires_at": "2026-03-01T14:00:00Z",
          "prefixes": [
            "10.0.0.1/32",
            "10.0.0.2/31"
          ],
          "packets": 0,
          "last_hit": null
        }
      ]
    }
    "#);
    insta::assert_snapshot!(table(&Sources { sources: Vec::new() }), @"No source is trusted.");
}

#[test]
fn map_dump() {
    let entry = |map: &str, prefix: &str, databases: &[&str]| MapEntry {
        map: map.to_owned(),
        prefix: prefix.to_owned(),
        databases: databases.iter().map(ToString::to_string).collect(),
        rules: 7,
    };
    let entries = [
        entry("HOSTS4", "203.0.113.7/32", &["orders"]),
        entry("NETS6", "2001:db8:1234:5678::/64", &["orders", "reports"]),
    ];
    insta::assert_snapshot!(stream(&entries), @r#"
    MAP       RULES  PREFIX                    DATABASES
    HOSTS4        7  203.0.113.7/32            orders
    NETS6         7  2001:db8:1234:5678::/64   orders, reports
    HOSTS4→203.0.113.7/32→orders→7
    NETS6→2001:db8:1234:5678::/64→orders,reports→7
    {"map":"HOSTS4","prefix":"203.0.113.7/32","databases":["orders"],"rules":7}
    {"map":"NETS6","prefix":"2001:db8:1234:5678::/64","databases":["orders","reports"],"rules":7}
    "#);
}

#[test]
fn map_lookup() {
    let entry = MapEntry {
        map: "NETS4".to_owned(),
        prefix: "10.10.0.0/16".to_owned(),
        databases: vec!["orders".to_owned(), "reports".to_owned()],
        rules: 3,
    };
    let hit = Lookup { address: ip("10.10.1.2"), front: true, entry: Some(entry) };
    let miss = Lookup { address: ip("2001:db8::1"), front: false, entry: None };
    insta::assert_snapshot!(table(&hit), @"
    10.10.1.2
      presence bits  the lookup goes on to the sets
      entry          10.10.0.0/16 in NETS4
      databases      orders, reports
      rule slots     from 3
    ");
    insta::assert_snapshot!(for_scripts(&hit), @r#"
    10.10.1.2→yes→NETS4→10.10.0.0/16→orders,reports→3
    {
      "address": "10.10.1.2",
      "front": true,
      "entry": {
        "map": "NETS4",
        "prefix": "10.10.0.0/16",
        "databases": [
          "orders",
          "reports"
        ],
        "rules": 3
      }
    }
    "#);
    insta::assert_snapshot!(table(&miss), @"
    2001:db8::1
      presence bits  no prefix is near; the lookup ends here
      entry          none: no database trusts it
    ");
    insta::assert_snapshot!(for_scripts(&miss), @r#"
    2001:db8::1→no→→→→
    {
      "address": "2001:db8::1",
      "front": false,
      "entry": null
    }
    "#);
}

fn explanation(port: &str, verdict: &str, reason: &str) -> Explanation {
    Explanation {
        address: ip("203.0.113.7"),
        port: port.to_owned(),
        database: Some("orders".to_owned()),
        mode: Some("enforce".to_owned()),
        verdict: verdict.to_owned(),
        reason: reason.to_owned(),
        program: "dbfw_xdp".to_owned(),
        prefix: None,
        sources: Vec::new(),
    }
}

#[test]
fn explain() {
    let mut allowed = explanation("tcp/5432", "allow", "trusted");
    allowed.prefix = Some("203.0.113.7/32".to_owned());
    allowed.sources = vec![
        CoveringSource {
            source: "ip_addr:203.0.113.7".to_owned(),
            prefix: "203.0.113.7/32".to_owned(),
            origin: "local".to_owned(),
            description: Some("incident 42".to_owned()),
            expires_at: Some(at("13:58:00")),
        },
        CoveringSource {
            source: "ip_addr:203.0.113.0/24".to_owned(),
            prefix: "203.0.113.0/24".to_owned(),
            origin: "config".to_owned(),
            description: None,
            expires_at: None,
        },
    ];
    let mut observed = explanation("tcp/5433", "observe", "untrusted");
    observed.mode = Some("observe".to_owned());
    let mut other = explanation("tcp/22", "pass", "other_port");
    (other.database, other.mode) = (None, None);

    let let_in = Explanations(vec![allowed, observed, other]);
    insta::assert_snapshot!(table(&let_in), @"
    203.0.113.7 to tcp/5432 of orders (enforce): let in
      verdict  allow (trusted)
      program  dbfw_xdp
      prefix   203.0.113.7/32
      TRUSTED SOURCE          PREFIX          ORIGIN  EXPIRES   DESCRIPTION
      ip_addr:203.0.113.7     203.0.113.7/32  local   in 1h58m  incident 42
      ip_addr:203.0.113.0/24  203.0.113.0/24  config  -         -

    203.0.113.7 to tcp/5433 of orders (observe): let in by observe mode; enforce would drop it
      verdict  observe (untrusted)
      program  dbfw_xdp
      prefix   none covers 203.0.113.7

    203.0.113.7 to tcp/22 of no database: let in; dbfw does not judge it
      verdict  pass (other_port)
      program  dbfw_xdp
      prefix   not looked up
    ");
    insta::assert_snapshot!(for_scripts(&let_in), @r#"
    port→tcp/5432→203.0.113.7→orders→enforce→allow→trusted→dbfw_xdp→203.0.113.7/32
    source→tcp/5432→ip_addr:203.0.113.7→203.0.113.7/32→local→2026-03-01T13:58:00Z→incident 42
    source→tcp/5432→ip_addr:203.0.113.0/24→203.0.113.0/24→config→→
    port→tcp/5433→203.0.113.7→orders→observe→observe→untrusted→dbfw_xdp→
    port→tcp/22→203.0.113.7→→→pass→other_port→dbfw_xdp→
    [
      {
        "address": "203.0.113.7",
        "port": "tcp/5432",
        "database": "orders",
        "mode": "enforce",
        "verdict": "allow",
        "reason": "trusted",
        "program": "dbfw_xdp",
        "prefix": "203.0.113.7/32",
        "sources": [
          {
            "source": "ip_addr:203.0.113.7",
            "prefix": "203.0.113.7/32",
            "origin": "local",
            "description": "incident 42",
            "expires_at": "2026-03-01T13:58:00Z"
          },
          {
            "source": "ip_addr:203.0.113.0/24",
            "prefix": "203.0.113.0/24",
            "origin": "config",
            "description": null,
            "expires_at": null
          }
        ]
      },
      {
        "address": "203.0.113.7",
        "port": "tcp/5433",
        "database": "orders",
        "mode": "observe",
        "verdict": "observe",
        "reason": "untrusted",
        "program": "dbfw_xdp",
        "prefix": null,
        "sources": []
      },
      {
        "address": "203.0.113.7",
        "port": "tcp/22",
        "database": null,
        "mode": null,
        "verdict": "pass",
        "reason": "other_port",
        "program": "dbfw_xdp",
        "prefix": null,
        "sources": []
      }
    ]
    "#);
    assert!(!let_in.denied());

    let dropped = Explanations(vec![explanation("tcp/5432", "drop", "untrusted")]);
    insta::assert_snapshot!(table(&dropped), @"
    203.0.113.7 to tcp/5432 of orders (enforce): dropped
      verdict  drop (untrusted)
      program  dbfw_xdp
      prefix   none covers 203.0.113.7
    ");
    assert!(dropped.denied());
}

#[test]
fn drops() {
    let drops = Drops {
        since: at("08:48:00"),
        sources: vec![DropSource {
            source: ip("198.51.100.9"),
            database: "orders".to_owned(),
            port: 5432,
            reason: "untrusted".to_owned(),
            verdict: "drop".to_owned(),
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
        reason: "untrusted".to_owned(),
        verdict: "drop".to_owned(),
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

#[test]
fn trust() {
    let list = TrustList {
        sources: vec![
            LocalSource {
                database: "orders".to_owned(),
                source: "ip_addr:203.0.113.7".to_owned(),
                why: Some("incident 42".to_owned()),
                added_at: at("11:58:00"),
                expires_at: Some(at("13:58:00")),
            },
            LocalSource {
                database: "orders".to_owned(),
                source: "ip_addr:2001:db8::/64".to_owned(),
                why: None,
                added_at: at("00:00:00"),
                expires_at: None,
            },
        ],
    };
    insta::assert_snapshot!(table(&list), @"
    DATABASE  SOURCE                 ADDED       EXPIRES   WHY
    orders    ip_addr:203.0.113.7    2m00s ago   in 1h58m  incident 42
    orders    ip_addr:2001:db8::/64  12h00m ago  never     -
    ");
    insta::assert_snapshot!(for_scripts(&list), @r#"
    orders→ip_addr:203.0.113.7→2026-03-01T11:58:00Z→2026-03-01T13:58:00Z→incident 42
    orders→ip_addr:2001:db8::/64→2026-03-01T00:00:00Z→→
    {
      "sources": [
        {
          "database": "orders",
          "source": "ip_addr:203.0.113.7",
          "why": "incident 42",
          "added_at": "2026-03-01T11:58:00Z",
          "expires_at": "2026-03-01T13:58:00Z"
        },
        {
          "database": "orders",
          "source": "ip_addr:2001:db8::/64",
          "why": null,
          "added_at": "2026-03-01T00:00:00Z",
          "expires_at": null
        }
      ]
    }
    "#);
    insta::assert_snapshot!(table(&TrustList { sources: Vec::new() }), @"No source is trusted by hand.");
}

#[test]
fn reload() {
    let mut reloaded =
        Reloaded { generation: 42, added: 3, removed: 1, refused: Vec::new(), failed: Vec::new() };
    insta::assert_snapshot!(table(&reloaded), @"Policy 42 is in force: 3 prefixes added, 1 prefix removed.");
    reloaded.refused = vec!["orders: 60 of 100 prefixes would go, max_shrink is 50%".to_owned()];
    insta::assert_snapshot!(table(&reloaded), @"
    Policy 42 is in force: 3 prefixes added, 1 prefix removed.
    Refused: orders: 60 of 100 prefixes would go, max_shrink is 50%
    `dbfw reload --confirm` lets the refused changes through.
    ");
    insta::assert_snapshot!(for_scripts(&reloaded), @r#"
    policy→42→3→1
    refused→orders: 60 of 100 prefixes would go, max_shrink is 50%
    {
      "generation": 42,
      "added": 3,
      "removed": 1,
      "refused": [
        "orders: 60 of 100 prefixes would go, max_shrink is 50%"
      ],
      "failed": []
    }
    "#);
    reloaded.refused.clear();
    reloaded.failed =
        vec!["orders: orders.list:2: no address\norders.list:3: \u{1b}[2J".to_owned()];
    insta::assert_snapshot!(table(&reloaded), @r"
    Policy 42 is in force: 3 prefixes added, 1 prefix removed.
    Not read: orders: orders.list:2: no address
      orders.list:3: \u{1b}[2J
    What these lists held before stays in force.
    ");
}

#[test]
fn metrics_and_detach() {
    let metrics = Text { text: "# TYPE dbfw_up gauge\ndbfw_up 1\n".to_owned() };
    insta::assert_snapshot!(table(&metrics), @"
    # TYPE dbfw_up gauge
    dbfw_up 1
    ");
    insta::assert_snapshot!(for_scripts(&metrics), @r##"
    # TYPE dbfw_up gauge
    dbfw_up 1
    {
      "text": "# TYPE dbfw_up gauge\ndbfw_up 1\n"
    }
    "##);
    insta::assert_snapshot!(table(&Text { text: "Detached from eth0.".to_owned() }), @"Detached from eth0.");
}
