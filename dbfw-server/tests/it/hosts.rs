//! Hosts: joining, and what their tokens are for.

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{Client, Server, connector};

/// The token in the line that `join-token` prints.
fn token_of(line: &str) -> String {
    let token = line.split_whitespace().find(|word| word.starts_with("dbfwj_"));
    token.expect("a join token").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_joins_by_the_line_that_is_printed_and_leaves() {
    let server = Server::with("url = \"https://ctl.example.com:7443\"");
    let id = server.database("orders");
    let line = server.done(&["join-token", "--database", "orders"]);
    let token = token_of(&line);
    assert_eq!(line, format!("echo {token} | sudo dbfw join https://ctl.example.com:7443\n"));
    // The pin is the digest of the authority's public key, as openssl computes it.
    let pin = token.rsplit('.').next().unwrap();
    let script = format!(
        "openssl x509 -in {} -noout -pubkey | openssl pkey -pubin -outform der",
        server.ca().display()
    );
    let key = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(key.status.success(), "{key:?}");
    let digest: String = Sha256::digest(&key.stdout).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(pin, digest);
    // And the authority is behind the server's certificate, so that a host finds the key.
    let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = connector(&server.ca()).connect(name, stream).await.unwrap();
    let shown = stream.get_ref().1.peer_certificates().unwrap();
    let ca = CertificateDer::from_pem_file(server.ca()).unwrap();
    assert_eq!(shown.get(1..), Some(&[ca][..]));

    let mut client = Client::tls(server.address(), &server.ca()).await;
    let request = json!({"token": token, "hostname": "db-1"});
    let joined = client.document("POST", "/agent/v1/join", &request).await.expect(201).json();
    assert_eq!(joined["databases"], json!(["orders"]));
    assert_eq!(joined["ca"], std::fs::read_to_string(server.ca()).unwrap());
    assert!(joined["token"].as_str().unwrap().starts_with("dbfwh_"));
    // Its one use is gone.
    client.document("POST", "/agent/v1/join", &request).await.error(401);

    let listed: Value =
        serde_json::from_str(&server.done(&["hosts", "list", "--output", "json"])).unwrap();
    assert_eq!(listed["hosts"][0]["id"], joined["host"]);
    assert_eq!(listed["hosts"][0]["databases"], json!([id]));
    assert_eq!(listed["hosts"][0]["joined_by"], "root");
    let refused = server.run(&["database", "rm", "orders"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("the host db-1 reads the list"), "{error}");
    server.done(&["hosts", "rm", "db-1"]);
    let again = server.run(&["hosts", "rm", "db-1"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("there is no host db-1"));
    server.done(&["database", "rm", "orders"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_join_with_one_use_one_does() {
    let server = Server::start();
    server.database("orders");
    for uses in [1, 5] {
        let line =
            server.done(&["join-token", "--database", "orders", "--uses", &uses.to_string()]);
        let token = token_of(&line);
        let (address, ca) = (server.address(), server.ca());
        let tasks = (0..20).map(|n| {
            let (token, ca) = (token.clone(), ca.clone());
            tokio::spawn(async move {
                let mut client = Client::tls(address, &ca).await;
                let request = json!({"token": token, "hostname": format!("db-{n}")});
                client.document("POST", "/agent/v1/join", &request).await.status
            })
        });
        let mut joined = 0;
        for task in tasks.collect::<Vec<_>>() {
            match task.await.unwrap() {
                201 => joined += 1,
                status => assert_eq!(status, 401),
            }
        }
        assert_eq!(joined, uses);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_accepted_in_the_place_of_another() {
    let server = Server::start();
    server.database("orders");
    let join = token_of(&server.done(&["join-token", "--database", "orders", "--uses", "2"]));
    let mut client = Client::tls(server.address(), &server.ca()).await;
    let request = json!({"token": join, "hostname": "db-1"});
    let joined = client.document("POST", "/agent/v1/join", &request).await.expect(201).json();
    let host = joined["token"].as_str().unwrap().to_owned();
    let admin = server.admin();
    for token in [&host, &admin, &host.replace("dbfwh_", "dbfwj_"), ""] {
        let request = json!({"token": token, "hostname": "db-2"});
        client.document("POST", "/agent/v1/join", &request).await.error(401);
    }
    for token in [&host, &join] {
        client.token = Some(token.clone());
        for path in ["/v2/account", "/v2/databases", "/api/v1/hosts", "/api/v1/tokens"] {
            client.get(path).await.error(401);
        }
    }
    // Nothing of them is kept or written.
    let texts = [
        server.done(&["store", "dump"]),
        server.log(),
        String::from_utf8_lossy(&std::fs::read(server.path("state/store.redb")).unwrap()).into(),
    ];
    let secret = join.split('.').nth(1).unwrap();
    for text in &texts {
        assert!(!text.contains(host.split('.').next_back().unwrap()) && !text.contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_join_tokens_is_slowed_down() {
    let server = Server::start();
    let mut client = Client::tls(server.address(), &server.ca()).await;
    let guess = format!("dbfwj_{}.{}", "0".repeat(32), "0".repeat(64));
    let mut refused = 0;
    for n in 0..300 {
        let token = if n % 2 == 0 { guess.as_str() } else { "nonsense" };
        let request = json!({"token": token, "hostname": "db-1"});
        match client.document("POST", "/agent/v1/join", &request).await.status {
            401 => refused += 1,
            status => assert_eq!(status, 429),
        }
    }
    assert!((120..=240).contains(&refused), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_make_a_join_token_and_for_what() {
    let mut server = Server::start();
    let _ = ["own", "other"].map(|name| server.database(name));
    let path = "/api/v1/join-tokens";
    let limited = server.token(&["limited", "--preset", "admin", "--database", "own"]);
    let mut client = server.connect(&limited).await;
    let wanted = |databases: &[&str]| json!({"databases": databases});
    client.document("POST", path, &wanted(&["own"])).await.expect(201);
    for databases in [&["other"][..], &["own", "other"], &["none"], &[]] {
        client.document("POST", path, &wanted(databases)).await.error(422);
    }
    let mut client = server.connect(&server.admin()).await;
    for (field, value) in [
        ("uses", json!(0)),
        ("uses", json!(10_001)),
        ("uses", json!("1")),
        ("for", json!("0s")),
        ("for", json!("31d")),
        ("for", json!("soon")),
        ("more", json!(1)),
    ] {
        let mut request = wanted(&["own"]);
        request[field] = value;
        let message = client.document("POST", path, &request).await.error(422);
        assert!(message.contains(field), "{message}");
    }
    // What another's databases are is not seen by who has a token for some.
    let made = client.document("POST", path, &wanted(&["own", "other"])).await.expect(201).json();
    let request = json!({"token": made["secret"], "hostname": "db-1"});
    let host = client.document("POST", "/agent/v1/join", &request).await.expect(201).json();
    let host = host["host"].as_str().unwrap().to_owned();
    let mut client = server.connect(&limited).await;
    let hosts = client.get("/api/v1/hosts").await.expect(200).json();
    assert_eq!(hosts["hosts"][0]["databases"].as_array().unwrap().len(), 1);
    client.send("DELETE", &format!("/api/v1/hosts/{host}"), &[], "").await.error(403);
}
