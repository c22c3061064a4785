//! DigitalOcean's own client for Python: the scripts in `tests/pydo`, against any server.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::netns::Netns;

/// A script of `tests/pydo` ("rules.py") against the server at `url`, with the token in a file
/// and the authority's certificate, in a namespace. The arguments are to be added.
pub fn command(
    netns: Option<&Netns>,
    script: &str,
    url: &str,
    token_file: &Path,
    ca_file: &Path,
) -> Command {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = python(tests);
    let mut command = match netns {
        Some(netns) => netns.command(&python),
        None => Command::new(&python),
    };
    command
        .arg(tests.join("pydo").join(script))
        .arg(url)
        .arg(token_file)
        .env("REQUESTS_CA_BUNDLE", ca_file)
        // Tests run as root in a tree that is somebody else's.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("PYTHONPATH");
    command
}

/// The interpreter of the environment that `cargo xtask setup` makes.
fn python(tests: &Path) -> PathBuf {
    let python = tests.join("../target/pydo/bin/python");
    assert!(python.exists(), "{} is not there: cargo xtask setup", python.display());
    python
}
