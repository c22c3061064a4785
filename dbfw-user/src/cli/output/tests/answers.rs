use super::*;

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

fn explanation(port: &str, verdict: Verdict, reason: Reason) -> Explanation {
    Explanation {
        address: ip("203.0.113.7"),
        port: port.to_owned(),
        database: Some("orders".to_owned()),
        mode: Some(Mode::Enforce),
        verdict,
        reason,
        program: "dbfw_xdp".to_owned(),
        prefix: None,
        sources: Vec::new(),
    }
}

#[test]
fn explain() {
    let mut allowed = explanation("tcp/5432", Verdict::Allow, Reason::Trusted);
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
    let mut observed = explanation("tcp/5433", Verdict::Observe, Reason::Untrusted);
    observed.mode = Some(Mode::Observe);
    let mut other = explanation("tcp/22", Verdict::Pass, Reason::OtherPort);
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

    let dropped = Explanations(vec![explanation("tcp/5432", Verdict::Drop, Reason::Untrusted)]);
    insta::assert_snapshot!(table(&dropped), @"
    203.0.113.7 to tcp/5432 of orders (enforce): dropped
      verdict  drop (untrusted)
      program  dbfw_xdp
      prefix   none covers 203.0.113.7
    ");
    assert!(dropped.denied());
}

#[test]
fn reload() {
    let mut reloaded = Reloaded {
        generation: 42,
        added: 3,
        removed: 1,
        refused: Vec::new(),
        failed: Vec::new(),
        pending: Vec::new(),
    };
    insta::assert_snapshot!(table(&reloaded), @"Policy 42 is in force: 3 prefixes added, 1 prefix removed.");
    reloaded.refused = vec!["orders: 60 of 100 prefixes would go, max_shrink is 50%".to_owned()];
    insta::assert_snapshot!(table(&reloaded), @"
    Policy 42 is in force: 3 prefixes added, 1 prefix removed.
    Refused: orders: 60 of 100 prefixes would go, max_shrink is 50%
    `dbfw status` shows what would be lost; `dbfw reload --confirm` lets the refused changes through.
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
      "failed": [],
      "pending": []
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
    reloaded.failed.clear();
    reloaded.pending = vec!["tag:backend".to_owned(), "dns:db\u{1b}.example".to_owned()];
    insta::assert_snapshot!(table(&reloaded), @r"
    Policy 42 is in force: 3 prefixes added, 1 prefix removed.
    Being resolved: tag:backend
    Being resolved: dns:db\u{1b}.example
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
