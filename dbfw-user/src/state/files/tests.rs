use std::os::unix::fs::{chown, symlink};

use nix::unistd::{geteuid, mkfifo};

use super::*;

const OTHER: u32 = 65534;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

const CALLS: [&str; 3] = ["append", "read", "replace"];

/// Reads or writes the file at a path.
fn call(path: &Path, call: &str) -> io::Result<()> {
    match call {
        "append" => open_to_append(path).map(drop),
        "read" => content(path, u64::MAX).map(drop),
        _ => replace(path, b"new", Readers::Group),
    }
}

fn refused(path: &Path, reason: &str, call: &str) {
    let error = self::call(path, call).expect_err(call);
    assert!(error.to_string().contains(reason), "{call}: {error}");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{call}");
}

#[test]
fn nothing_is_read_or_written_where_others_can_write() {
    let root = tempfile::tempdir().unwrap();
    for bits in [0o770, 0o757, 0o777, 0o1777, 0o722] {
        let directory = root.path().join(format!("{bits:o}"));
        fs::create_dir(&directory).unwrap();
        let path = directory.join("trust.json");
        fs::write(&path, "planted").unwrap();
        mode(&directory, bits);
        for call in CALLS {
            refused(&path, "is writable by others", call);
        }
        rename(&path, OsStr::new("trust.json.bad")).unwrap_err();
        assert_eq!(exposure(&directory).unwrap(), Some(Exposure::Mode(bits)));
        assert_eq!(fs::read(&path).unwrap(), b"planted");
        mode(&directory, 0o755);
        assert_eq!(exposure(&directory).unwrap(), None);
        for name in CALLS {
            call(&path, name).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn nothing_is_read_or_written_that_is_another_users() {
    if !geteuid().is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("state");
    fs::create_dir(&directory).unwrap();
    let path = directory.join("trust.json");
    fs::write(&path, "planted").unwrap();
    chown(&directory, Some(OTHER), None).unwrap();
    for call in CALLS {
        refused(&path, "belongs to", call);
    }
    assert_eq!(exposure(&directory).unwrap(), Some(Exposure::Owner(OTHER)));
    // The directory was repaired, and what was planted is still there.
    chown(&directory, Some(0), None).unwrap();
    chown(&path, Some(OTHER), None).unwrap();
    refused(&path, "it belongs to", "append");
    refused(&path, "it belongs to", "read");
    open(&path).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), b"planted");
    // A link that another user made leads to a good directory.
    let link = root.path().join("link");
    symlink("state", &link).unwrap();
    content(&link.join("missing"), u64::MAX).unwrap_err();
    chown(&path, Some(0), None).unwrap();
    content(&link.join("trust.json"), u64::MAX).unwrap();
    std::os::unix::fs::lchown(&link, Some(OTHER), None).unwrap();
    assert_eq!(exposure(&link).unwrap(), Some(Exposure::Owner(OTHER)));
    refused(&link.join("trust.json"), "belongs to", "read");
}

#[test]
fn no_call_follows_what_stands_in_the_files_place() {
    let root = tempfile::tempdir().unwrap();
    let victim = root.path().join("victim");
    let name = |name: &str| root.path().join(name);
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, name("link")).unwrap();
    symlink(name("nowhere"), name("dangling")).unwrap();
    fs::hard_link(&victim, name("second")).unwrap();
    mkfifo(&name("pipe"), Mode::S_IRWXU).unwrap();
    fs::create_dir(name("directory")).unwrap();

    for path in ["link", "dangling"] {
        refused(&name(path), "is a symbolic link", "append");
        refused(&name(path), "is a symbolic link", "read");
    }
    refused(&name("second"), "has 2 names", "append");
    refused(&name("pipe"), "is not a regular file", "append");
    refused(&name("pipe"), "is not a regular file", "read");
    refused(&name("directory"), "is not a regular file", "read");
    assert!(!name("nowhere").exists(), "nothing was made through a link");

    for path in ["link", "dangling", "second", "pipe"] {
        replace(&name(path), b"new", Readers::Owner).unwrap();
        let metadata = fs::symlink_metadata(name(path)).unwrap();
        assert!(metadata.is_file() && metadata.nlink() == 1, "{path} is a file of its own");
        assert_eq!(content(&name(path), u64::MAX).unwrap(), b"new");
    }
    replace(&name("directory"), b"new", Readers::Owner).unwrap_err();
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn a_temporary_file_is_made_anew_and_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let (victim, path) = (root.path().join("victim"), root.path().join("trust.json"));
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, root.path().join(".new-trust.json")).unwrap();
    replace(&path, b"[]", Readers::Group).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    // As a crash leaves it.
    fs::write(root.path().join(".new-trust.json"), "half").unwrap();
    replace(&path, b"[1]", Readers::Owner).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(
        (content(&path, u64::MAX).unwrap(), fs::read(&victim).unwrap()),
        (b"[1]".into(), b"precious".into())
    );
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
}

#[test]
fn an_error_names_no_temporary_file() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("taken");
    fs::create_dir(&path).unwrap();
    let told = || replace(&path, b"new", Readers::Owner).unwrap_err().to_string();
    assert_eq!(told(), told());
    assert!(!told().contains(".new-"), "{}", told());
}
