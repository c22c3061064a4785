//! The copy of the configuration that was last in force.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    checked,
    files::{self, ReadError},
};
use crate::config::ConfigFile;

const FORMAT: u32 = 1;

/// Name of the copy.
const NAME: &str = "config.json";

/// Name of a copy that another configuration came after: followed by since when that is in force,
/// in milliseconds, a hyphen and the digest of its files.
const FOLLOWED: &str = "config.json.before-";

/// The files that were last in force, as `state_dir` keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastGood {
    /// The moment they were put in force.
    pub(crate) in_force_since: Timestamp,
    /// The main file first.
    pub(crate) files: Vec<ConfigFile>,
}

/// The copy as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredCopy {
    pub(crate) last_good: LastGood,
    /// The configuration that came in force later and is not on disk.
    pub(crate) successor: Option<Successor>,
}

/// A configuration that is in force and could not be written. The name of the copy before tells
/// it: a full disk takes a new name where it takes no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Successor {
    pub(crate) since: Timestamp,
    /// Of its files.
    digest: String,
}

impl LastGood {
    /// Reads the copy.
    pub(crate) fn load(state_dir: &Path) -> Result<StoredCopy, ReadError> {
        let read = |path| files::read(path, |content| checked::decode(FORMAT, content));
        match (read(state_dir.join(NAME)), followed(state_dir).pop()) {
            (Err(ReadError::Missing(_)), Some((path, successor))) => {
                Ok(StoredCopy { last_good: read(path)?, successor: Some(successor) })
            }
            (read, _) => Ok(StoredCopy { last_good: read?, successor: None }),
        }
    }

    /// Writes it in place of the one before, for root alone.
    ///
    /// # Errors
    ///
    /// The system's reason; what was there before stays.
    pub(crate) fn save(&self, state_dir: &Path) -> io::Result<()> {
        let bytes = checked::encode(FORMAT, self)?;
        files::replace(&state_dir.join(NAME), &bytes, files::Readers::Owner)?;
        for (path, _) in followed(state_dir) {
            // Beside the new copy it is not read any more.
            if let Err(error) = files::remove(&path) {
                tracing::debug!(path = %path.display(), %error, "an old copy stays");
            }
        }
        Ok(())
    }

    /// Has the name of the copy on disk tell that these files came in force after it.
    ///
    /// # Errors
    ///
    /// The system's reason.
    pub(crate) fn follow_copy(&self, state_dir: &Path) -> io::Result<()> {
        let name = Successor::of(self).name();
        let former = state_dir.join(NAME);
        let path = match former.symlink_metadata() {
            Ok(_) => Some(former),
            Err(_) => followed(state_dir).pop().map(|(path, _)| path),
        };
        match path {
            Some(path) if path.file_name() != Some(name.as_ref()) => {
                files::rename(&path, name.as_ref())
            }
            _ => Ok(()),
        }
    }
}

impl StoredCopy {
    /// Whether the copy is of what was in force last, as far as is known.
    pub(crate) fn is_current(&self) -> bool {
        self.successor.is_none()
    }

    /// The configuration of the copy, with the moment since which it is in force: `now`, if it is
    /// in force again.
    pub(crate) fn in_force(self, now: Timestamp) -> LastGood {
        let since = self.in_force_since(&self.last_good.files).unwrap_or(now);
        LastGood { in_force_since: since, ..self.last_good }
    }

    /// The moment since which `files` are in force, if they are what was in force last.
    pub(crate) fn in_force_since(&self, files: &[ConfigFile]) -> Option<Timestamp> {
        match &self.successor {
            Some(successor) => successor.is(files).then_some(successor.since),
            None => (self.last_good.files == files).then_some(self.last_good.in_force_since),
        }
    }
}

impl Successor {
    fn of(last_good: &LastGood) -> Self {
        Self { since: last_good.in_force_since, digest: digest(&last_good.files) }
    }

    /// Whether these are its files.
    fn is(&self, files: &[ConfigFile]) -> bool {
        self.digest == digest(files)
    }

    fn name(&self) -> String {
        format!("{FOLLOWED}{}-{}", self.since.as_millisecond(), self.digest)
    }

    fn parse(name: &str) -> Option<Self> {
        let (since, digest) = name.strip_prefix(FOLLOWED)?.rsplit_once('-')?;
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        let since = Timestamp::from_millisecond(since.parse().ok()?).ok()?;
        is_digest.then(|| Self { since, digest: digest.to_owned() })
    }
}

/// The copies that another configuration came after; the last is the newest.
fn followed(state_dir: &Path) -> Vec<(PathBuf, Successor)> {
    let entries = fs::read_dir(state_dir).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some((entry.path(), Successor::parse(entry.file_name().to_str()?)?)))
        .collect();
    found.sort_by_key(|(_, successor)| successor.since);
    found
}

fn digest(files: &[ConfigFile]) -> String {
    let mut text = String::new();
    for file in files {
        // With their lengths: no two lists of files have the same text.
        let path = file.path.display().to_string();
        text.push_str(&format!("{} {}\n{path}{}", path.len(), file.text.len(), file.text));
    }
    checked::sha256(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::{files, last_good};

    /// The finding about these files: since when they are in force, and of which time the copy is.
    fn found(state_dir: &Path, text: &str) -> (Option<i64>, i64) {
        let kept = LastGood::load(state_dir).unwrap();
        let since = kept.in_force_since(&files(text)).map(Timestamp::as_second);
        (since, kept.last_good.in_force_since.as_second())
    }

    #[test]
    fn a_copy_that_cannot_be_replaced_tells_what_came_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path();
        last_good(100, "b").follow_copy(state_dir).unwrap();
        assert!(matches!(LastGood::load(state_dir), Err(ReadError::Missing(_))));

        last_good(100, "a").save(state_dir).unwrap();
        assert_eq!(found(state_dir, "a"), (Some(100), 100));
        assert_eq!(found(state_dir, "b"), (None, 100));
        for (second, text, other) in [(200, "b", "a"), (300, "c", "b"), (400, "a", "c")] {
            let current = last_good(second, text);
            // Twice, as it is tried again and again.
            current.follow_copy(state_dir).unwrap();
            current.follow_copy(state_dir).unwrap();
            assert_eq!(found(state_dir, text), (Some(second), 100), "the copy is of a");
            assert_eq!(found(state_dir, other), (None, 100));
            assert_eq!(fs::read_dir(state_dir).unwrap().count(), 1);
        }
        last_good(400, "a").save(state_dir).unwrap();
        assert_eq!(found(state_dir, "a"), (Some(400), 400));
        assert_eq!(fs::read_dir(state_dir).unwrap().count(), 1, "one copy is left");
    }

    #[test]
    fn the_copy_itself_counts_more_than_one_that_a_crash_left() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path();
        last_good(100, "a").save(state_dir).unwrap();
        last_good(200, "b").follow_copy(state_dir).unwrap();
        let left = followed(state_dir).pop().unwrap().0;
        let text = fs::read(&left).unwrap();
        last_good(200, "b").save(state_dir).unwrap();
        fs::write(left, text).unwrap();
        assert_eq!(found(state_dir, "b"), (Some(200), 200));
        last_good(300, "c").follow_copy(state_dir).unwrap();
        assert_eq!(found(state_dir, "c"), (Some(300), 200));
    }

    #[test]
    fn only_a_whole_name_tells_something() {
        let whole = Successor::of(&last_good(7, "a")).name();
        let parsed = Successor::parse(&whole).unwrap();
        assert_eq!((parsed.since.as_second(), parsed.is(&files("a"))), (7, true));
        let negative = Successor::of(&last_good(-7, "a")).name();
        assert_eq!(Successor::parse(&negative).unwrap().since.as_second(), -7);
        for name in [
            "config.json",
            "config.json.bad",
            "config.json.before-",
            "config.json.before-7-ab",
            &format!("{whole}.bad"),
            &whole.replace("before-7000", "before-soon"),
            &whole.replace("before-7000", "before-9223372036854775807"),
        ] {
            assert_eq!(Successor::parse(name), None, "{name}");
        }
        let [one, other] = [["ab", "c"], ["a", "bc"]].map(|texts| {
            let file = |text: &str| ConfigFile { path: "x".into(), text: text.to_owned() };
            digest(&texts.map(file))
        });
        assert_ne!(one, other);
    }
}
