//! Sources added by hand with `dbfw trust`: they survive restarts and end on their own.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::files;
use crate::source::TrustedSource;

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LocalSource {
    /// The database it is trusted by.
    pub(super) database: String,
    /// What is trusted; its description is the reason given.
    pub(super) source: TrustedSource,
    /// When it was added.
    pub(super) added_at: Timestamp,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalSources {
    path: PathBuf,
    sources: Vec<LocalSource>,
}

impl LocalSources {
    /// Reads them. A file that cannot be used is set aside and none of it is trusted; what is
    /// the matter comes with it, in words.
    pub(super) fn load(state_dir: &Path) -> (Self, Option<String>) {
        let path = state_dir.join("trust.json");
        let read = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                let aside = match files::set_aside(&path) {
                    Ok(aside) => format!("set aside as {}", aside.display()),
                    Err(reason) => format!("and cannot be set aside: {reason}"),
                };
                format!("{} cannot be used: {error}; {aside}", path.display())
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        };
        match read {
            Ok(sources) => (Self { path, sources }, None),
            Err(trouble) => (
                Self { path, sources: Vec::new() },
                Some(format!("{trouble}; no source added by hand is trusted")),
            ),
        }
    }

    /// All of them, also expired ones that were not swept yet.
    pub(super) fn all(&self) -> &[LocalSource] {
        &self.sources
    }

    /// Adds one, in place of the same source of the same database.
    pub(super) fn add(&mut self, added: LocalSource) -> io::Result<()> {
        let mut sources = self.sources.clone();
        sources.retain(|known| !is_same(known, &added.database, &added.source));
        sources.push(added);
        self.keep(sources)
    }

    /// Removes one and returns it, if it was there.
    pub(super) fn remove(
        &mut self,
        database: &str,
        source: &TrustedSource,
    ) -> io::Result<Option<LocalSource>> {
        let mut sources = self.sources.clone();
        let Some(at) = sources.iter().position(|known| is_same(known, database, source)) else {
            return Ok(None);
        };
        let removed = sources.remove(at);
        self.keep(sources)?;
        Ok(Some(removed))
    }

    /// Forgets those that ended before `now`.
    pub(super) fn sweep(&mut self, now: Timestamp) -> io::Result<()> {
        let live: Vec<LocalSource> = self
            .sources
            .iter()
            .filter(|local| local.source.expires_at.is_none_or(|at| at > now))
            .cloned()
            .collect();
        if live.len() == self.sources.len() { Ok(()) } else { self.keep(live) }
    }

    /// On disk first: what a restart would not know must not be in force.
    fn keep(&mut self, sources: Vec<LocalSource>) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&sources).map_err(io::Error::other)?;
        files::replace(&self.path, &text, files::Readers::Group)?;
        self.sources = sources;
        Ok(())
    }
}

fn is_same(known: &LocalSource, database: &str, source: &TrustedSource) -> bool {
    known.database == database && known.source.key() == source.key()
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

    #[test]
    fn they_survive_a_restart_and_are_swept() {
        let directory = tempfile::tempdir().unwrap();
        let (mut sources, _) = LocalSources::load(directory.path());
        sources.add(local("10.0.0.1", None)).unwrap();
        sources.add(local("10.0.0.2", Some("2026-02-01T00:00:00Z"))).unwrap();
        sources.add(local("10.0.0.1", None)).unwrap();
        let (mut again, _) = LocalSources::load(directory.path());
        assert_eq!(again.all().len(), 2, "adding one again replaces it");
        again.sweep("2026-02-01T00:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(LocalSources::load(directory.path()).0.all(), [local("10.0.0.1", None)]);
        let source = "ip_addr:10.0.0.1".parse().unwrap();
        assert!(again.remove("orders", &source).unwrap().is_some());
        assert!(again.remove("orders", &source).unwrap().is_none());
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("trust.json"), "[{").unwrap();
        let (sources, trouble) = LocalSources::load(directory.path());
        assert!(sources.all().is_empty());
        assert!(trouble.is_some_and(|trouble| trouble.contains("trust.json.bad")));
        assert!(directory.path().join("trust.json.bad").exists());
    }
}
