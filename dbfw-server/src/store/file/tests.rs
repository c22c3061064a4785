use std::fs;

use super::*;
use crate::store::{Store, contract::contract};

fn empty() -> (Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(&dir.path().join("store.redb")).unwrap();
    (store.into(), dir)
}

contract!(empty());

#[tokio::test]
async fn it_is_there_after_it_was_closed_and_for_its_owner_alone() {
    let (store, dir) = empty();
    let path = dir.path().join("store.redb");
    let revision = store.commit(Txn::new().put("a", *b"1")).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    drop(store);
    let patience = Instant::now() + Duration::from_secs(5);
    let store = loop {
        match FileStore::open(&path) {
            // The writer may still be closing it.
            Err(StoreError::InUse(_)) if Instant::now() < patience => {
                thread::sleep(Duration::from_millis(5));
            }
            opened => break Store::from(opened.unwrap()),
        }
    };
    let entry = store.get("a").await.unwrap().unwrap();
    assert_eq!((&*entry.value, entry.revision), (&b"1"[..], revision));
    assert_eq!(store.commit(Txn::new().put("b", *b"2")).await.unwrap().0, revision.0 + 1);
}

#[tokio::test]
async fn a_second_process_is_told_that_it_is_in_use() {
    let (_store, dir) = empty();
    let path = dir.path().join("store.redb");
    assert_eq!(FileStore::open(&path).unwrap_err(), StoreError::InUse(path));
}

#[tokio::test]
async fn what_is_no_store_is_an_error_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let (store, kept) = empty();
    store.commit(Txn::new().put("a", vec![7; 100_000])).await.unwrap();
    drop(store);
    thread::sleep(Duration::from_millis(200));
    let whole = fs::read(kept.path().join("store.redb")).unwrap();
    let mut damaged: Vec<Vec<u8>> =
        vec![b"not a store\n".to_vec(), vec![0; 1 << 16], vec![0xff; 1 << 20]];
    damaged.extend([1, 100, 5000, whole.len() / 2].map(|length| whole[..length].to_vec()));
    for content in damaged {
        fs::write(&path, &content).unwrap();
        let error = FileStore::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), content, "{error}");
    }
}

#[tokio::test]
async fn the_file_is_opened_again_after_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let file = FileStore::open(&dir.path().join("store.redb")).unwrap();
    let store = Store::from(file.clone());
    store.commit(Txn::new().put("a", *b"1")).await.unwrap();
    file.shared.open_again().unwrap();
    assert!(store.get("a").await.unwrap().is_some());
    store.commit(Txn::new().put("b", *b"2")).await.unwrap();
}
