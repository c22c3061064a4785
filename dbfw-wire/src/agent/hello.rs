//! [`Hello`]: what an agent says when it opens a stream.

use dbfw_core::source::Prefix;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Digest;

/// The body of a request for a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// The agent's version.
    pub version: String,
    /// The host's id, which joining gave.
    pub host: Uuid,
    /// An id of this start of the agent: two at once are two hosts with one token.
    pub boot: Uuid,
    /// The host's name, for people.
    pub hostname: String,
    /// The databases whose lists it wants.
    pub databases: Vec<HostDatabase>,
}

/// A database of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDatabase {
    /// Its name in the host's configuration.
    pub name: String,
    /// The name of the list at the server.
    pub database: String,
    /// Its ports: `tcp/5432`.
    pub ports: Vec<String>,
    /// `enforce`, `observe` or `off`.
    pub mode: String,
    /// The host's limits to what the server may grant.
    pub guards: HostGuards,
    /// The list that the host has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub have: Option<Have>,
}

/// A host's limits to what the server may grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostGuards {
    /// Whether a list may trust everybody.
    pub allow_any: bool,
    /// The lengths of the shortest prefixes, IPv4 and IPv6.
    pub min_prefix: [u8; 2],
    /// The networks that every prefix has to be inside of; `None`: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Vec<Prefix>>,
}

/// The list that a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// Its epoch.
    pub epoch: u64,
    /// Its revision.
    pub revision: u64,
    /// Its digest.
    pub digest: Digest,
}
