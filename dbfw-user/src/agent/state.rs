//! The agent's state: one owner for each thing it keeps.

use jiff::Timestamp;

use super::{
    configuration::ConfigurationFiles, disk::Disk, history::History, kernel::Kernel,
    open_calls::OpenCalls, systemd::Readiness, traffic::Traffic, trust::Trust, workers::Workers,
};
use crate::{config::Config, metrics::SyncCounters};

/// The agent's state. The loop alone touches it.
pub(super) struct Agent {
    /// The configuration in force.
    pub(super) config: Config,
    pub(super) files: ConfigurationFiles,
    pub(super) trust: Trust,
    pub(super) workers: Workers,
    pub(super) kernel: Kernel,
    pub(super) disk: Disk,
    pub(super) traffic: Traffic,
    pub(super) history: History,
    pub(super) sync: SyncCounters,
    pub(super) calls: OpenCalls,
    pub(super) readiness: Readiness,
    pub(super) started_at: Timestamp,
    /// Whether the rules in force may have changed since the last [`Agent::converge`].
    pub(super) must_converge: bool,
}
