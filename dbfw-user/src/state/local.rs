//! Sources added by hand with `dbfw trust`, kept over restarts.

use std::{
    future::pending,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::anyhow;
use dbfw_core::source::TrustedSource;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::{self, ReadError, Readers, Write};

const FORMAT: u32 = 1;

/// A source added by hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LocalSource {
    /// The database it is trusted by.
    pub(crate) database: String,
    /// Trusted source; its description is the reason given.
    pub(crate) source: TrustedSource,
    /// Time when it was added.
    pub(crate) added_at: Timestamp,
}

/// The sources added by hand, and the change that is being written.
#[derive(Debug, Default)]
pub(crate) struct LocalSources {
    path: PathBuf,
    /// A copy that is gone after a boot, as the maps are: the ends of what those let in are known
    /// also if the state directory is lost.
    copy: PathBuf,
    sources: Vec<LocalSource>,
    /// Entries of the file that this version cannot read, such as types it does not know. They are
    /// kept for the version that wrote them.
    unread: Vec<Value>,
    /// The change on its way to the disk, and the sources after it.
    saving: Option<(LocalChange, Vec<LocalSource>)>,
    write: Write,
    not_removed: Option<String>,
    /// The reason why the file cannot be read. Until it can be it is not written: what is in it may
    /// be known nowhere else.
    unreadable: Option<String>,
    /// The sources removed meanwhile.
    removed: Vec<LocalSource>,
    /// The content of the file, from the thread that read it again.
    read_again: Arc<Mutex<Option<Content>>>,
}

/// The file. The first versions wrote the list alone.
#[derive(Serialize, Deserialize)]
struct File<T> {
    format: u32,
    sources: Vec<T>,
}

/// A change of the sources added by hand.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LocalChange {
    /// A source was added, in place of the same source of the same database.
    Added(LocalSource),
    /// A source was removed.
    Removed(LocalSource),
    /// Sources that had ended were removed.
    Expired,
    /// A removal that could not be written was tried again.
    Retried,
    /// The file that could not be read was read again.
    ReadAgain,
}

impl LocalSources {
    /// Reads them. A file whose content cannot be used is set aside and none of it is trusted. If
    /// `maps_live`, the copy in `run_dir` takes the place of a file that is missing, and of one that
    /// cannot be read until it can be. The problem comes with it, in words.
    pub(crate) fn load(
        state_dir: &Path,
        run_dir: &Path,
        maps_live: bool,
    ) -> (Self, Option<String>) {
        let (path, copy) = (state_dir.join("trust.json"), run_dir.join("trust.json"));
        let (read, problem) = match files::read(path.clone(), decode) {
            Ok(read) => {
                let problem = read.unread_problem(&path);
                (read, problem)
            }
            Err(ReadError::Missing(_)) if maps_live => from_copy(&path, &copy),
            Err(ReadError::Missing(_)) => (Content::default(), None),
            Err(error @ ReadError::Io { .. }) => {
                return (Self::unreadable(path, copy, maps_live, error.to_string()), None);
            }
            Err(error) => {
                let problem = error.set_aside();
                if path.symlink_metadata().is_ok() {
                    return (Self::unreadable(path, copy, maps_live, problem), None);
                }
                (Content::default(), Some(format!("{problem}; no source added by hand is trusted")))
            }
        };
        let Content { sources, unread, .. } = read;
        write_copy(&copy, encode(&sources, &unread));
        (Self { path, copy, sources, unread, ..Self::default() }, problem)
    }

    /// Those of the copy, until the file can be read.
    fn unreadable(path: PathBuf, copy: PathBuf, maps_live: bool, why: String) -> Self {
        let found = if maps_live { files::read(copy.clone(), decode).ok() } else { None };
        let Content { sources, unread, .. } = found.unwrap_or_default();
        Self { path, copy, sources, unread, unreadable: Some(why), ..Self::default() }
    }

    /// The problem while the file cannot be read, in words.
    pub(crate) fn unreadable_problem(&self) -> Option<String> {
        let why = self.unreadable.as_ref()?;
        let trusted = match self.sources.len() {
            0 => "no source added by hand is trusted".to_owned(),
            n => format!("the {n} sources added by hand that are trusted are those of a copy"),
        };
        Some(format!(
            "{why}. Until it can be read {trusted}, it is not written, and none can be added"
        ))
    }

    /// Every source added by hand, also expired ones that were not removed yet.
    pub(crate) fn all(&self) -> &[LocalSource] {
        &self.sources
    }

    /// Whether a change is being written. The next may begin once it is [`Self::saved`].
    pub(crate) fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// Begins to add a source, in place of the same source of the same database.
    pub(crate) fn begin_add(&mut self, added: LocalSource) {
        let mut sources = self.sources.clone();
        sources.retain(|known| !is_same(known, &added.database, &added.source));
        sources.push(added.clone());
        self.begin(LocalChange::Added(added), sources);
    }

    /// Removes a source, if it is there, and begins to write that. Returns what was removed. It is
    /// gone at once: what cannot be written is told and tried again.
    pub(crate) fn begin_remove(
        &mut self,
        database: &str,
        source: &TrustedSource,
    ) -> Option<LocalSource> {
        let is_it = |known: &LocalSource| is_same(known, database, source);
        let removed = self.sources.remove(self.sources.iter().position(is_it)?);
        if self.unreadable.is_some() {
            self.removed.push(removed.clone());
        }
        self.begin(LocalChange::Removed(removed.clone()), self.sources.clone());
        Some(removed)
    }

    /// The reason why a removed source is still on disk, and trusted again by a restart.
    pub(crate) fn not_removed(&self) -> Option<&str> {
        self.not_removed.as_deref()
    }

    /// Begins to read again what could not be read, or to write what could not be written.
    pub(crate) fn retry(&mut self) {
        if self.is_saving() {
            return;
        }
        if self.unreadable.is_some() {
            let (path, read_again) = (self.path.clone(), Arc::clone(&self.read_again));
            let (sources, unread) = (self.sources.clone(), self.unread.clone());
            self.write.begin(move || {
                let read = match files::read(path, decode) {
                    // What is known takes its place.
                    Err(ReadError::Missing(path)) => {
                        files::replace(&path, &encode(&sources, &unread)?, Readers::Group)?;
                        Content { sources, unread, error: None }
                    }
                    read => read?,
                };
                if let Ok(mut slot) = read_again.lock() {
                    *slot = Some(read);
                }
                Ok(())
            });
            self.saving = Some((LocalChange::ReadAgain, self.sources.clone()));
        } else if self.not_removed.is_some() {
            self.begin(LocalChange::Retried, self.sources.clone());
        }
    }

    /// Takes in the file that could be read again, without what was removed meanwhile.
    fn take_read(&mut self) {
        let read = self.read_again.lock().ok().and_then(|mut slot| slot.take());
        let Some(Content { sources, unread, .. }) = read else { return };
        let removed = std::mem::take(&mut self.removed);
        (self.sources, self.unread, self.unreadable) = (sources, unread, None);
        let is_removed = |known: &LocalSource| {
            removed.iter().any(|removed| is_same(known, &removed.database, &removed.source))
        };
        let before = self.sources.len();
        self.sources.retain(|known| !is_removed(known));
        if self.sources.len() == before {
            self.not_removed = None;
        }
        write_copy(&self.copy, encode(&self.sources, &self.unread));
    }

    /// Begins to remove the sources that ended before `now`, if there are any.
    pub(crate) fn begin_remove_expired(&mut self, now: Timestamp) {
        let live: Vec<LocalSource> = self
            .sources
            .iter()
            .filter(|local| local.source.expires_at.is_none_or(|at| at > now))
            .cloned()
            .collect();
        if live.len() < self.sources.len() && self.unreadable.is_none() {
            self.begin(LocalChange::Expired, live);
        }
    }

    fn begin(&mut self, change: LocalChange, sources: Vec<LocalSource>) {
        debug_assert!(!self.is_saving(), "one change after the other");
        let (path, copy) = (self.path.clone(), self.copy.clone());
        let text = encode(&sources, &self.unread);
        let adds = matches!(change, LocalChange::Added(_));
        let unreadable = self.unreadable.clone();
        self.write.begin(move || {
            let text = text?;
            let written = match unreadable {
                None => files::replace(&path, &text, Readers::Group).map_err(Into::into),
                Some(why) => Err(anyhow!("{why}")),
            };
            // What was removed is not to come back from the copy, also if the file stays.
            if written.is_ok() || !adds {
                write_copy(&copy, Ok(text));
            }
            written
        });
        self.saving = Some((change, sources));
    }

    /// Waits until a change is written, for ever if there is none. Only then are sources added:
    /// one that a restart would not know must not be in force.
    ///
    /// It can be cancelled at any time; the change is waited for by the next call.
    pub(crate) async fn saved(&mut self) -> (LocalChange, anyhow::Result<()>) {
        let written = self.write.done().await;
        let Some((change, sources)) = self.saving.take() else { return pending().await };
        match &written {
            Ok(()) if change == LocalChange::ReadAgain => self.take_read(),
            Ok(()) => {
                self.sources = sources;
                self.not_removed = None;
            }
            Err(error) if matches!(change, LocalChange::Removed(_)) => {
                self.not_removed =
                    Some(format!("cannot write trust.json: {error} ({})", self.path.display()));
            }
            Err(_) => {}
        }
        (change, written)
    }
}

/// The content of a file.
#[derive(Debug, Default)]
struct Content {
    sources: Vec<LocalSource>,
    unread: Vec<Value>,
    /// The reason why the first of `unread` cannot be read.
    error: Option<serde_json::Error>,
}

impl Content {
    /// That some sources of the file cannot be read, in words.
    fn unread_problem(&self, path: &Path) -> Option<String> {
        let error = self.error.as_ref()?;
        Some(format!(
            "{} of the sources added by hand cannot be read by this version and are not trusted \
             ({error}); they stay in {}",
            self.unread.len(),
            path.display()
        ))
    }
}

/// The copy in place of a file that is missing. It is put where the file should be.
fn from_copy(path: &Path, copy: &Path) -> (Content, Option<String>) {
    let found = files::read(copy.to_owned(), decode).unwrap_or_default();
    if found.sources.is_empty() && found.unread.is_empty() {
        return (found, None);
    }
    let mut problem = format!(
        "trust.json is missing: the {} sources added by hand are those of the copy {}, with their \
         ends ({})",
        found.sources.len(),
        copy.display(),
        path.display()
    );
    let written = encode(&found.sources, &found.unread)
        .map_err(io::Error::from)
        .and_then(|text| files::replace(path, &text, Readers::Group));
    if let Err(error) = written {
        problem.push_str(&format!(", which cannot be written back: {error}"));
    }
    (found, Some(problem))
}

/// Writes the copy, or else removes it: better none than an old one. Nothing depends on it as long
/// as the file is there.
fn write_copy(copy: &Path, text: serde_json::Result<Vec<u8>>) {
    let written = text.map_err(io::Error::from);
    let written = written.and_then(|text| files::replace(copy, &text, Readers::Group));
    if let Err(error) = written {
        tracing::debug!(path = %copy.display(), %error, "cannot write the copy of trust.json");
        if let Err(error) = std::fs::remove_file(copy)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %copy.display(), %error, "an old copy of trust.json stays");
        }
    }
}

/// Reads the text of a file, each source for itself.
///
/// # Errors
///
/// The text is no such document, or of another format.
fn decode(text: &[u8]) -> Result<Content, String> {
    let document: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let entries = match document {
        Value::Array(entries) => entries,
        document => {
            let File { format, sources } =
                serde_json::from_value::<File<Value>>(document).map_err(|e| e.to_string())?;
            if format != FORMAT {
                return Err(format!("it has format {format}, this version reads {FORMAT}"));
            }
            sources
        }
    };
    let mut read = Content::default();
    for entry in entries {
        match LocalSource::deserialize(&entry) {
            Ok(source) => read.sources.push(source),
            Err(error) => {
                read.unread.push(entry);
                read.error.get_or_insert(error);
            }
        }
    }
    Ok(read)
}

/// The text of a file.
///
/// # Errors
///
/// A source has no form as JSON.
fn encode(sources: &[LocalSource], unread: &[Value]) -> serde_json::Result<Vec<u8>> {
    let known: Vec<Value> = sources.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    let sources = known.iter().chain(unread).collect();
    serde_json::to_vec_pretty(&File { format: FORMAT, sources })
}

fn is_same(known: &LocalSource, database: &str, source: &TrustedSource) -> bool {
    known.database == database && known.source.key().names_the_same(source.key())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn local(value: &str, expires_at: Option<&str>) -> LocalSource {
        let mut source: TrustedSource = format!("ip_addr:{value}").parse().unwrap();
        source.expires_at = expires_at.map(|at| at.parse().unwrap());
        LocalSource {
            database: "orders".to_owned(),
            source,
            added_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    /// Loads from a state directory, with the copy beside it.
    fn load(state_dir: &Path) -> (LocalSources, Option<String>) {
        LocalSources::load(state_dir, &state_dir.with_extension("run"), true)
    }

    async fn add(sources: &mut LocalSources, added: LocalSource) {
        sources.begin_add(added.clone());
        let (change, written) = sources.saved().await;
        written.unwrap();
        assert_eq!(change, LocalChange::Added(added));
    }

    #[tokio::test]
    async fn they_survive_a_restart_and_are_removed_when_expired() {
        let directory = tempfile::tempdir().unwrap();
        let (mut sources, _) = load(directory.path());
        add(&mut sources, local("10.0.0.1", None)).await;
        add(&mut sources, local("10.0.0.2", Some("2026-02-01T00:00:00Z"))).await;
        add(&mut sources, local("10.0.0.1", None)).await;
        let (mut again, _) = load(directory.path());
        assert_eq!(again.all().len(), 2, "adding one again replaces it");
        let end = "2026-02-01T00:00:00Z".parse().unwrap();
        again.begin_remove_expired(end);
        let (change, written) = again.saved().await;
        assert_eq!((change, written.is_ok()), (LocalChange::Expired, true));
        assert_eq!(load(directory.path()).0.all(), [local("10.0.0.1", None)]);
        again.begin_remove_expired(end);
        assert!(!again.is_saving(), "nothing is left that has expired");
        let source = "ip_addr:10.0.0.1".parse().unwrap();
        assert!(again.begin_remove("orders", &source).is_some());
        let (change, written) = again.saved().await;
        assert_eq!(
            (change, written.is_ok()),
            (LocalChange::Removed(local("10.0.0.1", None)), true)
        );
        assert_eq!(again.begin_remove("orders", &source), None);
        assert!(again.all().is_empty());
    }

    #[tokio::test]
    async fn one_address_is_one_source_however_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (mut sources, _) = load(directory.path());
        for spellings in [
            ["10.0.0.1", "10.0.0.1/32", "10.0.0.1-10.0.0.1"],
            ["10.1.0.0/31", "10.1.0.0-10.1.0.1", "10.1.0.0/31"],
            ["2001:db8::1", "2001:db8:0::1/128", "2001:0db8::0001"],
        ] {
            for spelling in spellings {
                add(&mut sources, local(spelling, None)).await;
                assert_eq!(sources.all().len(), 1, "{spelling}");
            }
            let first = format!("ip_addr:{}", spellings[0]).parse().unwrap();
            assert!(sources.begin_remove("orders", &first).is_some(), "{first}");
            assert!(sources.all().is_empty(), "removed before it is written");
            sources.saved().await.1.unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_removed_is_gone_also_if_it_cannot_be_written_and_written_later() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("state");
        fs::create_dir(&state_dir).unwrap();
        let (mut sources, _) = load(&state_dir);
        add(&mut sources, local("10.0.0.1", None)).await;
        let away = directory.path().join("away");
        fs::rename(&state_dir, &away).unwrap();
        let source = "ip_addr:10.0.0.1".parse().unwrap();
        assert!(sources.begin_remove("orders", &source).is_some());
        assert!(sources.saved().await.1.is_err());
        assert!(sources.all().is_empty() && sources.not_removed().is_some());
        fs::rename(&away, &state_dir).unwrap();
        sources.retry();
        sources.saved().await.1.unwrap();
        assert_eq!(sources.not_removed(), None);
        assert!(load(&state_dir).0.all().is_empty());
        sources.retry();
        assert!(!sources.is_saving(), "there is nothing left to write");
    }

    #[tokio::test]
    async fn nothing_changes_before_it_is_on_disk_or_if_it_cannot_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("state");
        let (mut sources, _) = load(&state_dir);
        sources.begin_add(local("10.0.0.1", None));
        assert!(sources.is_saving() && sources.all().is_empty());
        let (_, written) = sources.saved().await;
        assert!(written.is_err());
        assert!(!sources.is_saving() && sources.all().is_empty());
        fs::create_dir(&state_dir).unwrap();
        sources.begin_add(local("10.0.0.1", None));
        // The loop turns to something else meanwhile.
        tokio::select! {
            biased;
            _ = sources.saved() => {}
            () = std::future::ready(()) => {}
        }
        if sources.is_saving() {
            sources.saved().await.1.unwrap();
        }
        assert_eq!(sources.all(), [local("10.0.0.1", None)]);
    }

    /// Makes the file of a directory unreadable for a reason that passes, and hides it meanwhile.
    fn hide(state: &Path) {
        let (file, hidden) = (state.join("trust.json"), state.join("hidden"));
        fs::rename(&file, &hidden).unwrap();
        fs::write(&file, "[{").unwrap();
        // What is damaged cannot be set aside.
        fs::create_dir_all(state.join("trust.json.bad/full")).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_neither_written_nor_forgotten() {
        for maps_live in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let [state, run] = ["state", "run"].map(|name| directory.path().join(name));
            [&state, &run].into_iter().for_each(|path| fs::create_dir(path).unwrap());
            let (mut sources, _) = LocalSources::load(&state, &run, true);
            add(&mut sources, local("10.0.0.1", None)).await;
            let second = local("10.0.0.2", Some("2126-01-01T00:00:00Z"));
            add(&mut sources, second.clone()).await;
            hide(&state);
            let copy = fs::read(run.join("trust.json")).unwrap();
            let (mut again, problem) = LocalSources::load(&state, &run, maps_live);
            assert_eq!(problem, None, "it lasts no longer than the reason");
            assert_eq!(again.all().len(), if maps_live { 2 } else { 0 });
            let problem = again.unreadable_problem().unwrap();
            assert!(problem.contains("cannot be set aside"), "{problem}");
            assert_eq!(fs::read(run.join("trust.json")).unwrap(), copy, "the copy stays");

            // What is removed is removed for good, once that can be written.
            let first = "ip_addr:10.0.0.1".parse().unwrap();
            if again.begin_remove("orders", &first).is_some() {
                assert!(again.saved().await.1.is_err());
                assert_eq!(again.all(), [second]);
                assert!(again.not_removed().is_some());
            }
            again.begin_remove_expired(Timestamp::MAX);
            assert!(!again.is_saving());
            again.retry();
            assert!(again.saved().await.1.is_err(), "it still cannot be read");
            assert_eq!(fs::read(state.join("trust.json")).unwrap(), b"[{", "it is not written");

            fs::rename(state.join("hidden"), state.join("trust.json")).unwrap();
            again.retry();
            assert_eq!(again.saved().await.0, LocalChange::ReadAgain);
            assert_eq!(again.unreadable_problem(), None);
            assert_eq!(again.all().len(), if maps_live { 1 } else { 2 });
            again.retry();
            if again.is_saving() {
                again.saved().await.1.unwrap();
            }
            assert_eq!(again.not_removed(), None);
            assert_eq!(load(&state).0.all(), again.all());
        }
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        for (text, reason) in [
            ("[{", "EOF"),
            ("", "EOF"),
            ("{}", "missing field `format`"),
            ("7", "invalid type"),
            (r#"{"format": 2, "sources": []}"#, "it has format 2, this version reads 1"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join("trust.json"), text).unwrap();
            let (sources, problem) = load(directory.path());
            assert!(sources.all().is_empty());
            let problem = problem.unwrap();
            assert!(problem.contains("trust.json.bad") && problem.contains(reason), "{problem}");
            assert!(directory.path().join("trust.json.bad").exists());
        }
    }

    #[tokio::test]
    async fn what_a_newer_version_wrote_costs_no_other_source_and_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trust.json");
        let mut known = serde_json::to_value(local("10.0.0.1", None)).unwrap();
        // A list alone is how the first versions wrote it.
        fs::write(&path, serde_json::to_vec(&[&known]).unwrap()).unwrap();
        let (sources, problem) = load(directory.path());
        assert_eq!((sources.all(), problem), (&[local("10.0.0.1", None)][..], None));

        known["color"] = "blue".into();
        known["source"]["weight"] = 7.into();
        let mut newer = known.clone();
        newer["source"]["type"] = "planet".into();
        let file = serde_json::json!({"format": 1, "by": "9.0", "sources": [newer, known]});
        fs::write(&path, file.to_string()).unwrap();
        let (mut sources, problem) = load(directory.path());
        assert_eq!(sources.all(), [local("10.0.0.1", None)]);
        let problem = problem.unwrap();
        assert!(problem.starts_with("1 of the sources") && problem.contains("planet"), "{problem}");
        add(&mut sources, local("10.0.0.2", None)).await;
        let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(written["format"], 1);
        assert_eq!(written["sources"][2], newer);
        assert_eq!(load(directory.path()).0.all().len(), 2);
    }

    #[tokio::test]
    async fn the_copy_keeps_the_ends_if_the_file_is_lost_while_the_maps_live() {
        let known = local("10.0.0.1", Some("2126-02-01T00:00:00Z"));
        for (content, maps_live, said) in [
            (None, true, Some("with their ends")),
            (None, false, None),
            (Some("[{"), true, Some("no source added by hand is trusted")),
            (Some("[{"), false, Some("no source added by hand is trusted")),
            (Some("[]"), true, None),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let [state, moved, run] =
                ["state", "moved", "run"].map(|name| directory.path().join(name));
            [&state, &moved, &run].into_iter().for_each(|path| fs::create_dir(path).unwrap());
            let (mut sources, problem) = LocalSources::load(&state, &run, false);
            assert_eq!(problem, None);
            add(&mut sources, known.clone()).await;
            if let Some(content) = content {
                fs::write(moved.join("trust.json"), content).unwrap();
            }
            let (again, problem) = LocalSources::load(&moved, &run, maps_live);
            let is_copy = content.is_none() && maps_live;
            let expected = if is_copy { vec![known.clone()] } else { Vec::new() };
            assert_eq!(again.all(), expected);
            let problem = problem.unwrap_or_default();
            assert!(problem.contains(said.unwrap_or_default()), "{problem}");
            assert_eq!(problem.is_empty(), said.is_none(), "{problem}");
            // It is on disk again, and told once.
            let (again, problem) = LocalSources::load(&moved, &run, true);
            assert_eq!((again.all(), problem), (&*expected, None));
        }
    }

    #[tokio::test]
    async fn what_was_removed_does_not_come_back_from_the_copy_of_a_lost_directory() {
        let directory = tempfile::tempdir().unwrap();
        let [state, run] = ["state", "run"].map(|name| directory.path().join(name));
        [&state, &run].into_iter().for_each(|path| fs::create_dir(path).unwrap());
        let (mut sources, _) = LocalSources::load(&state, &run, true);
        add(&mut sources, local("10.0.0.1", None)).await;
        fs::remove_dir_all(&state).unwrap();
        let source = "ip_addr:10.0.0.1".parse().unwrap();
        assert!(sources.begin_remove("orders", &source).is_some());
        assert!(sources.saved().await.1.is_err(), "the file cannot be written");
        fs::create_dir(&state).unwrap();
        assert!(LocalSources::load(&state, &run, true).0.all().is_empty());
    }

    #[tokio::test]
    async fn what_was_removed_does_not_come_back_from_the_copy() {
        let directory = tempfile::tempdir().unwrap();
        let [state, run] = ["state", "run"].map(|name| directory.path().join(name));
        [&state, &run].into_iter().for_each(|path| fs::create_dir(path).unwrap());
        let (mut sources, _) = LocalSources::load(&state, &run, true);
        add(&mut sources, local("10.0.0.1", None)).await;
        let source = "ip_addr:10.0.0.1".parse().unwrap();
        assert!(sources.begin_remove("orders", &source).is_some());
        sources.saved().await.1.unwrap();
        fs::remove_file(state.join("trust.json")).unwrap();
        assert!(LocalSources::load(&state, &run, true).0.all().is_empty());
    }

    #[test]
    fn a_file_that_is_damaged_or_that_others_can_write_is_set_aside() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let good = serde_json::to_string(&[local("10.0.0.66", None)]).unwrap();
        for (text, mode, link, reason) in [
            ("[{", 0o600, false, "EOF"),
            (&*good, 0o666, false, "is writable by others (mode 0666)"),
            (&*good, 0o660, false, "is writable by others"),
            (&*good, 0o600, true, "is a symbolic link"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("trust.json");
            let file = if link { directory.path().join("elsewhere") } else { path.clone() };
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            if link {
                symlink(&file, &path).unwrap();
            }
            let (sources, problem) = load(directory.path());
            assert!(sources.all().is_empty(), "{reason}");
            let problem = problem.unwrap();
            assert!(problem.contains(reason) && problem.contains("trust.json.bad"), "{problem}");
            let aside = directory.path().join("trust.json.bad");
            assert!(fs::symlink_metadata(aside).is_ok() && fs::symlink_metadata(path).is_err());
        }
    }
}
