//! The history of the fleet.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An entry of the fleet's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditDocument {
    /// Its time.
    pub at: Timestamp,
    /// The action: `logged_in`, `login_refused`, `token_added`, `host_joined`, …
    pub action: String,
    /// The name of who did it; null: a host that joined, or somebody whose token was refused.
    pub by: Option<String>,
    /// The token it was done with.
    pub token: Option<Uuid>,
    /// The kind of client.
    pub via: String,
    /// The address it came from.
    pub from: Option<IpAddr>,
    /// The name of the token, host or database that it is about; may be empty.
    pub subject: String,
}

/// The last entries of the fleet's history, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditList {
    /// The entries.
    pub entries: Vec<AuditDocument>,
}
