use std::time::Instant;

use nix::sys::signal::Signal;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use self::server::Etcd;
use super::*;
use crate::store::{Event, Identity, Login, Store, contract::contract};

#[path = "../../../tests/it/etcd.rs"]
#[expect(dead_code, reason = "the tests of the whole server use more of it")]
mod server;

/// Longest wait on a busy machine.
const LONG: Duration = Duration::from_secs(60);

fn settings(etcd: &Etcd) -> EtcdSettings {
    EtcdSettings {
        endpoints: etcd.endpoints(),
        ca_file: None,
        identity: None,
        login: None,
        prefix: "/dbfw/v1".to_owned(),
    }
}

async fn connect(settings: &EtcdSettings) -> Store {
    EtcdStore::connect(settings).await.unwrap().into()
}

async fn empty() -> (Store, Etcd) {
    let etcd = Etcd::start();
    (connect(&settings(&etcd)).await, etcd)
}

contract!(empty().await);

async fn put(store: &Store, key: &str, value: &str) -> Result<Revision, CommitError> {
    store.commit(Txn::new().put(key, value.as_bytes())).await
}

/// Commits until it succeeds, as clients do that are told to try again.
async fn put_at_last(store: &Store, key: &str, value: &str) -> Revision {
    let put = async {
        loop {
            if let Ok(revision) = put(store, key, value).await {
                return revision;
            }
        }
    };
    timeout(LONG, put).await.expect("it goes on")
}

async fn next(watch: &mut Watch) -> Event {
    timeout(LONG, watch.next()).await.expect("an event").expect("it goes on")
}

/// The next key that a watch sees, whatever comes before.
async fn sees(watch: &mut Watch, key: &str) {
    loop {
        match next(watch).await {
            Event::Batch(batch) if batch.writes.iter().any(|write| write.key() == key) => return,
            Event::Batch(_) => {}
            Event::Resync => panic!("nothing was missed"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_many_writes_and_a_list_of_many_pages() {
    let (store, _etcd) = empty().await;
    let key = |n: usize| format!("k/{n:05}");
    let all = (0..2000).fold(Txn::new(), |txn, n| txn.put(key(n), vec![b'x'; 300]));
    let mut watch = store.watch("", Revision(0).max(store.list("").await.unwrap().revision));
    let revision = store.commit(all).await.unwrap();
    let Event::Batch(batch) = next(&mut watch).await else { panic!("nothing was missed") };
    assert_eq!((batch.revision, batch.writes.len()), (revision, 2000));
    let listed = store.list("k/").await.unwrap();
    let keys: Vec<String> = listed.entries.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, (0..2000).map(key).collect::<Vec<_>>());
    // A condition that does not hold stops every part.
    let late =
        (0..200).fold(Txn::new().require("k/00000", Require::Absent), |txn, n| txn.delete(key(n)));
    assert_eq!(store.commit(late).await, Err(CommitError::Conflict("k/00000".to_owned())));
    assert_eq!(store.list("k/").await.unwrap().entries.len(), 2000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_see_each_other_and_nothing_of_others() {
    let (one, etcd) = empty().await;
    let other = connect(&settings(&etcd)).await;
    let elsewhere = EtcdSettings { prefix: "/dbfw/v1x".to_owned(), ..settings(&etcd) };
    let elsewhere = connect(&elsewhere).await;
    let mut watch = other.watch("", other.list("").await.unwrap().revision);
    put(&elsewhere, "a", "else").await.unwrap();
    let revision = put(&one, "a", "1").await.unwrap();
    let writes = vec![Write::Put("a".to_owned(), Arc::from(*b"1"))];
    let expected = Event::Batch(crate::store::Batch { revision, writes });
    assert_eq!(next(&mut watch).await, expected);
    assert_eq!(other.list("").await.unwrap().entries.len(), 1);
    assert_eq!(etcd.ctl(&["get", "/dbfw/v1/a", "--print-value-only"]).trim(), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_a_certificate_on_either_side() {
    let etcd = Etcd::with(1, true, &[]);
    let identity =
        Identity { cert_file: etcd.path("client.pem"), key_file: etcd.path("client.key") };
    let whole = EtcdSettings {
        ca_file: Some(etcd.path("ca.pem")),
        identity: Some(identity),
        ..settings(&etcd)
    };
    let store = connect(&whole).await;
    let mut watch = store.watch("", store.list("").await.unwrap().revision);
    put(&store, "a", "1").await.unwrap();
    sees(&mut watch, "a").await;
    for (broken, wanted) in [
        (
            EtcdSettings { ca_file: Some(etcd.path("other-ca.pem")), ..whole.clone() },
            "invalid peer certificate",
        ),
        (EtcdSettings { ca_file: Some(etcd.path("none.pem")), ..whole.clone() }, "none.pem"),
        (EtcdSettings { identity: None, ..whole.clone() }, ""),
    ] {
        let error = EtcdStore::connect(&broken).await.unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_a_password() {
    let mut etcd = Etcd::start();
    etcd.enable_auth();
    let login = Login { user: "dbfw".to_owned(), password_file: etcd.path("password") };
    let whole = EtcdSettings { login: Some(login), ..settings(&etcd) };
    let store = connect(&whole).await;
    let mut watch = store.watch("", store.list("").await.unwrap().revision);
    put(&store, "a", "1").await.unwrap();
    sees(&mut watch, "a").await;
    let lease = store.lease("leader", b"x", Duration::from_secs(5)).await.unwrap();
    assert!(lease.is_some_and(|lease| lease.is_held()));
    // Every token is void.
    etcd.ctl(&["auth", "disable"]);
    etcd.ctl(&["auth", "enable"]);
    put(&store, "b", "1").await.unwrap();
    sees(&mut watch, "b").await;
    // So is the password, until the file has the new one.
    etcd.ctl(&["user", "delete", "dbfw"]);
    etcd.ctl(&["user", "add", "dbfw:another"]);
    etcd.ctl(&["user", "grant-role", "dbfw", "dbfw"]);
    etcd.ctl(&["auth", "disable"]);
    etcd.ctl(&["auth", "enable"]);
    let error = put(&store, "c", "1").await.unwrap_err().to_string();
    assert!(error.contains("check user and password_file"), "{error}");
    etcd.write_password("another");
    put(&store, "c", "1").await.unwrap();
    sees(&mut watch, "c").await;

    let outside = EtcdSettings { prefix: "/other".to_owned(), ..whole.clone() };
    let error = EtcdStore::connect(&outside).await.unwrap_err().to_string();
    assert!(error.contains("permission denied"), "{error}");
    let nobody = EtcdSettings { login: None, ..whole };
    let error = EtcdStore::connect(&nobody).await.unwrap_err().to_string();
    assert!(error.contains("set user and password_file"), "{error}");
    let shown = format!("{store:?}");
    assert!(!shown.contains(server::PASSWORD) && !shown.contains("another"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_members_one_may_be_gone_and_two_may_not() {
    let mut etcd = Etcd::with(3, false, &[]);
    let store = connect(&settings(&etcd)).await;
    let mut watch = store.watch("", store.list("").await.unwrap().revision);
    for gone in 0..3 {
        etcd.kill(gone);
        let key = format!("without {gone}");
        put_at_last(&store, &key, "x").await;
        assert!(store.get(&key).await.unwrap().is_some());
        sees(&mut watch, &key).await;
        etcd.spawn(gone);
        etcd.wait();
    }
    // One that hangs is left too.
    etcd.signal(0, Signal::SIGSTOP);
    put_at_last(&store, "one hangs", "x").await;
    assert!(store.get("one hangs").await.unwrap().is_some());
    etcd.signal(0, Signal::SIGCONT);
    etcd.wait();

    etcd.kill(1);
    etcd.kill(2);
    for _ in 0..3 {
        assert!(store.get("one hangs").await.is_err());
        assert!(matches!(put(&store, "lost", "x").await, Err(CommitError::Store(_))));
    }
    etcd.spawn(1);
    etcd.wait();
    put_at_last(&store, "back", "x").await;
    sees(&mut watch, "back").await;
    assert_eq!(store.resyncs(), 0);
}

/// The way to an etcd, which can be cut.
struct Way {
    address: String,
    is_open: watch::Sender<bool>,
}

impl Way {
    async fn to(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (is_open, mut open) = watch::channel(true);
        let target = endpoint.strip_prefix("http://").unwrap().to_owned();
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                if !*open.borrow_and_update() {
                    continue;
                }
                let (target, mut open) = (target.clone(), open.clone());
                tokio::spawn(async move {
                    let mut to = TcpStream::connect(target).await?;
                    tokio::select! {
                        copied = copy_bidirectional(&mut from, &mut to) => copied.map(|_| ()),
                        _ = open.wait_for(|open| !open) => Ok(()),
                    }
                });
            }
        });
        Self { address, is_open }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_etcd_was_compacted_past_lists_again() {
    let etcd = Etcd::start();
    let way = Way::to(&etcd.endpoints()[0]).await;
    let there = EtcdSettings { endpoints: vec![way.address.clone()], ..settings(&etcd) };
    let store = connect(&there).await;
    let start = store.list("").await.unwrap().revision;
    let (mut watch, mut other) = (store.watch("", start), store.watch("a", start));
    put(&store, "a", "1").await.unwrap();
    sees(&mut watch, "a").await;
    sees(&mut other, "a").await;
    // Away for a while, and nothing is missed.
    way.is_open.send_replace(false);
    etcd.ctl(&["put", "/dbfw/v1/b", "2"]);
    way.is_open.send_replace(true);
    sees(&mut watch, "b").await;
    assert_eq!(store.resyncs(), 0);
    // Away, and etcd forgets what came meanwhile.
    way.is_open.send_replace(false);
    etcd.ctl(&["put", "/dbfw/v1/c", "3"]);
    etcd.ctl(&["del", "/dbfw/v1/a"]);
    etcd.ctl(&["put", "/dbfw/v1/d", "4"]);
    compact(&etcd);
    way.is_open.send_replace(true);
    assert_eq!(next(&mut watch).await, Event::Resync);
    assert_eq!(next(&mut other).await, Event::Resync);
    assert_eq!(store.resyncs(), 1);
    let listed = store.list("").await.unwrap();
    let keys: Vec<&str> = listed.entries.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["b", "c", "d"]);
    let mut watch = store.watch("", listed.revision);
    put(&store, "e", "5").await.unwrap();
    sees(&mut watch, "e").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_space_it_is_told_and_read() {
    let etcd = Etcd::with(1, false, &["--quota-backend-bytes=8388608"]);
    let store = connect(&settings(&etcd)).await;
    let large = "x".repeat(1 << 20);
    let error = loop {
        if let Err(error) = put(&store, "large", &large).await {
            break error.to_string();
        }
    };
    assert!(error.contains("NOSPACE") && error.contains("alarm disarm"), "{error}");
    assert!(store.get("large").await.unwrap().is_some());
    compact(&etcd);
    etcd.ctl(&["defrag"]);
    etcd.ctl(&["alarm", "disarm"]);
    put(&store, "small", "x").await.unwrap();
    let too_large = "x".repeat(2 << 20);
    let error = put(&store, "large", &too_large).await.unwrap_err().to_string();
    assert!(error.contains("--max-request-bytes"), "{error}");
}

/// Forgets everything but the newest.
fn compact(etcd: &Etcd) {
    let text = etcd.ctl(&["get", "test/ready", "--write-out=json"]);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    etcd.ctl(&["compact", &answer["header"]["revision"].to_string()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_lost_before_another_can_have_it() {
    let etcd = Etcd::start();
    let way = Way::to(&etcd.endpoints()[0]).await;
    let there = EtcdSettings { endpoints: vec![way.address.clone()], ..settings(&etcd) };
    let (one, other) = (connect(&there).await, connect(&settings(&etcd)).await);
    let ttl = Duration::from_secs(3);
    let mut lease = one.lease("leader", b"one", ttl).await.unwrap().unwrap();
    way.is_open.send_replace(false);
    let taken = async {
        loop {
            if let Some(taken) = other.lease("leader", b"other", ttl).await.unwrap() {
                assert!(!lease.is_held());
                return taken;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let taken = timeout(LONG, taken).await.expect("it becomes free");
    timeout(LONG, lease.lost()).await.expect("it says so");
    assert!(taken.is_held());
    // Revoked by hand, it is lost as well.
    let mut taken = taken;
    let leases = etcd.ctl(&["lease", "list"]);
    let id = leases.lines().last().unwrap();
    etcd.ctl(&["lease", "revoke", id]);
    timeout(LONG, taken.lost()).await.expect("it says so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_is_not_there_is_told() {
    let nowhere = EtcdSettings {
        endpoints: vec!["http://127.0.0.1:1".to_owned()],
        ca_file: None,
        identity: None,
        login: None,
        prefix: "/dbfw/v1".to_owned(),
    };
    let began = Instant::now();
    let error = EtcdStore::connect(&nowhere).await.unwrap_err().to_string();
    assert!(error.contains("no member of etcd answers (http://127.0.0.1:1)"), "{error}");
    // Within its patience, however busy the machine.
    assert!(began.elapsed() < LONG);
}
