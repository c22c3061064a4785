//! Hosts, and the tokens that let them join.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::LiveHost;

/// Makes a join token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinTokenRequest {
    /// The databases whose lists the hosts may read, by id or name.
    pub databases: Vec<String>,
    /// The number of hosts that may join; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// The time for which it counts, as in `24h`; absent: `1h`.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<String>,
}

/// A join token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenDocument {
    /// Its id.
    pub id: Uuid,
    /// The ids of the databases whose lists the hosts may read.
    pub databases: Vec<Uuid>,
    /// The number of hosts that may still join.
    pub uses: u32,
    /// The time from which on nobody joins.
    pub expires_at: Timestamp,
    /// The time of its making.
    pub created_at: Timestamp,
    /// The name of the token that made it.
    pub created_by: String,
}

/// A new join token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedJoinToken {
    /// It.
    pub join_token: JoinTokenDocument,
    /// Its secret, which is shown only here.
    pub secret: String,
    /// The address by which hosts reach the server.
    pub url: String,
}

/// Without the secret.
impl std::fmt::Debug for IssuedJoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedJoinToken")
            .field("join_token", &self.join_token)
            .finish_non_exhaustive()
    }
}

/// Every join token that hosts may still join with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenList {
    /// The one that ends first first.
    pub join_tokens: Vec<JoinTokenDocument>,
}

/// A database host that joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDocument {
    /// Its id.
    pub id: Uuid,
    /// The name that it gave when it joined.
    pub name: String,
    /// The ids of the databases whose lists it may read.
    pub databases: Vec<Uuid>,
    /// The time at which it joined.
    pub joined_at: Timestamp,
    /// The name of the token that its join token was made with.
    pub joined_by: String,
    /// The time of its last request, to the hour.
    pub last_seen: Option<Timestamp>,
    /// Live facts of it, which are not stored.
    pub live: LiveHost,
}

/// Every host with databases that the token is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostList {
    /// By name.
    pub hosts: Vec<HostDocument>,
}
