//! axe-core, which looks for what keeps people from using a page: one file of one version from
//! npm, for the tests of the panel alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{doing, have};
use crate::cmd;

const VERSION: &str = "4.14.1";

/// Of the package, as npm has it.
const INTEGRITY: &str = "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==";

/// The file; the tests look for it there.
const FILE: &str = "target/axe-core/axe.min.js";

/// Fetches the file unless it is there; returns what is missing after that.
pub(super) fn ensure() -> Vec<String> {
    let file = cmd::root().join(FILE);
    if !is_there(&file) {
        doing(format!("axe-core {VERSION} into {FILE}"));
        if let Err(error) = fetch(&file) {
            println!("         {error:#}");
        }
    }
    if is_there(&file) {
        have("axe-core", format!("{VERSION} in {FILE}"));
        return Vec::new();
    }
    vec![format!("axe-core {VERSION} in {FILE}: see what npm said above; it takes it from npm")]
}

/// Whether the file is of this version: its first line says so.
fn is_there(file: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().next().is_some_and(|line| line.contains(&format!("axe v{VERSION}")))
}

fn fetch(file: &Path) -> Result<()> {
    let Some(directory) = file.parent() else { bail!("{FILE} has no directory") };
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let package = format!("axe-core@{VERSION}");
    let said = cmd::read(
        Command::new(npm()).current_dir(directory).args(["pack", &package, "--json", "--silent"]),
    )?;
    if !said.contains(INTEGRITY) {
        bail!("npm gave another {package} than the one with {INTEGRITY}: {said}");
    }
    let archive = directory.join(format!("axe-core-{VERSION}.tgz"));
    cmd::run(
        Command::new("tar")
            .current_dir(directory)
            .args(["--extract", "--gzip", "--strip-components=1", "--file"])
            .arg(&archive)
            .arg("package/axe.min.js"),
    )?;
    fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))
}

fn npm() -> PathBuf {
    cmd::find_program("npm").unwrap_or_else(|| "npm".into())
}
