//! [`Facts`]: what the agent has to report to its control plane.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use dbfw_core::source::SourceKey;
use dbfw_wire::agent::{AppliedState, HostFinding, HostProblem};
use jiff::Timestamp;

/// Facts that the agent has to report to its control plane. Lists go by their names at the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Whether the host is protected, as in `dbfw status -o json`.
    pub protection: String,
    /// The problems of the host, the worst first.
    pub problems: Vec<HostProblem>,
    /// The state of each list that was read from the server.
    pub lists: BTreeMap<Arc<str>, ListFacts>,
    /// The sources refused most.
    pub refused: BTreeMap<Arc<str>, Vec<RefusedSource>>,
    /// The use of each trusted source.
    pub hits: BTreeMap<Arc<str>, BTreeMap<SourceKey, Use>>,
    /// The last saved audit.
    pub audit: Option<AuditFacts>,
}

/// An audit of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFacts {
    /// The time of the audit.
    pub at: Timestamp,
    /// Its level.
    pub level: String,
    /// The problems, the worst first: of each the list of its database, or `None` where it is about
    /// the host.
    pub findings: Vec<(Option<Arc<str>>, HostFinding)>,
    /// Whether there are more.
    pub more: bool,
}

/// The state of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFacts {
    /// The epoch of the list that was judged.
    pub epoch: u64,
    /// Its revision.
    pub revision: u64,
    /// Its state.
    pub state: AppliedState,
    /// The first of the sources that the host's own limits keep out.
    pub left_out: Vec<LeftOutSource>,
    /// The number of all such sources.
    pub left_out_total: u64,
}

/// A source that the host's own limits keep out, wholly or in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOutSource {
    /// The source.
    pub key: SourceKey,
    /// The setting that keeps it out.
    pub guard: &'static str,
    /// The number of its prefixes that are left out.
    pub prefixes: u64,
    /// The reason.
    pub message: String,
}

/// A source whose packets the host drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSource {
    /// The source.
    pub address: IpAddr,
    /// The ports it asked for: `tcp/5432`.
    pub ports: Vec<String>,
    /// Packets that were dropped.
    pub packets: u64,
    /// The time of the first.
    pub first_seen: Timestamp,
    /// The time of the last.
    pub last_seen: Timestamp,
}

/// The use of a trusted source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Packets that were let in.
    pub packets: u64,
    /// The time of the last one.
    pub last_hit: Option<Timestamp>,
}
