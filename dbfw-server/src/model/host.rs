//! [`Host`]: a database host that has joined, and [`JoinGrant`], what lets one join.

use std::{collections::BTreeSet, net::IpAddr};

use dbfw_wire::agent::HostToken;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::change::digest;

/// A database host: its agent may read the lists of these databases, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its id.
    pub id: Uuid,
    /// The name that it gave when it joined; another host may have the same.
    pub name: String,
    /// SHA-256 of its token's secret, in hexadecimal digits.
    pub secret_sha256: String,
    /// The databases whose lists it may read.
    pub databases: BTreeSet<Uuid>,
    /// The time at which it joined.
    pub joined_at: Timestamp,
    /// The name of the token that its join token was made with.
    pub joined_by: String,
    /// The address that it joined from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_from: Option<IpAddr>,
    /// The time of its last request, to the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
}

impl Host {
    /// Whether a token is this host's.
    pub fn has(&self, token: &HostToken) -> bool {
        self.id == token.host && self.secret_sha256 == digest(token.secret.as_bytes())
    }
}

/// The stored half of a join token: hosts may join with it until it is used up or expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinGrant {
    /// Its id.
    pub id: Uuid,
    /// SHA-256 of its secret, in hexadecimal digits.
    pub secret_sha256: String,
    /// The databases whose lists the hosts may read.
    pub databases: BTreeSet<Uuid>,
    /// The number of hosts that may still join.
    pub uses: u32,
    /// The time from which on nobody joins.
    pub expires_at: Timestamp,
    /// The time of its making.
    pub created_at: Timestamp,
    /// The name of the token that made it.
    pub created_by: String,
}

impl JoinGrant {
    /// Whether nobody joins with it any more.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.uses == 0 || self.expires_at <= now
    }
}
