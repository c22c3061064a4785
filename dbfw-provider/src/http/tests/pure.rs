//! Headers and bodies without a server.

use jiff::Timestamp;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn rate(headers: &[(&'static str, &str)]) -> Rate {
    let header = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    Rate::read(&headers.iter().map(header).collect(), now())
}

#[test]
fn rate_headers_are_read() {
    let read = rate(&[
        ("ratelimit-limit", "5000"),
        ("ratelimit-remaining", " 4816 "),
        ("ratelimit-reset", "1767323105"),
    ]);
    let reset = Some(Duration::from_secs(60));
    let expected = Rate { remaining: Some(4816), reset, retry_after: None };
    assert_eq!(read, expected);
    assert_eq!(read.wait(), None);
    for (reset, wait) in [("1767323105", 60), ("1867323105", 86_400), ("1767323044", 0)] {
        let none = rate(&[("ratelimit-remaining", "0"), ("ratelimit-reset", reset)]);
        assert_eq!(none.wait(), Some(Duration::from_secs(wait)), "{reset}");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let day = Duration::from_secs(86_400);
    for (value, wait) in [
        ("0", Some(Duration::ZERO)),
        ("120", Some(Duration::from_secs(120))),
        ("99999999999", Some(day)),
        ("Fri, 02 Jan 2026 03:05:05 GMT", Some(Duration::from_secs(60))),
        ("Fri, 02 Jan 2015 03:05:05 GMT", Some(Duration::ZERO)),
        ("Fri, 02 Jan 9998 03:05:05 GMT", Some(day)),
        ("99999999999999999999999", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
    ] {
        assert_eq!(rate(&[("retry-after", value)]).retry_after, wait, "{value}");
    }
}

#[test]
fn nonsense_in_rate_headers_is_ignored() {
    for value in ["", "-1", "4294967296", "many", "1e3", "9223372036854775807", "\u{e9}"] {
        let read = rate(&[
            ("ratelimit-limit", value),
            ("ratelimit-remaining", value),
            ("ratelimit-reset", if value == "-1" { "x" } else { value }),
        ]);
        assert_eq!(Rate { reset: None, ..read }, Rate::default(), "{value}");
    }
    assert_eq!(rate(&[("ratelimit-reset", "9223372036854775807")]).reset, None);
}

#[derive(Debug, Deserialize)]
struct Page {
    #[expect(dead_code, reason = "only read for what is wrong with it")]
    droplets: Vec<Droplet>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only read for what is wrong with it")]
struct Droplet {
    id: u64,
    #[serde(default)]
    tags: Option<Vec<String>>,
}

fn wrong(body: &str) -> String {
    let answer = Response { status: 200, body: body.into(), ..Response::default() };
    let error = answer.json::<Page>(WHAT).unwrap_err();
    assert_eq!(error.cause, Cause::Invalid);
    assert_clean(&error);
    assert_eq!(error.about, WHAT);
    error.reason
}

#[test]
fn what_is_wrong_with_a_body_is_named_by_field_and_place() {
    for (body, expected) in [
        (r#"{"droplets":[{"id":1},{"id":"x,\"]"}]}"#, "droplets[1].id: invalid type: string"),
        (r#"{"droplets":[{"id":1},{"tags":[]}]}"#, "droplets[1]: missing field `id`"),
        (r#"{"droplets":[{"id":1,"tags":["a",7]}]}"#, "droplets[0].tags[1]: invalid type: integer"),
        (r#"{"droplets":[{"id":-1}]}"#, "droplets[0].id: invalid value: integer `-1`"),
        (r#"{"droplets":[{"id":{"a":[1]}}]}"#, "droplets[0].id: invalid type: map"),
        (r#"{"droplets":null}"#, "droplets: invalid type: null"),
        (r#"{"other":[{"a":"}]"}],"links":{}}"#, "documented, missing field `droplets`"),
        ("[1]", "documented, "),
        ("7", "documented, invalid type: integer `7`"),
        ("{\n \"droplets\":\n  [ {\"id\" : true} ] }", "droplets[0].id: invalid type: boolean"),
    ] {
        let message = wrong(body);
        assert!(message.starts_with("not the JSON that is documented, "), "{message}");
        assert!(message.contains(expected) && message.contains(" at line "), "{body}: {message}");
    }
}

#[test]
fn a_body_that_ends_early_or_is_no_json_is_told_apart() {
    for body in [r#"{"droplets":[{"id":1},{"id"#, r#"{"droplets":[{"id":1},{"id":"#] {
        let message = wrong(body);
        assert!(message.starts_with("the JSON ends too early, droplets[1]"), "{message}");
    }
    assert!(wrong("").starts_with("the JSON ends too early, EOF"));
    let message = wrong(r#"{"droplets":[{"id":1},,]}"#);
    assert!(message.starts_with("not JSON, droplets[1"), "{message}");
    assert!(wrong("upstream connect error").starts_with("not JSON, expected value at line 1"));
}

#[test]
fn a_page_for_people_is_told() {
    for body in ["<!doctype html><title>Sign in</title>", "\n  <html>"] {
        assert!(wrong(body).starts_with("HTML instead of JSON"));
    }
    let typed = Response {
        body: b"Bad gateway".to_vec(),
        content_type: Some("Text/HTML; charset=utf-8".to_owned()),
        ..Response::default()
    };
    assert!(typed.json::<Page>(WHAT).unwrap_err().to_string().contains("HTML instead of JSON"));
    // What reads as JSON is JSON, whatever it is called.
    let named = Response { body: br#"{"droplets":[]}"#.to_vec(), ..typed };
    assert!(named.json::<Page>(WHAT).is_ok());
}

#[test]
fn names_in_a_path_are_cut_and_made_harmless() {
    let key = format!("\u{202e}\u{9b}{}", "long".repeat(100));
    let mut body = String::new();
    for _ in 0..100 {
        body.push_str(&format!("{{\"{key}\":["));
    }
    let message = wrong(&body);
    assert!(message.len() < 2000, "{message}");
    assert!(message.contains('…') && message.contains('\u{fffd}'), "{message}");
}

proptest! {
    #[test]
    fn whatever_a_body_is_its_error_is_one_harmless_line(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "[\\[\\]{}\",:\\\\a0\n ]{0,60}".prop_map(String::into_bytes),
            "\\{\"droplets\":\\[\\{\"id\":[ -~]{0,20}".prop_map(String::into_bytes),
        ],
    ) {
        let answer = Response { body, ..Response::default() };
        if let Err(error) = answer.json::<Page>(WHAT) {
            assert_clean(&error);
        }
        let refusal = Response { status: 500, ..answer };
        assert_clean(&refusal.success(WHAT).unwrap_err());
    }
}
