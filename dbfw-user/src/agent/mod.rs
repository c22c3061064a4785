//! The agent: the one loop that keeps the kernel equal to the policy.
//!
//! Everything that can change something is an event of one closed enum; `reconcile` alone writes
//! maps. Nothing here stops the filter: pinned links go on without the agent.

mod calls;
mod event;
mod files;
mod links;
mod lists;
mod local;
mod logging;
mod persist;
mod privileges;
mod reconcile;
mod run;
pub mod snapshot;
mod start;
mod state;
mod status;

use std::path::PathBuf;

use anyhow::Context as _;

/// Runs the agent until SIGTERM; returns when it may end, with the filter left in force.
/// A bad configuration is a [`crate::config::Problems`] in the error's chain.
pub fn run(config_path: PathBuf) -> anyhow::Result<()> {
    logging::init();
    let config = crate::config::load(&config_path)?;
    privileges::check()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(start::start(config_path, config))
}
