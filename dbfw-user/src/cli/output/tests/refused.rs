use super::{
    samples::{account, refused, status},
    *,
};

#[test]
fn status_with_a_refused_plan() {
    let mut status = status();
    status.databases[0].refused = Some(refused());
    let mut emptied = status.databases[0].clone();
    emptied.name = "reports".to_owned();
    let plan = emptied.refused.as_mut().unwrap();
    (plan.lost_total, plan.connections_total) = (1, 0);
    plan.lost.truncate(1);
    plan.connections.clear();
    let mut wide = status.databases[0].clone();
    wide.name = "sessions".to_owned();
    wide.refused = Some(RefusedPlan {
        guard: Guard::AllowAny,
        message: "0.0.0.0/0 is wider than /8; if it is meant, set allow_any = true".to_owned(),
        lost: Vec::new(),
        lost_total: 0,
        gained: vec!["0.0.0.0/0".to_owned()],
        gained_total: 1,
        connections_error: Some("cannot list the TCP connections: \u{1b}".to_owned()),
        command: String::new(),
        ..refused()
    });
    status.databases.extend([emptied, wide]);
    insta::assert_snapshot!(table(&status), @r#"
    PROTECTED  dbfw 0.1.0
    agent pid 812, up 3h12m, policy 41

    INTERFACE  MODE       STATE
    eth0       native     ok
    backstop   sk_lookup  ok, lets through docker0

    DATABASE  PORTS      MODE     PREFIXES  LIST    ALLOWED  DROPPED     NOW
    orders    5432,6432  enforce        13  ok 12s     1.2M    40.3k  1204/s
    reports   5432,6432  enforce        13  ok 12s     1.2M    40.3k  1204/s
    sessions  5432,6432  enforce        13  ok 12s     1.2M    40.3k  1204/s

    REFUSED by max_shrink: a change of orders, plan 1a2b3c4d
      the new list loses 60 of 100 prefixes in force, more than max_shrink = "50%"
      allows
      60 prefixes would go:
        10.0.0.1/32, 10.0.0.2/32, 10.0.0.3/32, 10.0.0.4/32, 10.0.0.5/32,
        10.0.0.6/32, 10.0.0.7/32, 10.0.0.8/32, 10.0.0.9/32, 10.0.0.10/32,
        10.0.0.11/32, 10.0.0.12/32, 10.0.0.13/32, 10.0.0.14/32, 10.0.0.15/32,
        10.0.0.16/32, 10.0.0.17/32, 10.0.0.18/32, 10.0.0.19/32, 10.0.0.20/32 and 40
        more
      2 prefixes would come:
        198.51.100.0/24, 2001:db8::7/128
      3 live connections would be cut:
        10.0.0.1:40312 to port 5432, let in by 10.0.0.1/32
        10.0.0.2:40312 to port 5432, let in by 10.0.0.2/32
        and 1 more
      If it is meant: dbfw reload --confirm 1a2b3c4d

    REFUSED by max_shrink: a change of reports, plan 1a2b3c4d
      the new list loses 60 of 100 prefixes in force, more than max_shrink = "50%"
      allows
      1 prefix would go:
        10.0.0.1/32
      2 prefixes would come:
        198.51.100.0/24, 2001:db8::7/128
      No live connection would be cut.
      If it is meant: dbfw reload --confirm 1a2b3c4d

    REFUSED by allow_any: a change of sessions, plan 1a2b3c4d
      0.0.0.0/0 is wider than /8; if it is meant, set allow_any = true
      1 prefix would come:
        0.0.0.0/0
      The live connections that would be cut are not known: cannot list the TCP
      connections: \u{1b}
      It cannot be confirmed.
    "#);
    status.databases.drain(1..);
    let records = text(&status, Format::Plain).replace('\t', "→");
    let records: Vec<_> = records.lines().skip(4).filter(|line| !line.contains(".1")).collect();
    insta::assert_snapshot!(records.join("\n"), @r#"
    database→orders→tcp/5432,tcp/6432→enforce→3→12→1→1234567→40321→0→1204.0→file:/etc/dbfw/orders.list→ok→12→→0→0→7→→→
    refused→orders→1a2b3c4d→max_shrink→60→3→dbfw reload --confirm 1a2b3c4d→the new list loses 60 of 100 prefixes in force, more than max_shrink = "50%" allows→→2
    lost→orders→1a2b3c4d→10.0.0.2/32
    lost→orders→1a2b3c4d→10.0.0.3/32
    lost→orders→1a2b3c4d→10.0.0.4/32
    lost→orders→1a2b3c4d→10.0.0.5/32
    lost→orders→1a2b3c4d→10.0.0.6/32
    lost→orders→1a2b3c4d→10.0.0.7/32
    lost→orders→1a2b3c4d→10.0.0.8/32
    lost→orders→1a2b3c4d→10.0.0.9/32
    lost→orders→1a2b3c4d→10.0.0.20/32
    gained→orders→1a2b3c4d→2001:db8::7/128
    cut→orders→1a2b3c4d→10.0.0.2:40312→5432→10.0.0.2/32
    "#);
    let document: serde_json::Value = serde_json::from_str(&text(&status, Format::Json)).unwrap();
    assert_eq!(document["databases"][0]["refused"]["lost"][19], "10.0.0.20/32");
}

#[test]
fn status_of_who_is_asked() {
    let mut status = status();
    let mut droplets = account("digitalocean");
    (droplets.budget_hour_left, droplets.budget_minute_left) = (Some(4959), Some(249));
    let mut feeds = account("feeds");
    (feeds.interval_seconds, feeds.last_round_seconds) = (300.0, None);
    feeds.error = Some("no answer within 10 s (https://example.com/list)".to_owned());
    status.accounts = vec![droplets, account("dns"), feeds];
    status.databases[0].stale_sources = 2;
    status.databases[0].unresolved_sources = 1;
    status.databases[0].oldest_age_seconds = Some(7_380);
    insta::assert_snapshot!(table(&status), @"
    PROTECTED  dbfw 0.1.0
    agent pid 812, up 3h12m, policy 41
    asks digitalocean every 15s (4959/h and 249/min left), dns every 15s, feeds
    every 5m00s and fails
    ! feeds: no answer within 10 s (https://example.com/list)

    INTERFACE  MODE       STATE
    eth0       native     ok
    backstop   sk_lookup  ok, lets through docker0

    DATABASE  PORTS      MODE     PREFIXES  LIST    ALLOWED  DROPPED     NOW
    orders    5432,6432  enforce        13  ok 12s     1.2M    40.3k  1204/s
    ");
    let records = text(&status, Format::Plain).replace('\t', "→");
    let records: Vec<_> = records.lines().skip(4).collect();
    insta::assert_snapshot!(records.join("\n"), @"
    account→digitalocean→41→3→4959→249→15.2→0.400→
    account→dns→41→3→→→15.2→0.400→
    account→feeds→41→3→→→300.0→→no answer within 10 s (https://example.com/list)
    database→orders→tcp/5432,tcp/6432→enforce→3→12→1→1234567→40321→0→1204.0→file:/etc/dbfw/orders.list→ok→12→→2→1→7380→→→
    ");
}
