use std::os::unix::fs::PermissionsExt as _;

use dbfw_core::source::Prefix;

use super::*;
use crate::agent::history::{Kind, entries::with_prefixes};

fn entry(kind: Kind) -> Entry {
    let time = "2026-03-01T12:00:00Z".parse().unwrap();
    Entry { time, kind, generation: 7, ..Entry::default() }
}

fn why(text: &str) -> Entry {
    Entry { why: Some(text.to_owned()), ..entry(Kind::TrustAdded) }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn read(line: &str) -> Entry {
    serde_json::from_str(line).unwrap()
}

#[test]
fn a_line_holds_all_there_is_to_say_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = HistoryLog::open(directory.path());
    let prefixes: Vec<Prefix> = (0..60).map(|n| Prefix::host([10, 0, 0, n].into())).collect();
    let applied = Entry {
        database: Some("orders".to_owned()),
        source: Some("tag:backend".to_owned()),
        ..with_prefixes(entry(Kind::Applied), &prefixes, &prefixes[..1])
    };
    log.append(&entry(Kind::Started)).unwrap();
    log.append(&applied).unwrap();
    let path = directory.path().join("history.log");
    let lines = lines(&path);
    assert_eq!(
        lines[0],
        r#"{"time":"2026-03-01T12:00:00Z","kind":"started","generation":7,"prefixes_in":0,"prefixes_out":0}"#
    );
    let second = read(&lines[1]);
    assert_eq!((second.prefixes_in, second.prefixes_out), (60, 1));
    assert_eq!((second.added.len(), second.removed), (50, vec!["10.0.0.0/32".to_owned()]));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_file_that_an_earlier_agent_left_to_root_alone_is_opened_to_the_group() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.log");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    HistoryLog::open(directory.path()).append(&entry(Kind::Started)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_reason_cannot_forge_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = HistoryLog::open(directory.path());
    let forged =
        "x\"}\n{\"time\":\"2026-03-01T12:00:00Z\",\"kind\":\"applied\"\r\u{1b}[2J\0\u{2028}";
    log.append(&why(forged)).unwrap();
    let lines = lines(&directory.path().join("history.log"));
    assert_eq!(lines.len(), 1);
    assert!(!lines[0].contains(['\u{1b}', '\r', '\0']));
    assert_eq!(read(&lines[0]).why.as_deref(), Some(forged));
}

#[test]
fn a_text_is_cut_at_a_character() {
    let directory = tempfile::tempdir().unwrap();
    HistoryLog::open(directory.path()).append(&why(&"ä".repeat(100_000))).unwrap();
    let lines = lines(&directory.path().join("history.log"));
    assert_eq!(read(&lines[0]).why.unwrap(), "ä".repeat(2048) + "…");
}

#[test]
fn half_a_line_does_not_take_the_next_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.log");
    fs::write(&path, "{\"time\":\"2026-").unwrap();
    let mut log = HistoryLog::open(directory.path());
    log.append(&why("one")).unwrap();
    log.append(&why("two")).unwrap();
    let lines = lines(&path);
    assert_eq!(lines[0], "{\"time\":\"2026-");
    let reasons: Vec<_> = lines[1..].iter().map(|line| read(line).why.unwrap()).collect();
    assert_eq!(reasons, ["one", "two"]);
}

#[test]
fn it_follows_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.log");
    let rotated = directory.path().join("history.log.1");
    let mut log = HistoryLog::open(directory.path());
    log.append(&why("before")).unwrap();
    fs::rename(&path, &rotated).unwrap();
    log.append(&why("after")).unwrap();
    fs::remove_file(&path).unwrap();
    log.append(&why("gone")).unwrap();
    // As `copytruncate` does.
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    log.append(&why("emptied")).unwrap();
    let reasons = |path| lines(path).iter().map(|line| read(line).why.unwrap()).collect::<Vec<_>>();
    assert_eq!(reasons(&rotated), ["before"]);
    assert_eq!(reasons(&path), ["emptied"]);
}

#[test]
fn two_writers_do_not_overwrite_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let mut logs = [HistoryLog::open(directory.path()), HistoryLog::open(directory.path())];
    for n in 0..10 {
        logs[n % 2].append(&why(&n.to_string())).unwrap();
    }
    let lines = lines(&directory.path().join("history.log"));
    let reasons: Vec<_> = lines.iter().map(|line| read(line).why.unwrap()).collect();
    assert_eq!(reasons, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[test]
fn what_cannot_be_written_is_told_and_the_next_one_tried() {
    let directory = tempfile::tempdir().unwrap();
    let state_dir = directory.path().join("state");
    let mut log = HistoryLog::open(&state_dir);
    let error = log.append(&why("no directory")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    fs::create_dir(&state_dir).unwrap();
    log.append(&why("now")).unwrap();
    assert_eq!(lines(&state_dir.join("history.log")).len(), 1);
}

#[test]
fn a_full_disk_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", directory.path().join("history.log")).unwrap();
    let error = HistoryLog::open(directory.path()).append(&why("x")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}
