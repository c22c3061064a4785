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
