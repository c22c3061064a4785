use super::*;

fn suggestion(source: &str, covers: &[&str], others: u64, why: &str) -> Suggestion {
    Suggestion {
        database: "orders".to_owned(),
        source: source.to_owned(),
        covers: covers.iter().map(ToString::to_string).collect(),
        others,
        packets: 1234,
        why: why.to_owned(),
    }
}

fn suggestions() -> Suggestions {
    let mut other =
        suggestion("ip_addr:10.0.9.9", &["10.0.9.9"], 0, "nothing known has this address");
    other.database = "reports".to_owned();
    Suggestions {
        since: Some(at("08:48:00")),
        observed: 6,
        suggestions: vec![
            suggestion(
                "tag:\"back\\end\"",
                &["10.0.0.1", "10.0.0.2", "10.0.0.3"],
                65_536,
                "3 of its 4 machines were refused; it would also let in web\n4 # ]",
            ),
            suggestion(
                "ip_addr:10.0.0.8/31",
                &["10.0.0.8", "10.0.0.9"],
                0,
                "nothing known\u{1b}[2J",
            ),
            other,
        ],
        inventory_error: None,
    }
}

#[test]
fn suggestions_for_people() {
    insta::assert_snapshot!(table(&suggestions()), @r#"
    DATABASE  TRUST                REFUSED  OTHERS  PACKETS  ADDRESSES                      WHAT IS KNOWN
    orders    tag:"back\end"             3   65.5k    ~1234  10.0.0.1, 10.0.0.2 and 1 more  3 of its 4 machines were refused; it would also let in web\n4 # ]
    orders    ip_addr:10.0.0.8/31        2       0    ~1234  10.0.0.8, 10.0.0.9             nothing known\u{1b}[2J
    reports   ip_addr:10.0.9.9           1       0    ~1234  10.0.9.9                       nothing known has this address

    6 addresses were refused and not trusted since. Look at each before you trust it:
    `dbfw suggest --output plain` prints lines for the configuration.
    "#);
    let mut none = suggestions();
    none.suggestions.clear();
    insta::assert_snapshot!(table(&none), @"Every source refused since 2026-03-01T08:48:00Z is trusted by now.");
    insta::assert_snapshot!(text(&none, Format::Plain), @"# Every source refused since 2026-03-01T08:48:00Z is trusted by now.");
    none.since = None;
    insta::assert_snapshot!(table(&none), @"No client was refused because it is not trusted.");
}

#[test]
fn suggestions_for_scripts() {
    insta::assert_snapshot!(for_scripts(&suggestions()), @r#"
    # For the database "orders":
    trusted_sources = [
      "tag:\"back\\end\"",  # 3 refused addresses, 65.5k other addresses: 3 of its 4 machines were refused; it would also let in web\n4 # ]
      "ip_addr:10.0.0.8/31",  # 2 refused addresses: nothing known\u{1b}[2J
    ]

    # For the database "reports":
    trusted_sources = [
      "ip_addr:10.0.9.9",  # 1 refused address: nothing known has this address
    ]
    {
      "since": "2026-03-01T08:48:00Z",
      "observed": 6,
      "suggestions": [
        {
          "database": "orders",
          "source": "tag:\"back\\end\"",
          "covers": [
            "10.0.0.1",
            "10.0.0.2",
            "10.0.0.3"
          ],
          "others": 65536,
          "packets": 1234,
          "why": "3 of its 4 machines were refused; it would also let in web\n4 # ]"
        },
        {
          "database": "orders",
          "source": "ip_addr:10.0.0.8/31",
          "covers": [
            "10.0.0.8",
            "10.0.0.9"
          ],
          "others": 0,
          "packets": 1234,
          "why": "nothing known\u001b[2J"
        },
        {
          "database": "reports",
          "source": "ip_addr:10.0.9.9",
          "covers": [
            "10.0.9.9"
          ],
          "others": 0,
          "packets": 1234,
          "why": "nothing known has this address"
        }
      ],
      "inventory_error": null
    }
    "#);
}

/// Each part of the plain form is what a `[[database]]` takes, whatever stands in it.
#[test]
fn suggestions_are_toml() {
    let plain = text(&suggestions(), Format::Plain);
    let parts: Vec<_> = plain.split("\n\n").collect();
    let read = |part: &str| {
        let table: toml::Table = toml::from_str(part).unwrap();
        let sources = table["trusted_sources"].as_array().unwrap();
        sources.iter().map(|source| source.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(parts.len(), 2, "one for each database");
    assert_eq!(read(parts[0]), ["tag:\"back\\end\"", "ip_addr:10.0.0.8/31"]);
    assert_eq!(read(parts[1]), ["ip_addr:10.0.9.9"]);
    for source in read(parts[1]) {
        source.parse::<dbfw_core::source::TrustedSource>().unwrap();
    }
}
