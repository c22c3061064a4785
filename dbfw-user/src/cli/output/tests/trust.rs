use super::*;

#[test]
fn trust() {
    let list = TrustList {
        still_trusted_by: Vec::new(),
        still_open: Vec::new(),
        going_on: 0,
        not_written: None,
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
    insta::assert_snapshot!(table(&TrustList { sources: Vec::new(), ..list }), @"No source was added by hand.");
}
