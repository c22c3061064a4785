//! The state of databases and hosts.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};
use uuid::Uuid;

use crate::agent::{HostAudit, HostProblem};

/// The state of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseStatus {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: DatabaseState,
    /// The version of its list.
    pub list_version: u64,
    /// The number of times that the store was loaded from a backup, and 1.
    pub epoch: u64,
    /// The revision of its list, by which hosts know it.
    pub revision: u64,
    /// The number of hosts that follow its list now.
    pub connected: usize,
    /// The hosts that may read its list, by name. One that is connected and did not ask for it is not
    /// among them.
    pub hosts: Vec<HostAtDatabase>,
    /// The times from the commit of the newest list to the reports of the hosts; `null`: none yet.
    pub propagation: Option<Propagation>,
}

/// The state of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DatabaseState {
    /// Every host enforces the newest list.
    Active,
    /// Some have not answered yet.
    Pending,
    /// Some refused it, failed, are offline, or have not answered for 10 seconds.
    Degraded,
}

/// The state of a database's list at a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAtDatabase {
    /// The host's id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The state of the newest list there.
    pub state: HostState,
    /// The time from which on it is so; `null`: nothing was heard yet.
    pub since: Option<Timestamp>,
    /// The last revision that the host told of.
    pub revision: Option<u64>,
    /// The database's ports there: `tcp/5432`.
    pub ports: Vec<String>,
    /// Its mode there: `enforce`, `observe` or `off`.
    pub mode: String,
    /// The number of prefixes in force.
    pub prefixes: Option<u64>,
    /// The guard of the host that refused the list.
    pub guard: Option<String>,
    /// The id by which it can be confirmed on the host.
    pub plan: Option<String>,
    /// The reason why it was refused or failed.
    pub message: Option<String>,
    /// The number of sources that the host's own limits keep out.
    pub left_out: u64,
}

/// The state of a list at a host.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum HostState {
    /// In force, as read back from the kernel.
    Applied,
    /// In force, and nothing is dropped: the database is observed there, or off.
    Observing,
    /// Not heard of yet.
    Pending,
    /// Refused by a guard of the host.
    Refused,
    /// Not read or written.
    Failed,
    /// The host has no stream.
    Offline,
}

impl HostState {
    /// Every state.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The word.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// The times from a commit to the reports of hosts, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propagation {
    /// Half of them took no longer.
    pub p50_ms: u64,
    /// 99 of a hundred took no longer.
    pub p99_ms: u64,
    /// The longest.
    pub max_ms: u64,
}

/// Live facts of a host, which are not stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveHost {
    /// Whether it has a stream.
    pub connected: bool,
    /// Whether two agents use its token at once.
    pub used_twice: bool,
    /// The last time that something was heard of it since the server started.
    pub last_heard: Option<Timestamp>,
    /// The name that it gives itself.
    pub hostname: String,
    /// The agent's version.
    pub version: String,
    /// `yes`, `degraded`, `no` or `unknown`.
    pub protection: Option<String>,
    /// Its problems.
    pub problems: Vec<HostProblem>,
    /// Its last saved audit.
    #[serde(default)]
    pub audit: Option<HostAudit>,
    /// Its databases, by their ids.
    pub databases: BTreeMap<Uuid, HostAtDatabase>,
}

impl LiveHost {
    /// Leaves out what is about other databases than those.
    pub fn retain_databases(&mut self, is_seen: impl Fn(Uuid) -> bool) {
        self.databases.retain(|id, _| is_seen(*id));
        if let Some(audit) = &mut self.audit {
            audit.findings.retain(|finding| finding.database.is_none_or(&is_seen));
        }
    }
}

/// A source that hosts refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedSource {
    /// The source.
    pub address: IpAddr,
    /// The number of hosts that saw it.
    pub hosts: usize,
    /// The names of the first of them.
    pub host_names: Vec<String>,
    /// The ports it asked for.
    pub ports: Vec<String>,
    /// Packets that were dropped.
    pub packets: u64,
    /// The time of the first.
    pub first_seen: Timestamp,
    /// The time of the last.
    pub last_seen: Timestamp,
}

/// The sources that the hosts of a database refuse.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedSources {
    /// Those of most packets first, at most 1,000.
    pub refused: Vec<RefusedSource>,
}
