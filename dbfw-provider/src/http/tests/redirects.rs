//! Where a client lets itself be sent.

use super::*;

fn redirect(status: &str, to: &str) -> Vec<u8> {
    answer(status, &format!("location: {to}\r\n"), "")
}

/// Asks for a feed: without a token.
async fn fetch(client: &HttpClient, url: &Url) -> Result<Response, FetchError> {
    let answer = client.get(url, WHAT, OPTIONS).await;
    if let Err(error) = &answer {
        assert_clean(error);
    }
    answer
}

#[tokio::test]
async fn with_a_token_no_redirect_is_followed() {
    let other = Server::answering(ok("{}")).await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let to = other.url(&format!("/stolen?secret={CANARY}"));
        let server = Server::answering(redirect(status, to.as_str())).await;
        let answer = ask(&client(), &server.url("/v2/account")).await;
        let host = other.address.to_string();
        assert_failed(answer, Cause::Redirect, &["is redirected to", &host, "`api_url`"]);
        assert!(server.heads()[0].contains(CANARY));
    }
    assert!(other.heads().is_empty());
}

#[tokio::test]
async fn a_redirect_is_described_by_its_host_alone() {
    for (to, words) in [
        ("https://evil.example/login?next=s3cr3t#s3cr3t", "to evil.example, which"),
        ("https://s3cr3t:s3cr3t@evil.example/", "to evil.example, which"),
        ("https://ev\u{202e}il.example/s3cr3t", "names no place to go"),
        ("//evil.example:8443/s3cr3t", "to evil.example:8443, which"),
        ("/elsewhere?s3cr3t", "to 127.0.0.1:"),
        ("http://[", "names no place to go"),
        ("javascript:alert('s3cr3t')", "to no host, which"),
    ] {
        let server = Server::answering(redirect("302 Found", to)).await;
        let error = ask(&client(), &server.url("/")).await.unwrap_err();
        assert!(!error.to_string().contains("s3cr3t"), "{error}");
        assert_failed(Err(error), Cause::Redirect, &[words]);
    }
    // The token as a host name, where letters lose their case.
    let to = format!("https://{}.evil.example/", CANARY.to_ascii_uppercase());
    let server = Server::answering(redirect("302 Found", &to)).await;
    assert_failed(ask(&client(), &server.url("/")).await, Cause::Redirect, &["[token].evil"]);
}

#[tokio::test]
async fn a_redirect_without_a_place_is_an_error_for_everybody() {
    for client in [client(), follower()] {
        for status in ["300 Choices", "301 Moved", "302 Found", "305 Use Proxy"] {
            let server = Server::answering(answer(status, "", "")).await;
            let words = ["names no place to go", &status[..3]];
            assert_failed(fetch(&client, &server.url("/")).await, Cause::Redirect, &words);
        }
    }
}

#[tokio::test]
async fn a_token_is_not_sent_by_one_who_follows() {
    let server = Server::answering(ok("{}")).await;
    let answer = ask(&follower(), &server.url("/")).await;
    assert_failed(answer, Cause::Invalid, &["a token is not sent where redirects are followed"]);
    assert!(server.heads().is_empty());
}

#[tokio::test]
async fn five_redirects_are_followed_and_no_sixth() {
    let server = Server::plain(|head| {
        let left: u32 = head[5..6].parse().unwrap();
        vec![Act::Send(match left {
            0 => ok("10.0.0.0/8"),
            left => redirect("302 Found", &format!("/{}", left - 1)),
        })]
    })
    .await;
    let answer = fetch(&follower(), &server.url("/5")).await.unwrap();
    assert_eq!((answer.status, &*answer.body), (200, &b"10.0.0.0/8"[..]));
    assert_eq!(server.heads().len(), 6);
    let answer = fetch(&follower(), &server.url("/6")).await;
    assert_failed(answer, Cause::Redirect, &["more than 5 times"]);
    assert_eq!(server.heads().len(), 12);
}

#[tokio::test]
async fn redirects_end_with_the_time_for_the_request() {
    let server = Server::plain(|head| {
        if head.starts_with("GET /slow") {
            return vec![Act::Hang];
        }
        vec![Act::Send(redirect("302 Found", "/slow"))]
    })
    .await;
    let config = HttpConfig { timeout: Duration::from_millis(250), ..config() };
    let client = HttpClient::new(&config, Redirects::Follow);
    assert_failed(fetch(&client, &server.url("/")).await, Cause::Timeout, &["250ms"]);
}

#[tokio::test]
async fn https_leads_to_https_and_nowhere_else() {
    let plain = Server::answering(ok("10.0.0.0/8")).await;
    let good = Authority::trusted().serve(|_| vec![Act::Send(ok("10.0.0.0/8"))]).await;
    let from = |to: String| async {
        Authority::trusted().serve(move |_| vec![Act::Send(redirect("302 Found", &to))]).await
    };
    let server = from(good.https("/list").into()).await;
    assert_eq!(fetch(&follower(), &server.https("/")).await.unwrap().status, 200);

    let server = from(plain.url("/list").into()).await;
    let answer = fetch(&follower(), &server.https("/")).await;
    assert_failed(answer, Cause::Redirect, &["from https to http at 127.0.0.1:"]);
    let server = from("ftp://localhost/list".to_owned()).await;
    let answer = fetch(&follower(), &server.https("/")).await;
    assert_failed(answer, Cause::Redirect, &["from https to ftp at localhost"]);
    assert!(plain.heads().is_empty());

    // The certificate there counts as well.
    let tls = Authority::new("unknown").acceptor(&["localhost"], |_| {});
    let unknown = Server::start(Some(tls), Arc::new(|_: &str| vec![])).await;
    let server = from(unknown.https("/list").into()).await;
    assert_failed(fetch(&follower(), &server.https("/")).await, Cause::Tls, &["not trusted"]);
}

#[test]
fn where_a_redirect_may_lead() {
    let client = follower();
    let target = |from: &str, to: &str| {
        let headers = HeaderMap::from_iter([(header::LOCATION, to.parse().unwrap())]);
        let target = client.target(&from.parse().unwrap(), 302, &headers);
        target.map(String::from).map_err(|error| error.to_string())
    };
    let feed = "https://feeds.example/a/list";
    assert_eq!(target(feed, "../b?c=d#e").unwrap(), "https://feeds.example/b?c=d#e");
    assert_eq!(target(feed, "//cdn.example/b").unwrap(), "https://cdn.example/b");
    assert_eq!(target("http://feeds.example/", feed).unwrap(), feed);
    for to in ["https://127.0.0.1/", "https://[::1]:9787/metrics", "https://localhost/"] {
        let error = target(feed, to).unwrap_err();
        assert!(error.contains("on this machine"), "{error}");
    }
    assert!(target(feed, "http://cdn.example/").unwrap_err().contains("from https to http"));
    // To http it goes only from http, and only where that is allowed at all.
    assert!(target("http://feeds.example/", "http://cdn.example/").is_ok());
    let refused = client.check(&"http://cdn.example/".parse().unwrap()).unwrap_err();
    assert_eq!(refused.cause, Cause::Tls);
}
