//! [`Edition`]: what a control plane says of a list beside its sources.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::entry::{SourceReport, SourceState};
use crate::source::{PrefixSet, SourceKey};

/// The edition of a list that a control plane keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edition {
    /// The number of times that the control plane's store was loaded from a backup, and 1; 0 for a
    /// list from a snapshot, which does not say.
    pub epoch: u64,
    /// A later edition of the same epoch has a greater one.
    pub revision: u64,
    /// The name of who made the last change.
    pub by: Option<String>,
    /// The answers for sources that the control plane resolved itself.
    pub resolved: BTreeMap<SourceKey, Resolved>,
}

/// A control plane's answer for one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The prefixes.
    pub prefixes: PrefixSet,
    /// The state of its answer: current, stale, or never there.
    pub state: SourceState,
    /// The time at which it was read last.
    pub at: Option<Timestamp>,
}

impl Resolved {
    /// The report about the source, which `list` has.
    pub fn report(&self, list: &str) -> SourceReport {
        SourceReport {
            state: self.state,
            from: Some(list.to_owned()),
            answered_at: self.at,
            ..SourceReport::default()
        }
    }
}
