use std::{net::SocketAddr, time::Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
};

use super::*;

const QUICK: Limits = Limits {
    header: Duration::from_millis(300),
    scrape: Duration::from_millis(300),
    connection: Duration::from_millis(900),
    shutdown: Duration::from_millis(200),
};

struct Server {
    address: SocketAddr,
    health: Arc<Health>,
    scrapes: mpsc::Receiver<oneshot::Sender<Scrape>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn server(limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (scrape, scrapes) = mpsc::channel(4);
    let health = Arc::new(Health::new());
    let probe = Probe { scrape, health: Arc::clone(&health) };
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    let task = tokio::spawn(serve_within(listener, probe, shutdown, limits));
    Server { address, health, scrapes, stop, task }
}

async fn send(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(address: SocketAddr, path: &str) -> String {
    send(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await
}

/// The values of a scrape of one label only.
fn scrape_of(version: String) -> Scrape {
    Scrape { version, ..Scrape::default() }
}

#[tokio::test]
async fn metrics_are_asked_from_the_agent_at_each_scrape() {
    let mut server = server(QUICK).await;
    let agent = async {
        for round in 0..3 {
            let reply = server.scrapes.recv().await.unwrap();
            reply.send(scrape_of(format!("round {round}"))).unwrap();
        }
    };
    let client = async {
        let first = get(server.address, "/metrics").await;
        assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{first}");
        let plain = "content-type: text/plain; version=0.0.4; charset=utf-8\r\n";
        assert!(first.contains(plain), "{first}");
        assert!(first.contains("round 0"), "{first}");
        assert!(get(server.address, "/metrics").await.contains("round 1"));
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: text/plain;q=0.5\r\n\
                        Accept: application/openmetrics-text;q=0.6\r\n\r\n";
        let asked = send(server.address, request).await;
        let openmetrics =
            "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
        assert!(asked.contains(openmetrics), "{asked}");
        assert!(asked.contains("round 2") && asked.ends_with("# EOF\n"), "{asked}");
    };
    tokio::join!(agent, client);
}

#[tokio::test]
async fn a_scrape_nobody_answers_is_503() {
    let server = server(QUICK).await;
    let answer = get(server.address, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("the agent did not answer within 0.3 s"), "{answer}");
    drop(server.scrapes);
    assert!(get(server.address, "/metrics").await.contains("the agent is stopping"));
}

#[tokio::test]
async fn health_and_readiness() {
    let server = server(QUICK).await;
    assert!(get(server.address, "/healthz").await.ends_with("\r\n\r\nok\n"));
    assert!(get(server.address, "/readyz").await.starts_with("HTTP/1.1 503 "));
    server.health.set_ready(Ok(()));
    assert!(get(server.address, "/readyz").await.starts_with("HTTP/1.1 200 "));
    server.health.set_ready(Err("eth0: another program is attached".into()));
    let answer = get(server.address, "/readyz").await;
    assert!(answer.ends_with("\r\n\r\neth0: another program is attached\n"), "{answer}");
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let server = server(QUICK).await;
    assert!(get(server.address, "/").await.contains("<h1>dbfw</h1>"));
    assert!(get(server.address, "/secret").await.starts_with("HTTP/1.1 404 "));
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let request =
            format!("{method} /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
        let answer = send(server.address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
    }
    let head = send(server.address, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn garbage_is_answered_or_cut_and_the_next_client_served() {
    let server = server(QUICK).await;
    let long = [b"GET /".as_slice(), &[b'a'; 64 * 1024]].concat();
    let many_headers =
        format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS + 1)).into_bytes();
    for garbage in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        &many_headers,
    ] {
        let answer = send(server.address, garbage).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The server may cut it half-way; that is what is asked for.
    let _ = stream.write_all(&long).await;
    drop(stream);
    assert!(get(server.address, "/healthz").await.ends_with("ok\n"));
}

#[tokio::test]
async fn a_client_that_sends_nothing_or_a_byte_at_a_time_is_cut() {
    let server = server(QUICK).await;
    let begun = Instant::now();
    assert_eq!(send(server.address, b"").await, "");
    assert!(begun.elapsed() < Duration::from_millis(800), "{:?}", begun.elapsed());

    let begun = Instant::now();
    let mut drip = TcpStream::connect(server.address).await.unwrap();
    let mut cut = false;
    for _ in 0..40 {
        cut = drip.write_all(b"G").await.is_err();
        if cut {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert!(cut, "still open after {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let mut server = server(QUICK).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let large = "x".repeat(64 * 1024 * 1024);
    server.scrapes.recv().await.unwrap().send(scrape_of(large)).unwrap();
    sleep(QUICK.connection + Duration::from_millis(300)).await;
    let mut read = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut read)).await.unwrap();
    assert!(read.len() < 64 * 1024 * 1024, "all of it was sent");
}

#[tokio::test]
async fn idle_connections_do_not_keep_others_out() {
    let server = server(LIMITS).await;
    let mut idle = Vec::new();
    for _ in 0..4 * MAX_CONNECTIONS {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    let begun = Instant::now();
    assert!(get(server.address, "/healthz").await.ends_with("ok\n"));
    let closed = timeout(Duration::from_secs(1), idle[0].read(&mut [0])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "the oldest is still open");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn shutdown_stops_the_server_whatever_its_clients_do() {
    let server = server(LIMITS).await;
    let _idle = TcpStream::connect(server.address).await.unwrap();
    assert!(get(server.address, "/healthz").await.ends_with("ok\n"));
    server.stop.send(()).unwrap();
    timeout(Duration::from_secs(2), server.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
