//! Whom a client trusts, and what goes without TLS.

use std::process::Command;

use rcgen::date_time_ymd;

use super::*;

async fn served_with(tls: TlsAcceptor) -> Server {
    Server::start(Some(tls), Arc::new(|_: &str| vec![Act::Send(ok("{}"))])).await
}

/// Asks a server of that certificate, which must not get the request.
async fn refused(tls: TlsAcceptor, words: &[&str]) {
    let server = served_with(tls).await;
    let answer = ask(&client(), &server.https("/v2/account")).await;
    assert_failed(answer, Cause::Tls, words);
    assert!(server.heads().is_empty());
}

#[tokio::test]
async fn a_certificate_by_an_authority_in_ca_file_is_good() {
    let server = Authority::trusted().serve(|_| vec![Act::Send(ok("{}"))]).await;
    let answer = ask(&client(), &server.https("/v2/account")).await.unwrap();
    assert_eq!((answer.status, &*answer.body), (200, &b"{}"[..]));
    let by_address = format!("https://{}/v2/account", server.address).parse().unwrap();
    assert_eq!(ask(&client(), &by_address).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_authority_that_is_not_known_is_refused() {
    for name in ["unknown", "trusted"] {
        let tls = Authority::new(name).acceptor(&["localhost"], |_| {});
        refused(tls, &["of localhost:", "an issuer that is not trusted", "`ca_file`"]).await;
    }
}

#[tokio::test]
async fn after_an_error_of_tls_the_authorities_are_read_again() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let server = new.serve(|_| vec![Act::Send(ok("{}"))]).await;
    let client = HttpClient::new(
        &HttpConfig { ca_file: Some(old.file.to_path_buf()), ..config() },
        Redirects::Refuse,
    );
    let url = server.https("/v2/account");
    assert_failed(ask(&client, &url).await, Cause::Tls, &["not trusted"]);
    std::fs::copy(&new.file, &old.file).unwrap();
    assert_eq!(ask(&client, &url).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_certificate_that_vouches_for_itself_is_refused() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let own = params.self_signed(&key).unwrap();
    refused(acceptor(own.der().clone(), &key), &["not trusted", "`ca_file`"]).await;
    // Nor is an authority's own, even one that is trusted.
    refused(Authority::trusted().as_itself(), &["an authority's own", "sign another"]).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let tls = Authority::trusted().acceptor(&["localhost"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 2, 3);
    });
    refused(tls, &["has expired 2021-02-03T00:00:00Z", "renew it", "clock"]).await;
}

#[tokio::test]
async fn a_certificate_of_the_future_is_refused() {
    let tls = Authority::trusted().acceptor(&["localhost"], |params| {
        params.not_before = date_time_ymd(2999, 1, 1);
        params.not_after = date_time_ymd(3000, 1, 1);
    });
    refused(tls, &["is not valid before 2999-01-01T00:00:00Z", "clock"]).await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let tls = Authority::trusted().acceptor(&["api.example", "www.example"], |_| {});
    refused(tls, &["of localhost:", "api.example", "www.example", "name mismatch"]).await;
}

#[tokio::test]
async fn a_body_that_ends_without_the_end_of_tls_is_no_answer() {
    // Without a length, only close_notify tells an end from a connection that was cut.
    let head = "HTTP/1.1 200 OK\r\n\r\n10.0.0.0/8\n";
    let server = Authority::trusted().serve(|_| vec![Act::Send(head.into())]).await;
    let answer = ask(&client(), &server.https("/list")).await;
    assert_failed(answer, Cause::Connect, &["broke"]);
}

#[tokio::test]
async fn a_port_that_does_not_speak_tls_is_told() {
    let server = Server::answering(ok("{}")).await;
    // It reads what looks like no request; what it answers is not TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let url = format!("https://localhost:{port}/").parse().unwrap();
    assert_failed(ask(&client(), &url).await, Cause::Tls, &["no TLS with localhost:"]);
    assert!(server.heads().is_empty());
}

#[test]
fn a_ca_file_without_certificates_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let made = || {
        let config = HttpConfig { ca_file: Some(path.clone()), ..config() };
        let url = "https://api.example".parse().unwrap();
        HttpClient::new(&config, Redirects::Refuse).prepare(&url).unwrap_err()
    };
    let assert_told = |words: &str| {
        let error = made();
        assert_eq!(error.cause, Cause::Tls);
        assert_eq!(error.about, path.display().to_string());
        assert!(error.reason.starts_with("`ca_file` ") && error.reason.contains(words), "{error}");
    };
    assert_told("No such file");
    for empty in ["", "no certificate here", "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
        std::fs::write(&path, empty).unwrap();
        assert_told("it must hold certificates in PEM");
    }
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(&path, garbage).unwrap();
    assert_eq!(made().cause, Cause::Tls);
}

#[tokio::test]
async fn plain_http_is_refused_but_to_loopback() {
    let with = |hosts: &[&str]| {
        let allow_http = hosts.iter().copied().map(str::to_owned).collect();
        HttpClient::new(&HttpConfig { allow_http, ..config() }, Redirects::Refuse)
    };
    for url in ["http://api.internal/v2?secret=s3cr3t", "http://192.0.2.1:81/", "http://[::2]/"] {
        let url: Url = url.parse().unwrap();
        let host = url.host_str().unwrap().to_owned();
        let error = ask(&with(&["internal", "other.internal"]), &url).await.unwrap_err();
        assert!(!error.to_string().contains("s3cr3t"));
        let allow = format!("`allow_http = [\"{host}\"]`");
        assert_failed(Err(error), Cause::Tls, &["without TLS", &allow]);
    }
    for url in ["ftp://localhost/", "file:///etc/passwd", "data:,10.0.0.0/8"] {
        let answer = ask(&with(&[]), &url.parse().unwrap()).await;
        assert_failed(answer, Cause::Invalid, &["use https"]);
    }
    let server = Server::answering(ok("{}")).await;
    let port = server.address.port();
    for host in ["127.0.0.1", "127.1.2.3", "localhost", "LOCALHOST"] {
        let url = format!("http://{host}:{port}/").parse().unwrap();
        let answer = ask(&client(), &url).await;
        // Listened on is 127.0.0.1 alone; that it was tried is what counts.
        assert!(!matches!(&answer, Err(error) if error.cause != Cause::Connect), "{answer:?}");
        assert_eq!(answer.is_ok(), host != "127.1.2.3");
    }
}

#[tokio::test]
async fn a_password_in_the_address_is_refused_and_not_repeated() {
    for url in ["https://user:pa55word@localhost/", "http://user@localhost/"] {
        let error = ask(&client(), &url.parse().unwrap()).await.unwrap_err();
        assert!(!error.to_string().contains("pa55word"), "{error}");
        assert_failed(Err(error), Cause::Invalid, &["user name or password: remove it"]);
    }
}

/// Set in the process that is to use the proxy: a test cannot set its own environment.
const IN_CHILD: &str = "DBFW_TEST_WITH_PROXY";

#[tokio::test]
async fn a_proxy_is_asked_for_all_but_loopback() {
    if std::env::var_os(IN_CHILD).is_some() {
        return ask_with_proxy().await;
    }
    let proxy = Server::answering(ok("through the proxy")).await;
    let url = format!("http://{}", proxy.address);
    let mut child = Command::new(std::env::current_exe().unwrap());
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        child.env_remove(name).env_remove(name.to_ascii_uppercase());
    }
    let name = std::thread::current().name().unwrap().to_owned();
    child
        .args(["--exact", &name])
        .env(IN_CHILD, "1")
        .env("http_proxy", &url)
        .env("all_proxy", &url);
    let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");

    let heads = proxy.heads();
    assert_eq!(heads.len(), 2, "{heads:?}");
    assert!(heads[0].starts_with("GET http://api.internal/v2/account HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads[1].starts_with("CONNECT api.internal:443 HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads[0].contains(CANARY) && !heads[1].contains(CANARY), "{heads:?}");
}

async fn ask_with_proxy() {
    let direct = Server::answering(ok("from the server")).await;
    let allow_http = vec!["api.internal".to_owned()];
    let client = HttpClient::new(&HttpConfig { allow_http, ..config() }, Redirects::Refuse);

    let answer = ask(&client, &direct.url("/v2/account")).await.unwrap();
    assert_eq!(answer.body, b"from the server");
    let named = format!("http://localhost:{}/", direct.address.port()).parse().unwrap();
    assert_eq!(ask(&client, &named).await.unwrap().body, b"from the server");
    let url = "http://api.internal/v2/account".parse().unwrap();
    assert_eq!(ask(&client, &url).await.unwrap().body, b"through the proxy");
    // What a proxy that is no proxy answers is not TLS.
    assert!(ask(&client, &"https://api.internal/v2/account".parse().unwrap()).await.is_err());
}

#[tokio::test]
async fn where_ca_file_alone_is_trusted_an_authority_can_come_beside_it() {
    let (own, next) = (Authority::new("own"), Authority::new("next"));
    let server = next.serve(|_| vec![Act::Send(ok("{}"))]).await;
    let config =
        HttpConfig { ca_file: Some(own.file.to_path_buf()), only_ca_file: true, ..config() };
    let client = HttpClient::new(&config, Redirects::Refuse);
    let url = server.https("/agent/v1/watch");
    assert_failed(ask(&client, &url).await, Cause::Tls, &["not trusted"]);
    assert!(client.trust_also(vec!["no certificate".to_owned()]).is_err());
    let pem = std::fs::read_to_string(&next.file).unwrap();
    client.clone().trust_also(vec![pem]).unwrap();
    assert_eq!(ask(&client, &url).await.unwrap().status, 200);
    client.trust_also(Vec::new()).unwrap();
    assert_failed(ask(&client, &url).await, Cause::Tls, &["not trusted"]);
}
