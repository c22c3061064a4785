use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
};

use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::*;

const CANARY: &str = "dop_v1_5ec4e7c0ffee";

struct Fixture {
    dir: TempDir,
    path: PathBuf,
    token: Token,
}

impl Fixture {
    /// A token file that is not there yet.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("do-token");
        let token = Token::with_credentials(TokenSource::File(path.clone()), None);
        Self { dir, path, token }
    }

    fn write(&self, content: impl AsRef<[u8]>) {
        write(&self.path, content);
    }

    fn read(&mut self) -> Result<String, FetchError> {
        let read = self.token.read();
        let shown = format!("{:?} {read:?}", self.token);
        assert!(!shown.contains("5ec4e7"), "{shown}");
        read.map(|secret| secret.expose_secret().to_owned())
    }

    /// What is wrong, which must name the file and nothing in it.
    fn refused(&mut self) -> String {
        let error = self.read().unwrap_err();
        assert_eq!(error.cause, Cause::Unauthorized);
        assert_eq!(error.about, self.path.display().to_string());
        assert!(!error.to_string().contains(char::is_control), "{error}");
        let words = error.reason.strip_prefix("the token file ");
        words.unwrap_or_else(|| panic!("{error}")).to_owned()
    }
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn one_line_is_a_token_with_or_without_its_end() {
    let mut file = Fixture::new();
    for end in ["", "\n", "\r\n"] {
        file.write(format!("{CANARY}{end}"));
        assert_eq!(file.read().unwrap(), CANARY, "{end:?}");
    }
    let longest = "x".repeat(4096);
    file.write(format!("{longest}\r\n"));
    assert_eq!(file.read().unwrap(), longest);
}

#[test]
fn what_cannot_be_a_token_is_refused_and_not_shown() {
    let mut file = Fixture::new();
    for empty in ["", "\n", "\r\n"] {
        file.write(empty);
        assert!(file.refused().starts_with("is empty: "), "{empty:?}");
    }
    for length in [4097, 4099, 5000, 1 << 20] {
        file.write("x".repeat(length));
        assert!(file.refused().starts_with("has more than 4096 bytes"), "{length}");
    }
    for odd in ["{}\n\n", "{} ", " {}", "\t{}", "{}\0", "Bearer {}", "{}\ncomment\n", "{}\u{e9}"] {
        file.write(odd.replace("{}", CANARY));
        assert!(file.refused().starts_with("has spaces, line breaks or other"), "{odd:?}");
    }
    file.write([0xff, 0xfe]);
    assert!(file.refused().contains("no token has"));
}

#[test]
fn what_is_no_file_is_refused_without_waiting() {
    let mut file = Fixture::new();
    assert_eq!(file.refused(), "does not exist: write the token into it");
    fs::create_dir(&file.path).unwrap();
    assert!(file.refused().contains("is not a regular file"));
    fs::remove_dir(&file.path).unwrap();
    assert!(Command::new("mkfifo").arg(&file.path).status().unwrap().success());
    assert!(file.refused().contains("is not a regular file"));
}

#[test]
fn a_file_that_is_open_to_everybody_is_refused_until_that_is_mended() {
    let mut file = Fixture::new();
    for (mode, good) in [
        (0o644, false),
        (0o604, false),
        (0o602, false),
        (0o666, false),
        (0o600, true),
        (0o400, true),
        (0o640, true),
    ] {
        file.write(CANARY);
        fs::set_permissions(&file.path, Permissions::from_mode(mode)).unwrap();
        if good {
            assert_eq!(file.read().unwrap(), CANARY, "{mode:o}");
        } else {
            assert!(file.refused().contains("chmod 600"), "{mode:o}");
        }
    }
    // Opened after it was read: what was read is not used either.
    fs::set_permissions(&file.path, Permissions::from_mode(0o644)).unwrap();
    assert!(file.token.changed());
    assert!(file.refused().contains("chmod 600"));
    assert!(!file.token.changed());
    fs::set_permissions(&file.path, Permissions::from_mode(0o600)).unwrap();
    assert!(file.token.changed());
    assert_eq!(file.read().unwrap(), CANARY);
}

#[test]
fn a_change_is_seen_and_read() {
    let mut file = Fixture::new();
    file.refused();
    assert!(!file.token.changed());
    file.write("one");
    assert!(file.token.changed());
    assert_eq!(file.read().unwrap(), "one");
    assert!(!file.token.changed());
    assert_eq!(file.read().unwrap(), "one");

    // In place, to another length.
    file.write("three");
    assert!(file.token.changed());
    assert_eq!(file.read().unwrap(), "three");

    // Another file in its place, of the same length and time.
    let other = file.dir.path().join("new");
    write(&other, "seven");
    let times = fs::metadata(&file.path).unwrap().modified().unwrap();
    fs::File::open(&other).unwrap().set_modified(times).unwrap();
    fs::rename(&other, &file.path).unwrap();
    assert!(file.token.changed());
    assert_eq!(file.read().unwrap(), "seven");

    // In place, to the same length, at another time.
    file.write("eight");
    let later = times + std::time::Duration::from_secs(1);
    fs::File::open(&file.path).unwrap().set_modified(later).unwrap();
    assert!(file.token.changed());
    assert_eq!(file.read().unwrap(), "eight");

    fs::remove_file(&file.path).unwrap();
    assert!(file.token.changed());
    file.refused();
    assert!(!file.token.changed());
}

#[test]
fn a_link_that_is_moved_is_a_change() {
    // How Kubernetes replaces a mounted secret.
    let mut file = Fixture::new();
    for version in ["one", "two"] {
        let dir = file.dir.path().join(version);
        fs::create_dir(&dir).unwrap();
        write(&dir.join("do-token"), version);
        let link = file.dir.path().join("data.new");
        symlink(&dir, &link).unwrap();
        fs::rename(&link, file.dir.path().join("data")).unwrap();
        let _ = symlink("data/do-token", &file.path);
        assert!(file.token.changed());
        assert_eq!(file.read().unwrap(), version);
        assert!(!file.token.changed());
    }
}

#[test]
fn a_credential_is_a_file_in_systemds_directory() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("do-token"), CANARY);
    let named = |name: &str| {
        let source = TokenSource::Credential(name.to_owned());
        Token::with_credentials(source, Some(dir.path().to_path_buf()))
    };
    assert_eq!(named("do-token").read().unwrap().expose_secret(), CANARY);
    assert!(named("do-token").changed());
    let missing = named("other").read().unwrap_err();
    assert!(missing.to_string().contains("systemd passed no credential \"other\""), "{missing}");
    for name in ["", ".", "..", "../do-token", "/etc/passwd", "a/b"] {
        let error = named(name).read().unwrap_err();
        assert_eq!(error.cause, Cause::Unauthorized);
        assert!(error.to_string().contains("not the name of a credential"), "{error}");
    }
}

#[test]
fn without_credentials_both_ways_to_a_token_are_named() {
    let mut token = Token::with_credentials(TokenSource::Credential("do-token".to_owned()), None);
    assert!(!token.changed());
    let error = token.read().unwrap_err();
    assert_eq!(error.cause, Cause::Unauthorized);
    assert!(error.to_string().contains("LoadCredential=do-token:/path"), "{error}");
    assert!(error.to_string().contains("token_file"), "{error}");
}
