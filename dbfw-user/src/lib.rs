//! dbfw: trusted sources for a database you host yourself, enforced in XDP.
//!
//! The data goes one way: `config` and `provider` yield trusted sources, `dbfw_core` keeps the
//! prefixes that workers found for them, computes what the kernel should hold and the plan to
//! get there, `datapath` carries it out, `agent` drives all of it. `protection` says whether what
//! is configured is in force. `readers`, `metrics` and `doctor` only look; `cli` asks the agent,
//! or them.

pub mod agent;
pub mod cli;
pub mod config;
pub mod control;
pub mod doctor;
pub mod metrics;
pub mod protection;
pub mod readers;
pub mod state;
pub mod traffic;

#[cfg(test)]
use dbfw_core::testing;
pub use dbfw_core::{answers, policy, source};
pub use dbfw_datapath as datapath;

/// The version, as in `dbfw --version`.
pub const fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The commit it was built from; empty if unknown.
pub const fn revision() -> &'static str {
    env!("DBFW_REVISION")
}
