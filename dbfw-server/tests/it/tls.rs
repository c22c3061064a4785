//! Certificates: the own authority, files that change, and none on loopback.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;

use crate::support::{Client, Server};

/// Writes a certificate for localhost of an authority of its own, which ended 50 days ago, and as
/// many days later; the authority's certificate.
fn issue(server: &Server, name: &str, days: u64) -> std::path::PathBuf {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let mut leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let day = Duration::from_secs(86_400);
    leaf.not_before = (SystemTime::now() - 100 * day).into();
    leaf.not_after = (SystemTime::now() - 50 * day + day * u32::try_from(days).unwrap()).into();
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
    let ca_path = server.path(name);
    fs::write(&ca_path, ca.pem()).unwrap();
    let path = server.path("key.pem");
    let key = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut key = key.unwrap();
    key.write_all(leaf_key.serialize_pem().as_bytes()).unwrap();
    fs::write(server.path("cert.pem"), leaf.pem()).unwrap();
    ca_path
}

async fn answers(server: &Server, ca: &Path) -> bool {
    let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    crate::support::connector(ca).connect(name, stream).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_again_when_they_change() {
    let mut server = Server::bare("");
    let first = issue(&server, "first.pem", 200);
    let (cert, key) = (server.path("cert.pem"), server.path("key.pem"));
    server.configure(&format!("tls = {{ cert = {cert:?}, key = {key:?} }}"));
    server.done(&["init"]);
    assert!(!server.ca().exists(), "it needs no authority of its own");
    server.spawn(&[]);
    assert!(answers(&server, &first).await);
    // A key that does not belong to the certificate changes nothing.
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    server.wait("the certificate that was read before stays");
    assert!(answers(&server, &first).await);
    // Nor does one that everybody may read.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    server.wait("may be read or written by everybody: chmod 600");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let second = issue(&server, "second.pem", 200);
    server.wait("the certificate was read again");
    assert!(answers(&server, &second).await);
    assert!(!answers(&server, &first).await);
    assert!(!server.log().contains("30 days") && !server.log().contains("expired"));
    // One that ends soon, and one that has ended, are told.
    let third = issue(&server, "third.pem", 60);
    server.wait("the certificate ends within 30 days");
    let last = issue(&server, "last.pem", 0);
    server.wait("the certificate in the file has expired");
    assert!(answers(&server, &third).await && !answers(&server, &last).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_certificate_is_for_the_names_that_are_configured() {
    let mut server = Server::set_up("tls_names = [\"ctl.example.com\"]");
    server.spawn(&[]);
    let leaf = fs::read(server.path("state/tls/server.pem")).unwrap();
    for key in ["state/tls/server.key", "state/tls/ca.key", "state/store.redb"] {
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(server.path(key)).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    let connect = async |name: &'static str| {
        let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from(name).unwrap();
        crate::support::connector(&server.ca()).connect(name, stream).await.is_ok()
    };
    assert!(connect("ctl.example.com").await && connect("localhost").await);
    assert!(connect("127.0.0.1").await && !connect("other.example.com").await);
    server.stop(nix::sys::signal::Signal::SIGTERM);
    server.spawn(&[]);
    assert_eq!(fs::read(server.path("state/tls/server.pem")).unwrap(), leaf, "it is still good");
    server.stop(nix::sys::signal::Signal::SIGTERM);
    server.configure("tls_names = [\"new.example.com\"]");
    server.spawn(&[]);
    assert_ne!(fs::read(server.path("state/tls/server.pem")).unwrap(), leaf);
    let ca = fs::read(server.ca()).unwrap();
    assert!(String::from_utf8(ca).unwrap().contains("BEGIN CERTIFICATE"));
    let mut client = server.connect(&server.admin()).await;
    client.get("/v2/account").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_nothing_is_merged() {
    let server = Server::with("tls = \"off\"");
    let id = server.database("orders");
    let connect = async || {
        let mut client = Client::plain(server.address()).await;
        client.token = Some(server.admin());
        client
    };
    let tag = |name: &str| json!({"type": "tag", "value": name});
    let mut client = connect().await;
    client.rules(&id).await;
    connect().await.put(&id, &[tag("a")]).await.expect(204);
    let reply = client.put(&id, &[tag("b")]).await.expect(204);
    assert!(reply.header("x-dbfw-merged").is_none());
    assert_eq!(client.sources(&id).await, ["tag:b"]);
}
