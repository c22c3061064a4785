use super::*;
use crate::{
    digitalocean::tests::{fixture, read},
    poller::bench::list_id,
};

const NAME: &str = "digitalocean:9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";

fn rules(text: &str) -> (Vec<TrustedSource>, Vec<String>) {
    match outcome(&list_id(NAME), &read(text)) {
        ListOutcome::Answer(list) => {
            (list.sources.iter().map(|source| (**source).clone()).collect(), list.problems.clone())
        }
        other => panic!("no list: {other:?}"),
    }
}

fn shown(sources: &[TrustedSource]) -> Vec<String> {
    let line = |source: &TrustedSource| match &source.description {
        Some(description) => format!("{source} # {description}"),
        None => source.to_string(),
    };
    sources.iter().map(line).collect()
}

#[test]
fn the_published_rules() {
    let (sources, problems) = rules(fixture!("databases_firewall_list_200.json"));
    assert_eq!(
        shown(&sources),
        [
            "k8s:ff2a6c52-5a44-4b63-b99c-0e98e7a63d61",
            "ip_addr:192.168.1.1 # a development IP address",
            "droplet:163973392",
            "tag:backend",
        ]
    );
    assert_eq!(sources[1].key().prefixes().unwrap()[0].to_string(), "192.168.1.1/32");
    assert_eq!(problems, [""; 0]);
    let (same, _) = rules(fixture!("test_databases__list_firewall_rules.json"));
    assert_eq!(same[1].description, None);
    assert_eq!(
        same.iter().map(ToString::to_string).collect::<Vec<_>>(),
        sources.iter().map(ToString::to_string).collect::<Vec<_>>()
    );
    let (put, _) = rules(fixture!("databases_firewall_put_request.json"));
    assert_eq!(
        shown(&put),
        [
            "ip_addr:192.168.1.1",
            "k8s:ff2a6c52-5a44-4b63-b99c-0e98e7a63d61",
            "droplet:163973392",
            "tag:backend # a backend tag",
        ]
    );
}

#[test]
fn bad_rules_spoil_nothing_else() {
    let text = r#"{"rules": [
        {"type": "ip_addr", "value": "10.0.0.5/24", "uuid": "u-0"},
        {"type": "ip_addr", "value": "2001:db8::/32", "uuid": ""},
        {"type": "vpc", "value": "5a4981aa-9653-4bd1-bef5-d6bff52042e4"},
        {"type": "feed", "value": "https://evil.example/list"},
        {"type": "dns", "value": "evil.example"},
        {"type": "unheard", "value": "x", "uuid": null},
        {"type": "droplet", "value": "web-1"},
        {"type": "droplet", "value": "0123"},
        {"type": "k8s", "value": "../../v2/account"},
        {"type": "app", "value": ""},
        {"type": "tag", "value": " web"},
        {"type": "ip_addr", "value": "db.example"},
        {"type": "app", "value": "C2A93513-8d9b-4223-9d61-5e7272c81cf5", "description": 5}
    ], "links": 7}"#;
    let (sources, problems) = rules(text);
    assert_eq!(
        shown(&sources),
        ["ip_addr:2001:db8::/32", "app:C2A93513-8d9b-4223-9d61-5e7272c81cf5"]
    );
    let types = "accepted are ip_addr, droplet, k8s, tag, app";
    let expected = [
        "[0] u-0: value: ip_addr: 10.0.0.5/24 has host bits set; write 10.0.0.0/24, or 10.0.0.5 \
         for the one address"
            .to_owned(),
        format!("[2]: type: \"vpc\" is not accepted in this list; {types}"),
        format!("[3]: type: \"feed\" is not accepted in this list; {types}"),
        format!("[4]: type: \"dns\" is not accepted in this list; {types}"),
        format!("[5]: type: \"unheard\" is not accepted in this list; {types}"),
        "[6]: value: droplet: \"web-1\" is not a droplet's id; write the number, as in \
         droplet:3164494"
            .to_owned(),
        "[7]: value: droplet: \"0123\" is not a droplet's id; write the number, as in \
         droplet:3164494"
            .to_owned(),
        "[8]: value: k8s: \"../../v2/account\" is not an id; use at most 64 letters, digits and \
         '-'"
        .to_owned(),
        "[9]: value: app: the value is empty; write the app's id after app:".to_owned(),
        "[10]: value: tag: \" web\" has white space around it or control characters in it; remove \
         them"
            .to_owned(),
        "[11]: value: ip_addr: \"db.example\" is not an IPv4 or IPv6 address; write an address, a \
         CIDR or a range"
            .to_owned(),
    ];
    let told = |text: &String| {
        let (at, why) = text.split_once(": ").unwrap();
        format!("{why} ({NAME}, rules{at})")
    };
    let expected: Vec<_> = expected.iter().map(told).collect();
    assert_eq!(problems, expected);
}

#[test]
fn duplicates_are_one_rule() {
    let text = r#"{"rules": [
        {"type": "tag", "value": "a"},
        {"type": "ip_addr", "value": "10.0.0.1"},
        {"type": "tag", "value": "a", "description": "second"},
        {"type": "tag", "value": "a", "description": "third"},
        {"type": "tag", "value": "A"}
    ]}"#;
    assert_eq!(shown(&rules(text).0), ["tag:a # second", "ip_addr:10.0.0.1", "tag:A"]);
}

#[test]
fn descriptions_are_tidy() {
    let long = "é".repeat(300);
    let text = format!(
        r#"{{"rules": [
            {{"type": "tag", "value": "a", "description": " a\u001b[31m\nb "}},
            {{"type": "tag", "value": "b", "description": "\t"}},
            {{"type": "tag", "value": "c", "description": "{long}"}}
        ]}}"#
    );
    let sources = rules(&text).0;
    assert_eq!(sources[0].description.as_deref(), Some("a[31mb"));
    assert_eq!(sources[1].description, None);
    assert_eq!(sources[2].description.as_deref(), Some("é".repeat(255).as_str()));
}

#[test]
fn problems_do_not_flood() {
    let rule = r#"{"type": "x", "value": "y"}"#;
    let many = vec![rule; 5000].join(",");
    let text = format!(r#"{{"rules": [{many}, {{"type": "tag", "value": "web"}}]}}"#);
    let (_, problems) = rules(&text);
    assert_eq!(problems.len(), 101);
    assert_eq!(problems[100], format!("4900 more rules cannot be used ({NAME})"));
}

#[test]
fn null_is_no_rule_and_nothing_is_no_list() {
    assert_eq!(rules(r#"{"rules": null}"#), (Vec::new(), Vec::new()));
    for bad in [
        "{}",
        r#"{"rules": {}}"#,
        r#"{"rules": [{"type": "tag"}]}"#,
        r#"{"rules": [{"value": "x"}]}"#,
        r#"{"rules": [{"type": "droplet", "value": 123}]}"#,
        r#"{"rules": [null]}"#,
    ] {
        assert!(serde_json::from_str::<Firewall>(bad).is_err(), "{bad}");
    }
}

#[test]
fn rules_that_nobody_understands_are_not_no_rules() {
    let text = r#"{"rules": [{"type": "vpc_peering", "value": "y"}]}"#;
    let outcome = outcome(&list_id(NAME), &read(text));
    let ListOutcome::Failed(error) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.cause, Cause::Invalid);
    assert!(error.to_string().contains("vpc_peering"), "{error}");
}
