use proptest::prelude::*;

use super::*;
use crate::source::{Prefix, SourceKey, TrustedSource};

fn error(text: &str) -> String {
    text.parse::<TrustedSource>().unwrap_err().with_fix()
}

fn prefixes(text: &str) -> String {
    let source: TrustedSource = text.parse().unwrap();
    let prefixes = source.key().prefixes().unwrap();
    prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_parses() {
    assert_eq!(prefixes("ip_addr:10.0.0.1"), "10.0.0.1/32");
    assert_eq!(prefixes("ip_addr:10.0.0.0/24"), "10.0.0.0/24");
    assert_eq!(prefixes("ip_addr:2001:db8::/32"), "2001:db8::/32");
    assert_eq!(prefixes("ip_addr:::1"), "::1/128");
    assert_eq!(prefixes("ip_addr:10.0.0.0-10.0.0.4"), "10.0.0.0/30 10.0.0.4/32");
    assert_eq!(prefixes("ip_addr:2001:db8:: - 2001:db8::1"), "2001:db8::/127");
    for text in [
        "tag:backend",
        "tag:env:prod_1-A",
        "droplet:123",
        "droplet:18446744073709551615",
        "k8s:a-b-c",
        "app:X",
        "vpc:5a4981aa-9653-4bd1-bef5-d6bff52042e4",
        "feed:https://a.example/x.json#$.a[?@.b == 'c; d'].e",
        "feed:/lists/office",
        "dns:DB.example.com.",
    ] {
        let source: TrustedSource = text.parse().unwrap();
        assert_eq!(source.to_string(), text);
        assert_eq!(source.key().prefixes(), None);
    }
}

#[test]
fn what_does_not() {
    let types = "ip_addr, droplet, k8s, tag, app, vpc, feed, dns";
    for (text, message) in [
        ("10.0.0.0/8", "10.0.0.0/8 has no type; write ip_addr:10.0.0.0/8"),
        ("10.0.0.1/8", "10.0.0.1/8 has no type; write ip_addr:10.0.0.0/8"),
        ("2001:db8::1", "2001:db8::1 has no type; write ip_addr:2001:db8::1"),
        ("::1", "::1 has no type; write ip_addr:::1"),
        ("10.0.0.1-10.0.0.9", "10.0.0.1-10.0.0.9 has no type; write ip_addr:10.0.0.1-10.0.0.9"),
        (
            "backend",
            &format!("\"backend\" has no type; write type:value, where type is one of {types}"),
        ),
        ("ip:10.0.0.1", &format!("unknown type \"ip\"; the types are {types}")),
        (" tag:x", &format!("unknown type \" tag\"; the types are {types}")),
        ("", &format!("\"\" has no type; write type:value, where type is one of {types}")),
        ("tag:", "tag: the value is empty; write the tag's name after tag:"),
        (
            "tag: x",
            "tag: \" x\" has white space around it or control characters in it; remove them",
        ),
        (
            "tag:a\tb",
            "tag: \"a\\tb\" has white space around it or control characters in it; remove them",
        ),
        (
            "ip_addr:db1",
            "ip_addr: \"db1\" is not an IPv4 or IPv6 address; write an address, a CIDR or a range",
        ),
        (
            "ip_addr:10.0.0.1-9",
            "ip_addr: \"10.0.0.1-9\" ends with a part of an address; write 10.0.0.1-10.0.0.9 (or \
             10.0.0.1/32, 10.0.0.2/31, 10.0.0.4/30, 10.0.0.8/31)",
        ),
        (
            "ip_addr:10.0.0.5/24",
            "ip_addr: 10.0.0.5/24 has host bits set; write 10.0.0.0/24, or 10.0.0.5 for the \
             one address",
        ),
        (
            "droplet:0",
            "droplet: \"0\" is not a droplet's id; write the number, as in droplet:3164494",
        ),
        ("tag:a.b", "tag: \"a.b\" is not a tag; use at most 255 letters, digits, ':', '_' and '-'"),
        ("vpc:a_b", "vpc: \"a_b\" is not an id; use at most 64 letters, digits and '-'"),
        ("feed:x", "feed: \"x\" is neither a URL nor an absolute path; write https://… or /…"),
        ("dns:a..b", "dns: \"a..b\" has an empty label; write a host name"),
        (
            "ip_addr:10.0.0.0/24-10.0.1.0/24",
            "ip_addr: \"10.0.0.0/24-10.0.1.0/24\" is a range from network to network; write \
             10.0.0.0-10.0.1.255 (or 10.0.0.0/23)",
        ),
    ] {
        assert_eq!(error(text), message, "{text}");
    }
}

#[test]
fn what_is_asked_for_by_its_id_is_an_id() {
    for text in ["droplet:x", "droplet:012", "vpc:..", "app:a?b", "k8s:a/b", "tag:a b", "dns:a..b"]
    {
        assert!(text.parse::<TrustedSource>().is_err(), "{text}");
    }
}

#[test]
fn keys_of_prefixes() {
    for (prefix, text) in [("10.0.0.1/32", "ip_addr:10.0.0.1"), ("::/0", "ip_addr:::/0")] {
        let key = SourceKey::from(prefix.parse::<Prefix>().unwrap());
        let read: TrustedSource = text.parse().unwrap();
        assert_eq!((key.to_string().as_str(), &key), (text, read.key()));
        assert_eq!(key.prefixes(), read.key().prefixes());
    }
}

#[test]
fn nothing_is_read_from_a_file_that_its_type_does_not_take() {
    let source: TrustedSource = "tag:backend".parse().unwrap();
    let text = serde_json::to_string(&source).unwrap();
    assert_eq!(text, r#"{"type":"tag","value":"backend"}"#);
    assert_eq!(serde_json::from_str::<TrustedSource>(&text).unwrap(), source);
    let bad = text.replace("backend", "a b");
    let error = serde_json::from_str::<TrustedSource>(&bad).unwrap_err().to_string();
    assert!(error.starts_with("tag: \"a b\" is not a tag"), "{error}");
    assert!(serde_json::from_str::<SourceKey>(&bad).is_err());
}

#[test]
fn lengths() {
    for (kind, most) in [("tag", 255), ("k8s", 64), ("app", 64), ("vpc", 64), ("droplet", 19)] {
        let text = |length| format!("{kind}:{}", "1".repeat(length));
        assert!(text(most).parse::<TrustedSource>().is_ok(), "{kind}");
        let beyond = if kind == "droplet" { 21 } else { most + 1 };
        assert!(text(beyond).parse::<TrustedSource>().is_err(), "{kind}");
    }
}

#[test]
fn the_fix_has_nothing_of_what_was_written() {
    for text in ["1; app server", "a ; b; app server", "; app server", "app server; "] {
        for &kind in SourceType::ALL {
            let Err(error) = format!("{kind}:{text}").parse::<TrustedSource>() else {
                panic!("{kind}:{text}")
            };
            assert!(!error.fix().contains("app server"), "{kind}:{text}: {}", error.fix());
            assert!(!error.fix().is_empty(), "{kind}:{text}");
        }
        let error = text.parse::<TrustedSource>().unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert!(!error.fix().contains("app server"), "{text}: {}", error.fix());
    }
    for (text, message, fix) in [
        (
            "tag:a; b",
            "tag: \"a; b\" is not a tag",
            "use at most 255 letters, digits, ':', '_' and '-'",
        ),
        (
            "ip_addr:192.0.2.10 ; app; server",
            "ip_addr: \"192.0.2.10 ; app; server\" has a comment in it",
            "write 192.0.2.10 alone, and the comment outside the value",
        ),
        (
            "ip_addr:198.51.100.0/24 ; SBL256894",
            "ip_addr: \"198.51.100.0/24 ; SBL256894\" has a comment in it",
            "write 198.51.100.0/24 alone, and the comment outside the value",
        ),
        (
            "feed:https://a.example/; b#x",
            "feed: the selector \"x\" is of no known form",
            "write #$… (a JSONPath) or #csv:… (a column)",
        ),
    ] {
        let error = text.parse::<TrustedSource>().unwrap_err();
        assert_eq!((error.to_string().as_str(), error.fix().as_str()), (message, fix), "{text}");
    }
}

#[test]
fn an_address_without_a_type_is_named_with_it() {
    let error = "192.0.2.1:5432".parse::<TrustedSource>().unwrap_err();
    assert_eq!(error.to_string(), "192.0.2.1:5432 has no type, and has a port");
    for (text, fix) in [
        ("192.0.2.1:5432", "write ip_addr:192.0.2.1: a source may connect from any port"),
        ("[2001:db8::1]:5432", "write ip_addr:2001:db8::1: a source may connect from any port"),
        ("10.0.0.5/24", "write ip_addr:10.0.0.0/24"),
        ("10.0.0.9-10.0.0.1", "write ip_addr:10.0.0.1-10.0.0.9"),
        ("[2001:db8::1]", "write ip_addr:2001:db8::1"),
        ("192.0.2.1 # office", "write ip_addr:192.0.2.1 alone, and the comment outside the value"),
        ("10.0.0.0/33", "write a length from 0 to 32, or none for the one address"),
    ] {
        let error = text.parse::<TrustedSource>().unwrap_err();
        assert_eq!(error.fix(), fix, "{text}: {error}");
        if let Some(written) = fix.strip_prefix("write ip_addr:") {
            let written = written.split(' ').next().unwrap().trim_end_matches(':');
            assert!(format!("ip_addr:{written}").parse::<TrustedSource>().is_ok(), "{fix}");
        }
    }
}

#[test]
fn type_names_are_those_of_serde() {
    for &kind in SourceType::ALL {
        let json = serde_json::to_string(&kind).unwrap();
        assert_eq!(json, format!("\"{kind}\""));
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
}

proptest! {
    #[test]
    fn text_round_trip(text in "(ip_addr|tag|app|droplet|vpc|feed|dns):[0-9a-f:./# -]{0,16}|\\PC{0,24}") {
        if let Ok(source) = text.parse::<TrustedSource>() {
            prop_assert_eq!(source.to_string(), text);
        }
    }
}
