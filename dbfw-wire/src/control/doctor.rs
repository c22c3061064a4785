//! Documents of `dbfw doctor`, as `--output json` prints them.

use serde::{Deserialize, Serialize};

use crate::words::words;

/// All findings about the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// One for every check, in the order they were made.
    pub findings: Vec<Finding>,
}

words! {
    /// The result of a check.
    pub enum FindingState {
        /// As it should be.
        Ok = "ok",
        /// It works, but not as well as it could, or not always.
        Warn = "warn",
        /// It keeps dbfw from protecting this host.
        Fail = "fail",
    }
}

/// The finding of one check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The name of the check.
    pub check: String,
    /// The result.
    pub state: FindingState,
    /// The facts that were found.
    pub detail: String,
    /// The command that fixes it.
    pub fix: Option<String>,
}
