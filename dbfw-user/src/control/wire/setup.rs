//! `dbfw check` and `dbfw doctor`.

use serde::{Deserialize, Serialize};

/// `dbfw check`: what a valid configuration would enforce.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// The files it was read from, in the order they were read.
    pub files: Vec<String>,
    /// Names or globs; "auto": every interface with hardware behind it.
    pub interfaces: Vec<String>,
    /// auto, native, tcx, generic.
    pub attach: String,
    /// Whether the sk_lookup program stands behind the hooks.
    pub backstop: bool,
    /// Databases in the order of the files.
    pub databases: Vec<CheckedDatabase>,
    /// What is legal but probably not meant.
    pub warnings: Vec<String>,
}

/// One database of a valid configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckedDatabase {
    /// Name.
    pub name: String,
    /// "tcp/5432".
    pub ports: Vec<String>,
    /// off, observe, enforce.
    pub mode: String,
    /// The sources listed in the configuration itself, "ip_addr:10.0.0.0/8".
    pub sources: Vec<String>,
    /// Where more of them come from: "file:/etc/dbfw/orders.list".
    pub provider: Option<String>,
}

/// `dbfw check` of a bad configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigProblems {
    /// Everything that is wrong, by file and line.
    pub problems: Vec<ConfigProblem>,
}

/// One thing wrong in the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigProblem {
    /// The file.
    pub file: String,
    /// The line, from 1; absent: it concerns the whole file.
    pub line: Option<usize>,
    /// The key with its path, as in `database.orders.ports[0]`; absent: no key.
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it; absent: the message says it.
    pub fix: Option<String>,
}

/// `dbfw doctor`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// One for every check, in the order they were made.
    pub findings: Vec<Finding>,
}

/// What a check says of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingState {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could, or not always.
    Warn,
    /// It keeps dbfw from protecting this host.
    Fail,
}

impl FindingState {
    /// The word that is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What a check of `dbfw doctor` found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What was checked.
    pub check: String,
    /// How it stands.
    pub state: FindingState,
    /// What was found.
    pub detail: String,
    /// The command that mends it.
    pub fix: Option<String>,
}
