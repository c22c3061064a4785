//! The agent: the one loop that keeps the kernel equal to what is trusted.
//!
//! `Agent` is made of parts that each own one thing: `Trust` what is trusted, `Workers` who is
//! asked, `Kernel` what the kernel holds, `Disk` what is on disk, `Traffic` what was seen, `Usage`
//! which sources were used, `AuditReader` what an audit found. An event changes the parts it concerns; then `Agent::converge`, alone,
//! has the workers and the kernel follow. Nothing here stops the filter: pinned links go on without
//! the agent.

mod audit;
mod calls;
mod configuration;
mod connection_watch;
mod connections;
mod control_plane;
mod cut_off;
mod disk;
mod event_loop;
pub(crate) mod history;
mod journal;
mod kernel;
mod logging;
mod not_started;
mod openings;
mod process;
mod requests;
mod startup;
mod systemd;
mod traffic;
mod trust;
mod usage;
mod workers;

use jiff::Timestamp;

pub use self::startup::run;
use self::{
    audit::AuditReader, calls::OpenCalls, configuration::ConfigurationFiles,
    connection_watch::ConnectionWatch, control_plane::ControlPlane, disk::Disk, history::History,
    kernel::Kernel, openings::Openings, systemd::Readiness, traffic::Traffic, trust::Trust,
    usage::Usage, workers::Workers,
};
use crate::{
    config::{AgentConfig, Config},
    metrics::SyncCounters,
};

/// The agent's state: one owner for each thing it keeps. The loop alone touches it.
struct Agent {
    /// The configuration in force.
    config: Config,
    files: ConfigurationFiles,
    trust: Trust,
    workers: Workers,
    control_plane: ControlPlane,
    kernel: Kernel,
    disk: Disk,
    traffic: Traffic,
    connection_watch: ConnectionWatch,
    usage: Usage,
    audit: AuditReader,
    history: History,
    sync: SyncCounters,
    calls: OpenCalls,
    openings: Openings,
    readiness: Readiness,
    started_at: Timestamp,
    /// The settings at the start: of some, only a start takes others.
    at_start: AgentConfig,
    /// Whether the rules in force may have changed since the last [`Agent::converge`].
    must_converge: bool,
}
