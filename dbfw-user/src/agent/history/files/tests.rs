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
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = write_line(&full, b"x\n").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_link_in_its_place_is_not_followed_at_any_time() {
    let directory = tempfile::tempdir().unwrap();
    let (path, victim) = (directory.path().join("history.log"), directory.path().join("victim"));
    fs::write(&victim, "precious").unwrap();
    let mut log = HistoryLog::open(directory.path());
    log.append(&why("before")).unwrap();
    fs::rename(&path, directory.path().join("history.log.1")).unwrap();
    std::os::unix::fs::symlink(&victim, &path).unwrap();
    let error = log.append(&why("lost")).unwrap_err();
    assert!(error.to_string().contains("is a symbolic link"), "{error}");
    fs::remove_file(&path).unwrap();
    log.append(&why("after")).unwrap();
    assert_eq!(lines(&path).len(), 1);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

fn state<const N: usize>(names: [&str; N]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in names {
        fs::write(directory.path().join(name), name).unwrap();
    }
    directory
}

/// Name and content of every file, sorted.
fn content(directory: &tempfile::TempDir) -> Vec<(String, String)> {
    let file = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let content = fs::read_to_string(entry.path()).unwrap();
        (entry.file_name().into_string().unwrap(), content)
    };
    let mut files: Vec<_> = fs::read_dir(directory.path()).unwrap().map(file).collect();
    files.sort();
    files
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
}

fn opened(directory: &tempfile::TempDir) -> (Vec<String>, Vec<String>) {
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let files = HistoryFiles::open(directory.path()).unwrap();
    assert!(files.failed().is_empty(), "{:?}", files.failed());
    let text = files.text().iter().map(|(path, _)| name(path)).collect();
    (text, files.compressed().iter().map(name).collect())
}

#[test]
fn names_of_rotated_files() {
    for (name, rotated, compressed) in [
        ("history.log", false, false),
        ("audit.log", false, false),
        ("audit.log.1", true, false),
        ("history.log.12.gz", true, true),
        ("audit.log-20260301", true, false),
        ("audit.log-20260301-1772323200.zst", true, true),
    ] {
        let parsed = Name::parse(name).unwrap();
        assert_eq!((parsed.is_rotated(), parsed.is_compressed()), (rotated, compressed), "{name}");
        assert_eq!(parsed.path(Path::new("")), Path::new(name));
    }
    for name in
        ["", "history", "history.logs", "audit.log.", "audit.log.bak", "xaudit.log", "audit.log~"]
    {
        assert_eq!(Name::parse(name), None, "{name}");
    }
}

#[test]
fn what_an_earlier_version_wrote_is_renamed_with_its_permissions() {
    let directory = state([
        "audit.log",
        "audit.log.1",
        "audit.log.2.gz",
        "audit.log-20260301",
        "audit.log.bak",
        "policy.snapshot",
    ]);
    let mode = |name: &str, mode| {
        let path = directory.path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("audit.log", 0o640);
    mode("audit.log.1", 0o600);
    rename_former(directory.path());
    let expected = pairs(&[
        ("audit.log.bak", "audit.log.bak"),
        ("history.log", "audit.log"),
        ("history.log-20260301", "audit.log-20260301"),
        ("history.log.1", "audit.log.1"),
        ("history.log.2.gz", "audit.log.2.gz"),
        ("policy.snapshot", "policy.snapshot"),
    ]);
    assert_eq!(content(&directory), expected);
    let mode = |name: &str| {
        let metadata = fs::metadata(directory.path().join(name)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!((mode("history.log"), mode("history.log.1")), (0o640, 0o600));
    rename_former(directory.path());
    assert_eq!(content(&directory), expected, "there is nothing more to do");
}

#[test]
fn a_crash_at_any_moment_leaves_what_the_next_start_finishes() {
    let names = ["audit.log", "audit.log.1", "audit.log.2.gz"];
    let whole = state(names);
    rename_former(whole.path());
    // Rotated ones are renamed first, in any order, and then the one that is written.
    for renamed in [&["audit.log.1"][..], &["audit.log.2.gz"], &["audit.log.1", "audit.log.2.gz"]] {
        let directory = state(names);
        for name in renamed {
            let to = name.replace(FORMER_LOG, LOG);
            fs::rename(directory.path().join(name), directory.path().join(to)).unwrap();
        }
        let (text, compressed) = opened(&directory);
        assert_eq!((text.len(), compressed.len()), (2, 1), "{renamed:?}: all can be read");
        rename_former(directory.path());
        assert_eq!(content(&directory), content(&whole), "{renamed:?}");
    }
}

#[test]
fn a_name_that_is_taken_is_left_alone_and_both_are_read() {
    let directory = state(["audit.log", "audit.log.1", "history.log", "history.log.1.gz"]);
    rename_former(directory.path());
    assert_eq!(
        content(&directory),
        pairs(&[
            ("audit.log", "audit.log"),
            ("history.log", "history.log"),
            ("history.log.1", "audit.log.1"),
            ("history.log.1.gz", "history.log.1.gz"),
        ])
    );
    let (text, compressed) = opened(&directory);
    assert_eq!(text, ["history.log.1", "audit.log", "history.log"]);
    assert_eq!(compressed, ["history.log.1.gz"]);
}

#[test]
fn a_link_to_another_directory_is_renamed_itself() {
    let elsewhere = state(["audit.log"]);
    let directory = state(["audit.log.2"]);
    let target = elsewhere.path().join("audit.log");
    for name in ["audit.log", "audit.log.1"] {
        std::os::unix::fs::symlink(&target, directory.path().join(name)).unwrap();
    }
    rename_former(directory.path());
    let link = directory.path().join("history.log");
    assert_eq!(fs::read_link(&link).unwrap(), target);
    // Only files of dbfw's own are read.
    let error = HistoryFiles::open(directory.path()).unwrap_err();
    assert!(error.to_string().contains("is a symbolic link"), "{error}");
    fs::remove_file(&link).unwrap();
    let files = HistoryFiles::open(directory.path()).unwrap();
    assert_eq!((files.text().len(), files.failed().len()), (1, 1));
}

#[test]
fn no_directory_and_no_file_are_no_history() {
    let directory = state([]);
    assert_eq!(opened(&directory), (vec![], vec![]));
    let missing = directory.path().join("missing");
    assert!(HistoryFiles::open(&missing).unwrap().text().is_empty());
    rename_former(&missing);
    assert!(!missing.exists());
}

#[test]
fn one_file_of_two_names_is_read_once() {
    let directory = state(["history.log"]);
    let name = |name| directory.path().join(name);
    fs::hard_link(name("history.log"), name("history.log.1")).unwrap();
    assert_eq!(opened(&directory).0, ["history.log.1"]);
}

#[test]
fn files_that_are_renamed_while_they_are_opened_are_all_found() {
    let directory = state(["audit.log", "audit.log.1"]);
    let files = [("audit.log.1", "history.log.1"), ("audit.log", "history.log")];
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| (0..500).map(|_| opened(&directory).0.len()).min());
        let path = |name: &str| directory.path().join(name);
        while !reader.is_finished() {
            for (former, now) in files {
                fs::rename(path(former), path(now)).unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
            for (former, now) in files {
                fs::rename(path(now), path(former)).unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(reader.join().unwrap(), Some(2));
    });
}
