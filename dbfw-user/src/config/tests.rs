mod bad;
mod docs;
mod doubtful;
mod good;
mod hostile;
mod listed;
mod outside;
mod whole;

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::{AgentConfig, Config, agent_section, load};

/// A configuration directory. Texts have its path as `@`.
struct Dir(TempDir);

impl Dir {
    /// One with this main file.
    fn new(main: impl AsRef<[u8]>) -> Self {
        let dir = Self::empty();
        dir.write("dbfw.toml", main);
        dir
    }

    fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes one of its files, with the directories above it.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self) -> Result<Config, Vec<String>> {
        load(&self.path("dbfw.toml"))
            .map_err(|problems| problems.to_string().lines().map(|line| self.cut(line)).collect())
    }

    fn agent(&self) -> AgentConfig {
        agent_section(&self.path("dbfw.toml"))
    }

    fn warnings(&self) -> Vec<String> {
        let warnings = self.load().unwrap().warnings;
        warnings.iter().map(|warning| self.cut(&warning.to_string())).collect()
    }

    fn cut(&self, line: &str) -> String {
        line.replace(self.0.path().to_str().unwrap(), "@")
    }
}
