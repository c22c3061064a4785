//! The contract of the store, for every implementation: each test takes an empty one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::*;

/// Makes a test of every part of the contract. `store` is an expression for an empty store and
/// what has to live as long.
macro_rules! contract {
    ($store:expr) => {
        contract!(@ $store,
            what_was_committed_is_read
            a_commit_happens_as_a_whole_or_not_at_all
            conditions_hold_or_the_commit_is_a_conflict
            of_two_that_require_the_same_one_wins
            a_list_is_of_one_revision
            revisions_count_up_without_gaps
            a_watch_sees_every_commit_once_in_order
            a_watch_sees_only_its_prefix
            a_watch_that_was_away_too_long_lists_again
            a_dump_loads_into_the_same
            a_lease_has_one_holder_until_it_is_dropped
            a_lease_is_kept_for_longer_than_its_time
            leases_are_no_content
            of_several_servers_one_leads_and_the_next_follows
        );
    };
    (@ $store:expr, $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (store, _held) = $store;
                crate::store::contract::$name(store).await;
            }
        )*
    };
}
pub(super) use contract;

async fn put(store: &Store, key: &str, value: &str) -> Revision {
    store.commit(Txn::new().put(key, value.as_bytes())).await.unwrap()
}

async fn value(store: &Store, key: &str) -> Option<String> {
    let entry = store.get(key).await.unwrap()?;
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

pub(super) async fn what_was_committed_is_read(store: Store) {
    assert_eq!(value(&store, "a").await, None);
    put(&store, "a", "1").await;
    assert_eq!(value(&store, "a").await.as_deref(), Some("1"));
    put(&store, "a", "").await;
    assert_eq!(value(&store, "a").await.as_deref(), Some(""));
    store.commit(Txn::new().delete("a").delete("never")).await.unwrap();
    assert_eq!(value(&store, "a").await, None);
    let large = "x".repeat(1 << 20);
    put(&store, "a", &large).await;
    assert_eq!(value(&store, "a").await, Some(large));
}

pub(super) async fn a_commit_happens_as_a_whole_or_not_at_all(store: Store) {
    let first = put(&store, "a", "1").await;
    let txn =
        |at| Txn::new().require("a", Require::At(at)).put("a", *b"2").put("b", *b"2").delete("c");
    put(&store, "c", "1").await;
    let revision = store.commit(txn(first)).await.unwrap();
    for key in ["a", "b"] {
        assert_eq!(store.get(key).await.unwrap().unwrap().revision, revision);
    }
    assert_eq!(value(&store, "c").await, None);
    put(&store, "b", "3").await;
    assert_eq!(store.commit(txn(first)).await, Err(CommitError::Conflict("a".to_owned())));
    assert_eq!(value(&store, "b").await.as_deref(), Some("3"));
}

pub(super) async fn conditions_hold_or_the_commit_is_a_conflict(store: Store) {
    let at = put(&store, "a", "1").await;
    let later = put(&store, "b", "1").await;
    for (key, condition, holds) in [
        ("a", Require::At(at), true),
        ("a", Require::At(later), false),
        ("a", Require::Absent, false),
        ("z", Require::Absent, true),
        ("z", Require::At(at), false),
    ] {
        let done = store.commit(Txn::new().require(key, condition).put("c", *b"x")).await;
        assert_eq!(done.is_ok(), holds, "{key} {condition:?}: {done:?}");
    }
    // A key that is written again as it was is another revision.
    put(&store, "a", "1").await;
    let done = store.commit(Txn::new().require("a", Require::At(at)).delete("a")).await;
    assert!(matches!(done, Err(CommitError::Conflict(_))));
}

pub(super) async fn of_two_that_require_the_same_one_wins(store: Store) {
    let mut at = put(&store, "a", "0").await;
    for round in 0..20 {
        let tasks: Vec<_> = (0..8)
            .map(|n| {
                let store = store.clone();
                let value = format!("{round} {n}").into_bytes();
                let txn = Txn::new().require("a", Require::At(at)).put("a", value);
                tokio::spawn(async move { store.commit(txn).await })
            })
            .collect();
        let mut won = Vec::new();
        for task in tasks {
            won.extend(task.await.unwrap().ok());
        }
        assert_eq!(won.len(), 1);
        at = won[0];
        assert_eq!(store.get("a").await.unwrap().unwrap().revision, at);
    }
}

pub(super) async fn a_list_is_of_one_revision(store: Store) {
    for key in ["p/1", "p/2", "p", "q/1", "o"] {
        put(&store, key, key).await;
    }
    let listed = store.list("p/").await.unwrap();
    let keys: Vec<&str> = listed.entries.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["p/1", "p/2"]);
    let newest = put(&store, "x", "").await;
    assert_eq!(store.list("p/").await.unwrap().revision, newest);
    assert_eq!(store.list("none/").await.unwrap().entries, []);
    assert_eq!(store.list("").await.unwrap().entries.len(), 6);

    // Two keys that are always written together are never seen apart.
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                let value = n.to_string().into_bytes();
                store.commit(Txn::new().put("p/1", value.clone()).put("p/2", value)).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let listed = store.list("p/").await.unwrap().entries;
        if listed[0].1.revision != listed[1].1.revision {
            assert_eq!((&*listed[0].1.value, &*listed[1].1.value), (&b"p/1"[..], &b"p/2"[..]));
        }
    }
    writer.await.unwrap();
}

pub(super) async fn revisions_count_up_without_gaps(store: Store) {
    let tasks: Vec<_> = (0..60)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { put(&store, &format!("k{n}"), "x").await })
        })
        .collect();
    let mut revisions = Vec::new();
    for task in tasks {
        revisions.push(task.await.unwrap().0);
    }
    revisions.sort_unstable();
    let first = revisions[0];
    assert_eq!(revisions, Vec::from_iter(first..first + 60));
}

async fn next(watch: &mut Watch) -> Event {
    timeout(Duration::from_secs(10), watch.next()).await.expect("an event").expect("it goes on")
}

pub(super) async fn a_watch_sees_every_commit_once_in_order(store: Store) {
    let start = store.list("").await.unwrap().revision;
    let mut from_start = store.watch("", start);
    let mut expected = Vec::new();
    for n in 0..20_u8 {
        let txn = Txn::new().put(format!("k{}", n % 3), [n]).delete(format!("k{}", (n + 1) % 3));
        // What is not there is not removed.
        let revision = store.commit(txn.clone().delete("gone")).await.unwrap();
        let mut writes = txn.writes;
        writes.truncate(if n < 2 { 1 } else { 2 });
        expected.push(Event::Batch(Batch { revision, writes }));
    }
    let Event::Batch(Batch { revision: tenth, .. }) = expected[9] else { unreachable!() };
    let mut from_tenth = store.watch("", tenth);
    for event in &expected {
        assert_eq!(next(&mut from_start).await, *event);
    }
    for event in &expected[10..] {
        assert_eq!(next(&mut from_tenth).await, *event);
    }
    // And then waits.
    assert!(timeout(Duration::from_millis(50), from_start.next()).await.is_err());
    let revision = put(&store, "late", "x").await;
    let writes = vec![Write::Put("late".to_owned(), Arc::from(*b"x"))];
    assert_eq!(next(&mut from_start).await, Event::Batch(Batch { revision, writes }));
}

pub(super) async fn a_watch_sees_only_its_prefix(store: Store) {
    let start = store.list("").await.unwrap().revision;
    let mut watch = store.watch("p/", start);
    put(&store, "q/1", "x").await;
    let revision =
        store.commit(Txn::new().put("q/2", *b"x").put("p/1", *b"y").delete("o")).await.unwrap();
    let writes = vec![Write::Put("p/1".to_owned(), Arc::from(*b"y"))];
    assert_eq!(next(&mut watch).await, Event::Batch(Batch { revision, writes }));
}

pub(super) async fn a_watch_that_was_away_too_long_lists_again(store: Store) {
    let start = store.list("").await.unwrap().revision;
    let mut watch = store.watch("", start);
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..80 {
                    put(&store, &format!("{task}/{}", n % 4), &n.to_string()).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // Once another sees the newest, all came by.
    let mut newest = store.watch("newest", store.list("").await.unwrap().revision);
    put(&store, "newest", "x").await;
    assert!(matches!(next(&mut newest).await, Event::Batch(_)));
    assert_eq!(next(&mut watch).await, Event::Resync);
    // A list and what is watched from there on is all of it.
    let listed = store.list("").await.unwrap();
    let mut watch = store.watch("", listed.revision);
    let revision = put(&store, "more", "x").await;
    assert!(matches!(next(&mut watch).await, Event::Batch(batch) if batch.revision == revision));
}

pub(super) async fn a_dump_loads_into_the_same(store: Store) {
    let mut expected = BTreeMap::new();
    for n in 0..40 {
        let (key, value) = (format!("k/{n:02}"), format!("{{\"n\":{n},  \"text\":\"ü\\u0000\"}}"));
        put(&store, &key, &value).await;
        expected.insert(key, value);
    }
    let mut text = Vec::new();
    dump(&store.list("").await.unwrap(), &mut text).unwrap();
    let loaded = read_dump(&mut text.as_slice()).unwrap();
    let loaded: BTreeMap<String, String> = loaded
        .into_iter()
        .map(|(key, value)| (key, String::from_utf8(value.to_vec()).unwrap()))
        .collect();
    assert_eq!(loaded, expected);
    // Cut anywhere, or with a byte changed, it is refused.
    for length in (0..text.len()).step_by(7) {
        assert!(read_dump(&mut &text[..length]).is_err(), "cut at {length}");
    }
    for at in (0..text.len()).step_by(5) {
        let mut changed = text.clone();
        changed[at] ^= 1;
        assert!(read_dump(&mut changed.as_slice()).is_err(), "changed at {at}");
    }
}

/// Takes a lease as soon as it is free.
async fn take(store: &Store, key: &str, ttl: Duration) -> Lease {
    let take = async {
        loop {
            if let Some(lease) = store.lease(key, b"who", ttl).await.unwrap() {
                return lease;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), take).await.expect("it becomes free")
}

/// Far longer than a test waits: a key that is free before was given back.
const LONG: Duration = Duration::from_secs(600);

pub(super) async fn a_lease_has_one_holder_until_it_is_dropped(store: Store) {
    let first = take(&store, "leader", LONG).await;
    assert!(first.is_held());
    assert!(store.lease("leader", b"other", LONG).await.unwrap().is_none());
    let other = store.lease("other", b"b", LONG).await.unwrap().unwrap();
    let mut held = store.holders("").await.unwrap();
    held.sort();
    let expected = [("leader", &b"who"[..]), ("other", b"b")];
    assert_eq!(held, expected.map(|(key, who)| (key.to_owned(), Arc::from(who))));
    drop(first);
    let again = take(&store, "leader", LONG).await;
    assert!(again.is_held() && other.is_held());
    assert_eq!(store.holders("lead").await.unwrap().len(), 1);
}

pub(super) async fn a_lease_is_kept_for_longer_than_its_time(store: Store) {
    let ttl = Duration::from_secs(2);
    let mut lease = take(&store, "leader", ttl).await;
    assert!(timeout(3 * ttl, lease.lost()).await.is_err());
    assert!(lease.is_held());
    assert!(store.lease("leader", b"other", ttl).await.unwrap().is_none());
}

pub(super) async fn leases_are_no_content(store: Store) {
    let start = store.list("").await.unwrap().revision;
    let mut watch = store.watch("", start);
    let lease = take(&store, "leader", LONG).await;
    let revision = put(&store, "a", "1").await;
    let writes = vec![Write::Put("a".to_owned(), Arc::from(*b"1"))];
    assert_eq!(next(&mut watch).await, Event::Batch(Batch { revision, writes }));
    assert_eq!(store.list("").await.unwrap().entries.len(), 1);
    drop(lease);
    let _again = take(&store, "leader", LONG).await;
    assert!(timeout(Duration::from_millis(50), watch.next()).await.is_err());
}

pub(super) async fn of_several_servers_one_leads_and_the_next_follows(store: Store) {
    let patience = Duration::from_secs(30);
    let mut first = Leader::campaign(store.clone(), "a");
    timeout(patience, first.elected()).await.expect("it leads");
    let mut second = Leader::campaign(store.clone(), "b");
    assert!(timeout(Duration::from_millis(500), second.elected()).await.is_err());
    assert!(first.is_leader() && !second.is_leader());
    drop(first);
    timeout(patience, second.elected()).await.expect("the other leads");
    assert!(second.is_leader());

    let presence = Presence::announce(store.clone(), "1", "ctl");
    let all = async {
        while Presence::all(&store).await.unwrap() != ["ctl"] {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(patience, all).await.expect("it shows");
    presence.end().await;
    assert_eq!(Presence::all(&store).await.unwrap(), [""; 0]);
    second.resign().await;
    assert!(!second.is_leader());
    assert_eq!(store.holders("").await.unwrap(), []);
}
