//! Documents of `dbfw reload`, as the agent sends them and `--output json` prints them.

use serde::{Deserialize, Serialize};

/// The change that a reload made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Number of the policy now in force.
    pub generation: u64,
    /// Prefixes added.
    pub added: usize,
    /// Prefixes removed.
    pub removed: usize,
    /// Changes a guard refuses, in words; `dbfw status` shows what each would take away.
    pub refused: Vec<String>,
    /// Lists that could not be read, and why; what they held before stays in force.
    #[serde(default)]
    pub failed: Vec<String>,
    /// Sources that were not asked for before and have no answer yet.
    #[serde(default)]
    pub pending: Vec<String>,
}
