//! `dbfw doctor`: what on this host keeps dbfw from protecting it, or will, and the command
//! that mends it.
//!
//! Every check is a function of text or numbers; only `Host` and the `check` functions read
//! the system.

mod host;
mod interface;
mod kernel;
mod network;
mod pins;

use crate::config::{AgentConfig, DatabaseConfig};
use crate::control::wire::Finding;
use host::Host;

impl Finding {
    fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(check, "ok", detail, None)
    }

    fn warn(check: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(check, "warn", detail, Some(fix.into()))
    }

    fn fail(check: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(check, "fail", detail, Some(fix.into()))
    }

    fn new(
        check: impl Into<String>,
        state: &str,
        detail: impl Into<String>,
        fix: Option<String>,
    ) -> Self {
        Self { check: check.into(), state: state.to_owned(), detail: detail.into(), fix }
    }
}

/// Checks this host. `foreign_xdp` tells the id of the XDP program on an interface, if one
/// is attached and it is not dbfw's.
pub fn run(
    agent: &AgentConfig,
    databases: &[DatabaseConfig],
    foreign_xdp: &dyn Fn(&str) -> Option<u32>,
) -> Vec<Finding> {
    run_on(&Host::this(), agent, databases, foreign_xdp)
}

fn run_on(
    host: &Host,
    agent: &AgentConfig,
    databases: &[DatabaseConfig],
    foreign_xdp: &dyn Fn(&str) -> Option<u32>,
) -> Vec<Finding> {
    let mut findings = kernel::check(host, agent.attach);
    findings.extend(pins::check(host, &agent.pin_dir));
    findings.extend(interface::check(host, agent, foreign_xdp));
    findings.extend(network::check(host, databases));
    findings
}

#[cfg(test)]
mod tests;
