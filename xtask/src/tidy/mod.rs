//! `cargo xtask tidy`: the rules of this repository that a machine can check, over every file
//! git knows or is about to know. ARCHITECTURE.md has the reasons at length.

mod imports;
mod links;
mod manifests;
mod modules;
mod text;

use std::{fmt, process::Command};

use anyhow::{Result, bail};

use crate::cmd;

/// A file of the repository.
#[derive(Debug)]
struct File {
    /// From the root of the repository.
    path: String,
    text: String,
}

impl File {
    fn is_a(&self, extensions: &[&str]) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
    }

    /// Its lines, numbered from one.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, message: message.into() }
    }
}

/// A broken rule, where, and why it is a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Runs the task.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if let Some(arg) = args.first() {
        bail!("tidy takes no arguments, and got {arg}");
    }
    let files = files()?;
    let mut findings = check(&files);
    findings.sort();
    if findings.is_empty() {
        println!("tidy: {} files keep the rules", files.len());
        return Ok(());
    }
    for finding in &findings {
        println!("{finding}");
    }
    bail!("{} places break a rule of this repository", findings.len())
}

fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(text::whitespace(files));
    findings.extend(text::unfinished(files));
    findings.extend(text::commands(files));
    findings.extend(modules::undocumented(files));
    findings.extend(manifests::inherited(files));
    findings.extend(imports::circular_or_upward(files));
    findings.extend(imports::undocumented_layers(files));
    findings.extend(links::broken(files, |path| cmd::root().join(path).exists()));
    findings
}

/// Every text file git tracks or would add.
fn files() -> Result<Vec<File>> {
    let listed = cmd::read(
        Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(cmd::root()),
    )?;
    let mut paths: Vec<&str> = listed.split_terminator('\0').collect();
    paths.sort_unstable();
    paths.dedup();
    Ok(paths
        .into_iter()
        .filter_map(|path| {
            // Not UTF-8, or removed and not yet committed: nothing to check.
            let text = std::fs::read_to_string(cmd::root().join(path)).ok()?;
            Some(File { path: path.to_owned(), text })
        })
        .collect())
}

#[cfg(test)]
fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}
