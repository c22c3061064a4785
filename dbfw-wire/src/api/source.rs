//! Trusted sources of a database.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Resolution;
use crate::absent::said;

/// Adds a trusted source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRequest {
    /// `ip_addr`, `droplet`, `k8s`, `app`, `tag`, `vpc`, `dns` or `feed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// An address, CIDR or range; an id; a name.
    pub value: String,
    /// For people.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub description: Option<Option<String>>,
    /// The time from which on it is trusted no more, RFC 3339.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Option<String>>,
    /// The time for which it is trusted, in place of `expires_at`: `1h`.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<String>,
    /// The reason, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Changes a trusted source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcePatch {
    /// For people.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub description: Option<Option<String>>,
    /// The time from which on it is trusted no more, RFC 3339.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Option<String>>,
    /// The time for which it is trusted from now, in place of `expires_at`: `1h`.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<String>,
    /// The reason, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Replaces all trusted sources. Needs If-Match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcesRequest {
    /// All that are to be. Their reasons are not read.
    pub sources: Vec<SourceRequest>,
    /// The reason, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A trusted source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceDocument {
    /// Its id.
    pub uuid: Uuid,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its value, as written.
    pub value: String,
    /// For people.
    pub description: Option<String>,
    /// The time from which on it is trusted no more.
    pub expires_at: Option<Timestamp>,
    /// The time at which it was added.
    pub created_at: Timestamp,
    /// The name of the token that added it.
    pub created_by: String,
    /// Packets from it that the hosts let in since their agents count; absent in a history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hits: Option<u64>,
    /// The time of the last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_hit: Option<Timestamp>,
    /// Its resolution, if the server resolves it; absent in a history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Resolution>,
}

/// The trusted sources of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceList {
    /// The version of the list.
    pub version: u64,
    /// They, in order.
    pub sources: Vec<SourceDocument>,
}
