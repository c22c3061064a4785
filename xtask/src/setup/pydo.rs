//! DigitalOcean's own client, pydo, in a Python environment of the tests' own: every package
//! at the version and with the hash that `tests/pydo/requirements.txt` names.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    doing, have,
    host::{Host, Manager},
};
use crate::cmd;

/// The oldest Python that the named packages support.
const PYTHON: (u32, u32) = (3, 10);

/// The environment; the tests look for it there.
const ENVIRONMENT: &str = "target/pydo";

const REQUIREMENTS: &str = "tests/pydo/requirements.txt";

/// Written last, so that an environment that was begun and not finished is made again.
const STAMP: &str = "installed.txt";

/// Makes the environment unless it is there; returns what is missing after that.
pub(super) fn ensure(host: &Host) -> Result<Vec<String>> {
    let environment = cmd::root().join(ENVIRONMENT);
    let file = cmd::root().join(REQUIREMENTS);
    let requirements =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    if let Some(version) = installed(&environment, &requirements) {
        have("pydo", format!("{version} in {ENVIRONMENT}"));
        return Ok(Vec::new());
    }
    let Some(python) = provide_python(host)? else {
        let (major, minor) = PYTHON;
        return Ok(vec![format!(
            "python3, {major}.{minor} or later, with venv (Debian's package: python3-venv)"
        )]);
    };
    doing(format!("pydo and what it needs into {ENVIRONMENT}"));
    if let Err(error) = make(&python, &environment, &file, &requirements) {
        println!("         {error:#}");
    }
    Ok(match installed(&environment, &requirements) {
        Some(version) => {
            have("pydo", format!("{version} in {ENVIRONMENT}"));
            Vec::new()
        }
        None => vec![format!(
            "pydo in {ENVIRONMENT}: see what pip said above; it takes the packages from PyPI"
        )],
    })
}

/// The version of pydo, if the environment is whole, of these requirements, and runs.
fn installed(environment: &Path, requirements: &str) -> Option<String> {
    let stamp = fs::read_to_string(environment.join(STAMP)).ok()?;
    let ask = "import importlib.metadata as packages; print(packages.version('pydo'))";
    let version = cmd::read(Command::new(interpreter(environment)).args(["-c", ask])).ok()?;
    (stamp == requirements).then(|| version.trim().to_owned())
}

fn make(python: &Path, environment: &Path, file: &Path, requirements: &str) -> Result<()> {
    if environment.exists() {
        fs::remove_dir_all(environment)
            .with_context(|| format!("cannot remove {}", environment.display()))?;
    }
    cmd::run(Command::new(python).args(["-m", "venv"]).arg(environment))?;
    cmd::run(
        Command::new(interpreter(environment))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--no-input", "--require-virtualenv", "--requirement"])
            .arg(file),
    )?;
    let stamp = environment.join(STAMP);
    fs::write(&stamp, requirements).with_context(|| format!("cannot write {}", stamp.display()))
}

fn interpreter(environment: &Path) -> PathBuf {
    environment.join("bin/python")
}

/// A Python that is new enough and makes environments, installed first if need be.
fn provide_python(host: &Host) -> Result<Option<PathBuf>> {
    if let Some(python) = find_python() {
        return Ok(Some(python));
    }
    if let Some(manager) = host.manager {
        let packages: &[&str] = match manager {
            Manager::Apt => &["python3", "python3-venv"],
            Manager::Dnf => &["python3"],
            Manager::Pacman => &["python"],
        };
        host.install(manager, packages)?;
    }
    Ok(find_python())
}

/// The first in PATH, or the distribution's.
fn find_python() -> Option<PathBuf> {
    let distribution = PathBuf::from("/usr/bin/python3");
    cmd::find_program("python3").into_iter().chain([distribution]).find(|python| serves(python))
}

/// Debian has Python without the parts that make environments.
fn serves(python: &Path) -> bool {
    let ask = "import ensurepip, sys, venv; print(*sys.version_info[:2])";
    let printed = cmd::read(Command::new(python).args(["-c", ask]));
    printed.is_ok_and(|printed| version(&printed) >= Some(PYTHON))
}

/// Major and minor from "3 11".
fn version(printed: &str) -> Option<(u32, u32)> {
    let (major, minor) = printed.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version("3 9\n") < Some(PYTHON));
        assert!(version("3 10\n") >= Some(PYTHON));
        assert!(version("4 0") >= Some(PYTHON));
        assert!(version("") < Some(PYTHON));
    }

    #[test]
    fn every_requirement_has_its_version_and_a_hash() {
        let text = fs::read_to_string(cmd::root().join(REQUIREMENTS)).expect("the requirements");
        let mut packages = 0;
        let logical = text.replace("\\\n", " ");
        for line in logical.lines().filter(|line| !line.starts_with(['#', '-'])) {
            assert!(line.contains("=="), "{line} names no version");
            assert!(line.contains("--hash=sha256:"), "{line} has no hash");
            packages += 1;
        }
        assert!(packages > 1 && text.contains("pydo==0.44.0"), "{packages} packages");
        assert!(text.contains("\n--require-hashes\n"), "pip is to refuse what has no hash");
    }

    #[test]
    fn an_environment_without_its_stamp_is_not_taken() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(installed(directory.path(), ""), None);
        fs::write(directory.path().join(STAMP), "other").expect("write");
        assert_eq!(installed(directory.path(), ""), None);
    }
}
