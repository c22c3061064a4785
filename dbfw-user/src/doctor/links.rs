//! The interfaces of the host, and the programs on them.

use std::collections::BTreeSet;

use dbfw_datapath::{Interface, Reader, attached_programs, interfaces};
use dbfw_wire::control::{Request, Status};

use crate::{
    config::AgentConfig,
    control::{SOCKET_NAME, client::Client},
};

/// The interfaces, and which of the programs on them are dbfw's.
#[derive(Clone, Debug)]
pub(super) struct Links {
    /// Of this network namespace, or why they cannot be listed.
    pub(super) interfaces: Result<Vec<Interface>, String>,
    /// Ids of dbfw's attached programs; `None`: this process may not know.
    pub(super) ours: Option<BTreeSet<u32>>,
    /// Ids of this namespace's socket lookup programs; `None`: this process may not know.
    pub(super) socket_lookup: Option<Vec<u32>>,
    /// Ids of those of them that are called as dbfw's backstop, where nothing is pinned.
    pub(super) backstops: BTreeSet<u32>,
}

impl Links {
    /// Those of this network namespace, as far as this process may see them.
    pub(super) fn of(agent: &AgentConfig) -> Self {
        let pinned = Reader::open(&agent.pin_dir).and_then(|reader| reader.links());
        let backstops = match &pinned {
            Err(error) if !error.is_denied() => attached_programs(&[]).unwrap_or_default(),
            _ => Vec::new(),
        };
        let ours = match pinned {
            Ok(links) => {
                Some(links.iter().filter(|link| link.ours).map(|link| link.program).collect())
            }
            Err(error) if error.is_denied() => None,
            // Lost under an agent, pinned elsewhere, or there is none.
            Err(_) => Some(programs_of_the_agent(agent)),
        };
        Self {
            interfaces: interfaces::list_now().map_err(|error| error.to_string()),
            ours,
            socket_lookup: dbfw_datapath::socket_lookup_programs().ok(),
            backstops: backstops.into_iter().map(|program| program.id).collect(),
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
