use super::{samples::source, *};

/// A source of each kind of trouble, and one without.
fn troubled() -> Sources {
    let mut tag = source("tag:backend");
    tag.state = SourceState::Stale;
    tag.prefixes = (1..=12).map(|n| format!("10.0.0.{n}/32")).collect();
    (tag.packets, tag.last_hit, tag.age_seconds) = (12_345, Some(at("11:59:58")), Some(7_380));
    tag.error = Some(
        "DigitalOcean: GET /v2/droplets?tag_name=backend: 401 Unauthorized: the token is not \
         valid: put a new one into /etc/dbfw/do-token"
            .to_owned(),
    );
    let again = SourceStatus { database: "reports".to_owned(), ..tag.clone() };
    let mut cluster = source("k8s:3f1c");
    cluster.unresolved = (1..=7)
        .map(|n| Unresolved {
            part: format!("node pool-a-{n}"),
            why: "is still being created".to_owned(),
        })
        .collect();
    cluster.prefixes = vec!["10.0.1.1/32".to_owned(), "10.0.1.2/31".to_owned()];
    let mut app = source("app:9b2d");
    (app.state, app.prefixes) = (SourceState::Unresolvable, Vec::new());
    app.unresolved = vec![Unresolved {
        part: "app 9b2d".to_owned(),
        why: "has neither dedicated addresses nor VPC egress\u{1b}[2J".to_owned(),
    }];
    app.description = Some("CI\trunners".to_owned());
    app.expires_at = Some(at("14:00:00"));
    let mut name = source("dns:db.example.com");
    (name.state, name.prefixes) = (SourceState::Pending, Vec::new());
    (name.age_seconds, name.resolved_from) = (None, None);
    let mut address = source("ip_addr:10.110.0.0");
    (address.state, address.age_seconds) = (SourceState::Literal, None);
    (address.prefixes, address.resolved_from) = (vec!["10.110.0.0/32".to_owned()], None);
    address.notes = vec![
        "is the address of the network default-fra1: its range is \
                          10.110.0.0/20"
            .to_owned(),
    ];
    Sources { sources: vec![source("droplet:7"), tag, again, cluster, app, name, address] }
}

#[test]
fn sources_and_what_does_not_resolve() {
    insta::assert_snapshot!(table(&troubled()), @r"
    DATABASE  SOURCE              STATE           AGE  PREFIXES       PACKETS  LAST USED  EXPIRES   ORIGIN  DESCRIPTION
    orders    droplet:7           ok               7s  10.0.0.1/32          0  -          -         config  -
    orders    tag:backend         stale         2h03m  12 prefixes      12.3k  2s ago     -         config  -
    reports   tag:backend         stale         2h03m  12 prefixes      12.3k  2s ago     -         config  -
    orders    k8s:3f1c            ok               7s  2 prefixes           0  -          -         config  -
    orders    app:9b2d            unresolvable     7s  none                 0  -          in 2h00m  config  CI\trunners
    orders    dns:db.example.com  pending           -  none                 0  -          -         config  -
    orders    ip_addr:10.110.0.0  literal           -  10.110.0.0/32        0  -          -         config  -

    Not resolved, or only in part:
      tag:backend of orders, reports: stale, 12 prefixes in force
        DigitalOcean: GET /v2/droplets?tag_name=backend: 401 Unauthorized: the token
        is not valid: put a new one into /etc/dbfw/do-token
      k8s:3f1c of orders: ok, 2 prefixes in force
        node pool-a-1: is still being created
        node pool-a-2: is still being created
        node pool-a-3: is still being created
        node pool-a-4: is still being created
        node pool-a-5: is still being created
        and 2 more: dbfw sources --output json
      app:9b2d of orders: unresolvable, resolves to no address
        app 9b2d: has neither dedicated addresses nor VPC egress\u{1b}[2J
      dns:db.example.com of orders: pending, resolves to no address

    Probably not meant:
      ip_addr:10.110.0.0 of orders
        is the address of the network default-fra1: its range is 10.110.0.0/20
    ");
    insta::assert_snapshot!(text(&troubled(), Format::Plain).replace('\t', "→"), @r"
    orders→droplet:7→config→10.0.0.1/32→0→→→→ok→7→GET /v2/droplets?tag_name=backend→→→→→
    orders→tag:backend→config→10.0.0.1/32,10.0.0.2/32,10.0.0.3/32,10.0.0.4/32,10.0.0.5/32,10.0.0.6/32,10.0.0.7/32,10.0.0.8/32,10.0.0.9/32,10.0.0.10/32,10.0.0.11/32,10.0.0.12/32→12345→2026-03-01T11:59:58Z→→→stale→7380→GET /v2/droplets?tag_name=backend→DigitalOcean: GET /v2/droplets?tag_name=backend: 401 Unauthorized: the token is not valid: put a new one into /etc/dbfw/do-token→→→→
    reports→tag:backend→config→10.0.0.1/32,10.0.0.2/32,10.0.0.3/32,10.0.0.4/32,10.0.0.5/32,10.0.0.6/32,10.0.0.7/32,10.0.0.8/32,10.0.0.9/32,10.0.0.10/32,10.0.0.11/32,10.0.0.12/32→12345→2026-03-01T11:59:58Z→→→stale→7380→GET /v2/droplets?tag_name=backend→DigitalOcean: GET /v2/droplets?tag_name=backend: 401 Unauthorized: the token is not valid: put a new one into /etc/dbfw/do-token→→→→
    orders→k8s:3f1c→config→10.0.1.1/32,10.0.1.2/31→0→→→→ok→7→GET /v2/droplets?tag_name=backend→→node pool-a-1: is still being created; node pool-a-2: is still being created; node pool-a-3: is still being created; node pool-a-4: is still being created; node pool-a-5: is still being created; node pool-a-6: is still being created; node pool-a-7: is still being created→→→
    orders→app:9b2d→config→→0→→2026-03-01T14:00:00Z→CI\trunners→unresolvable→7→GET /v2/droplets?tag_name=backend→→app 9b2d: has neither dedicated addresses nor VPC egress\u{1b}[2J→→→
    orders→dns:db.example.com→config→→0→→→→pending→→→→→→→
    orders→ip_addr:10.110.0.0→config→10.110.0.0/32→0→→→→literal→→→→→is the address of the network default-fra1: its range is 10.110.0.0/20→→
    ");
    insta::assert_snapshot!(table(&Sources { sources: Vec::new() }), @"No source is trusted.");
}

#[test]
fn all_is_well_and_nothing_is_said_below() {
    let fine = Sources { sources: vec![source("droplet:7")] };
    insta::assert_snapshot!(table(&fine), @"
    DATABASE  SOURCE     STATE  AGE  PREFIXES     PACKETS  LAST USED  EXPIRES  ORIGIN  DESCRIPTION
    orders    droplet:7  ok      7s  10.0.0.1/32        0  -          -        config  -
    ");
    insta::assert_snapshot!(text(&fine, Format::Json), @r#"
    {
      "sources": [
        {
          "database": "orders",
          "source": "droplet:7",
          "origin": "config",
          "description": null,
          "expires_at": null,
          "users": [],
          "prefixes": [
            "10.0.0.1/32"
          ],
          "since": null,
          "packets": 0,
          "last_hit": null,
          "state": "ok",
          "resolved_from": "GET /v2/droplets?tag_name=backend",
          "age_seconds": 7,
          "unresolved": [],
          "error": null,
          "notes": []
        }
      ]
    }
    "#);
}

#[test]
fn more_trouble_than_anybody_reads_is_counted() {
    let one = |n: usize| {
        let mut status = source(&format!("droplet:{n}"));
        status.state = SourceState::Pending;
        status
    };
    let shown = table(&Sources { sources: (1..=60).map(one).collect() });
    let below = shown.lines().skip(61).collect::<Vec<_>>();
    assert_eq!(below.len(), 53, "a blank line, a title, 50 sources and the rest");
    assert_eq!(below[52], "  and 10 more: dbfw sources --output json");
}

#[test]
fn a_source_that_was_never_used_says_how_long_it_was_counted() {
    let mut never = source("droplet:7");
    never.since = Some(at("09:00:00"));
    let within = jiff::SignedDuration::from_hours(720);
    let unused = UnusedSources { sources: vec![never], within };
    insta::assert_snapshot!(table(&unused), @"
    DATABASE  SOURCE     STATE  AGE  PREFIXES     PACKETS  LAST USED      EXPIRES  ORIGIN  DESCRIPTION
    orders    droplet:7  ok      7s  10.0.0.1/32        0  none in 3h00m  -        config  -
    ");
    let record = text(&unused, Format::Plain);
    assert!(record.ends_with("\t2026-03-01T09:00:00Z\t\n"), "{record}");
    let none = UnusedSources { sources: Vec::new(), within };
    assert_eq!(table(&none), "Every source that is counted was used in the last 30d.\n");
    assert_eq!(text(&none, Format::Json), "{\n  \"sources\": []\n}\n");
}
