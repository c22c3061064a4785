//! Databases.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Adds a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseRequest {
    /// Its name: lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// Its id, if it has one elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// Its settings, as far as they are not the usual ones.
    #[serde(default)]
    pub settings: DatabaseSettings,
}

/// Settings of a database; those that are absent stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSettings {
    /// `pg`, `mysql`, `redis`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The engine's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// A label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// The host name or address that clients are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port that clients are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The database's certificate authority, PEM; empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Whether its list may trust everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_any: Option<bool>,
    /// The lengths of the shortest prefixes of its list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_prefix: Option<MinPrefix>,
    /// Whether a change without If-Match is merged with others'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<bool>,
    /// Time that the answer to a change waits for the hosts, as in `1s`; empty: as the server's
    /// configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
}

/// The lengths of the shortest prefixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinPrefix {
    /// Of IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<u8>,
    /// Of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<u8>,
}

/// A database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseDocument {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its settings, all of them.
    pub settings: DatabaseSettings,
    /// The number of its trusted sources.
    pub sources: usize,
    /// The version of its list.
    pub list_version: u64,
    /// The time at which it was added.
    pub created_at: Timestamp,
    /// The name of the token that added it.
    pub created_by: String,
}

/// Every database that the token is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseList {
    /// By name.
    pub databases: Vec<DatabaseDocument>,
}
