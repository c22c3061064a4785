//! Configurations and state directories of the tests.

use std::{fs, path::PathBuf};

use jiff::Timestamp;

use super::last_good::LastGood;
use crate::config::{Config, ConfigFile, parse};

/// The files of a configuration with this text, which need not be one.
pub(crate) fn files(text: &str) -> Vec<ConfigFile> {
    vec![ConfigFile { path: "dbfw.toml".into(), text: text.to_owned() }]
}

/// [`files`] in force since a second of 1970.
pub(crate) fn last_good(second: i64, text: &str) -> LastGood {
    let in_force_since = Timestamp::from_second(second).unwrap();
    LastGood { in_force_since, files: files(text) }
}

/// A host's files: a configuration and a state directory.
pub(crate) struct Site(tempfile::TempDir);

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        fs::create_dir(site.state()).unwrap();
        site
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("dbfw.toml")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// The file of a configuration whose database has this mode.
    pub(crate) fn file(&self, mode: &str) -> ConfigFile {
        let state_dir = self.state();
        let text = format!(
            "[agent]\nstate_dir = \"{}\"\n[[database]]\nname = \"orders\"\nports = [5432]\n\
             mode = \"{mode}\"\n",
            state_dir.display()
        );
        ConfigFile { path: self.path(), text }
    }

    pub(crate) fn config(&self, mode: &str) -> Config {
        parse(vec![self.file(mode)]).unwrap()
    }

    /// Writes the configuration with this mode.
    pub(crate) fn write(&self, mode: &str) {
        let ConfigFile { path, text } = self.file(mode);
        fs::write(path, text).unwrap();
    }
}
