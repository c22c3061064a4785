//! The worker against a server that says what a test tells it to.

mod joining;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path as UrlPath, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use dbfw_core::{
    answers::{Cause, ListId, ListOutcome, SourceList},
    source::Prefix,
};
use dbfw_wire::agent::{
    AppliedState, Bundle, BundleSource, Delta, Digest, Frame, Hello, HostDatabase, HostGuards,
    HostToken, Report as WireReport, SetReference, SetState, list_digest, set_digest,
};
use futures_util::stream;
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use url::Url;
use uuid::Uuid;

use super::{Facts, Kept, Lasting, ListFacts, Server, ServerConfig};
use crate::{
    stats::Stats,
    token::TokenSource,
    worker::{Account, Command, Demand, Mailbox, Report, ReportSender},
};

const PATIENCE: Duration = Duration::from_secs(20);
const STORE: Uuid = Uuid::from_u128(0x57);
const HOST: Uuid = Uuid::from_u128(0x40);

/// A stream that an agent opened.
struct Opened {
    hello: Hello,
    lines: mpsc::UnboundedSender<Vec<u8>>,
}

impl Opened {
    fn send(&self, frame: &Frame) {
        let mut line = serde_json::to_vec(frame).unwrap();
        line.push(b'\n');
        self.bytes(line);
    }

    fn bytes(&self, bytes: impl Into<Vec<u8>>) {
        let _ = self.lines.send(bytes.into());
    }

    fn welcome(&self) {
        self.send(&welcome(STORE, 15));
    }
}

fn welcome(store: Uuid, beat_seconds: u64) -> Frame {
    let (server, now) = ("a1".to_owned(), Timestamp::now());
    Frame::Welcome { server, store, epoch: 1, now, beat_seconds, trust: Vec::new() }
}

#[derive(Clone)]
struct Shared {
    opened: mpsc::UnboundedSender<Opened>,
    reports: mpsc::UnboundedSender<WireReport>,
    sets: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    status: Arc<AtomicU16>,
}

/// A host and its server.
struct World {
    opened: mpsc::UnboundedReceiver<Opened>,
    reported: mpsc::UnboundedReceiver<WireReport>,
    shared: Shared,
    queue: mpsc::Receiver<(Account, Vec<Report>)>,
    demand: watch::Sender<Demand>,
    commands: mpsc::Sender<Command>,
    facts: watch::Sender<Facts>,
    lasting: Lasting,
    saved: Arc<Mutex<Kept>>,
    config: ServerConfig,
    /// The token is in it.
    directory: tempfile::TempDir,
}

async fn watch_route(State(shared): State<Shared>, body: Bytes) -> Response {
    let status = shared.status.load(Ordering::Relaxed);
    if status != 200 {
        let status = StatusCode::from_u16(status).unwrap();
        return (status, r#"{"id":"unauthorized","message":"no"}"#).into_response();
    }
    let (lines, receiver) = mpsc::unbounded_channel::<Vec<u8>>();
    let hello = serde_json::from_slice(&body).unwrap();
    shared.opened.send(Opened { hello, lines }).ok();
    let lines = stream::unfold(receiver, |mut receiver| async {
        let line = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(line), receiver))
    });
    Body::from_stream(lines).into_response()
}

async fn serve(shared: Shared) -> Url {
    let report = |State(shared): State<Shared>, body: Bytes| async move {
        shared.reports.send(serde_json::from_slice(&body).unwrap()).ok();
        StatusCode::NO_CONTENT
    };
    let set = |State(shared): State<Shared>, UrlPath(digest): UrlPath<String>| async move {
        match shared.sets.lock().unwrap().get(&digest) {
            Some(set) => set.clone().into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    };
    let router = Router::new()
        .route("/agent/v1/watch", post(watch_route))
        .route("/agent/v1/report", post(report))
        .route("/agent/v1/sets/{digest}", get(set))
        .with_state(shared);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    url.parse().unwrap()
}

fn demand() -> Demand {
    Demand { lists: [ListId::Server("orders".into())].into(), ..Demand::default() }
}

impl World {
    async fn new() -> Self {
        let (opening, opened) = mpsc::unbounded_channel();
        let (reports, reported) = mpsc::unbounded_channel();
        let (sets, status) = (Arc::default(), Arc::new(AtomicU16::new(200)));
        let shared = Shared { opened: opening, reports, sets, status };
        let url = serve(shared.clone()).await;
        let directory = tempfile::tempdir().unwrap();
        let token = directory.path().join("host-token");
        let saved = Arc::new(Mutex::new(Kept::default()));
        let (facts, told) = watch::channel(Facts::default());
        let lasting = Lasting {
            kept: Arc::default(),
            keep: {
                let saved = Arc::clone(&saved);
                Arc::new(move |kept| {
                    *saved.lock().unwrap() = kept.clone();
                    Ok(())
                })
            },
            facts: told,
            boot: Uuid::from_u128(1),
        };
        let config = ServerConfig {
            urls: vec![url],
            token: TokenSource::File(token),
            ..ServerConfig::default()
        };
        let (queue, commands) = (mpsc::channel(64).1, mpsc::channel(1).0);
        let demand = watch::Sender::new(demand());
        let mut world = Self {
            opened,
            reported,
            shared,
            queue,
            demand,
            commands,
            facts,
            lasting,
            saved,
            config,
            directory,
        };
        world.write_token(HOST);
        world.start();
        world
    }

    fn write_token(&self, host: Uuid) {
        let path = self.directory.path().join("host-token");
        fs::write(&path, HostToken { host, secret: "ab".repeat(32) }.reveal()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Starts a worker; one that ran ends.
    fn start(&mut self) {
        let (queue, receiver) = mpsc::channel(64);
        let (commands, orders) = mpsc::channel(4);
        self.demand = watch::Sender::new(demand());
        (self.queue, self.commands) = (receiver, commands);
        let database = HostDatabase {
            name: "local".to_owned(),
            database: "orders".to_owned(),
            ports: vec!["tcp/5432".to_owned()],
            mode: "enforce".to_owned(),
            guards: HostGuards::default(),
            have: None,
        };
        let worker = Server::new(
            self.config.clone(),
            "db-1".to_owned(),
            vec![database],
            self.lasting.clone(),
            Arc::new(Stats::default()),
        );
        let reports = ReportSender::new(Account::Server, queue);
        tokio::spawn(worker.run(Mailbox {
            demand: self.demand.subscribe(),
            commands: orders,
            reports,
        }));
    }

    async fn stream(&mut self) -> Opened {
        timeout(PATIENCE, self.opened.recv()).await.expect("no stream was opened").unwrap()
    }

    /// A stream on which all that is asked for was said.
    async fn synced(&mut self, bundle: Bundle) -> Opened {
        let stream = self.stream().await;
        stream.welcome();
        stream.send(&Frame::Bundle(bundle));
        stream.send(&Frame::Synced {});
        stream
    }

    /// The next outcome of the list.
    async fn outcome(&mut self) -> ListOutcome {
        loop {
            let received = timeout(PATIENCE, self.queue.recv()).await.expect("nothing is reported");
            for report in received.unwrap().1 {
                if let Report::List { list, outcome } = report {
                    assert_eq!(list, ListId::Server("orders".into()));
                    return outcome;
                }
            }
        }
    }

    async fn answer(&mut self) -> Arc<SourceList> {
        loop {
            if let ListOutcome::Answer(list) = self.outcome().await {
                return list;
            }
        }
    }

    async fn failure(&mut self) -> (Cause, String) {
        loop {
            match self.outcome().await {
                ListOutcome::Failed(error) => return (error.cause, error.to_string()),
                ListOutcome::Gone(why) => panic!("nothing is ever gone: {why}"),
                ListOutcome::Answer(_) => {}
            }
        }
    }

    /// The next report that has the state of a list.
    async fn applied(&mut self) -> dbfw_wire::agent::Applied {
        loop {
            let report = timeout(PATIENCE, self.reported.recv()).await.expect("no report");
            if let Some(applied) = report.unwrap().applied.pop() {
                return applied;
            }
        }
    }
}

fn source(number: u128, value: &str) -> BundleSource {
    BundleSource {
        uuid: Uuid::from_u128(number),
        kind: "ip_addr".to_owned(),
        value: value.to_owned(),
        description: None,
        expires_at: None,
        set: None,
    }
}

fn bundle(epoch: u64, revision: u64, sources: Vec<BundleSource>) -> Bundle {
    Bundle {
        database: Uuid::from_u128(7),
        name: "orders".to_owned(),
        epoch,
        revision,
        digest: list_digest(&sources),
        by: Some("ann".to_owned()),
        sources,
        sets: BTreeMap::new(),
    }
}

fn one(revision: u64) -> Bundle {
    bundle(1, revision, vec![source(1, "10.0.0.1")])
}

fn values(list: &SourceList) -> Vec<String> {
    list.sources.iter().map(|source| source.key().value().to_owned()).collect()
}

#[tokio::test]
async fn a_list_comes_once_and_changes_after_it() {
    let mut world = World::new().await;
    let first = one(5);
    let stream = world.synced(first.clone()).await;
    assert_eq!((stream.hello.host, stream.hello.databases[0].have), (HOST, None));
    let list = world.answer().await;
    assert_eq!(values(&list), ["10.0.0.1"]);
    let edition = list.edition.as_ref().unwrap();
    assert_eq!((edition.revision, edition.by.as_deref()), (5, Some("ann")));

    let second = bundle(1, 6, vec![source(1, "10.0.0.1"), source(2, "10.0.0.2")]);
    stream.send(&Frame::Delta(Delta::between(&first, &second)));
    loop {
        if values(&*world.answer().await).len() == 2 {
            break;
        }
    }
    // The server stops: nobody sends a list that the host has.
    stream.send(&Frame::Goodbye { after_ms: 10 });
    assert_eq!(world.failure().await.0, Cause::Connect);
    let again = world.stream().await;
    let have = again.hello.databases[0].have.unwrap();
    assert_eq!((have.revision, have.digest), (6, second.digest));
    again.welcome();
    again.send(&Frame::Synced {});
    assert_eq!(values(&*world.answer().await), ["10.0.0.1", "10.0.0.2"]);
    // And a restart of the agent does not ask for it either.
    world.start();
    assert_eq!(world.stream().await.hello.databases[0].have, Some(have));
    let saved = world.saved.lock().unwrap().clone();
    let text = serde_json::to_string(&saved).unwrap();
    assert_eq!(serde_json::from_str::<Kept>(&text).unwrap(), saved);
    assert_eq!(saved.lists["orders"].bundle.revision, 6);
}

#[tokio::test]
async fn a_stream_that_is_cut_anywhere_changes_nothing() {
    let mut text = Vec::new();
    for frame in [welcome(STORE, 15), Frame::Bundle(one(5)), Frame::Synced {}] {
        text.extend(serde_json::to_vec(&frame).unwrap());
        text.push(b'\n');
    }
    let whole = text.len();
    let mut tasks = Vec::new();
    for _ in 0..24 {
        let (text, cut) = (text.clone(), fastrand::usize(..whole));
        tasks.push(tokio::spawn(async move {
            let mut world = World::new().await;
            let stream = world.stream().await;
            stream.bytes(&text[..cut]);
            drop(stream);
            let before = world.outcome().await;
            if let ListOutcome::Answer(list) = before {
                assert_eq!(values(&list), ["10.0.0.1"], "cut at {cut}");
            }
            let again = world.stream().await;
            again.bytes(text);
            assert_eq!(values(&*world.answer().await), ["10.0.0.1"], "cut at {cut}");
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_list_is_asked_for_whole_once_and_reported() {
    let mut world = World::new().await;
    let stream = world.synced(one(5)).await;
    world.answer().await;
    let forged = Bundle { digest: Digest::of(b"x"), ..one(6) };
    stream.send(&Frame::Bundle(forged.clone()));
    assert!(world.failure().await.1.contains("digest"));
    let applied = world.applied().await;
    assert_eq!(applied.revision, 6, "the one that was refused");
    assert!(matches!(applied.state, AppliedState::Failed { .. }));
    let again = world.stream().await;
    assert_eq!(again.hello.databases[0].have, None, "the whole is asked for");
    again.welcome();
    again.send(&Frame::Bundle(forged));
    // It is not asked for at once again, and the stream stays.
    assert!(matches!(world.applied().await.state, AppliedState::Failed { .. }));
    assert!(timeout(Duration::from_millis(800), world.opened.recv()).await.is_err());
    again.send(&Frame::Bundle(one(7)));
    assert_eq!(world.answer().await.edition.as_ref().unwrap().revision, 7);
}

#[tokio::test]
async fn what_a_captured_server_sends_changes_nothing() {
    let mut world = World::new().await;
    let stream = world.synced(bundle(2, 5, vec![source(1, "10.0.0.1")])).await;
    world.answer().await;
    let open = || vec![source(2, "0.0.0.0/0")];
    let earlier = bundle(2, 4, open());
    let older_epoch = bundle(1, 9, open());
    let others = Bundle { name: "billing".to_owned(), ..bundle(2, 9, open()) };
    let namesake = Bundle { database: Uuid::from_u128(8), ..bundle(2, 9, open()) };
    for (bundle, guard) in [
        (earlier, "regressed"),
        (older_epoch, "regressed"),
        (others, "database"),
        (namesake, "database"),
    ] {
        stream.send(&Frame::Bundle(bundle));
        let applied = world.applied().await;
        let AppliedState::Refused { guard: refused, .. } = applied.state else { panic!() };
        assert_eq!(refused, guard);
    }
    stream.send(&Frame::Gone { name: "orders".to_owned(), reason: "deleted".to_owned() });
    loop {
        if world.failure().await.0 == Cause::NotFound {
            break;
        }
    }
    let kept = world.lasting.kept.lock().unwrap().clone();
    assert_eq!(kept.lists["orders"].bundle.sources, [source(1, "10.0.0.1")]);
    // Three million prefixes.
    let large =
        SetReference { digest: Digest::of(b"x"), count: 3_000_000, state: SetState::Ok, at: None };
    let tag = BundleSource { kind: "tag".into(), set: Some(large), ..source(9, "backend") };
    stream.send(&Frame::Bundle(bundle(2, 10, vec![tag])));
    assert!(matches!(world.applied().await.state, AppliedState::Failed { .. }));
}

#[tokio::test]
async fn another_store_is_not_believed_until_the_host_joins_again() {
    let mut world = World::new().await;
    let stream = world.synced(one(5)).await;
    world.answer().await;
    drop(stream);
    let other = world.stream().await;
    other.send(&welcome(Uuid::from_u128(0x66), 15));
    other.send(&Frame::Bundle(one(9)));
    let applied = world.applied().await;
    assert!(matches!(applied.state, AppliedState::Refused { guard, .. } if guard == "store"));
    loop {
        if world.failure().await.1.contains("dbfw join") {
            break;
        }
    }
    assert_eq!(world.lasting.kept.lock().unwrap().lists["orders"].bundle.revision, 5);
    // Joining makes it another host.
    world.write_token(Uuid::from_u128(0x41));
    world.commands.send(Command::Poll).await.unwrap();
    let joined = world.stream().await;
    assert_eq!((joined.hello.host, joined.hello.databases[0].have), (Uuid::from_u128(0x41), None));
    joined.send(&welcome(Uuid::from_u128(0x66), 15));
    joined.send(&Frame::Bundle(one(1)));
    assert_eq!(world.answer().await.edition.as_ref().unwrap().revision, 1);
}

#[tokio::test]
async fn garbage_silence_and_refusals_keep_the_list() {
    let mut world = World::new().await;
    let stream = world.synced(one(5)).await;
    world.answer().await;
    stream.bytes("not a frame\n");
    assert_eq!(world.failure().await.0, Cause::Invalid);
    // Nothing comes for three beats of a second.
    let stream = world.stream().await;
    stream.send(&welcome(STORE, 1));
    stream.send(&Frame::Synced {});
    world.answer().await;
    assert_eq!(world.failure().await.0, Cause::Timeout);
    // A page of somebody else's.
    let stream = world.stream().await;
    stream.bytes("{\"type\":\"beat\"}\n");
    assert!(world.failure().await.1.contains("did not say who it is"));
    // The host was removed.
    world.shared.status.store(401, Ordering::Relaxed);
    loop {
        let (cause, text) = world.failure().await;
        if cause == Cause::Unauthorized {
            assert!(text.contains("dbfw join"), "{text}");
            break;
        }
        let _ = world.opened.try_recv();
    }
    assert_eq!(world.lasting.kept.lock().unwrap().lists["orders"].bundle.revision, 5);
}

#[tokio::test]
async fn a_set_is_fetched_and_verified() {
    let mut world = World::new().await;
    let prefixes: Vec<Prefix> = (0..5000_u32)
        .map(|n| format!("10.{}.{}.0/24", n / 256, n % 256).parse().unwrap())
        .collect();
    let digest = set_digest(&prefixes);
    let set = SetReference { digest, count: 5000, state: SetState::Stale, at: None };
    let tag = BundleSource { kind: "tag".into(), set: Some(set), ..source(9, "backend") };
    let text: String = prefixes.iter().map(|prefix| format!("{prefix}\n")).collect();
    let offered = bundle(1, 5, vec![tag]);
    world.shared.sets.lock().unwrap().insert(digest.digits(), b"10.0.0.0/8\n".to_vec());
    let stream = world.synced(offered.clone()).await;
    assert!(world.failure().await.1.contains("digest"));
    let told = world.applied().await;
    assert!(matches!(told.state, AppliedState::Failed { .. }), "{told:?}");
    drop(stream);
    world.shared.sets.lock().unwrap().insert(digest.digits(), text.into_bytes());
    world.synced(offered).await;
    let list = world.answer().await;
    let resolved = list.edition.as_ref().unwrap().resolved.values().next().unwrap();
    assert_eq!(resolved.prefixes.to_vec(), prefixes);
}

#[tokio::test]
async fn what_became_of_a_list_is_reported_at_once_and_on_every_stream() {
    let mut world = World::new().await;
    let stream = world.synced(one(5)).await;
    world.answer().await;
    let facts = |revision| ListFacts {
        epoch: 1,
        revision,
        state: AppliedState::Applied { generation: revision, prefixes: 1 },
        left_out: Vec::new(),
        left_out_total: 0,
    };
    let tell = |world: &World, revision| {
        world.facts.send_modify(|known| {
            known.protection = "yes".to_owned();
            known.lists.insert("orders".into(), facts(revision));
        });
    };
    tell(&world, 5);
    let applied = world.applied().await;
    assert_eq!((applied.database, applied.revision), (Uuid::from_u128(7), 5));
    let began = std::time::Instant::now();
    for revision in 6..9 {
        tell(&world, revision);
        assert_eq!(world.applied().await.revision, revision);
    }
    assert!(began.elapsed() < Duration::from_secs(3), "lists do not wait for the rest");
    drop(stream);
    let again = world.stream().await;
    again.welcome();
    again.send(&Frame::Synced {});
    assert_eq!(world.applied().await.revision, 8, "the server's memory may be new");
}
