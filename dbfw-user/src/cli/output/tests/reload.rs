use super::*;

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
    The last good lists stay in force.
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
