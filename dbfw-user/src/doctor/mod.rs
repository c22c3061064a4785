//! `dbfw doctor`: what on this host keeps dbfw from protecting it, or will, and the command
//! that mends it.
//!
//! Every check is a function of text or numbers; only `Host` and the `check` functions read
//! the system.

mod access;
mod backstop;
mod files;
mod host;
mod interface;
mod kernel;
mod masquerade;
mod network;
mod pins;

use std::collections::BTreeSet;

pub use files::{Unreadable, unreadable};

use crate::{
    config::{AgentConfig, Config, DatabaseConfig},
    control::wire::{Finding, FindingState},
    datapath::Interface,
};
use host::Host;
use kernel::Trial;

/// The interfaces, and which of the programs on them are dbfw's.
#[derive(Clone, Debug)]
pub struct Links {
    /// Of this network namespace, or why they cannot be listed.
    pub interfaces: Result<Vec<Interface>, String>,
    /// Ids of dbfw's attached programs; `None`: this process may not know.
    pub ours: Option<BTreeSet<u32>>,
    /// Ids of this namespace's socket lookup programs; `None`: this process may not know.
    pub socket_lookup: Option<Vec<u32>>,
}

impl Finding {
    fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(check, FindingState::Ok, detail, None)
    }

    fn warn(check: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(check, FindingState::Warn, detail, Some(fix.into()))
    }

    fn fail(check: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(check, FindingState::Fail, detail, Some(fix.into()))
    }

    fn new(
        check: impl Into<String>,
        state: FindingState,
        detail: impl Into<String>,
        fix: Option<String>,
    ) -> Self {
        Self { check: check.into(), state, detail: detail.into(), fix }
    }
}

/// Checks this host.
pub fn run(agent: &AgentConfig, databases: &[DatabaseConfig], links: &Links) -> Vec<Finding> {
    run_on(&Host::this(), &Trial::make(), agent, databases, links)
}

/// Checks whether the agent may read what a configuration names.
pub fn files(config: &Config) -> Vec<Finding> {
    files::check(config)
}

fn run_on(
    host: &Host,
    trial: &Trial,
    agent: &AgentConfig,
    databases: &[DatabaseConfig],
    links: &Links,
) -> Vec<Finding> {
    let mut findings = kernel::check(host, trial, agent.attach);
    findings.extend(pins::check(host, &agent.pin_dir));
    findings.extend(interface::check(host, agent, links));
    if agent.backstop {
        findings.push(backstop::check(links));
    }
    findings.extend(network::check(host, databases));
    findings
}

#[cfg(test)]
mod tests;
