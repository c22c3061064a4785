//! Answers that do not come, do not end or are none.

use super::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\n";

fn send(text: impl Into<String>) -> Act {
    Act::Send(text.into().into_bytes())
}

async fn asked(client: HttpClient, acts: Vec<Act>) -> Result<Response, FetchError> {
    let server = Server::plain(move |_| acts.clone()).await;
    ask(&client, &server.url("/v2/droplets?page=2")).await
}

#[tokio::test]
async fn a_body_of_the_limit_is_taken_and_a_byte_more_refused() {
    let whole = asked(client(), vec![Act::Send(ok(&"x".repeat(1000)))]).await.unwrap();
    assert_eq!(whole.body.len(), 1000);
    let more = asked(client(), vec![Act::Send(ok(&"x".repeat(1001)))]).await;
    assert_failed(more, Cause::TooLarge, &["answered 200 with more than 1000 bytes"]);
}

#[tokio::test]
async fn an_announced_length_is_believed_when_it_is_too_much() {
    // The body never comes, so it is not waited for.
    let acts = vec![send(format!("{HEAD}content-length: 1073741824\r\n\r\n")), Act::Hang];
    assert_failed(asked(client(), acts).await, Cause::TooLarge, &["1000 bytes"]);
}

#[tokio::test]
async fn an_endless_body_is_cut() {
    let chunk = format!("{:x}\r\n{}\r\n", 100, "x".repeat(100));
    let acts = vec![
        send(format!("{HEAD}transfer-encoding: chunked\r\n\r\n")),
        Act::Repeat(chunk.into_bytes()),
    ];
    assert_failed(asked(client(), acts).await, Cause::TooLarge, &["1000 bytes"]);
    let acts = vec![send(format!("{HEAD}\r\n")), Act::Repeat(vec![b'x'; 100])];
    assert_failed(asked(client(), acts).await, Cause::TooLarge, &["1000 bytes"]);
}

#[tokio::test]
async fn an_endless_head_is_cut() {
    let acts = vec![send(HEAD), Act::Repeat(b"x-more: and more\r\n".to_vec())];
    assert_failed(asked(client(), acts).await, Cause::Invalid, &["does not answer in HTTP"]);
}

#[tokio::test]
async fn a_refusal_that_is_too_large_still_says_when_to_come_again() {
    let head = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 30\r\ncontent-length: 1001\r\n\r\n";
    let error = asked(client(), vec![send(head), Act::Hang]).await.unwrap_err();
    assert_eq!((error.cause, error.retry_after), (Cause::TooLarge, Some(Duration::from_secs(30))));
}

#[tokio::test]
async fn what_is_slow_ends_with_the_time_for_the_request() {
    let words = ["no whole answer from 127.0.0.1:", "within 250ms"];
    for acts in [
        vec![Act::Hang],
        vec![send(HEAD), Act::Hang],
        vec![send(format!("{HEAD}content-length: 900\r\n\r\n")), Act::Drip],
        vec![send(format!("{HEAD}x-slow: ")), Act::Drip],
    ] {
        let begun = std::time::Instant::now();
        assert_failed(asked(impatient(), acts).await, Cause::Timeout, &words);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_tls_handshake_that_hangs_ends_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("https://localhost:{port}/").parse().unwrap();
    assert_failed(ask(&impatient(), &url).await, Cause::Timeout, &["localhost"]);
}

#[tokio::test]
async fn a_connection_that_breaks_is_told() {
    for acts in [
        vec![Act::Reset],
        vec![],
        vec![send(format!("{HEAD}content-length: 900\r\n\r\nhalf")), Act::Reset],
        vec![send(format!("{HEAD}content-length: 900\r\n\r\nhalf"))],
        vec![send(format!("{HEAD}transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"))],
        vec![send(HEAD)],
    ] {
        let words = ["the connection to 127.0.0.1:", "broke, "];
        assert_failed(asked(client(), acts).await, Cause::Connect, &words);
    }
}

#[tokio::test]
async fn a_port_nobody_listens_on_is_told() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{free}/v2/account?secret=s3cr3t").parse().unwrap();
    let error = ask(&client(), &url).await.unwrap_err();
    assert!(!error.to_string().contains("s3cr3t"), "{error}");
    let words = [&*format!("no connection to {free}"), "refused"];
    assert_failed(Err(error), Cause::Connect, &words);
}

#[tokio::test]
async fn what_is_not_http_is_told() {
    for banner in ["SSH-2.0-OpenSSH_9.9\r\n", "\x15\x03\x01\x00\x02\x02\x16", "220 mail\r\n"] {
        let answer = asked(client(), vec![send(banner)]).await;
        assert_failed(answer, Cause::Invalid, &["127.0.0.1:", "does not answer in HTTP"]);
    }
}

#[tokio::test]
async fn a_body_that_is_compressed_unasked_is_refused() {
    let answer = answer("200 OK", "content-encoding: gzip\r\n", "not looked at");
    let answer = asked(client(), vec![Act::Send(answer)]).await;
    assert_failed(answer, Cause::Invalid, &["sends gzip though compression was not requested"]);
}

#[tokio::test]
async fn the_head_of_a_request_is_what_it_should_be() {
    let server = Server::answering(ok("{}")).await;
    ask(&client(), &server.url("/v2/droplets?page=2")).await.unwrap();
    let head = server.heads().remove(0).to_ascii_lowercase();
    assert!(head.starts_with("get /v2/droplets?page=2 http/1.1\r\n"), "{head}");
    for line in [
        format!("authorization: bearer {CANARY}"),
        format!("user-agent: dbfw/{}", env!("CARGO_PKG_VERSION")),
        "accept: application/json".to_owned(),
        "accept-encoding: identity".to_owned(),
    ] {
        assert!(head.lines().any(|have| have == line), "{line} is not in {head}");
    }
    assert!(!head.contains("cookie") && !head.contains("if-none-match"), "{head}");
}

#[tokio::test]
async fn no_cookie_comes_back() {
    let cookie = "set-cookie: session=1; Path=/\r\n";
    let server = Server::answering(answer("200 OK", cookie, "{}")).await;
    let client = client();
    ask(&client, &server.url("/")).await.unwrap();
    ask(&client, &server.url("/")).await.unwrap();
    assert_eq!(server.heads().len(), 2);
    assert!(!server.heads()[1].to_ascii_lowercase().contains("cookie"));
}

#[tokio::test]
async fn a_token_that_cannot_be_sent_is_not_sent_nor_shown() {
    let server = Server::answering(ok("{}")).await;
    let token = SecretString::from(format!("{CANARY}\r\nx-more: 1"));
    let options = Options { bearer: Some(&token), ..OPTIONS };
    let answer = client().get(&server.url("/"), WHAT, options).await;
    assert_clean(answer.as_ref().unwrap_err());
    assert_failed(answer, Cause::Unauthorized, &["check the token file"]);
    assert!(server.heads().is_empty());
}
