//! Documents of `dbfw check`, as `--output json` prints them.

use serde::{Deserialize, Serialize};

use super::{drops::Mode, failure::Failure};

/// `dbfw check`: the effect that a valid configuration would have.
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
    /// Doubts about what is legal but probably not meant.
    pub warnings: Vec<String>,
}

/// One database of a valid configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckedDatabase {
    /// Name.
    pub name: String,
    /// "tcp/5432", "tcp/6432-6440".
    pub ports: Vec<String>,
    /// The addresses it is bound to, as configured: "local", "192.0.2.5"; none: every one.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Treatment of packets from untrusted sources.
    pub mode: Mode,
    /// The sources listed in the configuration itself, "ip_addr:10.0.0.0/8".
    pub sources: Vec<String>,
    /// The provider of more of them: "file:/etc/dbfw/orders.list".
    pub provider: Option<String>,
}

/// `dbfw check --list`: a list of trusted sources that an agent would take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckedList {
    /// The file; "stdin": standard input.
    pub file: String,
    /// The sources in it.
    pub sources: usize,
    /// The addresses and networks that they name themselves, each once.
    pub prefixes: usize,
    /// Doubts about what is legal but probably not meant.
    pub warnings: Vec<String>,
}

/// `dbfw check` of a bad configuration or list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigProblems {
    /// That it failed.
    pub error: Failure,
    /// Everything that is wrong, by file and line.
    pub problems: Vec<ConfigProblem>,
}

/// One thing wrong in the configuration or a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigProblem {
    /// The file.
    pub file: String,
    /// The line, from 1; absent: it concerns the whole file.
    pub line: Option<usize>,
    /// The key with its path, as in `database.orders.ports[0]`; absent: no key.
    pub key: Option<String>,
    /// The problem.
    pub message: String,
    /// The way to fix it; absent: the message says it.
    pub fix: Option<String>,
}
