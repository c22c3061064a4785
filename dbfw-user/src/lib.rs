//! The agent and the command line of dbfw.
//!
//! `config` reads what is wanted; the workers of
//! `dbfw_provider` find lists and addresses; `dbfw_core` computes what the kernel should hold and
//! the plan to get there; `dbfw_datapath` carries it out; `agent` drives all of it. `protection`
//! says whether what is configured is in force. `audit` asks the databases what they show to strangers. `readers`, `metrics` and `doctor` only look; `cli`
//! asks the agent, or them.

pub mod agent;
pub mod audit;
mod causes;
pub mod cli;
pub mod config;
pub mod control;
pub mod doctor;
mod exposure;
mod lasting;
pub mod metrics;
mod nat;
pub mod protection;
pub mod readers;
mod sockets;
pub mod state;
pub mod traffic;

/// The version, as in `dbfw --version`.
pub const fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The commit it was built from; empty if unknown.
pub const fn revision() -> &'static str {
    env!("DBFW_REVISION")
}
