//! `dbfw doctor`: obstacles to the protection of this host, each with the command that fixes it.
//!
//! Every check is a function of text or numbers; only `Host` and the `check` functions read
//! the system.

mod access;
mod backstop;
mod destinations;
mod exempt;
mod files;
mod finding;
mod host;
mod interface;
mod kernel;
mod links;
mod masquerade;
mod network;
mod pins;
mod reach;
mod sockets;
mod state_dir;

use std::path::Path;

use dbfw_datapath::interfaces;
use dbfw_wire::control::Finding;
pub use files::{Unreadable, unreadable};
pub use finding::Doubt;
use host::Host;
use kernel::Trial;
use links::Links;

use crate::config::{self, AgentConfig, Config, DatabaseConfig};

/// Checks the host for what the configuration at `path` wants of it.
pub fn check(path: &Path) -> Vec<Finding> {
    let shown = path.display();
    let (agent, databases, mut findings) = match config::load(path) {
        Ok(config) => {
            let mut findings = vec![finding::ok("config", format!("{shown} is valid"))];
            findings.extend(files::check(&config));
            findings.extend(files::check_writers(&config));
            (config.agent, config.databases, findings)
        }
        Err(_) => {
            let detail =
                format!("{shown} is bad; keys that cannot be read are checked with their defaults");
            let fix = format!("dbfw check --config {shown}");
            (config::agent_section(path), Vec::new(), vec![finding::fail("config", detail, fix)])
        }
    };
    let host = Host::this();
    let links = Links::of(&host, &agent);
    findings.push(state_dir::check_group());
    findings.extend(check_host(&host, &Trial::make(), &agent, &databases, &links));
    findings
}

/// The doubts about a configuration that the addresses and interfaces of this host raise.
pub fn doubts(config: &Config) -> Vec<Doubt> {
    let Ok(present) = interfaces::list_now() else { return Vec::new() };
    let mut doubts = destinations::doubts(&Host::this(), &config.databases, &present);
    doubts.extend(exempt::doubts(&config.agent, &present));
    doubts
}

fn check_host(
    host: &Host,
    trial: &Trial,
    agent: &AgentConfig,
    databases: &[DatabaseConfig],
    links: &Links,
) -> Vec<Finding> {
    let mut findings = kernel::check(host, trial, agent.attach);
    findings.extend(pins::check(host, &agent.pin_dir));
    findings.extend(state_dir::check(host, agent));
    findings.extend(links.check_agent());
    findings.extend(interface::check(host, agent, links));
    if agent.backstop {
        findings.extend(backstop::check(links));
    }
    findings.extend(network::check(host, databases));
    if let Ok(present) = &links.interfaces {
        findings.extend(destinations::check(host, databases, present, links));
        findings.extend(exempt::check(agent, present));
    }
    findings.extend(reach::check(host, agent, databases, links));
    findings
}

#[cfg(test)]
mod tests;
