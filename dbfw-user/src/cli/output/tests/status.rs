use dbfw_core::answers::{Cause, FetchError};

use super::{
    samples::{account, status},
    *,
};

#[test]
fn status_when_all_is_well() {
    insta::assert_snapshot!(table(&status()), @"
    PROTECTED  dbfw 0.1.0
    agent pid 812, up 3h12m, policy 41

    INTERFACE  MODE       STATE
    eth0       native     ok
    backstop   sk_lookup  ok, lets through docker0

    DATABASE  PORTS      MODE     PREFIXES  LIST    ALLOWED  DROPPED     NOW
    orders    5432,6432  enforce        13  ok 12s     1.2M    40.3k  1204/s
    ");
    insta::assert_snapshot!(for_scripts(&status()), @r#"
    protected→yes→0.1.0→yes→yes
    agent→812→2026-03-01T08:48:00Z→yes→no→41→yes
    interface→eth0→2→native→yes→
    backstop→yes→docker0→
    database→orders→tcp/5432,tcp/6432→enforce→3→12→1→1234567→40321→0→1204.0→file:/etc/dbfw/orders.list→ok→12→→0→0→7→→→
    {
      "version": "0.1.0",
      "protected": true,
      "protection": "yes",
      "enforced": "yes",
      "problems": [],
      "agent": {
        "pid": 812,
        "started_at": "2026-03-01T08:48:00Z",
        "ready": true,
        "detached": false,
        "generation": 41,
        "config_ok": true,
        "config_since": "2026-03-01T08:48:00Z",
        "config_files": [
          {
            "path": "/etc/dbfw/dbfw.toml",
            "sha256": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
          }
        ],
        "trial": null,
        "programs": [
          71,
          72
        ]
      },
      "agent_absence": null,
      "interfaces": [
        {
          "name": "eth0",
          "ifindex": 2,
          "mode": "native",
          "healthy": true,
          "detail": null
        }
      ],
      "backstop": {
        "healthy": true,
        "exempt": [
          "docker0"
        ],
        "detail": null
      },
      "passed_on_unjudged": [],
      "databases": [
        {
          "name": "orders",
          "ports": [
            "tcp/5432",
            "tcp/6432"
          ],
          "addresses": [],
          "mode": "enforce",
          "enforced": "yes",
          "openings": [],
          "unused_ports": null,
          "sources": 3,
          "prefixes_ipv4": 12,
          "prefixes_ipv6": 1,
          "allowed_packets": 1234567,
          "dropped_packets": 40321,
          "observed_packets": 0,
          "drops_per_second": 1204.0,
          "provider": {
            "name": "file:/etc/dbfw/orders.list",
            "state": "ok",
            "last_success": "2026-03-01T11:59:48Z",
            "age_seconds": 12,
            "error": null
          },
          "refused": null,
          "stale_sources": 0,
          "unresolved_sources": 0,
          "oldest_age_seconds": 7
        }
      ],
      "accounts": []
    }
    "#);
}

/// Everything that can be wrong, and more of it than fits.
fn crowded() -> Status {
    let mut status = status();
    (status.protected, status.protection) = (false, Protection::No);
    let agent = status.agent.as_mut().unwrap();
    (agent.ready, agent.config_ok) = (false, false);
    status.problems = vec![
        "eth1: nothing attached: the driver refuses XDP with an MTU of 9000 and TCX is taken by \
         program 88 (cil_from_netdev); set attach = \"generic\" or ip link set eth1 mtu 3498, and \
         then run dbfw reload"
            .to_owned(),
        "reports: line 7: not an address: 10.0.0\x1b[2J (/etc/dbfw/reports.list)".to_owned(),
    ];
    status.problems.extend((2..9).map(|n| format!("eth{n}: gone")));
    let down = InterfaceStatus {
        name: "eth1".to_owned(),
        ifindex: 3,
        mode: InterfaceMode::None,
        healthy: false,
        detail: Some("another program, cil_from_netdev (id 88), holds the hook of eth1".to_owned()),
    };
    status.interfaces.push(down);
    status.interfaces.extend((2..9).map(|n| InterfaceStatus {
        name: format!("eth{n}"),
        ifindex: 0,
        mode: InterfaceMode::None,
        healthy: false,
        detail: None,
    }));
    status.backstop = None;
    let mut observing = status.databases[0].clone();
    observing.name = "reports-of-the-year-before-last".to_owned();
    observing.mode = Mode::Observe;
    observing.observed_packets = 98_765;
    observing.drops_per_second = None;
    observing.provider.as_mut().unwrap().state = ListState::Stale;
    observing.provider.as_mut().unwrap().age_seconds = Some(200_000);
    status.databases.push(observing.clone());
    for n in 0..40 {
        observing.name = format!("shard{n}");
        observing.provider = None;
        status.databases.push(observing.clone());
    }
    status
}

#[test]
fn status_fits_the_screen() {
    let shown = table(&crowded());
    insta::assert_snapshot!(shown, @r#"
    NOT PROTECTED  dbfw 0.1.0
    agent pid 812, up 3h12m, policy 41, not ready, files on disk not in force
    ! eth1: nothing attached: the driver refuses XDP with an MTU of 9000 and TCX is
      taken by program 88 (cil_from_netdev); set attach = "generic" or ip link set
      eth1 mtu 3498, and then run dbfw reload
    ! reports: line 7: not an address: 10.0.0\u{1b}[2J (/etc/dbfw/reports.list)
    ! eth2: gone
      and 6 more: dbfw status --output plain
    (n): packets let in by observe mode that enforce would have dropped

    INTERFACE  MODE  STATE
    backstop   -     off
    eth1       none  not filtering: another program, cil_from_netdev (id 88), holds…
    eth2       none  gone
    eth3       none  gone
    and 6 more: dbfw status --output plain

    DATABASE     PORTS      MODE     PREFIXES  LIST         ALLOWED  DROPPED     NOW
    orders       5432,6432  enforce        13  ok 12s          1.2M    40.3k  1204/s
    reports-of…  5432,6432  observe        13  stale 2d07h     1.2M  (98.7k)       -
    shard0       5432,6432  observe        13  config          1.2M  (98.7k)       -
    shard1       5432,6432  observe        13  config          1.2M  (98.7k)       -
    and 38 more: dbfw status --output plain
    "#);
    assert!(shown.lines().count() <= 23, "{} lines", shown.lines().count());
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn status_always_fits_the_screen() {
    for problems in 0..9 {
        for interfaces in 0..9 {
            for databases in 1..42 {
                let mut status = crowded();
                status.problems.truncate(problems);
                status.interfaces.truncate(interfaces);
                status.databases.truncate(databases);
                status.accounts = ["digitalocean", "aptible", "feeds", "dns"].map(account).into();
                let lines = table(&status).lines().count();
                assert!(lines <= 23, "{lines}: {problems} {interfaces} {databases}");
            }
        }
    }
}

#[test]
fn status_without_the_agent() {
    let mut status = status();
    status.agent = None;
    status.enforced = Enforced::No;
    status.databases[0].mode = Mode::Observe;
    status.databases[0].drops_per_second = None;
    status.databases[0].provider = None;
    insta::assert_snapshot!(table(&status), @"
    NOTHING ENFORCED, as configured  dbfw 0.1.0
    no answer from an agent; this was read from the pinned maps
    (n): packets let in by observe mode that enforce would have dropped

    INTERFACE  MODE       STATE
    eth0       native     ok
    backstop   sk_lookup  ok, lets through docker0

    DATABASE  PORTS      MODE     PREFIXES  LIST    ALLOWED  DROPPED  NOW
    orders    5432,6432  observe        13  config     1.2M      (0)    -
    ");
}

#[test]
fn status_that_cannot_be_told() {
    let mut status = status();
    (status.protected, status.protection) = (false, Protection::Unknown);
    status.agent = None;
    status.interfaces.clear();
    status.backstop = None;
    insta::assert_snapshot!(table(&status), @"
    PROTECTION UNKNOWN  dbfw 0.1.0
    no answer from an agent; this was read from the pinned maps

    INTERFACE   MODE  STATE
    interfaces  -     unknown
    backstop    -     unknown

    DATABASE  PORTS      MODE     PREFIXES  LIST    ALLOWED  DROPPED     NOW
    orders    5432,6432  enforce        13  ok 12s     1.2M    40.3k  1204/s
    ");
    assert_eq!(
        text(&status, Format::Plain).lines().next(),
        Some("protected\tunknown\t0.1.0\tyes\tno")
    );
    assert!(text(&status, Format::Json).contains(r#""protection": "unknown""#));
}

#[test]
fn degraded_is_told_before_anything_else() {
    let mut status = status();
    (status.protected, status.protection) = (false, Protection::Degraded);
    status.problems =
        vec!["eth7: no such interface; it is filtered as soon as it appears".to_owned()];
    // Whether anything is enforced comes second to that.
    status.databases[0].mode = Mode::Observe;
    insta::assert_snapshot!(table(&status), @"
    DEGRADED  dbfw 0.1.0
    agent pid 812, up 3h12m, policy 41
    ! eth7: no such interface; it is filtered as soon as it appears
    (n): packets let in by observe mode that enforce would have dropped

    INTERFACE  MODE       STATE
    eth0       native     ok
    backstop   sk_lookup  ok, lets through docker0

    DATABASE  PORTS      MODE     PREFIXES  LIST    ALLOWED  DROPPED     NOW
    orders    5432,6432  observe        13  ok 12s     1.2M      (0)  1204/s
    ");
    assert_eq!(
        text(&status, Format::Plain).lines().next(),
        Some("protected\tdegraded\t0.1.0\tyes\tno")
    );
    assert!(text(&status, Format::Json).contains(r#""protection": "degraded""#));
}

#[test]
fn a_remedy_is_never_cut() {
    for (words, others) in [(10, 0), (10, 3), (60, 0), (60, 3), (400, 0), (400, 3)] {
        let mut status = status();
        let middle = vec!["because"; words].join(" ");
        let problem = format!("the reason is this {middle} and so on: run dbfw reload --confirm");
        status.problems = vec![problem; 1 + others];
        let shown = table(&status);
        assert!(shown.contains("! the reason is this because"), "{shown}");
        let joined = shown.replace("\n  ", " ");
        assert!(joined.contains("and so on: run dbfw reload --confirm"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        assert!(shown.lines().count() <= 23, "{shown}");
    }
}

#[test]
fn a_reason_is_never_cut() {
    let long = "x".repeat(300);
    for (reason, about) in [
        ("no connection to 192.0.2.1:443, Connection refused", format!("GET https://a/{long}")),
        ("the list does not exist: create it", format!("/etc/dbfw/{long}.list")),
        ("answered 401: the token is refused", format!("DigitalOcean: GET /v2/{long}")),
        ("there is no such name, NXDOMAIN", format!("dns:{long}.example")),
    ] {
        let error = FetchError::new(Cause::Connect, reason).about(about);
        let mut status = status();
        status.problems = vec![format!("orders: {error}")];
        let mut asked = account("feeds");
        asked.error = Some(error.to_string());
        status.accounts = vec![asked];
        let shown = table(&status).replace("\n  ", " ");
        for of in ["orders", "feeds"] {
            assert!(shown.contains(&format!("! {of}: {reason}")), "{shown}");
        }
    }
    for (name, mode) in [("eth0".to_owned(), InterfaceMode::None), (long, InterfaceMode::Native)] {
        let mut status = status();
        let interface = &mut status.interfaces[0];
        (interface.name, interface.mode, interface.healthy) = (name, mode, false);
        interface.detail = Some("it is not there; it is filtered once it is".to_owned());
        let shown = table(&status);
        assert!(shown.contains("not filtering: it is not there"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    }
}
