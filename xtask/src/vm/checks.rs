//! The list of checks, and what the machines' reports are worth beside it.

use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cmd;

const FILE: &str = "tests/vm/checks.txt";

/// Prefix of the names of checks that are the kernel tests of a theme.
pub(super) const KERNEL_TESTS: &str = "it-";

/// Which machines run a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Every kernel, also in a quick run.
    Quick,
    /// Every kernel, in a full run.
    Full,
    /// The machine that systemd starts, in a full run.
    Systemd,
}

impl FromStr for List {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "quick" => Ok(Self::Quick),
            "full" => Ok(Self::Full),
            "systemd" => Ok(Self::Systemd),
            other => bail!("there is no list {other}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    list: List,
    name: String,
    meaning: String,
}

/// Every check there is, in order.
#[derive(Debug)]
pub(super) struct Checks(Vec<Entry>);

impl Checks {
    /// Reads `tests/vm/checks.txt`.
    pub(super) fn read() -> Result<Self> {
        let path = cmd::root().join(FILE);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text)
    }

    /// Reads such a list.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut entries: Vec<Entry> = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = Self::entry(line).with_context(|| format!("{FILE}: {line}"))?;
            if entries.iter().any(|known| known.name == entry.name) {
                bail!("{FILE} has {} twice", entry.name);
            }
            entries.push(entry);
        }
        Ok(Self(entries))
    }

    fn entry(line: &str) -> Result<Entry> {
        let (list, rest) = line.split_once(' ').context("a line has a list, a name, a meaning")?;
        let (name, meaning) =
            rest.trim_start().split_once(' ').context("the meaning is missing")?;
        let meaning = meaning.trim().to_owned();
        Ok(Entry { list: list.parse()?, name: name.to_owned(), meaning })
    }

    /// The checks of some lists; of these only the named ones, if any is named.
    pub(super) fn select(&self, lists: &[List], names: &[String]) -> Result<Self> {
        let mut entries = self.0.clone();
        entries.retain(|entry| lists.contains(&entry.list));
        if let Some(unknown) =
            names.iter().find(|name| !entries.iter().any(|entry| entry.name == **name))
        {
            bail!("{FILE} has no check {unknown} for this run");
        }
        entries.retain(|entry| names.is_empty() || names.contains(&entry.name));
        Ok(Self(entries))
    }

    /// Their names and what they show.
    pub(super) fn described(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|entry| (entry.name.as_str(), entry.meaning.as_str()))
    }

    /// Their names, one a line.
    pub(super) fn names(&self) -> String {
        self.0.iter().map(|entry| format!("{}\n", entry.name)).collect()
    }

    /// Compares what a machine reported with these checks.
    pub(super) fn judge(&self, reports: &Reports) -> Verdict {
        let mut verdict = Verdict::default();
        for entry in &self.0 {
            let found: Vec<_> =
                reports.checks.iter().filter(|report| report.name == entry.name).collect();
            match found[..] {
                [CheckReport { failure: None, .. }] => verdict.passed += 1,
                [CheckReport { failure: Some(said), .. }] => verdict.failures.push(format!(
                    "{} ({}): {}",
                    entry.name,
                    entry.meaning,
                    said.trim()
                )),
                [] => verdict.failures.push(format!("{}: not reported", entry.name)),
                _ => verdict.failures.push(format!("{}: reported more than once", entry.name)),
            }
        }
        for report in &reports.checks {
            if !self.0.iter().any(|entry| entry.name == report.name) {
                verdict.failures.push(format!("{}: not in {FILE}", report.name));
            }
        }
        if !reports.ended {
            verdict.failures.push(format!("the machine did not end: {}", reports.last_words));
        }
        verdict
    }
}

/// A check as a machine reported it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CheckReport {
    pub(super) name: String,
    pub(super) seconds: u64,
    /// Its message, if it failed.
    pub(super) failure: Option<String>,
}

/// The reports of a machine.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// The version of its kernel.
    pub(super) kernel: String,
    pub(super) checks: Vec<CheckReport>,
    /// Whether it said that every check was run.
    pub(super) ended: bool,
    /// The end of its logs, if it did not.
    pub(super) last_words: String,
}

impl Reports {
    /// Takes a line that the machine wrote; returns the check it tells of, if it does.
    pub(super) fn take(&mut self, line: &str) -> Result<Option<&CheckReport>> {
        let value: Value = serde_json::from_str(line.trim())
            .with_context(|| format!("the machine reported what is no JSON: {line}"))?;
        if let Some(kernel) = value["kernel"].as_str() {
            kernel.clone_into(&mut self.kernel);
        } else if value["end"] == true {
            self.ended = true;
        } else if let Some(name) = value["check"].as_str() {
            self.checks.push(CheckReport {
                name: name.to_owned(),
                seconds: value["seconds"].as_u64().unwrap_or_default(),
                failure: value["failure"].as_str().map(str::to_owned),
            });
            return Ok(self.checks.last());
        } else {
            bail!("the machine reported something unknown: {line}");
        }
        Ok(None)
    }
}

/// The result of a machine.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) passed: usize,
    pub(super) failures: Vec<String>,
}

impl Verdict {
    /// A machine that could not even be had.
    pub(super) fn failed(reason: String) -> Self {
        Self { passed: 0, failures: vec![reason] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# words\n\nquick  load    it loads\nfull   bond    a bond is made\n";
    const ALL: [List; 2] = [List::Quick, List::Full];

    fn reports(lines: &[&str]) -> Reports {
        let mut reports = Reports::default();
        for line in lines {
            reports.take(line).expect("a report");
        }
        reports
    }

    #[test]
    fn a_list_is_read() {
        let checks = Checks::parse(LIST).expect("a list");
        assert_eq!(checks.names(), "load\nbond\n");
        let of = |lists: &[List], names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Checks::parse(LIST).expect("a list").select(lists, &names)
        };
        assert_eq!(of(&[List::Quick], &[]).expect("a selection").names(), "load\n");
        assert_eq!(of(&ALL, &["bond"]).expect("a selection").names(), "bond\n");
        assert!(of(&[List::Quick], &["bond"]).is_err());
        for wrong in ["quick load", "slow load it loads", "quick a b\nfull a c"] {
            assert!(Checks::parse(wrong).is_err(), "{wrong:?}");
        }
        Checks::read().expect("the repository's own list");
    }

    #[test]
    fn only_a_whole_report_without_failures_passes() {
        let checks = Checks::parse(LIST).expect("a list");
        let passed = r#"{"check":"load","seconds":3,"failure":null}"#;
        let bond = r#"{"check":"bond","seconds":3,"failure":null}"#;
        let failed = r#"{"check":"bond","seconds":3,"failure":"no bond\n"}"#;
        let unknown = r#"{"check":"bridge","seconds":3,"failure":null}"#;
        let end = r#"{"end":true}"#;
        let failures = |lines: &[&str]| checks.judge(&reports(lines)).failures;
        assert_eq!(failures(&[passed, bond, end]), [] as [&str; 0]);
        assert_eq!(failures(&[passed, failed, end]), ["bond (a bond is made): no bond"]);
        assert_eq!(failures(&[passed, end]), ["bond: not reported"]);
        assert_eq!(failures(&[passed, bond, unknown, end]), ["bridge: not in tests/vm/checks.txt"]);
        assert_eq!(failures(&[passed, bond, bond, end]), ["bond: reported more than once"]);
        assert_eq!(failures(&[passed, bond]), ["the machine did not end: "]);
        assert!(Reports::default().take("oops").is_err());
        assert!(Reports::default().take("{}").is_err());
    }
}
