//! Sources added by hand with `dbfw trust`, kept over restarts.

use std::{
    future::pending,
    path::{Path, PathBuf},
};

use dbfw_core::source::TrustedSource;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::files::{self, ReadError, Readers, Write};

/// A source added by hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    sources: Vec<LocalSource>,
    /// The change on its way to the disk, and the sources after it.
    saving: Option<(LocalChange, Vec<LocalSource>)>,
    write: Write,
    not_removed: Option<String>,
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
}

impl LocalSources {
    /// Reads them. A file that cannot be used is set aside and none of it is trusted; what is
    /// the matter comes with it, in words.
    pub(crate) fn load(state_dir: &Path) -> (Self, Option<String>) {
        let path = state_dir.join("trust.json");
        let read = files::read(path.clone(), |text| {
            serde_json::from_slice(text).map_err(|error| error.to_string())
        });
        let (sources, problem) = match read {
            Ok(sources) => (sources, None),
            Err(ReadError::Missing(_)) => (Vec::new(), None),
            Err(error) => {
                let problem = format!("{}; no source added by hand is trusted", error.set_aside());
                (Vec::new(), Some(problem))
            }
        };
        (Self { path, sources, ..Self::default() }, problem)
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

    /// Removes a source, if it is there, and begins to write that. Returns whether it is. It is
    /// gone at once: what cannot be written is told and tried again.
    pub(crate) fn begin_remove(&mut self, database: &str, source: &TrustedSource) -> bool {
        let is_it = |known: &LocalSource| is_same(known, database, source);
        let Some(at) = self.sources.iter().position(is_it) else { return false };
        let removed = self.sources.remove(at);
        self.begin(LocalChange::Removed(removed), self.sources.clone());
        true
    }

    /// The reason why a removed source is still on disk, and trusted again by a restart.
    pub(crate) fn not_removed(&self) -> Option<&str> {
        self.not_removed.as_deref()
    }

    /// Begins to write again what could not be written.
    pub(crate) fn retry(&mut self) {
        if self.not_removed.is_some() && !self.is_saving() {
            self.begin(LocalChange::Expired, self.sources.clone());
        }
    }

    /// Begins to remove the sources that ended before `now`, if there are any.
    pub(crate) fn begin_remove_expired(&mut self, now: Timestamp) {
        let live: Vec<LocalSource> = self
            .sources
            .iter()
            .filter(|local| local.source.expires_at.is_none_or(|at| at > now))
            .cloned()
            .collect();
        if live.len() < self.sources.len() {
            self.begin(LocalChange::Expired, live);
        }
    }

    fn begin(&mut self, change: LocalChange, sources: Vec<LocalSource>) {
        debug_assert!(!self.is_saving(), "one change after the other");
        let path = self.path.clone();
        let text = serde_json::to_vec_pretty(&sources);
        self.write.begin(move || Ok(files::replace(&path, &text?, Readers::Group)?));
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
            Ok(()) => {
                self.sources = sources;
                self.not_removed = None;
            }
            Err(error) if matches!(change, LocalChange::Removed(_)) => {
                self.not_removed = Some(format!("cannot write {}: {error}", self.path.display()));
            }
            Err(_) => {}
        }
        (change, written)
    }
}

fn is_same(known: &LocalSource, database: &str, source: &TrustedSource) -> bool {
    known.database == database && known.source.key().names_the_same(source.key())
}

#[cfg(test)]
mod tests {
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

    async fn add(sources: &mut LocalSources, added: LocalSource) {
        sources.begin_add(added.clone());
        let (change, written) = sources.saved().await;
        written.unwrap();
        assert_eq!(change, LocalChange::Added(added));
    }

    #[tokio::test]
    async fn they_survive_a_restart_and_are_removed_when_expired() {
        let directory = tempfile::tempdir().unwrap();
        let (mut sources, _) = LocalSources::load(directory.path());
        add(&mut sources, local("10.0.0.1", None)).await;
        add(&mut sources, local("10.0.0.2", Some("2026-02-01T00:00:00Z"))).await;
        add(&mut sources, local("10.0.0.1", None)).await;
        let (mut again, _) = LocalSources::load(directory.path());
        assert_eq!(again.all().len(), 2, "adding one again replaces it");
        let end = "2026-02-01T00:00:00Z".parse().unwrap();
        again.begin_remove_expired(end);
        let (change, written) = again.saved().await;
        assert_eq!((change, written.is_ok()), (LocalChange::Expired, true));
        assert_eq!(LocalSources::load(directory.path()).0.all(), [local("10.0.0.1", None)]);
        again.begin_remove_expired(end);
        assert!(!again.is_saving(), "nothing is left that has expired");
        let source = "ip_addr:10.0.0.1".parse().unwrap();
        assert!(again.begin_remove("orders", &source));
        let (change, written) = again.saved().await;
        assert_eq!(
            (change, written.is_ok()),
            (LocalChange::Removed(local("10.0.0.1", None)), true)
        );
        assert!(!again.begin_remove("orders", &source));
        assert!(again.all().is_empty());
    }

    #[tokio::test]
    async fn one_address_is_one_source_however_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (mut sources, _) = LocalSources::load(directory.path());
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
            assert!(sources.begin_remove("orders", &first), "{first}");
            assert!(sources.all().is_empty(), "removed before it is written");
            sources.saved().await.1.unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_removed_is_gone_also_if_it_cannot_be_written_and_written_later() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("state");
        std::fs::create_dir(&state_dir).unwrap();
        let (mut sources, _) = LocalSources::load(&state_dir);
        add(&mut sources, local("10.0.0.1", None)).await;
        let away = directory.path().join("away");
        std::fs::rename(&state_dir, &away).unwrap();
        assert!(sources.begin_remove("orders", &"ip_addr:10.0.0.1".parse().unwrap()));
        assert!(sources.saved().await.1.is_err());
        assert!(sources.all().is_empty() && sources.not_removed().is_some());
        std::fs::rename(&away, &state_dir).unwrap();
        sources.retry();
        sources.saved().await.1.unwrap();
        assert_eq!(sources.not_removed(), None);
        assert!(LocalSources::load(&state_dir).0.all().is_empty());
        sources.retry();
        assert!(!sources.is_saving(), "there is nothing left to write");
    }

    #[tokio::test]
    async fn nothing_changes_before_it_is_on_disk_or_if_it_cannot_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("state");
        let (mut sources, _) = LocalSources::load(&state_dir);
        sources.begin_add(local("10.0.0.1", None));
        assert!(sources.is_saving() && sources.all().is_empty());
        let (_, written) = sources.saved().await;
        assert!(written.is_err());
        assert!(!sources.is_saving() && sources.all().is_empty());
        std::fs::create_dir(&state_dir).unwrap();
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

    #[test]
    fn a_damaged_file_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("trust.json"), "[{").unwrap();
        let (sources, problem) = LocalSources::load(directory.path());
        assert!(sources.all().is_empty());
        assert!(problem.is_some_and(|problem| problem.contains("trust.json.bad")));
        assert!(directory.path().join("trust.json.bad").exists());
    }
}
