//! `cargo xtask licenses`: every dependency comes from crates.io, and its licence is one that
//! deny.toml allows. Reads the lock file and the manifests cargo has already downloaded.
//! cargo-deny reads the same deny.toml where it is installed, and checks more.

mod spdx;

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cmd;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Runs the task.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if let Some(arg) = args.first() {
        bail!("licenses takes no arguments, and got {arg}");
    }
    let read = |name: &str| {
        std::fs::read_to_string(cmd::root().join(name))
            .with_context(|| format!("cannot read {name}"))
    };
    let allowed = allow_list(&read("deny.toml")?).context("deny.toml")?;
    let mut problems = lock_problems(&read("Cargo.lock")?);
    let packages = packages(&metadata()?)?;
    let mut used = BTreeSet::new();
    for package in &packages {
        if let Err(problem) = package.check(&allowed, &mut used) {
            problems.push(format!("{} {}: {problem}", package.name, package.version));
        }
    }
    for licence in allowed.difference(&used) {
        println!("warning: deny.toml allows {licence}, which no dependency needs");
    }
    if problems.is_empty() {
        let own = packages.iter().filter(|package| package.source.is_none()).count();
        println!(
            "licenses: {} crates of crates.io and {own} of the workspace: all allowed",
            packages.len() - own
        );
        return Ok(());
    }
    for problem in &problems {
        println!("{problem}");
    }
    bail!("{} problems with where dependencies come from or their licences", problems.len())
}

/// A package as `cargo metadata` describes it.
struct Package {
    name: String,
    version: String,
    /// None for the workspace's own.
    source: Option<String>,
    license: Option<String>,
}

impl Package {
    fn check(&self, allowed: &BTreeSet<String>, used: &mut BTreeSet<String>) -> Result<(), String> {
        if let Some(source) = self.source.as_deref().filter(|source| *source != CRATES_IO) {
            return Err(format!("comes from {source}, and only crates.io may be used"));
        }
        let Some(license) = &self.license else {
            return Err("its manifest names no SPDX licence".to_owned());
        };
        let expression = spdx::parse(license)
            .map_err(|reason| format!("licence {license:?} is not an SPDX expression: {reason}"))?;
        if !expression.is_satisfied(allowed) {
            return Err(format!("licence {license:?} is not allowed by deny.toml"));
        }
        expression.for_each(&mut |name| {
            used.insert(name.to_owned());
        });
        Ok(())
    }
}

/// The packages built for this host, by `cargo metadata`.
fn metadata() -> Result<Value> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = cmd::read(Command::new(rustc).arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc does not name its host")?;
    let text = cmd::read(
        cmd::cargo()
            .args(["metadata", "--format-version=1", "--locked", "--all-features"])
            .args(["--filter-platform", host]),
    )?;
    serde_json::from_str(&text).context("cargo metadata printed what is not JSON")
}

fn packages(metadata: &Value) -> Result<Vec<Package>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?
        .iter()
        .map(|package| {
            Ok(Package {
                name: text(&package["name"]).context("a package without a name")?,
                version: text(&package["version"]).context("a package without a version")?,
                source: text(&package["source"]),
                license: text(&package["license"]),
            })
        })
        .collect()
}

/// Packages of the lock file, for every platform, that are neither the workspace's nor a
/// crate of crates.io with its checksum.
fn lock_problems(lock: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            package.lines().find_map(|line| {
                Some(line.strip_prefix(key)?.strip_prefix(" = ")?.trim_matches('"'))
            })
        };
        let name = value("name").unwrap_or("a package");
        match value("source") {
            None => {}
            Some(CRATES_IO) if value("checksum").is_some() => {}
            Some(CRATES_IO) => problems.push(format!("Cargo.lock: {name} has no checksum")),
            Some(other) => problems.push(format!(
                "Cargo.lock: {name} comes from {other}, and only crates.io may be used"
            )),
        }
    }
    problems
}

/// The strings of `allow` in the table `[licenses]`.
fn allow_list(deny: &str) -> Result<BTreeSet<String>> {
    let mut in_table = false;
    let mut list: Option<String> = None;
    for line in deny.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(list) = &mut list {
            list.push_str(line);
        } else if line.starts_with('[') {
            in_table = line == "[licenses]";
        } else if in_table
            && let Some(value) = line.strip_prefix("allow")
            && let Some(value) = value.trim_start().strip_prefix('=')
        {
            list = Some(value.trim().to_owned());
        }
        if list.as_ref().is_some_and(|list| list.ends_with(']')) {
            break;
        }
    }
    let list = list.context("[licenses] has no list `allow`")?;
    let items = list
        .strip_prefix('[')
        .and_then(|list| list.strip_suffix(']'))
        .context("`allow` of [licenses] is not a list of strings")?;
    Ok(items
        .split(',')
        .map(|item| item.trim().trim_matches('"').to_owned())
        .filter(|item| !item.is_empty())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(source: Option<&str>, license: Option<&str>) -> Package {
        Package {
            name: "x".to_owned(),
            version: "1.0.0".to_owned(),
            source: source.map(str::to_owned),
            license: license.map(str::to_owned),
        }
    }

    #[test]
    fn the_allow_list_is_that_of_the_licenses_table() {
        let deny = "[bans]\nallow = [\"no\"]\n[licenses]\n# why\nallow = [\n  \"MIT\", # x\n  \
                    \"Apache-2.0 WITH LLVM-exception\",\n]\n[sources]\nallow = []\n";
        let expected =
            ["MIT", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into_iter().collect();
        assert_eq!(allow_list(deny).expect("a list"), expected);
        assert!(allow_list("[bans]\nallow = [\"no\"]\n").is_err());
    }

    #[test]
    fn packages_of_other_places_or_licences_are_refused() {
        let allowed = BTreeSet::from(["MIT".to_owned()]);
        let check = |package: Package| package.check(&allowed, &mut BTreeSet::new());
        assert_eq!(check(package(Some(CRATES_IO), Some("MIT OR GPL-3.0-only"))), Ok(()));
        assert_eq!(check(package(None, Some("MIT"))), Ok(()));
        assert!(check(package(Some("git+https://example.org/x"), Some("MIT"))).is_err());
        assert!(check(package(Some(CRATES_IO), Some("MIT AND GPL-3.0-only"))).is_err());
        assert!(check(package(Some(CRATES_IO), None)).is_err());
    }

    #[test]
    fn the_lock_file_holds_only_crates_io() {
        let good = format!(
            "[[package]]\nname = \"a\"\nsource = \"{CRATES_IO}\"\nchecksum = \"00\"\n\n\
             [[package]]\nname = \"own\"\n"
        );
        assert_eq!(lock_problems(&good), Vec::<String>::new());
        let git = "[[package]]\nname = \"b\"\nsource = \"git+https://example.org/b#00\"\n";
        assert_eq!(lock_problems(git).len(), 1);
        let bare = format!("[[package]]\nname = \"a\"\nsource = \"{CRATES_IO}\"\n");
        assert_eq!(lock_problems(&bare).len(), 1);
    }
}
