//! Facts of explain and history about an address.

use dbfw_tests::{
    agent::Host,
    pair::{FRIEND4, Pair, TRUSTED4, interfaces, listed, orders},
};

#[test]
fn explain_says_until_when_and_why_an_address_was_trusted() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.replace("orders.list", "10.77.0.2\n10.77.0.3\n");
    host.configure(&interfaces(), &listed(&host, "max_shrink = \"off\""));
    host.start();
    let explain = |address: &str| {
        let document = host.json(&["explain", address, "--port", "5432"]).expect("JSON");
        let facts: Vec<String> =
            serde_json::from_value(document[0]["facts"].clone()).expect("facts");
        (document[0]["sources"].clone(), facts.join("\n"))
    };
    assert!(pair.reaches(TRUSTED4));
    let (sources, facts) = explain("10.77.0.2");
    assert!(sources[0]["packets"].as_u64().is_some_and(|packets| packets > 0), "{sources}");
    assert!(sources[0]["last_hit"].is_string(), "{sources}");
    assert_eq!(facts, "");
    assert_eq!(explain("10.77.0.9").1, "", "it was never trusted");

    host.replace("orders.list", "10.77.0.2\n");
    host.wait("the list to be in force", |_| !pair.reaches(FRIEND4));
    host.wait("the history to have it", |_| !explain("10.77.0.3").1.is_empty());
    let (_, facts) = explain("10.77.0.3");
    assert!(facts.starts_with("was trusted until 20"), "{facts}");
    assert!(facts.contains("orders.list)"), "{facts}");

    let add = ["trust", "add", "ip_addr:10.77.0.9", "--database", "orders", "--why", "ticket 7"];
    assert!(host.dbfw(&add).status.success());
    assert!(host.dbfw(&["trust", "rm", "ip_addr:10.77.0.9", "-d", "orders"]).status.success());
    host.wait("the history to have it", |_| explain("10.77.0.9").1.contains("(local)"));
    let (_, facts) = explain("10.77.0.9");
    assert!(facts.contains("removed by uid 0") && facts.contains("(ticket 7)"), "{facts}");

    let add = ["trust", "add", "ip_addr:10.77.0.9", "-d", "orders", "--for", "2s"];
    assert!(host.dbfw(&add).status.success());
    host.wait("it to expire", |_| explain("10.77.0.9").1.contains("which expired"));
    let (_, facts) = explain("10.77.0.9");
    assert!(!facts.contains("removed by"), "nobody removed it this time: {facts}");

    host.replace("orders.list", "not an address\n");
    host.wait("the list to be stale", |_| explain("10.77.0.3").1.contains("not an address"));
    let (_, facts) = explain("10.77.0.3");
    assert!(facts.contains("the list in force is from 20"), "{facts}");
}

#[test]
fn the_history_is_asked_for_an_address_and_says_what_it_leaves_out() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.configure(&interfaces(), &orders("trusted_sources = [\"ip_addr:10.77.0.2\"]"));
    host.start();
    for n in 0..24 {
        let verb = if n % 2 == 0 { "add" } else { "rm" };
        let change = ["trust", verb, "ip_addr:10.77.0.9", "--database", "orders"];
        assert!(host.dbfw(&change).status.success());
    }
    let count = |arguments: &[&str]| {
        let document = host.json(&[&["history"], arguments].concat()).expect("JSON");
        document["entries"].as_array().map_or(0, Vec::len)
    };
    // Each is asked for, and put in force.
    host.wait("everything to be written", |_| count(&["--address", "10.77.0.9"]) == 48);
    assert_eq!(count(&["--address", "10.77.0.8"]), 0);
    assert_eq!(count(&["--address", "::ffff:10.77.0.9", "--database", "orders"]), 48);
    assert_eq!(count(&["--address", "10.77.0.9", "--database", "nobody"]), 0);
    assert!(count(&[]) >= 50, "JSON is complete");
    let table = host.dbfw(&["history", "--address", "10.77.0.9"]);
    assert_eq!(String::from_utf8_lossy(&table.stdout).lines().count(), 21, "{table:?}");
    let said = String::from_utf8_lossy(&table.stderr);
    assert!(said.contains("28 older entries are not shown: --limit 48"), "{said}");
}
