//! The agent: the one loop that keeps the kernel equal to what is trusted.
//!
//! `Agent` is made of parts that each own one thing: `Trust` what is trusted, `Workers` who is
//! asked, `Kernel` what the kernel holds, `Disk` what is on disk, `Traffic` what was seen, `Usage`
//! which sources were used. An event changes the parts it concerns; then `Agent::converge`, alone,
//! has the workers and the kernel follow. Nothing here stops the filter: pinned links go on without
//! the agent.

mod configuration;
mod connections;
mod cut_off;
mod disk;
mod event_loop;
pub(crate) mod history;
mod journal;
mod kernel;
mod logging;
mod process;
mod requests;
mod startup;
mod systemd;
mod traffic;
mod trust;
mod usage;
mod workers;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;

use self::{
    configuration::ConfigurationFiles, disk::Disk, history::History, kernel::Kernel,
    requests::OpenCalls, systemd::Readiness, traffic::Traffic, trust::Trust, usage::Usage,
    workers::Workers,
};
use crate::{config::Config, metrics::SyncCounters};

/// The agent's state: one owner for each thing it keeps. The loop alone touches it.
struct Agent {
    /// The configuration in force.
    config: Config,
    files: ConfigurationFiles,
    trust: Trust,
    workers: Workers,
    kernel: Kernel,
    disk: Disk,
    traffic: Traffic,
    usage: Usage,
    history: History,
    sync: SyncCounters,
    calls: OpenCalls,
    readiness: Readiness,
    started_at: Timestamp,
    /// Whether the rules in force may have changed since the last [`Agent::converge`].
    must_converge: bool,
}

/// Runs the agent until SIGTERM. When it returns, the filter stays in force.
///
/// # Errors
/// The agent cannot start. A bad configuration without a last good one is a
/// [`dbfw_core::toml::Problems`] in the error's chain.
pub fn run(config_path: PathBuf) -> anyhow::Result<()> {
    logging::init();
    process::set_up_allocator();
    process::check_capabilities()?;
    process::raise_file_limit()?;
    process::give_up_files();
    process::join_group();
    let loaded = ConfigurationFiles::load(config_path)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Threads beside the loop read and write files: they attach nothing.
        .on_thread_start(process::drop_capabilities)
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(startup::run(loaded));
    // A name that is being looked up must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}
