//! What the command line needs of the rest of the program, in one place.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use crate::{
    agent,
    config::{self, AgentConfig, Config},
    control::wire::{Explanation, Lookup, MapEntry, Status},
    doctor,
    readers::offline,
};
pub(super) use crate::{config::Problems, doctor::Unreadable};

/// Where things are; what is missing or wrong in the file has its default.
pub(super) fn agent_config(path: &Path) -> AgentConfig {
    config::agent_section(path)
}

/// The whole configuration.
pub(super) fn load(path: &Path) -> Result<Config, Problems> {
    config::load(path)
}

/// What of the files that a configuration names the agent may not read, as far as this user
/// can tell.
pub(super) fn unreadable(config: &Config) -> Unreadable {
    // An ordinary user cannot take on the agent's rights; doctor says so.
    doctor::unreadable(config).unwrap_or_default()
}

/// Runs the agent until it is told to stop.
pub(super) fn run_agent(path: PathBuf) -> anyhow::Result<()> {
    agent::run(path)
}

/// What the pins say of the protection, when no agent answers on `socket`.
pub(super) fn status(config: &AgentConfig, socket: &Path) -> anyhow::Result<Status> {
    offline::status(config, socket)
}

/// Hands every entry of the pinned maps to `each`.
pub(super) fn map_dump(
    config: &AgentConfig,
    each: &mut dyn FnMut(MapEntry) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    offline::map_dump(config, each)
}

/// Looks an address up in the pinned maps.
pub(super) fn map_lookup(config: &AgentConfig, address: IpAddr) -> anyhow::Result<Lookup> {
    offline::map_lookup(config, address)
}

/// Runs the pinned program on packets from an address.
pub(super) fn explain(
    config: &AgentConfig,
    address: IpAddr,
    port: Option<u16>,
) -> anyhow::Result<Vec<Explanation>> {
    offline::explain(config, address, port)
}

/// The metrics that the pinned maps have.
pub(super) fn metrics(config: &AgentConfig) -> anyhow::Result<String> {
    offline::metrics(config)
}

/// Detaches the programs through their pins.
pub(super) fn detach(config: &AgentConfig) -> anyhow::Result<String> {
    offline::detach(config)
}
