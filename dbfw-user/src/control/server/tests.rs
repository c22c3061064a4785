use std::{path::PathBuf, time::Instant};

use dbfw_wire::control::Text;
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, sync::oneshot, task::spawn_blocking};

use super::{
    super::{
        SOCKET_NAME,
        client::{Client, ClientError},
        listen,
    },
    *,
};

struct Agent {
    _dir: tempfile::TempDir,
    path: PathBuf,
    calls: mpsc::Receiver<Call>,
    _shutdown: oneshot::Sender<()>,
}

fn agent() -> Agent {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(SOCKET_NAME);
    let socket = listen::bind(dir.path()).unwrap();
    let (sender, calls) = mpsc::channel(8);
    let (shutdown, stopped) = oneshot::channel();
    tokio::spawn(serve(socket, sender, async {
        let _ = stopped.await;
    }));
    Agent { _dir: dir, path, calls, _shutdown: shutdown }
}

/// The whole answer of the server to `bytes`.
async fn answer_to(path: &PathBuf, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    // The server may refuse and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn error_of(answer: &str) -> ControlError {
    match serde_json::from_str(answer) {
        Ok(Reply::Error(error)) => error,
        other => panic!("{answer:?} is {other:?}"),
    }
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }
}

#[tokio::test]
async fn one_document() {
    let mut agent = agent();
    let path = agent.path.clone();
    let client = spawn_blocking(move || {
        Client::connect(&path).unwrap().call::<Text>(&Request::Metrics {}).unwrap()
    });
    let call = agent.calls.recv().await.unwrap();
    assert_eq!(call.request, Request::Metrics {});
    assert_eq!(call.peer.uid, geteuid().as_raw());
    call.answer(&Text { text: "dbfw_up 1\n".to_owned() });
    assert_eq!(client.await.unwrap().text, "dbfw_up 1\n");
}

#[tokio::test]
async fn the_agents_refusal_keeps_its_kind() {
    let mut agent = agent();
    let path = agent.path.clone();
    let client = spawn_blocking(move || {
        Client::connect(&path)
            .unwrap()
            .call::<Text>(&Request::Reload { plans: Vec::new(), trial_seconds: None })
    });
    let call = agent.calls.recv().await.unwrap();
    call.fail(ControlErrorKind::BadConfig, "dbfw.toml:3: bad port");
    match client.await.unwrap() {
        Err(ClientError::Refused(error)) => {
            assert_eq!(error.kind, ControlErrorKind::BadConfig);
            assert_eq!(error.message, "dbfw.toml:3: bad port");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_long_answer_keeps_its_order() {
    let mut agent = agent();
    let path = agent.path.clone();
    let client = spawn_blocking(move || {
        let mut seen = Vec::new();
        Client::connect(&path)
            .unwrap()
            .stream(&Request::MapDump {}, |number: u64| {
                seen.push(number);
                Ok::<(), ClientError>(())
            })
            .unwrap();
        seen
    });
    let call = agent.calls.recv().await.unwrap();
    for number in 0..10_000_u64 {
        call.reply.send(Reply::Data(json!(number))).await.unwrap();
    }
    call.reply.send(Reply::End {}).await.unwrap();
    assert_eq!(client.await.unwrap(), (0..10_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_answer_without_its_end_is_cut_short() {
    let mut agent = agent();
    let path = agent.path.clone();
    let client = spawn_blocking(move || {
        Client::connect(&path).unwrap().documents::<Value>(&Request::MapDump {})
    });
    let call = agent.calls.recv().await.unwrap();
    call.reply.send(Reply::Data(json!(1))).await.unwrap();
    drop(call);
    assert!(matches!(client.await.unwrap(), Err(ClientError::CutShort { .. })));
}

#[tokio::test]
async fn the_agent_notices_that_the_client_went_away() {
    let mut agent = agent();
    let mut client = UnixStream::connect(&agent.path).await.unwrap();
    client.write_all(b"{\"verb\":\"drops\",\"follow\":true,\"limit\":0}\n").await.unwrap();
    let call = agent.calls.recv().await.unwrap();
    drop(client);
    timeout(Duration::from_secs(2), call.reply.closed()).await.unwrap();
}

/// As the agent sends the entries of the maps: from a thread of its own, into a channel that
/// is full while the client does not read.
#[tokio::test]
async fn a_dump_ends_when_the_client_went_away() {
    let mut agent = agent();
    let mut client = UnixStream::connect(&agent.path).await.unwrap();
    client.write_all(b"{\"verb\":\"map_dump\"}\n").await.unwrap();
    let call = agent.calls.recv().await.unwrap();
    let dump = spawn_blocking(move || {
        let entry = json!("x".repeat(1024));
        while call.reply.blocking_send(Reply::Data(entry.clone())).is_ok() {}
    });
    client.read_exact(&mut [0; 64]).await.unwrap();
    drop(client);
    timeout(WRITE_TIMEOUT / 2, dump).await.expect("the dump goes on").unwrap();
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let agent = agent();
    let deep = format!("{{\"a\":{}\n", "[".repeat(60_000));
    for (bytes, expected) in [
        (&b"{\n"[..], "not one this agent knows"),
        (b"\n", "not one this agent knows"),
        (b"{\"verb\":\"open_sesame\"}\n", "unknown variant"),
        (b"{\"verb\":\"status\",\"please\":1}\n", "unknown field"),
        (b"{\"verb\":\"explain\",\"address\":\"10.0.0\",\"port\":1}\n", "not one this agent knows"),
        (&[b'x'; 70_000][..], "longer than 64 KiB"),
        (deep.as_bytes(), "recursion"),
    ] {
        let error = error_of(&answer_to(&agent.path, bytes).await);
        assert_eq!(error.kind, ControlErrorKind::Invalid);
        assert!(error.message.contains(expected), "{}", error.message);
    }
}

#[tokio::test]
async fn random_bytes_are_refused_and_nothing_reaches_the_agent() {
    let mut agent = agent();
    let mut random = Random(7);
    let template = b"{\"verb\":\"map_lookup\",\"address\":\"10.0.0.1\"}";
    for round in 0..2_000 {
        let mut bytes: Vec<u8> = if round % 2 == 0 {
            (0..1 + random.below(300)).map(|_| random.below(256) as u8).collect()
        } else {
            let mut bytes = template.to_vec();
            // Never UTF-8, so never a request.
            let at = random.below(bytes.len());
            bytes[at] = 128 + random.below(128) as u8;
            bytes
        };
        bytes.push(b'\n');
        let error = error_of(&answer_to(&agent.path, &bytes).await);
        assert_eq!(error.kind, ControlErrorKind::Invalid, "{bytes:?}");
    }
    assert!(agent.calls.try_recv().is_err());
}

#[tokio::test]
async fn who_says_nothing_is_told_and_closed() {
    let agent = agent();
    let mut stream = UnixStream::connect(&agent.path).await.unwrap();
    stream.write_all(b"{\"verb\":").await.unwrap();
    let begun = Instant::now();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(error_of(&answer).message.contains("5 seconds"));
    assert!((4..8).contains(&begun.elapsed().as_secs()));
}

#[tokio::test]
async fn a_connection_too_many_is_told() {
    let mut agent = agent();
    let mut open = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = UnixStream::connect(&agent.path).await.unwrap();
        stream.write_all(b"{\"verb\":\"drops\",\"follow\":true,\"limit\":0}\n").await.unwrap();
        let call = agent.calls.recv().await.unwrap();
        open.push((stream, call));
    }
    let answer = answer_to(&agent.path, b"{\"verb\":\"status\"}\n").await;
    assert!(error_of(&answer).message.contains("too many"));
    open.pop();
    timeout(Duration::from_secs(2), async {
        loop {
            let mut stream = UnixStream::connect(&agent.path).await.unwrap();
            // Refused at once until the slot is free again.
            let _ = stream.write_all(b"{\"verb\":\"status\"}\n").await;
            if let Ok(Some(call)) = timeout(Duration::from_millis(100), agent.calls.recv()).await {
                return call;
            }
        }
    })
    .await
    .unwrap();
}

#[test]
fn readers_leave_room_for_root() {
    let slots = Slots {
        all: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        readers: Arc::new(Semaphore::new(MAX_CONNECTIONS - RESERVED_FOR_ROOT)),
    };
    let reader = Peer { uid: 4_000_000 };
    let held: Vec<_> = std::iter::from_fn(|| slots.take(reader)).collect();
    assert_eq!(held.len(), MAX_CONNECTIONS - RESERVED_FOR_ROOT);
    assert!(slots.take(Peer { uid: 0 }).is_some());
}

#[tokio::test]
async fn only_root_may_change() {
    for request in [
        json!({ "verb": "detach" }),
        json!({ "verb": "reload" }),
        json!({ "verb": "trust_remove", "database": "a", "source": "b" }),
        json!({ "verb": "trust_add", "database": "a", "source": "b", "expires_at": null, "why": null }),
    ] {
        let (mut client, server) = UnixStream::pair().unwrap();
        let (reader, writer) = server.into_split();
        let peer = Peer { uid: 4_000_000 };
        let (calls, mut seen) = mpsc::channel(1);
        let connection = Connection { peer, reader: BufReader::new(reader), writer };
        client.write_all(format!("{request}\n").as_bytes()).await.unwrap();
        connection.run(calls).await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(error_of(&answer).kind, ControlErrorKind::NotPermitted);
        assert!(seen.try_recv().is_err());
    }
}

#[tokio::test]
async fn who_may_only_read_may_read() {
    let (mut client, server) = UnixStream::pair().unwrap();
    let (reader, writer) = server.into_split();
    let peer = Peer { uid: 4_000_000 };
    let (calls, mut seen) = mpsc::channel(1);
    let connection = Connection { peer, reader: BufReader::new(reader), writer };
    client.write_all(b"{\"verb\":\"status\"}\n").await.unwrap();
    let task = tokio::spawn(connection.run(calls));
    assert_eq!(seen.recv().await.unwrap().request, Request::Status {});
    drop(client);
    task.await.unwrap();
}

#[tokio::test]
async fn an_agent_that_stops_says_so() {
    let agent = agent();
    drop(agent.calls);
    let answer = answer_to(&agent.path, b"{\"verb\":\"status\"}\n").await;
    assert!(error_of(&answer).message.contains("stopping"));
}

#[test]
fn nobody_there() {
    let dir = tempfile::tempdir().unwrap();
    let error = Client::connect(&dir.path().join("absent")).unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }));
    assert!(error.to_string().contains("systemctl status dbfw"));
}
