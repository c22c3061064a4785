//! The agent: the one loop that keeps the kernel equal to the policy.
//!
//! Everything that can change something is an event of one closed enum; `converge` alone writes
//! maps. Nothing here stops the filter: pinned links go on without the agent.

mod calls;
mod compose;
mod configuration;
mod connections;
mod converge;
mod enforced;
mod event;
pub(crate) mod history;
mod links;
mod lists;
mod logging;
mod memory;
mod origins;
mod own;
mod persist;
mod privileges;
mod reload;
mod run;
mod seen;
mod sources;
mod start;
mod state;
mod status;
mod suggest;
mod trust;
mod workers;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;

use configuration::ConfigurationFiles;

/// Runs the agent until SIGTERM; returns when it may end, with the filter left in force.
/// A bad configuration without a last good one is a [`crate::config::Problems`] in the error's
/// chain.
pub fn run(config_path: PathBuf) -> anyhow::Result<()> {
    logging::init();
    memory::give_back();
    privileges::check()?;
    privileges::give_up_files();
    privileges::join_group();
    let loaded = ConfigurationFiles::load(config_path)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Threads beside the loop read and write files: they attach nothing.
        .on_thread_start(privileges::drop_capabilities)
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(start::start(loaded));
    // A name that is being looked up must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}
