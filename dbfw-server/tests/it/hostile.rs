//! Hostile clients: each gets an answer in one form, no panic, and never a status of 500 or more but
//! 501 and 503.

use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    time::{Duration, Instant},
};

use axum::body::{Body, Bytes};
use dbfw_wire::agent::{JOIN, REPORT, SETS, WATCH};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::{
    agent::join_token,
    support::{Client, Server},
};

/// Requests that are mutated, all in all.
const REQUESTS: usize = 100_000;

/// Connections at a time.
const CLIENTS: usize = 4;

fn requests() -> usize {
    let count = std::env::var("DBFW_FUZZ_REQUESTS").ok();
    count.map_or(REQUESTS, |count| count.parse().expect("DBFW_FUZZ_REQUESTS is a number"))
}

/// A host that joined, and a join token that lets others.
struct Member {
    host: String,
    token: String,
    join_token: String,
}

/// Lets a host join over a connection without TLS.
async fn member(server: &Server) -> Member {
    let join_token = join_token(server, &["orders"], 50);
    let body = json!({"token": join_token, "hostname": "db-1"});
    let mut client = Client::plain(server.address()).await;
    let joined = client.document("POST", JOIN, &body).await.expect(201).json();
    let text = |field: &str| joined[field].as_str().expect("a text").to_owned();
    Member { host: text("host"), token: text("token"), join_token }
}

/// Valid requests of an agent.
fn agent_seeds(id: &str, member: &Member) -> Vec<Vec<u8>> {
    let Member { host, token, join_token } = member;
    let boot = "11111111-1111-4111-8111-111111111111";
    let digest = format!("sha256:{}", "0".repeat(64));
    let hello = json!({
        "protocol": 1, "version": "0.1.0", "host": host, "boot": boot, "hostname": "db-1",
        "databases": [{
            "name": "orders", "database": "orders", "ports": ["tcp/5432"], "mode": "enforce",
            "guards": {"allow_any": false, "min_prefix": [8, 19], "within": ["10.0.0.0/8"]},
            "have": {"epoch": 1, "revision": 3, "digest": digest},
        }],
    });
    let now = "2026-01-01T00:00:00Z";
    let report = json!({
        "host": host, "boot": boot, "protection": "yes",
        "problems": [{"subject": "eth0", "text": "gone"}],
        "applied": [
            {"database": id, "epoch": 1, "revision": 3, "state": "applied", "generation": 9,
             "prefixes": 14, "left_out_total": 1, "left_out": [
                {"source": boot, "guard": "within", "prefixes": 1, "message": "x"}]},
            {"database": id, "epoch": 1, "revision": 4, "state": "refused", "guard": "max_shrink",
             "plan": "1a2b3c4d", "message": "x"},
        ],
        "refused": [{"database": id, "address": "192.0.2.9", "ports": ["tcp/5432"],
                     "packets": 7, "first_seen": now, "last_seen": now}],
        "hits": [{"database": id, "source": boot, "packets": 7, "last_hit": now}],
    });
    let join = json!({"token": join_token, "hostname": "db-2"});
    let request = |method: &str, path: &str, token: &str, body: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    vec![
        request("POST", WATCH, token, &hello.to_string()),
        request("POST", REPORT, token, &report.to_string()),
        request("POST", JOIN, token, &join.to_string()),
        request("GET", &format!("{SETS}{}", "0".repeat(64)), token, ""),
    ]
}

/// Valid requests, from which others are made.
fn seeds(id: &str, token: &str) -> Vec<Vec<u8>> {
    let rules = json!({"rules": [
        {"uuid": "", "cluster_uuid": id, "type": "ip_addr", "value": "192.0.2.1/32",
         "created_at": "0001-01-01T00:00:00Z", "description": "a", "expires_at": null},
        {"type": "tag", "value": "web"},
        {"type": "feed", "value": "https://x.example/list#$.a[*]"},
        {"type": "dns", "value": "ci.example.com"},
    ]});
    let plain =
        json!({"rules": [{"type": "tag", "value": "web"}, {"type": "k8s", "value": "a-1"}]});
    let source = json!({"type": "ip_addr", "value": "10.0.0.0-10.0.0.9", "description": null,
                        "for": "1h", "reason": "x"});
    let database = json!({"name": "fuzz", "settings": {"engine": "pg", "tags": ["a"],
                          "min_prefix": {"ipv4": 8}, "port": 1}});
    let new_token = json!({"name": "x", "preset": "viewer", "databases": ["orders"],
                           "expires_at": "2099-01-01T00:00:00Z"});
    let request = |method: &str, path: &str, headers: &str, body: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             User-Agent: doctl/1\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    let v1 = format!("/api/v1/databases/{id}");
    vec![
        request("GET", "/v2/account", "", ""),
        request("GET", "/v2/databases?page=1&per_page=200&tag_name=a", "", ""),
        request("GET", &format!("/v2/databases/{id}/firewall"), "", ""),
        request("PUT", &format!("/v2/databases/{id}/firewall"), "", &rules.to_string()),
        request(
            "PUT",
            "/v2/databases/orders/firewall",
            "If-Match: \"1-0\"\r\n",
            &rules.to_string(),
        ),
        request("PUT", &format!("/v2/databases/{id}/firewall"), "", &plain.to_string()),
        request("GET", "/v2/droplets", "", ""),
        request("GET", "/v1/oauth/token/info", "", ""),
        request("POST", &format!("{v1}/sources"), "", &source.to_string()),
        request("PATCH", &v1, "", "{\"allow_any\":false}"),
        request("DELETE", &format!("{v1}/sources?source=tag:web&reason=a%20b"), "", ""),
        request("GET", &format!("{v1}/changes?limit=3&before=9"), "", ""),
        request("POST", &format!("{v1}/changes/1/revert"), "", "{\"reason\":\"x\"}"),
        request("POST", "/api/v1/databases", "", &database.to_string()),
        request("POST", "/api/v1/tokens", "", &new_token.to_string()),
        request("DELETE", "/api/v1/tokens/9cc10173-e9ea-4176-9dbc-a4cee4c4ff30", "", ""),
    ]
}

const PIECES: [&[u8]; 22] = [
    b"\r\n",
    b"\0",
    b"\xff",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"null",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"%00",
    b"%ff",
    b"../",
    b"0.0.0.0/0",
    b"::/0",
    b"\xe2\x80\xae",
    b"Transfer-Encoding: chunked\r\n",
    b"X-Forwarded-For: 1\r\n",
    b"9999-12-31T23:59:59Z",
    b"\\u0000",
];

fn mutate(rng: &mut SmallRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut request = seeds.choose(rng).expect("a seed").clone();
    let part = rng.random_range(0..10);
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(place(&request, part));
        match rng.random_range(0..6) {
            0 => request[at] = rng.random(),
            1 => request[at] ^= 1 << rng.random_range(0..8),
            2 => drop(request.drain(at..(at + rng.random_range(1..20)).min(request.len()))),
            3 => {
                let piece = PIECES.choose(rng).expect("a piece");
                request.splice(at..at, piece.iter().copied());
            }
            4 => {
                let other = seeds.choose(rng).expect("a seed");
                let from = rng.random_range(0..other.len());
                let piece = &other[from..(from + rng.random_range(1..60)).min(other.len())];
                request.splice(at..at, piece.iter().copied());
            }
            _ => {
                let end = (at + rng.random_range(1..40)).min(request.len());
                let piece = request[at..end].to_vec();
                request.splice(at..at, piece);
            }
        }
        if request.is_empty() {
            request.push(b'G');
        }
    }
    // Mostly the length is right again, so that the body is read.
    if rng.random_ratio(4, 5) {
        fix_length(&mut request);
    }
    request
}

/// The part of a request to change: mostly the body, sometimes path and query, seldom anything. A
/// request whose head makes no sense says little.
fn place(request: &[u8], part: u32) -> Range<usize> {
    let find = |wanted: &[u8]| request.windows(wanted.len()).position(|window| window == wanted);
    let body = find(b"\r\n\r\n").map_or(0, |head| head + 4)..request.len();
    let path = find(b"/").unwrap_or(0)..find(b" HTTP/").unwrap_or(0);
    match part {
        0..6 if !body.is_empty() => body,
        0..9 if !path.is_empty() => path,
        _ => 0..request.len(),
    }
}

fn fix_length(request: &mut Vec<u8>) {
    let find = |text: &[u8], wanted: &[u8]| text.windows(wanted.len()).position(|w| w == wanted);
    let Some(head) = find(request, b"\r\n\r\n") else { return };
    let length = request.len() - head - 4;
    let Some(at) = find(&request[..head], b"Content-Length: ") else { return };
    let from = at + b"Content-Length: ".len();
    let Some(end) = find(&request[from..], b"\r\n") else { return };
    request.splice(from..from + end, length.to_string().into_bytes());
}

/// A connection from some address of loopback: one that has a token wrong too often is stopped.
async fn from_anywhere(rng: &mut SmallRng, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let from = Ipv4Addr::new(127, rng.random(), rng.random(), rng.random_range(1..255));
    socket.bind(SocketAddr::from((from, 0))).expect("bind");
    socket.connect(server).await.expect("connect")
}

/// Sends a request, and reads one answer: its status, 0 if there was none.
async fn ask(stream: &mut TcpStream, request: &[u8]) -> (u16, bool) {
    if stream.write_all(request).await.is_err() {
        return (0, false);
    }
    let mut text = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let read = tokio::time::timeout(Duration::from_millis(250), stream.read(&mut buffer)).await;
        match read {
            Ok(Ok(length)) if length > 0 => text.extend_from_slice(&buffer[..length]),
            // A request that is not whole gets no answer yet; or the connection ended.
            _ => return (status(&text), false),
        }
        if let Some(end) = whole(&text) {
            // What is behind it is the answer to what followed the request. After an error the
            // connection may end.
            let goes_on = end == text.len() && status(&text) < 300 && !is_stream(&text[..end]);
            return (status(&text), goes_on);
        }
    }
}

/// Whether the answer goes on: a stream of lists.
fn is_stream(head: &[u8]) -> bool {
    String::from_utf8_lossy(head).to_ascii_lowercase().contains("transfer-encoding: chunked")
}

fn status(text: &[u8]) -> u16 {
    let status = text.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    status.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The end of the first answer, if all of it is there.
fn whole(text: &[u8]) -> Option<usize> {
    let head = text.windows(4).position(|window| window == b"\r\n\r\n")?;
    let lines = std::str::from_utf8(&text[..head]).expect("a head is text").to_ascii_lowercase();
    let length = lines.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().expect("a length"));
    (text.len() >= head + 4 + length).then_some(head + 4 + length)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_mutated_request_is_answered_with_a_fault_of_the_server() {
    let mut server =
        Server::with("tls = \"off\"\nrequests_per_minute = 1000000\nmax_connections = 1000");
    let id = server.database("orders");
    let token = server.token(&["fuzz", "--preset", "admin"]);
    let member = member(&server).await;
    let agent = agent_seeds(&id, &member);
    let (address, all) = (server.address(), requests());
    // Unchanged they are what an agent sends.
    for (seed, expected) in agent.iter().zip([200, 204, 201, 404]) {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        assert_eq!(ask(&mut stream, seed).await.0, expected, "{}", String::from_utf8_lossy(seed));
    }
    let began = Instant::now();
    let mut tasks = Vec::new();
    for client in 0..CLIENTS {
        let seeds = [seeds(&id, &token), agent.clone()].concat();
        tasks.push(tokio::spawn(async move {
            let mut rng = SmallRng::seed_from_u64(client as u64);
            let mut counts = std::collections::BTreeMap::<u16, usize>::new();
            let mut stream = from_anywhere(&mut rng, address).await;
            for _ in 0..all / CLIENTS {
                let request = mutate(&mut rng, &seeds);
                let (status, goes_on) = ask(&mut stream, &request).await;
                *counts.entry(status).or_default() += 1;
                assert!(
                    status < 500 || status == 501 || status == 503,
                    "{status} for {:?}",
                    String::from_utf8_lossy(&request)
                );
                if !goes_on {
                    stream = from_anywhere(&mut rng, address).await;
                }
            }
            counts
        }));
    }
    let mut counts = std::collections::BTreeMap::<u16, usize>::new();
    for task in tasks {
        for (status, count) in task.await.unwrap() {
            *counts.entry(status).or_default() += count;
        }
    }
    println!("{all} requests in {:?}: {counts:?}", began.elapsed());
    for common in [200, 204, 400, 401, 404, 422, 501] {
        assert!(
            counts.get(&common).is_some_and(|count| *count > 0),
            "none is {common}: {counts:?}"
        );
    }
    let log = server.log();
    assert!(!log.contains("panicked"), "{}", &log[log.find("panicked").unwrap_or(0)..]);
    let mut client = Client::plain(address).await;
    client.token = Some(server.admin());
    client.get("/v2/account").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_in_the_one_form() {
    let server = Server::start();
    let id = server.database("orders");
    let path = format!("/v2/databases/{id}/firewall");
    let connect = async || server.connect(&server.admin()).await;
    let large = format!("{{\"rules\":[],\"x\":\"{}\"}}", "a".repeat(1 << 20));
    connect().await.send("PUT", &path, &[], large).await.error(413);
    let deep = format!("{{\"x\":{}", "[".repeat(500_000));
    connect().await.send("PUT", &path, &[], deep).await.error(400);
    let names: Vec<String> = (0..101).map(|n| format!("x-{n}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    connect().await.send("GET", &path, &headers, "").await.error(431);
    connect().await.send("GET", &path, &headers[..90], "").await.expect(200);
    let long = "a".repeat(1 << 20);
    let reply = connect().await.try_send("GET", &path, &[("x", &long)], "").await;
    assert!(reply.as_ref().is_none_or(|reply| (400..500).contains(&reply.status)), "{reply:?}");
    let reply = connect().await.try_send("GET", &format!("/{}", &long[..60_000]), &[], "").await;
    assert!(reply.as_ref().is_none_or(|reply| (400..500).contains(&reply.status)), "{reply:?}");
    // A body for which nobody has a token is not read.
    let mut stranger = server.connect("dodbfw_0").await;
    let endless = futures_of(Duration::from_secs(3600));
    let reply =
        tokio::time::timeout(Duration::from_secs(5), stranger.send("PUT", &path, &[], endless));
    reply.await.expect("an answer at once").error(401);
}

/// A body that never ends.
fn futures_of(pause: Duration) -> Body {
    Body::from_stream(futures_util::stream::unfold((), move |()| async move {
        tokio::time::sleep(pause).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_and_bodies_end_after_ten_seconds() {
    let server = Server::with("tls = \"off\"");
    let id = server.database("orders");
    let within = |began: Instant| {
        let took = began.elapsed();
        assert!((Duration::from_secs(8)..Duration::from_secs(20)).contains(&took), "{took:?}");
    };
    let head = async {
        let began = Instant::now();
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let mut text = Vec::new();
        for byte in b"Host: localhost and more bytes than there is time for".iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            let mut buffer = [0; 100];
            match tokio::time::timeout(Duration::from_millis(200), stream.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(length)) => text.extend_from_slice(&buffer[..length]),
                Err(_) => {}
            }
        }
        within(began);
    };
    let body = async {
        let began = Instant::now();
        let mut client = Client::plain(server.address()).await;
        client.token = Some(server.admin());
        let slow = futures_of(Duration::from_millis(300));
        let path = format!("/v2/databases/{id}/firewall");
        client.send("PUT", &path, &[], slow).await.error(408);
        within(began);
    };
    // One that says nothing at all may wait for longer: clients keep connections.
    let idle = async {
        let mut client = Client::plain(server.address()).await;
        client.token = Some(server.admin());
        client.get("/v2/account").await.expect(200);
        tokio::time::sleep(Duration::from_secs(15)).await;
        client.get("/v2/account").await.expect(200);
    };
    tokio::join!(head, body, idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_take_every_connection() {
    let server = Server::with("max_connections = 16\ntls = \"off\"");
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut client = Client::plain(server.address()).await;
        client.token = Some(server.admin());
        client.get("/v2/account").await.expect(200);
        held.push(client);
    }
    let mut refused = TcpStream::connect(server.address()).await.unwrap();
    let mut text = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), refused.read_to_end(&mut text)).await;
    assert!(read.is_ok() && text.is_empty(), "it is closed at once");
    drop(held.pop());
    let patience = Instant::now() + crate::support::PATIENCE;
    loop {
        let mut client = Client::plain(server.address()).await;
        client.token = Some(server.admin());
        if client.try_send("GET", "/v2/account", &[], "").await.is_some() {
            break;
        }
        assert!(Instant::now() < patience);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_no_object() {
    let server = Server::start();
    let (id, admin) = (server.database("orders"), server.admin());
    let mut client = server.connect(&admin).await;
    let firewall = format!("/v2/databases/{id}/firewall");
    let sources = format!("/api/v1/databases/{id}/sources");
    for (method, path, body) in [
        ("PUT", &*firewall, json!([[["ip_addr", "10.1.1.1", null, null]]])),
        ("PUT", &firewall, json!({"rules": [["ip_addr", "10.1.1.1", null, null]]})),
        ("POST", &sources, json!(["ip_addr", "10.1.1.1"])),
        ("POST", "/api/v1/databases", json!({"name": "other", "settings": ["pg"]})),
        ("POST", "/api/v1/databases", json!(["other"])),
    ] {
        let mut client = server.connect(&admin).await;
        let message = client.document(method, path, &body).await.error(422);
        assert!(message.contains("must be an object"), "{message}");
    }
    assert_eq!(client.sources(&id).await, Vec::<String>::new());
    for (field, value) in
        [("host", "a b"), ("host", "x/y?z#"), ("engine", "pg sql"), ("engine", "PG")]
    {
        let body = json!({"name": "other", "settings": {field: value}});
        let mut client = server.connect(&admin).await;
        let message = client.document("POST", "/api/v1/databases", &body).await.error(422);
        assert!(message.starts_with(field), "{message}");
    }
    assert_eq!(client.get("/v2/").await.status, 501);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_heard_whatever_is_left_of_the_body() {
    let mut server = Server::start();
    let id = server.database("orders");
    server.database("other");
    let (admin, limited) =
        (server.admin(), server.token(&["limited", "--preset", "editor", "--database", "other"]));
    let path = format!("/v2/databases/{id}/firewall");
    for (token, kib, status) in
        [("", 900, 401), (&*limited, 100, 403), (&*limited, 900, 403), (&*admin, 3 << 10, 413)]
    {
        for _ in 0..20 {
            let mut client = server.connect(token).await;
            for _ in 0..2 {
                let body = vec![b' '; kib << 10];
                let reply = client.send("PUT", &path, &[], body).await;
                assert_eq!(reply.status, status);
                assert_eq!(reply.header("connection").is_some(), token.is_empty(), "{status}");
            }
        }
    }
}
