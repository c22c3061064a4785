//! The real client against the server: the scripts in `tests/pydo`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::Server;
use crate::netns::{Netns, finish};

impl Server {
    /// Runs a script of `tests/pydo` ("rules.py") with the token and the authority's
    /// certificate; what it printed. Panics with what it said if it failed.
    pub fn pydo(&self, script: &str, arguments: &[&str]) -> Value {
        let printed = finish(self.pydo_command(None, script).args(arguments));
        serde_json::from_str(&printed).expect("the script prints JSON")
    }

    /// The same as a command, from a namespace: the arguments are to be added.
    pub fn pydo_command(&self, netns: Option<&Netns>, script: &str) -> Command {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = python(tests);
        let mut command = match netns {
            Some(netns) => netns.command(&python),
            None => Command::new(&python),
        };
        command
            .arg(tests.join("pydo").join(script))
            .arg(self.url())
            .arg(self.token_file())
            .env("REQUESTS_CA_BUNDLE", self.ca_file())
            // Tests run as root in a tree that is somebody else's.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("PYTHONPATH");
        command
    }
}

/// The interpreter of the environment that `cargo xtask setup` makes.
fn python(tests: &Path) -> PathBuf {
    let python = tests.join("../target/pydo/bin/python");
    assert!(python.exists(), "{} is not there: cargo xtask setup", python.display());
    python
}
