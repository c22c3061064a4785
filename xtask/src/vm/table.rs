//! `docs/kernels.md`: the results of each machine's last full run.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, process::Command};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    ALL, Target,
    checks::{Checks, Reports},
};
use crate::cmd;

const FILE: &str = "docs/kernels.md";

/// A kernel's last full run, kept in `target/vm` so that one kernel can be run again alone.
#[derive(Debug)]
struct Column {
    /// The kernel's own version text.
    kernel: String,
    date: String,
    /// The commit dbfw was built from.
    commit: String,
    /// Check and whether it passed.
    passed: BTreeMap<String, bool>,
}

/// The commit that is checked out, or nothing outside of a repository.
pub(super) fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--exclude=*"]).current_dir(cmd::root());
    cmd::read(&mut git).unwrap_or_default().trim().to_owned()
}

/// Keeps the reports of a full run of what was built from `commit`.
pub(super) fn keep(
    directory: &Path,
    target: Target,
    commit: &str,
    reports: &Reports,
) -> Result<()> {
    let today = cmd::read(Command::new("date").args(["--utc", "+%Y-%m-%d"]))?;
    let passed: BTreeMap<&str, bool> =
        reports.checks.iter().map(|check| (check.name.as_str(), check.failure.is_none())).collect();
    let column = json!({
        "kernel": reports.kernel,
        "date": today.trim(),
        "commit": commit,
        "passed": passed,
    });
    let path = file(directory, target);
    let home = path.parent().context("a file is in a directory")?;
    fs::create_dir_all(home).with_context(|| format!("cannot make {}", home.display()))?;
    fs::write(&path, column.to_string()).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the page from what is kept.
pub(super) fn write(directory: &Path, on_kernels: &Checks, on_systemd: &Checks) -> Result<()> {
    let columns = ALL.map(|target| (target, read(directory, target)));
    let qemu = cmd::read(Command::new("qemu-system-x86_64").arg("--version"))?;
    let qemu = qemu.lines().next().unwrap_or_default();
    let path = cmd::root().join(FILE);
    fs::write(&path, render(&columns, on_kernels, on_systemd, qemu))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("vm: wrote {FILE}");
    Ok(())
}

fn file(directory: &Path, target: Target) -> std::path::PathBuf {
    directory.join("results").join(format!("{target}.json"))
}

fn read(directory: &Path, target: Target) -> Option<Column> {
    let text = fs::read_to_string(file(directory, target)).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let passed = value["passed"].as_object()?.iter();
    Some(Column {
        kernel: text("kernel"),
        date: text("date"),
        commit: text("commit"),
        passed: passed.map(|(name, passed)| (name.clone(), *passed == true)).collect(),
    })
}

fn render(
    columns: &[(Target, Option<Column>)],
    on_kernels: &Checks,
    on_systemd: &Checks,
    qemu: &str,
) -> String {
    let mut text = format!(
        "# Kernels\n\n\
         Results of `cargo xtask vm`, which writes this page: the release binary on Debian's kernels, in virtual machines\n\
         with two processors and virtio_net ({}, emulated), and on a Debian that systemd starts, installed as the README\n\
         says. Each machine has the result of its last full run.\n\n\
         `pass`: everything held. `FAIL`: something did not, and the run failed. `-`: not run.\n\n",
        qemu.split(" (").next().unwrap_or_default()
    );
    for (target, column) in columns {
        let _ = match column {
            Some(column) => writeln!(
                text,
                "- {target}: {}, on {}, dbfw at {}",
                column.kernel, column.date, column.commit
            ),
            None => writeln!(text, "- {target}: not run"),
        };
    }
    let (systemd, kernels): (Vec<_>, Vec<_>) =
        columns.iter().partition(|(target, _)| *target == Target::Systemd);
    section(&mut text, &kernels, on_kernels);
    section(&mut text, &systemd, on_systemd);
    text
}

/// A table of checks beside machines.
fn section(text: &mut String, columns: &[&(Target, Option<Column>)], checks: &Checks) {
    text.push_str("\n| check | what it shows |");
    for (target, _) in columns {
        let _ = write!(text, " {target} |");
    }
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(columns.len()));
    text.push('\n');
    for (name, meaning) in checks.described() {
        let _ = write!(text, "| `{name}` | {meaning} |");
        for (_, column) in columns {
            let passed = column.as_ref().and_then(|column| column.passed.get(name));
            let word = match passed {
                Some(true) => "pass",
                Some(false) => "FAIL",
                None => "-",
            };
            let _ = write!(text, " {word} |");
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Series, *};

    #[test]
    fn a_column_is_read_as_it_was_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut reports = Reports::default();
        for line in [
            r#"{"kernel":"6.12.1 Debian"}"#,
            r#"{"check":"load","seconds":1,"failure":null}"#,
            r#"{"check":"bond","seconds":1,"failure":"no"}"#,
        ] {
            reports.take(line).expect("a report");
        }
        let target = Target::Kernel(Series::Named(6, 12));
        keep(directory.path(), target, "1234abc", &reports).expect("kept");
        let columns = [
            (target, read(directory.path(), target)),
            (Target::Kernel(Series::Newest), None),
            (Target::Systemd, None),
        ];
        let kernels = Checks::parse("quick load it loads\nfull bond a bond\nfull vrf a VRF\n");
        let systemd = Checks::parse("systemd stop it stops\n");
        let text =
            render(&columns, &kernels.expect("a list"), &systemd.expect("a list"), "QEMU 7.2 (x)");
        assert!(text.contains("- 6.12: 6.12.1 Debian, on 20"), "{text}");
        assert!(text.contains(", dbfw at 1234abc\n"), "{text}");
        assert!(text.contains("- newest: not run\n"), "{text}");
        assert!(text.contains("| `load` | it loads | pass | - |\n"), "{text}");
        assert!(text.contains("| `bond` | a bond | FAIL | - |\n"), "{text}");
        assert!(text.contains("| `vrf` | a VRF | - | - |\n"), "{text}");
        assert!(text.contains("| `stop` | it stops | - |\n"), "{text}");
    }
}
