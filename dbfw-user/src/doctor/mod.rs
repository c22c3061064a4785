//! `dbfw doctor`: obstacles to the protection of this host, each with the command that fixes it.
//!
//! Every check is a function of text or numbers; only `Host` and the `check` functions read
//! the system.

mod access;
mod backstop;
mod files;
mod finding;
mod host;
mod interface;
mod kernel;
mod masquerade;
mod network;
mod pins;
mod reach;
mod sockets;
mod state_dir;

use std::{collections::BTreeSet, path::Path};

use dbfw_datapath::{Interface, Reader, interfaces};
use dbfw_wire::control::{Finding, Request, Status};
pub use files::{Unreadable, unreadable};
use host::Host;
use kernel::Trial;

use crate::{
    config::{self, AgentConfig, DatabaseConfig},
    control::{SOCKET_NAME, client::Client},
};

/// The interfaces, and which of the programs on them are dbfw's.
#[derive(Clone, Debug)]
struct Links {
    /// Of this network namespace, or why they cannot be listed.
    interfaces: Result<Vec<Interface>, String>,
    /// Ids of dbfw's attached programs; `None`: this process may not know.
    ours: Option<BTreeSet<u32>>,
    /// Ids of this namespace's socket lookup programs; `None`: this process may not know.
    socket_lookup: Option<Vec<u32>>,
}

impl Links {
    /// Those of this network namespace, as far as this process may see them.
    fn of(agent: &AgentConfig) -> Self {
        let pinned = Reader::open(&agent.pin_dir).and_then(|reader| reader.links());
        let ours = match pinned {
            Ok(links) => {
                Some(links.iter().filter(|link| link.ours).map(|link| link.program).collect())
            }
            Err(error) if error.is_denied() => None,
            // Lost under an agent, or there is none.
            Err(_) => Some(programs_of_the_agent(agent)),
        };
        Self {
            interfaces: interfaces::list_now().map_err(|error| error.to_string()),
            ours,
            socket_lookup: dbfw_datapath::socket_lookup_programs().ok(),
        }
    }
}

/// Ids of the programs that the running agent loaded; none: no agent answers.
fn programs_of_the_agent(agent: &AgentConfig) -> BTreeSet<u32> {
    let status = Client::connect(&agent.run_dir.join(SOCKET_NAME))
        .and_then(|client| client.call::<Status>(&Request::Status {}));
    let programs = status.ok().and_then(|status| status.agent).map(|agent| agent.programs);
    programs.unwrap_or_default().into_iter().collect()
}

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
    let links = Links::of(&agent);
    findings.push(state_dir::check_group());
    findings.extend(check_host(&Host::this(), &Trial::make(), &agent, &databases, &links));
    findings
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
    findings.extend(interface::check(host, agent, links));
    if agent.backstop {
        findings.push(backstop::check(links));
    }
    findings.extend(network::check(host, databases));
    findings.extend(reach::check(host, agent, databases, links));
    findings
}

#[cfg(test)]
mod tests;
