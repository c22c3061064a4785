use super::*;

fn explanation(port: &str, verdict: Verdict, reason: Reason) -> Explanation {
    Explanation {
        address: ip("203.0.113.7"),
        port: port.to_owned(),
        to: None,
        database: Some("orders".to_owned()),
        mode: Some(Mode::Enforce),
        verdict,
        reason,
        effect: if verdict == Verdict::Drop { Effect::Dropped } else { Effect::LetIn },
        let_in_by: Vec::new(),
        passed_on_unjudged: Vec::new(),
        program: "dbfw_xdp".to_owned(),
        prefix: None,
        sources: Vec::new(),
        facts: Vec::new(),
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
            since: Some(at("10:00:00")),
            packets: 1204,
            last_hit: Some(at("11:59:58")),
        },
        CoveringSource {
            source: "ip_addr:203.0.113.0/24".to_owned(),
            prefix: "203.0.113.0/24".to_owned(),
            origin: "config".to_owned(),
            description: None,
            expires_at: None,
            since: None,
            packets: 0,
            last_hit: None,
        },
    ];
    let mut observed = explanation("tcp/5433", Verdict::Observe, Reason::Untrusted);
    observed.mode = Some(Mode::Observe);
    observed.facts = vec!["was trusted until 2026-03-01T11:00:00Z by tag:x (config)".to_owned()];
    let mut other = explanation("tcp/22", Verdict::Pass, Reason::OtherPort);
    (other.database, other.mode) = (None, None);

    let let_in = vec![allowed, observed, other];
    insta::assert_snapshot!(table(&let_in), @"
    203.0.113.7 to tcp/5432 of orders (enforce): let in
      verdict  allow (trusted)
      program  dbfw_xdp
      prefix   203.0.113.7/32
      TRUSTED SOURCE          PREFIX          ORIGIN  EXPIRES   PACKETS  LAST USED  DESCRIPTION
      ip_addr:203.0.113.7     203.0.113.7/32  local   in 1h58m     1204  2s ago     incident 42
      ip_addr:203.0.113.0/24  203.0.113.0/24  config  -               0  -          -

    203.0.113.7 to tcp/5433 of orders (observe): let in by observe mode; enforce would drop it
      verdict  observe (untrusted)
      program  dbfw_xdp
      prefix   none covers 203.0.113.7
      fact     was trusted until 2026-03-01T11:00:00Z by tag:x (config)

    203.0.113.7 to tcp/22 of no database: let in; dbfw does not judge it
      verdict  pass (other_port)
      program  dbfw_xdp
      prefix   not looked up
    ");
    insta::assert_snapshot!(for_scripts(&let_in), @r#"
    port→tcp/5432→203.0.113.7→orders→enforce→allow→trusted→dbfw_xdp→203.0.113.7/32→let_in→→
    source→tcp/5432→ip_addr:203.0.113.7→203.0.113.7/32→local→2026-03-01T13:58:00Z→incident 42→1204→2026-03-01T11:59:58Z→2026-03-01T10:00:00Z
    source→tcp/5432→ip_addr:203.0.113.0/24→203.0.113.0/24→config→→→0→→
    port→tcp/5433→203.0.113.7→orders→observe→observe→untrusted→dbfw_xdp→→let_in→→
    fact→tcp/5433→was trusted until 2026-03-01T11:00:00Z by tag:x (config)
    port→tcp/22→203.0.113.7→→→pass→other_port→dbfw_xdp→→let_in→→
    [
      {
        "address": "203.0.113.7",
        "port": "tcp/5432",
        "to": null,
        "database": "orders",
        "mode": "enforce",
        "verdict": "allow",
        "reason": "trusted",
        "effect": "let_in",
        "let_in_by": [],
        "passed_on_unjudged": [],
        "program": "dbfw_xdp",
        "prefix": "203.0.113.7/32",
        "sources": [
          {
            "source": "ip_addr:203.0.113.7",
            "prefix": "203.0.113.7/32",
            "origin": "local",
            "description": "incident 42",
            "expires_at": "2026-03-01T13:58:00Z",
            "since": "2026-03-01T10:00:00Z",
            "packets": 1204,
            "last_hit": "2026-03-01T11:59:58Z"
          },
          {
            "source": "ip_addr:203.0.113.0/24",
            "prefix": "203.0.113.0/24",
            "origin": "config",
            "description": null,
            "expires_at": null,
            "since": null,
            "packets": 0,
            "last_hit": null
          }
        ],
        "facts": []
      },
      {
        "address": "203.0.113.7",
        "port": "tcp/5433",
        "to": null,
        "database": "orders",
        "mode": "observe",
        "verdict": "observe",
        "reason": "untrusted",
        "effect": "let_in",
        "let_in_by": [],
        "passed_on_unjudged": [],
        "program": "dbfw_xdp",
        "prefix": null,
        "sources": [],
        "facts": [
          "was trusted until 2026-03-01T11:00:00Z by tag:x (config)"
        ]
      },
      {
        "address": "203.0.113.7",
        "port": "tcp/22",
        "to": null,
        "database": null,
        "mode": null,
        "verdict": "pass",
        "reason": "other_port",
        "effect": "let_in",
        "let_in_by": [],
        "passed_on_unjudged": [],
        "program": "dbfw_xdp",
        "prefix": null,
        "sources": [],
        "facts": []
      }
    ]
    "#);

    let dropped = vec![explanation("tcp/5432", Verdict::Drop, Reason::Untrusted)];
    insta::assert_snapshot!(table(&dropped), @"
    203.0.113.7 to tcp/5432 of orders (enforce): dropped
      verdict  drop (untrusted)
      program  dbfw_xdp
      prefix   none covers 203.0.113.7
    ");
}

#[test]
fn the_headline_is_the_effect() {
    let of = |reason, effect, by: &[&str]| {
        let mut one = explanation("tcp/5432", Verdict::Drop, reason);
        one.effect = effect;
        one.let_in_by = by.iter().map(|&name| name.to_owned()).collect();
        let shown = table(&vec![one]);
        let headline = shown.lines().next().and_then(|line| line.split_once("): "));
        headline.expect("a headline").1.to_owned()
    };
    let (untrusted, martian) = (Reason::Untrusted, Reason::Martian);
    for (reason, effect, by, told) in [
        (untrusted, Effect::Dropped, &[][..], "dropped"),
        (untrusted, Effect::Unknown, &[], "dropped where the program is attached"),
        (
            untrusted,
            Effect::Partly,
            &["docker0", "eth1"],
            "let in by docker0, eth1, where nothing judges it; dropped elsewhere",
        ),
        (
            untrusted,
            Effect::LetIn,
            &["eth0"],
            "let in by eth0, where nothing judges it; the program would drop it",
        ),
        (
            martian,
            Effect::Partly,
            &["lo"],
            "dropped if it comes from a wire; let in from this host",
        ),
        (
            martian,
            Effect::Partly,
            &["lo", "eth1"],
            "dropped if it comes from a wire; let in from this host, and by eth1, where nothing \
             judges it",
        ),
    ] {
        assert_eq!(of(reason, effect, by), told);
    }
}
