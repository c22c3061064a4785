//! The interfaces of the host, and the programs on them.

use std::{collections::BTreeSet, net::IpAddr};

use dbfw_common::Family;
use dbfw_datapath::{
    DatapathError, Interface, LocalRoutes, PinnedLink, Reader, attached_programs, interfaces,
};
use dbfw_wire::control::{Finding, InterfaceMode, Request, Status};

use super::{finding, host::Host};
use crate::{
    config::AgentConfig,
    control::{SOCKET_NAME, client::Client},
    protection::Attachments,
    readers::offline,
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
    /// The attachments of dbfw; `None`: this process cannot tell.
    pub(super) attached: Option<Attachments>,
    /// This host's addresses that the maps do not have: they came up while no agent ran.
    pub(super) new_addresses: Vec<IpAddr>,
    /// Addresses that the maps have among this host's and that are its no more: they went while no
    /// agent ran.
    pub(super) former_addresses: Vec<IpAddr>,
    /// Whether an agent answers.
    pub(super) agent_answers: bool,
}

impl Links {
    /// Whether an agent keeps up what is attached.
    pub(super) fn check_agent(&self) -> Option<Finding> {
        let is_attached = self
            .attached
            .as_ref()
            .is_some_and(|attached| attached.has_hooks() || attached.has_backstop());
        if !is_attached || self.agent_answers {
            return None;
        }
        let detail = "no agent answers: what is attached goes on filtering, but no list, expiry, \
                      address or interface is followed, and nothing that is lost is attached again";
        Some(finding::warn("agent", detail, "systemctl status dbfw; systemctl start dbfw"))
    }

    /// Those of this network namespace, as far as this process may see them.
    pub(super) fn of(host: &Host, agent: &AgentConfig) -> Self {
        let interfaces = interfaces::list_now().map_err(|error| error.to_string());
        let here = interfaces.as_deref().unwrap_or_default();
        let pinned = Pinned::read(host, agent, here);
        let is_denied = pinned.as_ref().is_err_and(DatapathError::is_denied);
        let answered = status(agent);
        let agent_answers = answered.is_some();
        let status = answered.filter(|_| pinned.is_err());
        // Of a configuration that names another pin_dir, or a bad one.
        let elsewhere = match &pinned {
            Err(error) if !error.is_denied() => attached_programs(here).ok(),
            _ => None,
        };
        let is_nothing_attached = elsewhere.as_ref().is_some_and(Vec::is_empty);
        let ours = match &pinned {
            Ok(pinned) => {
                let ours = pinned.links.iter().filter(|link| link.ours);
                Some(ours.map(|link| link.program).collect())
            }
            Err(_) if is_denied => None,
            // Lost under an agent, pinned elsewhere, or there is none.
            Err(_) => {
                let agent = status.as_ref().and_then(|status| status.agent.as_ref());
                Some(
                    agent.map(|agent| agent.programs.iter().copied().collect()).unwrap_or_default(),
                )
            }
        };
        let (new_addresses, former_addresses) = pinned
            .as_ref()
            .map(|pinned| (pinned.new_addresses.clone(), pinned.former_addresses.clone()))
            .unwrap_or_default();
        let attached = match (pinned, &status) {
            (Ok(pinned), _) => Some(pinned.attached),
            (Err(_), Some(status)) => Some(told_by(status, here)),
            (Err(_), None) => is_nothing_attached.then(Attachments::default),
        };
        Self {
            ours,
            socket_lookup: dbfw_datapath::socket_lookup_programs().ok(),
            backstops: elsewhere.into_iter().flatten().map(|program| program.id).collect(),
            attached,
            new_addresses,
            former_addresses,
            agent_answers,
            interfaces,
        }
    }
}

/// The pinned links, and what of them is attached.
struct Pinned {
    links: Vec<PinnedLink>,
    attached: Attachments,
    new_addresses: Vec<IpAddr>,
    former_addresses: Vec<IpAddr>,
}

impl Pinned {
    fn read(host: &Host, agent: &AgentConfig, here: &[Interface]) -> Result<Self, DatapathError> {
        let reader = Reader::open(&agent.pin_dir)?;
        let links = reader.links()?;
        let attached = offline::attachments(&reader, &links, here)?;
        let mut new_addresses = Vec::new();
        for (_, address) in host.addresses() {
            if !address.is_loopback() && !reader.is_local(address)? {
                new_addresses.push(address);
            }
        }
        let mut former_addresses = Vec::new();
        // Where this host's cannot be read, nobody's is said to be gone.
        if let Ok(local) = LocalRoutes::read_now() {
            for family in Family::ALL {
                let held = reader.local_addresses(family)?.into_iter();
                former_addresses.extend(held.filter(|address| !local.holds(*address)));
            }
        }
        Ok(Self { links, attached, new_addresses, former_addresses })
    }
}

/// The status of the running agent; `None`: none answers.
fn status(agent: &AgentConfig) -> Option<Status> {
    let client = Client::connect(&agent.run_dir.join(SOCKET_NAME)).ok()?;
    client.call(&Request::Status {}).ok()
}

/// The attachments, as an agent read them back.
fn told_by(status: &Status, here: &[Interface]) -> Attachments {
    let is_attached = !status.agent.as_ref().is_some_and(|agent| agent.detached);
    let rows = status
        .interfaces
        .iter()
        .filter(|row| is_attached && row.healthy && row.mode != InterfaceMode::None);
    let backstop = status.backstop.as_ref();
    let exempt = backstop.into_iter().flat_map(|backstop| &backstop.exempt);
    let exempt = exempt.filter_map(|name| here.iter().find(|interface| interface.name == *name));
    Attachments::new(
        rows.map(|row| row.ifindex),
        is_attached && backstop.is_some_and(|backstop| backstop.healthy),
        exempt.map(|interface| interface.index),
    )
}
