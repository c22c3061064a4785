//! [`Report`]: what an agent says of what it enforces.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The body of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The host's id.
    pub host: Uuid,
    /// The id of this start of the agent.
    pub boot: Uuid,
    /// `yes`, `degraded`, `no` or `unknown`, as in `dbfw status -o json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<String>,
    /// The problems of the host, the worst first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problems: Option<Vec<HostProblem>>,
    /// Lists that are in force or refused now, where that changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applied: Vec<Applied>,
    /// The sources refused most, of each database that changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
    /// The use of trusted sources, of each that changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hits: Vec<Hits>,
    /// The last saved audit of the host, if it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<HostAudit>,
}

/// An audit of a host's databases. Words of later versions are passed on as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAudit {
    /// The time of the audit.
    pub at: Timestamp,
    /// Its level: `host`, `wire`, ….
    pub level: String,
    /// Problems of the host, and of the databases whose lists the server keeps, the worst first; the
    /// first [`super::MAX_FINDINGS`].
    pub findings: Vec<HostFinding>,
    /// Whether there are more.
    #[serde(default)]
    pub more: bool,
}

/// A problem that an audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFinding {
    /// The database's id at the server; absent: it is about the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Uuid>,
    /// The check: `X-5`.
    pub check: String,
    /// The weight: `high`.
    pub severity: String,
    /// The subject: an endpoint, a line, a trusted source; absent: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// A problem of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostProblem {
    /// Its subject: an interface, a database; may be empty.
    pub subject: String,
    /// The text.
    pub text: String,
}

/// The state of a list at a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The database's id at the server.
    pub database: Uuid,
    /// The epoch of the list.
    pub epoch: u64,
    /// Its revision.
    pub revision: u64,
    /// Its state.
    #[serde(flatten)]
    pub state: AppliedState,
    /// Sources of the list that the host's own limits keep out, wholly or in part; the first
    /// [`super::MAX_LEFT_OUT`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// The number of all such sources.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out_total: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A source that a host trusts only in part, or not at all, though the list has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The source's id.
    pub source: Uuid,
    /// The limit of the host: `within` or `min_prefix`.
    pub guard: String,
    /// The number of its prefixes that are left out.
    pub prefixes: u64,
    /// The reason, with prefixes.
    pub message: String,
}

/// The state of a list at a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum AppliedState {
    /// The kernel holds it; it was read back.
    Applied {
        /// The generation of the maps.
        generation: u64,
        /// Prefixes that are in force.
        prefixes: u64,
    },
    /// The kernel holds it, and drops nothing: the database is observed, or off.
    Observing {
        /// Prefixes that are trusted.
        prefixes: u64,
    },
    /// The host refused it as a whole; what was in force stays.
    Refused {
        /// The guard: `max_shrink`, `allow_any`, …; `regressed` for an earlier revision of the same
        /// epoch, `store` for another store than the one that the host joined.
        guard: String,
        /// The id by which it can be confirmed on the host, if it can.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan: Option<String>,
        /// The reason.
        message: String,
    },
    /// It could not be read or written; what was in force stays.
    Failed {
        /// The reason.
        message: String,
    },
}

/// A source whose packets a host drops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The database's id at the server.
    pub database: Uuid,
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

/// The use of a trusted source at a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hits {
    /// The database's id at the server.
    pub database: Uuid,
    /// The source's id.
    pub source: Uuid,
    /// Packets that were let in since the agent counts.
    pub packets: u64,
    /// The time of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_hit: Option<Timestamp>,
}
