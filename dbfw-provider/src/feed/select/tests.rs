use std::num::NonZeroUsize;

use dbfw_core::source::Column;

use super::*;
use crate::list::MAX_ENTRIES;

/// In the shape of <https://ip-ranges.amazonaws.com/ip-ranges.json>.
const AWS: &str = r#"{
  "syncToken": "1761753189",
  "createDate": "2026-10-29-15-53-09",
  "prefixes": [
    { "ip_prefix": "3.4.12.4/32", "region": "eu-west-1", "service": "AMAZON",
      "network_border_group": "eu-west-1" },
    { "ip_prefix": "3.120.0.0/14", "region": "eu-central-1", "service": "AMAZON",
      "network_border_group": "eu-central-1" },
    { "ip_prefix": "3.120.0.0/14", "region": "eu-central-1", "service": "EC2",
      "network_border_group": "eu-central-1" },
    { "ip_prefix": "18.153.0.0/16", "region": "eu-central-1", "service": "EC2",
      "network_border_group": "eu-central-1" }
  ],
  "ipv6_prefixes": [
    { "ipv6_prefix": "2a05:d014::/35", "region": "eu-central-1", "service": "EC2",
      "network_border_group": "eu-central-1" }
  ]
}"#;

/// In the shape of <https://api.cloudflare.com/client/v4/ips>.
const CLOUDFLARE: &str = r#"{"result":{"ipv4_cidrs":["173.245.48.0/20","103.21.244.0/22"],
"ipv6_cidrs":["2400:cb00::/32"],"etag":"38f79d050aa027e3be3865e495dcc9bc"},"success":true,
"errors":[],"messages":[]}"#;

/// In the shape of <https://api.github.com/meta>.
const GITHUB: &str = r#"{"verifiable_password_authentication":false,
"ssh_key_fingerprints":{"SHA256_ECDSA":"p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM"},
"hooks":["192.30.252.0/22","185.199.108.0/22","2a0a:a440::/29"],"web":["20.201.28.151/32"],
"actions":[],"domains":{"website":["*.github.com"]}}"#;

fn one(body: impl AsRef<[u8]>, selector: &Selector) -> Result<String, String> {
    let mut lists = select(body.as_ref(), std::slice::from_ref(selector));
    assert_eq!(lists.len(), 1);
    lists.remove(0).map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

fn plain(body: impl AsRef<[u8]>) -> Result<String, String> {
    one(body, &Selector::Plain)
}

fn json(body: impl AsRef<[u8]>, path: &str) -> Result<String, String> {
    one(body, &Selector::Json(path.to_owned()))
}

fn named(body: impl AsRef<[u8]>, name: &str) -> Result<String, String> {
    one(body, &Selector::Csv(Column::Name(name.to_owned())))
}

fn numbered(body: impl AsRef<[u8]>, number: usize) -> Result<String, String> {
    one(body, &Selector::Csv(Column::Number(NonZeroUsize::new(number).unwrap())))
}

fn ok(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn err(text: &str) -> Result<String, String> {
    Err(text.to_owned())
}

#[test]
fn plain_lists() {
    let body = "\u{feff}# office\r\n\r\n2001:db8::/32\n\t10.0.0.1  # CI # 2\n\
                10.2.0.0 - 10.2.0.4\n10.0.0.1\n::ffff:10.9.0.0/112";
    assert_eq!(plain(body), ok("10.0.0.1/32 10.2.0.0/30 10.2.0.4/32 10.9.0.0/16 2001:db8::/32"));
    for empty in ["", "\n\n", "# nothing", "\u{feff}"] {
        assert_eq!(plain(empty), ok(""), "{empty:?}");
    }
}

#[test]
fn one_bad_line_fails_a_plain_list() {
    let unused = "the feed is not used until it is fixed";
    for (line, message) in [
        (
            "10.0.0.5/24",
            "10.0.0.5/24 has host bits set; write 10.0.0.0/24, or 10.0.0.5 for the one address",
        ),
        ("nonsense", "\"nonsense\" is not an IPv4 or IPv6 address"),
        ("ip_addr:10.0.0.1", "\"ip_addr:10.0.0.1\" is not an IPv4 or IPv6 address"),
        ("10.0.0.1,US", "\"10.0.0.1,US\" is not an IPv4 or IPv6 address"),
        ("10.0.0.1 \u{1b}[31m", "\"10.0.0.1 \\u{1b}[31m\" is not an IPv4 or IPv6 address"),
        ("10.0.0.9-10.0.0.1", "10.0.0.9-10.0.0.1 ends before it starts; write 10.0.0.1-10.0.0.9"),
    ] {
        let message = format!("line 2: {message}: {unused}");
        assert_eq!(plain(format!("10.0.0.1\n{line}\n10.0.0.2")), Err(message), "{line}");
    }
    let long = format!("10.0.0.1\n10.0.0.2 #{}", "x".repeat(MAX_LINE));
    assert_eq!(plain(long), Err(format!("line 2: is longer than {MAX_LINE} bytes: {unused}")));
    assert_eq!(plain(b"10.0.0.1\n\xff"), Err(format!("line 2: is not UTF-8: {unused}")));
}

#[test]
fn plain_lists_as_others_publish_them() {
    let body = "; Spamhaus DROP List 2026/11/01\n1.10.16.0/20 ; SBL256894\r\n\
                1.19.0.0/16;SBL434604\r\u{feff}10.0.0.1 # x\n";
    assert_eq!(plain(body), ok("1.10.16.0/20 1.19.0.0/16 10.0.0.1/32"));
    assert_eq!(plain(b"10.0.0.1 # B\xfcro\n; \xfc\n10.0.0.2"), ok("10.0.0.1/32 10.0.0.2/32"));
    let wide: Vec<u8> = "10.0.0.1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let named = err("is UTF-16, not UTF-8: the feed is not used until it is fixed");
    assert_eq!(plain(&wide), named);
    assert_eq!(json(&wide, "$"), named);
    assert_eq!(
        plain("10.0.0.1:80"),
        err("line 1: \"10.0.0.1:80\" has a port; write 10.0.0.1: a source may connect from any \
             port: the feed is not used until it is fixed")
    );
}

#[test]
fn too_many_entries_fail() {
    // 254 prefixes each.
    let ranges = "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe\n";
    let enough = MAX_ENTRIES / 254 + 1;
    let message = format!("line {enough}: more than 2000000 prefixes: use a shorter list");
    assert_eq!(plain(ranges.repeat(enough)), Err(message));
}

#[test]
fn a_page_is_no_list() {
    for body in ["<!DOCTYPE html><html>", "\u{feff}\n  <html>", "<?xml version='1.0'?>"] {
        for error in [plain(body), json(body, "$"), named(body, "a"), numbered(body, 1)] {
            assert_eq!(
                error,
                err("is a page of HTML or XML, not a list: something else answers there, a login \
                     page or a proxy; check the address")
            );
        }
    }
    for body in [CLOUDFLARE, "[\"10.0.0.1\"]"] {
        assert!(plain(body).unwrap_err().contains("select the addresses with a JSONPath"));
    }
}

#[test]
fn aws() {
    let of_ec2 = "$.prefixes[?@.service=='EC2' && @.region=='eu-central-1'].ip_prefix";
    assert_eq!(json(AWS, of_ec2), ok("3.120.0.0/14 18.153.0.0/16"));
    assert_eq!(json(AWS, "$.ipv6_prefixes[*].ipv6_prefix"), ok("2a05:d014::/35"));
    assert_eq!(
        json(
            AWS,
            "$['prefixes','ipv6_prefixes'][?@.region=='eu-central-1']['ip_prefix','ipv6_prefix']"
        ),
        ok("3.120.0.0/14 18.153.0.0/16 2a05:d014::/35")
    );
}

#[test]
fn cloudflare_and_github() {
    assert_eq!(
        json(CLOUDFLARE, "$.result['ipv4_cidrs','ipv6_cidrs']"),
        ok("103.21.244.0/22 173.245.48.0/20 2400:cb00::/32")
    );
    assert_eq!(json(CLOUDFLARE, "$.result.ipv4_cidrs[*]"), ok("103.21.244.0/22 173.245.48.0/20"));
    assert_eq!(json(GITHUB, "$.hooks"), ok("185.199.108.0/22 192.30.252.0/22 2a0a:a440::/29"));
    assert_eq!(json(GITHUB, "$['hooks','web']").unwrap().split(' ').count(), 4);
    assert_eq!(json(GITHUB, "$.actions"), ok(""));
}

#[test]
fn what_a_json_path_must_not_select() {
    let nothing = "the JSONPath selects nothing: the document has another shape than it had, or \
                   the path is wrong";
    assert_eq!(json(AWS, "$.prefix[*].ip_prefix"), err(nothing));
    assert_eq!(json(AWS, "$.prefixes[?@.service=='S3'].ip_prefix"), err(nothing));
    assert_eq!(json(GITHUB, "$.actions[*]"), err(nothing));
    let alone = "let the JSONPath select only the addresses";
    for (path, message) in [
        ("$.success", "$['success']: is true or false, not an address"),
        ("$.result", "$['result']: is an object, not an address"),
        ("$", "$: is an object, not an address"),
    ] {
        assert_eq!(json(CLOUDFLARE, path), Err(format!("{message}: {alone}")), "{path}");
    }
    let nested = r#"{"a":[["10.0.0.1"]],"b":["10.0.0.1",7],"c":null}"#;
    assert_eq!(
        json(nested, "$.a"),
        Err(format!("$['a'][0]: is an array, not an address: {alone}"))
    );
    assert_eq!(json(nested, "$.a[*]"), ok("10.0.0.1/32"));
    assert_eq!(
        json(nested, "$.b"),
        Err(format!("$['b'][1]: is a number, not an address: {alone}"))
    );
    assert_eq!(
        json(nested, "$['a','c']").unwrap_err(),
        format!("$['a'][0]: is an array, not an address: {alone}")
    );
    assert_eq!(json(nested, "$.c"), Err(format!("$['c']: is null, not an address: {alone}")));
    assert_eq!(
        json(CLOUDFLARE, "$.result.*"),
        err("$['result']['etag']: \"38f79d050aa027e3be3865e495dcc9bc\" is not an IPv4 or IPv6 \
             address: the feed is not used until it is fixed")
    );
    assert_eq!(
        json(r#"{"a":[{"ip":"10.0.0.1"},{"ip":"10.0.0.1/8"}]}"#, "$.a[*].ip"),
        err("$['a'][1]['ip']: 10.0.0.1/8 has host bits set; write 10.0.0.0/8, or 10.0.0.1 for \
             the one address: the feed is not used until it is fixed")
    );
}

#[test]
fn broken_json() {
    let error = json(&AWS[..AWS.len() / 2], "$.prefixes[*].ip_prefix").unwrap_err();
    assert!(error.starts_with("is not JSON, EOF while parsing"), "{error}");
    assert!(json("", "$").unwrap_err().starts_with("is not JSON, EOF"));
    assert!(json("[\"10.0.0.1\"] x", "$").unwrap_err().starts_with("is not JSON, trailing"));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(json(deep, "$").unwrap_err().starts_with("is not JSON, recursion limit exceeded"));
    // A name that would steer a terminal.
    let hostile = "{\"\\u001b[31m\\n\":{\"x\":1}}";
    let error = json(hostile, "$.*.x").unwrap_err();
    assert!(!error.contains(char::is_control), "{error}");
}

#[test]
fn csv_tables() {
    let body = "\u{feff}# ranges of the office\nNetwork, site\n10.0.0.0/8,\"a, b\"\n\n\
                2001:db8::/32 ,c\n";
    assert_eq!(named(body, "network"), ok("10.0.0.0/8 2001:db8::/32"));
    assert_eq!(named(body, "Network"), ok("10.0.0.0/8 2001:db8::/32"));
    assert_eq!(numbered("a,10.0.0.1\r\nb,10.0.0.2,x\r\n#c\r\n", 2), ok("10.0.0.1/32 10.0.0.2/32"));
    assert_eq!(named("network\n", "network"), ok(""));
    assert_eq!(numbered("\"10.0.0.1\"\n", 1), ok("10.0.0.1/32"));
}

#[test]
fn what_is_wrong_in_a_table() {
    let unused = "the feed is not used until it is fixed";
    assert_eq!(
        named("network,site\n10.0.0.0/8,a\n", "cidr"),
        err("has no column \"cidr\": its first line has \"network\", \"site\"")
    );
    assert_eq!(named("", "cidr"), Err(format!("has no line, so no column \"cidr\": {unused}")));
    assert_eq!(
        named("ip,b,IP\n10.0.0.1,,\n", "ip"),
        err("columns 1 and 3 are both named \"ip\": select one by its number, as in #csv:1")
    );
    assert_eq!(
        named("a,ip\nx,10.0.0.1\ny\n", "ip"),
        Err(format!("line 3: has no column 2: {unused}"))
    );
    assert_eq!(
        named("ip\n10.0.0.1\n\"\"\n", "ip"),
        Err(format!("line 3: \"\" is not an IPv4 or IPv6 address: {unused}"))
    );
    assert_eq!(
        numbered("network\n10.0.0.1\n", 1),
        err("line 1: \"network\" is not an address: if it is the column's name, write \
             #csv:network for the column")
    );
    assert_eq!(
        numbered("10.0.0.1\nnetwork\n", 1),
        Err(format!("line 2: \"network\" is not an IPv4 or IPv6 address: {unused}"))
    );
    assert_eq!(numbered("10.0.0.1\n", 2), Err(format!("line 1: has no column 2: {unused}")));
    for empty in ["", "# nothing\n"] {
        assert_eq!(numbered(empty, 2), Err(format!("has no line with a column 2: {unused}")));
    }
    assert_eq!(
        numbered(b"10.0.0.1\n\xff\n", 1),
        Err(format!("line 2: the address is not UTF-8: {unused}"))
    );
}

#[test]
fn several_take_their_own_of_one_document() {
    let lists = select(
        GITHUB.as_bytes(),
        &[
            Selector::Json("$.web".to_owned()),
            Selector::Json("$.none".to_owned()),
            Selector::Json("$.actions".to_owned()),
            Selector::Plain,
        ],
    );
    assert_eq!(lists[0], Ok(vec!["20.201.28.151/32".parse().unwrap()]));
    assert!(lists[1].as_ref().unwrap_err().contains("selects nothing"));
    assert_eq!(lists[2], Ok(Vec::new()));
    assert!(lists[3].as_ref().unwrap_err().contains("is JSON and not a plain list"));
}

#[test]
fn nothing_makes_it_panic() {
    let selectors = [
        Selector::Plain,
        Selector::Json("$..ip".to_owned()),
        Selector::Csv(Column::Name("ip".to_owned())),
        Selector::Csv(Column::Number(NonZeroUsize::MAX)),
    ];
    for body in ["ip,\"b\"\n10.0.0.1-10.0.0.9,#\n", "{\"ip\":[\"::1/128\",\"\\ud800\"]}"] {
        for at in 0..body.len() {
            for byte in *b"\0\t\n\"#$,[\\{\xff" {
                let mut body = body.as_bytes().to_vec();
                body[at] = byte;
                assert_eq!(select(&body, &selectors).len(), 4);
                assert_eq!(select(&body[..at], &selectors).len(), 4);
            }
        }
    }
}
