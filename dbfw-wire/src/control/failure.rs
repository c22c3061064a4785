//! The document of a command that failed, as `--output json` prints it.

use serde::{Deserialize, Serialize};

use crate::words::words;

/// A command that failed and has no other document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The failure.
    pub error: Failure,
}

/// The failure of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its kind.
    pub kind: FailureKind,
    /// The reason, and what to do next.
    pub message: String,
    /// The exit code of the command.
    pub exit: u8,
}

words! {
    /// The kind of a failure.
    pub enum FailureKind {
        /// The command line is wrong.
        Usage = "usage",
        /// No agent answers, or it ended.
        Unreachable = "unreachable",
        /// The agent did not answer in time.
        Silent = "silent",
        /// Too many others were asking the agent.
        Busy = "busy",
        /// This user may not do it.
        NotPermitted = "not_permitted",
        /// The configuration, or the list that was checked, is bad.
        BadConfig = "bad_config",
        /// The request names something that does not exist.
        Invalid = "invalid",
        /// It was tried and failed.
        Failed = "failed",
    }
}
