use std::path::Path;

use proptest::prelude::*;

use super::*;

fn value(text: &str) -> FeedValue {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    text.parse::<FeedValue>().unwrap_err().with_fix()
}

fn selector(text: &str) -> Selector {
    value(&format!("/etc/list#{text}")).selector
}

#[test]
fn locations() {
    for (text, location) in [
        ("https://api.cloudflare.com/client/v4/ips", "https://api.cloudflare.com/client/v4/ips"),
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM:8443/a?b=c%20d", "https://example.com:8443/a?b=c%20d"),
        ("https://[2001:db8::1]/list", "https://[2001:db8::1]/list"),
        ("http://127.0.0.1:8080/list", "http://127.0.0.1:8080/list"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
    ] {
        let FeedValue { location: Location::Url(url), selector } = value(text) else {
            panic!("{text}: no URL")
        };
        assert_eq!((url.as_str(), selector), (location, Selector::Plain), "{text}");
    }
    let path = |text| match value(text).location {
        Location::Path(path) => path,
        Location::Url(url) => panic!("{url}"),
    };
    assert_eq!(path("/etc/dbfw/office.list"), Path::new("/etc/dbfw/office.list"));
    assert_eq!(path("/etc/with space/é#$.a"), Path::new("/etc/with space/é"));
}

#[test]
fn the_fragment_is_not_part_of_the_url() {
    let FeedValue { location: Location::Url(url), selector } = value(
        "https://ip-ranges.amazonaws.com/ip-ranges.json#$.prefixes[?@.region=='#1'].ip_prefix",
    ) else {
        panic!("no URL")
    };
    assert_eq!(url.as_str(), "https://ip-ranges.amazonaws.com/ip-ranges.json");
    assert_eq!(selector, Selector::Json("$.prefixes[?@.region=='#1'].ip_prefix".to_owned()));
}

#[test]
fn selectors() {
    let json = |text: &str| Selector::Json(text.to_owned());
    for text in [
        "$",
        "$.hooks",
        "$.result['ipv4_cidrs','ipv6_cidrs']",
        "$.prefixes[?@.service=='EC2' && @.region=='eu-central-1'].ip_prefix",
        "$..ip",
        "$.a[?@.b == '100%']",
        "$['%zz']",
    ] {
        assert_eq!(selector(text), json(text));
    }
    assert_eq!(selector("$.a[?@.b%20==%20'%C3%BC']"), json("$.a[?@.b == 'ü']"));
    assert_eq!(selector("%24.a%23b"[..5].trim()), json("$.a"));
    let name = |text: &str| Selector::Csv(Column::Name(text.to_owned()));
    assert_eq!(selector("csv:network"), name("network"));
    assert_eq!(selector("csv:IP%20range"), name("IP range"));
    assert_eq!(selector("csv:2nd"), name("2nd"));
    let number = |number| Selector::Csv(Column::Number(NonZeroUsize::new(number).unwrap()));
    assert_eq!(selector("csv:2"), number(2));
    assert_eq!(selector("csv:%31%30"), number(10));
}

#[test]
fn what_is_wrong_and_how_to_mend_it() {
    let long = format!("https://example.com/{}", "x".repeat(MAX_VALUE));
    let nested = format!("/l#$[?{}@.a{}]", "(".repeat(8), ")".repeat(8));
    for (text, message) in [
        ("list", "\"list\" is neither a URL nor an absolute path; write https://… or /…"),
        ("", "\"\" is neither a URL nor an absolute path; write https://… or /…"),
        (
            "example.com/x",
            "\"example.com/x\" is neither a URL nor an absolute path; write https://… or /…",
        ),
        (
            "/a\u{1b}b",
            "\"/a\\u{1b}b\" is neither a URL nor an absolute path; write https://… or /…",
        ),
        (
            "file:///etc/list",
            "file: is not a scheme that is fetched; write https://…, or /… for a local file",
        ),
        (
            "example.com:443/x",
            "example.com: is not a scheme that is fetched; write https://…, or /… for a local file",
        ),
        ("https://", "\"https://\" is not a URL: empty host; write https://host/path"),
        (
            "https://a b/",
            "\"https://a b/\" is not a URL: invalid international domain name; write https://host/path",
        ),
        (
            "https://u:secret@example.com/",
            "the URL holds a user or a password, which are shown to everybody; leave them out",
        ),
        (&long, "the value has 2068 characters, more than 2048; use a shorter URL"),
        ("/l#", "nothing after '#'; write #$… or #csv:…, or leave '#' out for a plain list"),
        (
            "/l#json",
            "the selector \"json\" is of no known form; write #$… (a JSONPath) or #csv:… (a column)",
        ),
        (
            "/l#%ff",
            "the selector \"%ff\" is not text once its %-codes are decoded; encode it as UTF-8",
        ),
        (
            "/l#$.a%0a",
            "the selector \"$.a%0a\" is not text once its %-codes are decoded; encode it as UTF-8",
        ),
        (
            "/l#$.a[",
            "the JSONPath \"$.a[\" is not valid: at position 3, parser error; write one as in \
             RFC 9535",
        ),
        (
            &nested,
            "the JSONPath \"$[?((((((((@.a))))))))]\" is not valid: more than 8 brackets inside \
             one another; write one as in RFC 9535",
        ),
        ("/l#csv:", "csv: names no column; write csv:network (its name) or csv:2 (its number)"),
        ("/l#csv:0", "csv:0 is no column; write csv:1 for the first column"),
        (
            "/l#csv:99999999999999999999999",
            "csv:99999999999999999999999 is no column; write csv:1 for the first column",
        ),
    ] {
        assert_eq!(error(text), message, "{text}");
    }
    assert!(!error("https://u:secret@example.com/").contains("secret"));
}

#[test]
fn brackets_in_quotes_do_not_nest() {
    assert_eq!(nesting(r"$['[[[[', '\'[', "), 1);
    assert_eq!(nesting("$[?(@['a'] == ')')][0]"), 3);
    assert_eq!(nesting("]])(["), 2);
}

proptest! {
    /// The parser of JSONPaths must neither panic nor take long, whatever is written.
    #[test]
    fn nothing_makes_it_panic(text in "(/l|https://h/)#(\\$[\\[\\]().?@'\"!&|=a0*%:, -]{0,60}|\\PC{0,24})|\\PC{0,24}") {
        let _ = text.parse::<FeedValue>();
    }
}
