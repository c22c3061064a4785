//! Joining, over TLS with a pinned authority.

use std::sync::Arc;

use dbfw_wire::agent::{Digest, JoinToken};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData as _,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use url::Url;
use uuid::Uuid;

use super::super::{JoinError, join};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    pin: Digest,
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, "authority");
    let certificate = params.self_signed(&key).unwrap();
    let pin = Digest::of(&key.subject_public_key_info());
    Authority {
        certificate: certificate.der().clone(),
        pem: certificate.pem(),
        issuer: Issuer::new(params, key),
        pin,
    }
}

/// A server that answers every request with `body`, shows `chain` behind its own certificate, and
/// keeps what it was sent.
async fn server(
    signed_by: &Authority,
    chain: Vec<CertificateDer<'static>>,
    status: &'static str,
    body: String,
) -> (Url, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &signed_by.issuer).unwrap();
    let mut certificates = vec![leaf.der().clone()];
    certificates.extend(chain);
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let (sender, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = vec![0; 16 << 10];
            let mut length = 0;
            while let Ok(read @ 1..) = stream.read(&mut request[length..]).await {
                length += read;
                if request[..length].ends_with(b"}") {
                    break;
                }
            }
            let _ = sender.send(String::from_utf8_lossy(&request[..length]).into_owned());
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
                 connection: close\r\n\r\n"
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (url.parse().unwrap(), requests)
}

fn token(pin: Digest) -> JoinToken {
    JoinToken { id: Uuid::from_u128(1), secret: "cd".repeat(32), pin: Some(pin) }
}

fn joined(ca: &str) -> String {
    let host = Uuid::from_u128(0x40);
    serde_json::json!({
        "host": host,
        "token": format!("dbfwh_{}.{}", host.simple(), "ab".repeat(32)),
        "ca": ca,
        "server": "a1",
        "databases": ["orders"],
    })
    .to_string()
}

#[tokio::test]
async fn a_host_joins_the_server_of_the_pinned_authority_alone() {
    let own = authority();
    let chain = vec![own.certificate.clone()];
    let (url, mut requests) = server(&own, chain, "201 Created", joined(&own.pem)).await;
    let membership = join(&url, &token(own.pin), "db-1").await.unwrap();
    assert_eq!(membership.joined.databases, ["orders"]);
    assert_eq!(membership.ca.as_deref(), Some(&*own.pem));
    let request = requests.recv().await.unwrap();
    assert!(request.contains(r#""hostname":"db-1""#), "{request}");

    // Somebody in between: the token does not get there.
    let other = authority();
    let chain = vec![other.certificate.clone()];
    let (url, mut requests) = server(&other, chain, "201 Created", joined(&other.pem)).await;
    let error = join(&url, &token(own.pin), "db-1").await.unwrap_err();
    assert!(matches!(error, JoinError::Pin), "{error}");
    // Who shows the authority's certificate without being signed by it.
    let chain = vec![own.certificate.clone()];
    let (forged, mut forged_requests) =
        server(&other, chain, "201 Created", joined(&own.pem)).await;
    assert!(join(&forged, &token(own.pin), "db-1").await.is_err());
    assert!(requests.try_recv().is_err() && forged_requests.try_recv().is_err());
}

#[tokio::test]
async fn answers_that_make_no_member() {
    let own = authority();
    let other = authority();
    let chain = || vec![own.certificate.clone()];
    let (url, _requests) =
        server(&own, chain(), "401 Unauthorized", r#"{"id":"x","message":"no"}"#.to_owned()).await;
    let error = join(&url, &token(own.pin), "db-1").await.unwrap_err();
    assert!(matches!(error, JoinError::Refused), "{error}");
    for body in
        ["{}".to_owned(), joined(&other.pem), joined(""), joined(&own.pem).replace("dbfwh_", "x")]
    {
        let (url, _requests) = server(&own, chain(), "201 Created", body.clone()).await;
        let error = join(&url, &token(own.pin), "db-1").await.unwrap_err();
        let text = error.to_string();
        assert!(!text.contains("abab") && !text.contains("cdcd"), "{text}");
    }
    let plain: Url = "http://192.0.2.1:7443".parse().unwrap();
    let error = join(&plain, &token(own.pin), "db-1").await.unwrap_err();
    assert!(matches!(error, JoinError::Url(_)), "{error}");
}
