use std::collections::BTreeSet;

use super::*;
use crate::config::ConfigFile;

fn activity(established: bool, ports: &[u16]) -> Activity {
    Activity {
        first_seen: at("00:48:00"),
        last_seen: at("08:58:00"),
        minutes: 41,
        packets: 1234,
        ports: ports.iter().copied().collect(),
        established,
        last_connected: established.then(|| at("08:57:00")),
    }
}

fn address(text: &str, looks_like: Visitor, why: &str) -> RefusedAddress {
    RefusedAddress {
        database: "orders".to_owned(),
        address: ip(text),
        looks_like,
        activity: activity(looks_like == Visitor::Client, &[5432]),
        belongs_to: None,
        why: why.to_owned(),
    }
}

fn suggestion(
    source: &str,
    covers: &[&str],
    others: u64,
    looks_like: Visitor,
    why: &str,
) -> Suggestion {
    Suggestion {
        database: "orders".to_owned(),
        source: source.to_owned(),
        looks_like,
        covers: covers.iter().map(ToString::to_string).collect(),
        others,
        activity: activity(looks_like == Visitor::Client, &[5432]),
        why: why.to_owned(),
        addresses: covers.iter().map(|text| address(text, looks_like, why)).collect(),
    }
}

fn suggestions() -> Suggestions {
    let mut other = suggestion(
        "ip_addr:10.0.9.9",
        &["10.0.9.9"],
        0,
        Visitor::Unclear,
        "private, unknown, never connected, within a minute",
    );
    other.database = "reports".to_owned();
    Suggestions {
        since: Some(at("00:48:00")),
        observed: 7,
        suggestions: vec![
            suggestion(
                "tag:\"back\\end\"",
                &["10.0.0.1", "10.0.0.2", "10.0.0.3"],
                65_536,
                Visitor::Client,
                "3 of its 4 machines were seen; it would also let in web\n4 # ]",
            ),
            suggestion(
                "ip_addr:10.0.0.8/31",
                &["10.0.0.8", "10.0.0.9"],
                0,
                Visitor::Client,
                "private\u{1b}[2J",
            ),
            other,
        ],
        scanners: vec![address(
            "198.51.100.3",
            Visitor::Scanner,
            "public, unknown, never connected, within a minute to 3 ports",
        )],
        inventory_error: None,
        connections_error: None,
    }
}

fn shown(suggestions: &Suggestions, all: bool) -> Shown<'_> {
    Shown { suggestions, all }
}

#[test]
fn suggestions_for_people() {
    let mut found = suggestions();
    insta::assert_snapshot!(table(&shown(&found, false)), @r#"
    DATABASE  SOURCE               LOOKS LIKE  OTHERS  MINUTES  LAST SEEN
    orders    tag:"back\end"       client       65.5k       41  3h02m ago
        10.0.0.1, 10.0.0.2 and 1 more: 3 of its 4 machines were seen; it would also let in web 4 # ];
        first seen 11h12m ago, ~1234 packets to 5432, last connected 3h03m ago
    orders    ip_addr:10.0.0.8/31  client           0       41  3h02m ago
        10.0.0.8, 10.0.0.9: private\u{1b}[2J; first seen 11h12m ago, ~1234 packets to 5432, last
        connected 3h03m ago
    reports   ip_addr:10.0.9.9     unclear          0       41  3h02m ago
        private, unknown, never connected, within a minute; first seen 11h12m ago, ~1234 packets to 5432

    7 addresses that are not trusted came; 1 looks like a scanner (dbfw suggest --all).
    Look at each before you trust it. `dbfw suggest --output plain` prints lines for the configuration.
    "#);
    insta::assert_snapshot!(table(&shown(&found, true)), @r#"
    DATABASE  SOURCE                LOOKS LIKE  OTHERS  MINUTES  LAST SEEN
    orders    tag:"back\end"        client       65.5k       41  3h02m ago
        10.0.0.1, 10.0.0.2 and 1 more: 3 of its 4 machines were seen; it would also let in web 4 # ];
        first seen 11h12m ago, ~1234 packets to 5432, last connected 3h03m ago
    orders    ip_addr:10.0.0.8/31   client           0       41  3h02m ago
        10.0.0.8, 10.0.0.9: private\u{1b}[2J; first seen 11h12m ago, ~1234 packets to 5432, last
        connected 3h03m ago
    reports   ip_addr:10.0.9.9      unclear          0       41  3h02m ago
        private, unknown, never connected, within a minute; first seen 11h12m ago, ~1234 packets to 5432
    orders    ip_addr:198.51.100.3  scanner          0       41  3h02m ago
        public, unknown, never connected, within a minute to 3 ports; first seen 11h12m ago, ~1234
        packets to 5432

    7 addresses that are not trusted came; 1 looks like a scanner.
    Look at each before you trust it. `dbfw suggest --output plain` prints lines for the configuration.
    "#);
    found.suggestions.clear();
    insta::assert_snapshot!(table(&shown(&found, false)), @"Nothing to propose: 7 addresses that are not trusted came; 1 looks like a scanner (dbfw suggest --all).");
    insta::assert_snapshot!(text(&shown(&found, false), Format::Plain), @r#"
    # For the database "orders":
    trusted_sources = [
      # 1 looks like a scanner, not shown: dbfw suggest --all
    ]
    "#);
    found.scanners.clear();
    insta::assert_snapshot!(table(&shown(&found, false)), @"Every source that came since 2026-03-01T00:48:00Z is trusted by now.");
    insta::assert_snapshot!(text(&shown(&found, false), Format::Plain), @"# Every source that came since 2026-03-01T00:48:00Z is trusted by now.");
    found.since = None;
    insta::assert_snapshot!(table(&shown(&found, false)), @"Nobody has come who is not trusted.");
}

/// Whatever others named, and however much there is.
#[test]
fn the_table_is_bounded() {
    let mut found = suggestions();
    let id = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";
    let long = suggestion(
        &format!("k8s:{id}"),
        &["2001:db8:0:2:d4a1:3c5f:9be2:71f0", "2001:db8:0:2:d4a1:3c5f:9be2:71f1"],
        u64::MAX,
        Visitor::Unclear,
        &format!("it would also let in {}", "x".repeat(4000)),
    );
    found.suggestions.extend(std::iter::repeat_n(long, 40));
    for one in &mut found.suggestions {
        one.database = "d".repeat(32);
        one.activity.ports = (65_000..65_016).collect();
    }
    let short = table(&shown(&found, false));
    assert!(short.contains("\nand 23 more: dbfw suggest --all\n"), "{short}");
    assert_eq!(short.matches(id).count(), 20 - 3);
    let all = table(&shown(&found, true));
    assert!(!all.contains(" more: dbfw suggest") && all.contains("198.51.100.3"));
    assert_eq!(all.matches(id).count(), 40);
    for line in short.lines().chain(all.lines()) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    let json = text(&shown(&found, false), Format::Json);
    assert_eq!(json.matches(&format!("\"k8s:{id}\"")).count(), 40);
    assert_eq!(json, text(&shown(&found, true), Format::Json));
}

#[test]
fn suggestions_for_scripts() {
    insta::assert_snapshot!(text(&shown(&suggestions(), false), Format::Plain), @r#"
    # For the database "orders":
    trusted_sources = [
      "tag:\"back\\end\"",  # 3 addresses seen, 65.5k other addresses: 3 of its 4 machines were seen; it would also let in web\n4 # ]
      "ip_addr:10.0.0.8/31",  # 2 addresses seen, private\u{1b}[2J
      # 1 looks like a scanner, not shown: dbfw suggest --all
    ]

    # For the database "reports":
    trusted_sources = [
      # "ip_addr:10.0.9.9",  # private, unknown, never connected, within a minute
    ]
    "#);
    insta::assert_snapshot!(text(&shown(&suggestions(), true), Format::Plain), @r#"
    # For the database "orders":
    trusted_sources = [
      "tag:\"back\\end\"",  # 3 addresses seen, 65.5k other addresses: 3 of its 4 machines were seen; it would also let in web\n4 # ]
      "ip_addr:10.0.0.8/31",  # 2 addresses seen, private\u{1b}[2J
      # "ip_addr:198.51.100.3",  # looks like a scanner: public, unknown, never connected, within a minute to 3 ports
    ]

    # For the database "reports":
    trusted_sources = [
      # "ip_addr:10.0.9.9",  # private, unknown, never connected, within a minute
    ]
    "#);
    let mut one = suggestions();
    one.suggestions.truncate(2);
    one.suggestions.remove(0);
    insta::assert_snapshot!(text(&shown(&one, false), Format::Json), @r#"
    {
      "since": "2026-03-01T00:48:00Z",
      "observed": 7,
      "suggestions": [
        {
          "database": "orders",
          "source": "ip_addr:10.0.0.8/31",
          "looks_like": "client",
          "covers": [
            "10.0.0.8",
            "10.0.0.9"
          ],
          "others": 0,
          "first_seen": "2026-03-01T00:48:00Z",
          "last_seen": "2026-03-01T08:58:00Z",
          "minutes": 41,
          "packets": 1234,
          "ports": [
            5432
          ],
          "established": true,
          "last_connected": "2026-03-01T08:57:00Z",
          "why": "private\u001b[2J",
          "addresses": [
            {
              "database": "orders",
              "address": "10.0.0.8",
              "looks_like": "client",
              "first_seen": "2026-03-01T00:48:00Z",
              "last_seen": "2026-03-01T08:58:00Z",
              "minutes": 41,
              "packets": 1234,
              "ports": [
                5432
              ],
              "established": true,
              "last_connected": "2026-03-01T08:57:00Z",
              "belongs_to": null,
              "why": "private\u001b[2J"
            },
            {
              "database": "orders",
              "address": "10.0.0.9",
              "looks_like": "client",
              "first_seen": "2026-03-01T00:48:00Z",
              "last_seen": "2026-03-01T08:58:00Z",
              "minutes": 41,
              "packets": 1234,
              "ports": [
                5432
              ],
              "established": true,
              "last_connected": "2026-03-01T08:57:00Z",
              "belongs_to": null,
              "why": "private\u001b[2J"
            }
          ]
        }
      ],
      "scanners": [
        {
          "database": "orders",
          "address": "198.51.100.3",
          "looks_like": "scanner",
          "first_seen": "2026-03-01T00:48:00Z",
          "last_seen": "2026-03-01T08:58:00Z",
          "minutes": 41,
          "packets": 1234,
          "ports": [
            5432
          ],
          "established": false,
          "last_connected": null,
          "belongs_to": null,
          "why": "public, unknown, never connected, within a minute to 3 ports"
        }
      ],
      "inventory_error": null,
      "connections_error": null
    }
    "#);
}

/// Each part of the plain form is what a `[[database]]` takes, whatever stands in it; what is
/// doubtful is not in force.
#[test]
fn suggestions_are_toml() {
    let mut found = suggestions();
    // As `dbfw suggest` found it, but a tag's name is not checked there.
    found.suggestions[0].source = "tag:backend".to_owned();
    for all in [false, true] {
        let plain = text(&shown(&found, all), Format::Plain);
        let parts: Vec<_> = plain.split("\n\n").collect();
        assert_eq!(parts.len(), 2, "one for each database\n{plain}");
        let read = |part: &str| {
            let text = format!(
                "[digitalocean]\n[[database]]\nname = \"a\"\nports = [5432]\nmode = \"observe\"\n{part}"
            );
            let file = ConfigFile { path: "dbfw.toml".into(), text };
            let config = crate::config::parse(vec![file]).unwrap();
            let sources = &config.databases[0].trusted_sources;
            sources.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(read(parts[0]), ["tag:backend", "ip_addr:10.0.0.8/31"]);
        assert_eq!(read(parts[1]), [""; 0]);
        assert!(parts[1].contains("# \"ip_addr:10.0.9.9\","), "{plain}");
        // Uncommented, it is a source.
        let named: BTreeSet<_> = read(&parts[1].replace("  # \"", "  \"")).into_iter().collect();
        assert_eq!(named, BTreeSet::from(["ip_addr:10.0.9.9".to_owned()]));
        assert_eq!(plain.contains("198.51.100.3"), all);
    }
}
