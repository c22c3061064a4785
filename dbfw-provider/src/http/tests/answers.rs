//! What an answer says, and how an error puts it.

use jiff::Timestamp;
use serde::Deserialize;

use super::{request::MAX_VALIDATOR, *};

/// The error that an answer of the server is to a client.
async fn refusal(status: &str, headers: &str, body: &str) -> FetchError {
    let server = Server::answering(answer(status, headers, body)).await;
    let answer = ask(&client(), &server.url("/v2/droplets?page=2")).await.unwrap();
    let error = answer.success(WHAT).unwrap_err();
    assert_clean(&error);
    error
}

#[tokio::test]
async fn a_status_becomes_a_cause_with_the_servers_words() {
    let body = r#"{"id":"unauthorized","message":"Unable to authenticate you."}"#;
    let error = refusal("401 Unauthorized", "", body).await;
    assert_eq!(
        (error.cause, &*error.to_string()),
        (
            Cause::Unauthorized,
            "answered 401, \"Unable to authenticate you.\": the token is refused: check the \
             token file (DigitalOcean: GET /v2/droplets?page=2)"
        )
    );
    for (status, cause) in [
        ("403 Forbidden", Cause::Permission),
        ("429 Too Many", Cause::RateLimited),
        ("500 Oops", Cause::Server),
        ("502 Bad Gateway", Cause::Server),
        ("599 Odd", Cause::Server),
        ("206 Partial Content", Cause::Invalid),
        ("400 Bad Request", Cause::Invalid),
        ("422 Unprocessable", Cause::Invalid),
        ("600 None", Cause::Invalid),
    ] {
        let error = refusal(status, "", "<html>not JSON</html>").await;
        assert_eq!((error.cause, error.retry_after), (cause, None), "{error}");
        assert!(error.to_string().contains(&format!("answered {}: ", &status[..3])), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_failure_stays_an_answer() {
    for status in ["200 OK", "204 No Content", "404 Not Found"] {
        let server = Server::answering(answer(status, "", "")).await;
        let answer = ask(&client(), &server.url("/")).await.unwrap().success(WHAT).unwrap();
        assert_eq!(answer.status.to_string(), status[..3]);
    }
}

#[tokio::test]
async fn a_refusal_says_when_to_come_again() {
    let now = Timestamp::now().as_second();
    for (headers, least, most) in [
        ("retry-after: 17\r\n".to_owned(), 17, 17),
        (format!("ratelimit-remaining: 0\r\nratelimit-reset: {}\r\n", now + 600), 590, 600),
        (
            format!("retry-after: 5\r\nratelimit-remaining: 0\r\nratelimit-reset: {}\r\n", now + 9),
            5,
            5,
        ),
        (format!("ratelimit-remaining: 0\r\nratelimit-reset: {}\r\n", now - 600), 0, 0),
        (format!("retry-after: {}\r\n", u64::MAX), 86_400, 86_400),
    ] {
        let wait = refusal("429 Too Many Requests", &headers, "").await.retry_after.unwrap();
        assert!((least..=most).contains(&wait.as_secs()), "{headers}: {wait:?}");
    }
    let later = format!("ratelimit-remaining: 3\r\nratelimit-reset: {}\r\n", now + 600);
    assert_eq!(refusal("429 Too Many Requests", &later, "").await.retry_after, None);
    let busy = refusal("503 Unavailable", "retry-after: 30\r\n", "").await;
    assert_eq!((busy.cause, busy.retry_after), (Cause::Server, Some(Duration::from_secs(30))));
}

#[tokio::test]
async fn the_servers_words_are_cut_and_made_harmless() {
    let words = format!("\u{1b}[2J\u{202e}line\nbreak \u{9b}{}", "long ".repeat(100));
    let body = serde_json::json!({ "message": words, "id": 7 }).to_string();
    let error = refusal("500 Oops", "", &body).await;
    assert!(error.to_string().contains("\"\u{fffd}[2J\u{fffd}line break \u{fffd}long"), "{error}");
    assert!(error.to_string().chars().count() < 320, "{error}");
}

#[tokio::test]
async fn a_token_that_the_server_repeats_is_not_shown() {
    let again = format!("no {CANARY}, {}\n", CANARY.to_ascii_uppercase());
    // Where it would be cut in the middle, too.
    let late = format!("{}{CANARY}", "x".repeat(195));
    for message in [again, late] {
        let body = serde_json::json!({ "message": message }).to_string();
        let error = refusal(&format!("401 {CANARY}"), "", &body).await;
        assert!(
            !error.to_string().contains("dop_v") && error.to_string().contains("[tok"),
            "{error}"
        );
    }
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Public,
    }
    for body in [
        format!("{{\"{CANARY}\":[\"{CANARY}\"]}}"),
        format!("{{\"kind\":\"{CANARY}\"}}"),
        format!("{{\"{}{CANARY}\":\"{CANARY}\"}}", "x".repeat(35)),
    ] {
        let etag = format!("etag: \"{CANARY}\"\r\ncontent-type: {CANARY}\r\n");
        let server = Server::answering(answer("200 OK", &etag, &body)).await;
        let answer = ask(&client(), &server.url("/")).await.unwrap();
        let error = answer.json::<std::collections::HashMap<String, Kind>>(WHAT).unwrap_err();
        assert_clean(&error);
        assert!(
            !error.to_string().contains("dop_v") && error.to_string().contains("[tok"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let server = Server::plain(|head| {
        let known = head.to_ascii_lowercase().contains("if-none-match: \"v1\"\r\n");
        let tags = "etag: \"v1\"\r\nlast-modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n";
        vec![Act::Send(match known {
            true => format!("HTTP/1.1 304 Not Modified\r\n{tags}\r\n").into(),
            false => answer("200 OK", tags, "10.0.0.0/8"),
        })]
    })
    .await;
    for client in [client(), follower()] {
        let first = client.get(&server.url("/"), WHAT, OPTIONS).await.unwrap();
        assert_eq!((first.status, first.body.len()), (200, 10));
        assert_eq!(
            first.validators,
            Validators {
                etag: Some("\"v1\"".to_owned()),
                last_modified: Some("Wed, 21 Oct 2015 07:28:00 GMT".to_owned()),
            }
        );
        let options = Options { validators: Some(&first.validators), ..OPTIONS };
        let second = client.get(&server.url("/"), WHAT, options).await.unwrap();
        assert_eq!((second.status, second.body.len()), (304, 0));
        assert!(second.success(WHAT).is_ok());
        let head = server.heads().pop().unwrap().to_ascii_lowercase();
        assert!(head.contains("if-modified-since: wed, 21 oct 2015 07:28:00 gmt\r\n"), "{head}");
    }
}

#[tokio::test]
async fn unchanged_is_no_answer_to_who_knows_nothing() {
    let server = Server::answering("HTTP/1.1 304 Not Modified\r\n\r\n").await;
    assert_failed(ask(&client(), &server.url("/")).await, Cause::Invalid, &["answered 304"]);
}

#[tokio::test]
async fn validators_that_cannot_be_sent_are_left_out() {
    let server = Server::answering(ok("")).await;
    let validators = Validators {
        etag: Some("\"a\r\nx-more: 1\"".to_owned()),
        last_modified: Some("x".repeat(MAX_VALIDATOR + 1)),
    };
    let options = Options { validators: Some(&validators), ..OPTIONS };
    client().get(&server.url("/"), WHAT, options).await.unwrap();
    let head = server.heads().remove(0).to_ascii_lowercase();
    assert!(!head.contains("if-") && !head.contains("x-more"), "{head}");
}

#[tokio::test]
async fn headers_that_are_overlong_or_not_text_are_not_taken_over() {
    let long = "x".repeat(MAX_VALIDATOR + 1);
    let headers = format!("etag: {long}\r\nlast-modified: a\tb\r\ncontent-type: caf\u{e9}\r\n");
    let server = Server::answering(answer("200 OK", &headers, "")).await;
    let answer = client().get(&server.url("/"), WHAT, OPTIONS).await.unwrap();
    assert_eq!((answer.validators, answer.content_type), (Validators::default(), None));
}
