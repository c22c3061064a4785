//! The files of the history in the state directory: the one that is written, and rotated ones.
//!
//! Earlier versions called them `audit.log`. The agent renames those when it starts; whoever
//! reads before that, or may not rename, finds them under either name.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Name of the file that is written.
const LOG: &str = "history.log";

/// Its name in earlier versions.
const FORMER_LOG: &str = "audit.log";

/// Tries to open files that are renamed meanwhile.
const ATTEMPTS: usize = 5;

/// Path of the file that is written.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(LOG)
}

/// Renames the files that an earlier version wrote, so that the history goes on in the same file.
/// One whose new name is taken stays as it is. Failures are logged: nothing is lost by them.
pub(super) fn rename_former(state_dir: &Path) {
    let mut former = match list(state_dir) {
        Ok(names) => names,
        Err(error) => {
            tracing::warn!(%error, "cannot look for {FORMER_LOG} in {}", state_dir.display());
            return;
        }
    };
    former.retain(|name| name.log == FORMER_LOG);
    // The one that is written is the last: after a crash in between, all that is left is renamed
    // by the next start, since no new file has taken a name yet.
    former.sort_by_key(|name| !name.is_rotated());
    for name in former {
        let (from, to) = (name.path(state_dir), state_dir.join(format!("{LOG}{}", name.rotation)));
        // Nobody creates a file of that name meanwhile: there is one agent, and logrotate moves
        // files of one name only.
        if to.symlink_metadata().is_ok() {
            tracing::info!("{} is not renamed: {} is there", from.display(), to.display());
        } else if let Err(error) = fs::rename(&from, &to) {
            tracing::warn!(%error, "cannot rename {} to {}", from.display(), to.display());
        } else {
            tracing::info!("renamed {} to {}", from.display(), to.display());
        }
    }
}

/// The files of the history that there are, open for reading.
#[derive(Debug, Default)]
pub(crate) struct HistoryFiles {
    text: Vec<(PathBuf, fs::File)>,
    compressed: Vec<PathBuf>,
    failed: Vec<(PathBuf, io::Error)>,
}

impl HistoryFiles {
    /// Opens every file of the history in a state directory, rotated ones first.
    ///
    /// # Errors
    ///
    /// The directory cannot be read, or a file that is no rotated one.
    pub(crate) fn open(state_dir: &Path) -> io::Result<Self> {
        let mut attempts = 1..ATTEMPTS;
        loop {
            let (files, moved) = Self::try_open(state_dir)?;
            if !moved || attempts.next().is_none() {
                return Ok(files);
            }
        }
    }

    /// The files, and whether one of them was renamed meanwhile.
    fn try_open(state_dir: &Path) -> io::Result<(Self, bool)> {
        let (mut names, mut moved) = (Vec::new(), false);
        let mut was_listed = true;
        match list(state_dir) {
            Ok(listed) => names = listed,
            // Files of a directory that may not be listed can still be opened by name.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                was_listed = false;
                names.extend([FORMER_LOG, LOG].iter().filter_map(|name| Name::parse(name)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        names.sort_by_key(|name| !name.is_rotated());
        let mut files = Self::default();
        let mut seen = HashSet::new();
        for name in names {
            let path = name.path(state_dir);
            if name.is_compressed() {
                files.compressed.push(path);
                continue;
            }
            let opened = fs::File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
            match opened {
                Ok((metadata, file)) if seen.insert((metadata.dev(), metadata.ino())) => {
                    files.text.push((path, file));
                }
                Ok(_) => moved = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => moved |= was_listed,
                Err(error) if name.is_rotated() => files.failed.push((path, error)),
                Err(error) => return Err(error),
            }
        }
        Ok((files, moved))
    }

    /// The files of text.
    pub(crate) fn text(&self) -> &[(PathBuf, fs::File)] {
        &self.text
    }

    /// Rotated files that are compressed.
    pub(crate) fn compressed(&self) -> &[PathBuf] {
        &self.compressed
    }

    /// Rotated files that cannot be read, with the reason.
    pub(crate) fn failed(&self) -> &[(PathBuf, io::Error)] {
        &self.failed
    }
}

/// Name of a file of the history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    /// [`LOG`] or [`FORMER_LOG`].
    log: &'static str,
    /// The part that logrotate adds, ".1" or "-20260301.gz"; empty: the file is written.
    rotation: String,
}

impl Name {
    fn parse(name: &str) -> Option<Self> {
        let (log, rotation) =
            [LOG, FORMER_LOG].into_iter().find_map(|log| Some((log, name.strip_prefix(log)?)))?;
        let number = rotation.strip_prefix(['.', '-']);
        let is_rotated =
            number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()));
        (rotation.is_empty() || is_rotated).then(|| Self { log, rotation: rotation.to_owned() })
    }

    fn path(&self, state_dir: &Path) -> PathBuf {
        state_dir.join(format!("{}{}", self.log, self.rotation))
    }

    fn is_rotated(&self) -> bool {
        !self.rotation.is_empty()
    }

    fn is_compressed(&self) -> bool {
        self.rotation.contains(|c: char| c.is_ascii_alphabetic())
    }
}

/// The names of the history's files in a directory, sorted.
fn list(directory: &Path) -> io::Result<Vec<Name>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.extend(entry?.file_name().to_str().and_then(Name::parse));
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

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
            assert_eq!(
                (parsed.is_rotated(), parsed.is_compressed()),
                (rotated, compressed),
                "{name}"
            );
            assert_eq!(parsed.path(Path::new("")), Path::new(name));
        }
        for name in [
            "",
            "history",
            "history.logs",
            "audit.log.",
            "audit.log.bak",
            "xaudit.log",
            "audit.log~",
        ] {
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
        for renamed in
            [&["audit.log.1"][..], &["audit.log.2.gz"], &["audit.log.1", "audit.log.2.gz"]]
        {
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
        let directory = state([]);
        let target = elsewhere.path().join("audit.log");
        std::os::unix::fs::symlink(&target, directory.path().join("audit.log")).unwrap();
        rename_former(directory.path());
        assert_eq!(fs::read_link(directory.path().join("history.log")).unwrap(), target);
        assert_eq!(opened(&directory).0, ["history.log"]);
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
        // A link to nowhere is not waited for.
        std::os::unix::fs::symlink("/nonexistent", name("audit.log")).unwrap();
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
}
