//! [`AuditEntry`]: an entry of the fleet's history, beside the histories of lists.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::change::{By, Via};

/// An entry of the fleet's history: who logged in, and who changed tokens, hosts and databases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its time.
    pub at: Timestamp,
    /// The action.
    pub action: AuditAction,
    /// By whom; `None`: by a host that joined, or by somebody whose token was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// By what kind of client.
    pub via: Via,
    /// The address it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// The name of the token, host or database that it is about; may be empty.
    pub subject: String,
}

/// An action that the fleet's history has.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum AuditAction {
    /// Somebody logged in to the panel.
    LoggedIn,
    /// A wrong token was shown to the panel.
    LoginRefused,
    /// A wrong token was shown to an API.
    TokenRefused,
    /// A wrong token of a host was shown.
    HostRefused,
    /// A wrong join token was shown.
    JoinRefused,
    /// A token was made.
    TokenAdded,
    /// A token was revoked.
    TokenRemoved,
    /// A join token was made.
    JoinTokenAdded,
    /// A join token was taken back.
    JoinTokenRemoved,
    /// A host joined.
    HostJoined,
    /// A host was removed.
    HostRemoved,
    /// A database was added.
    DatabaseAdded,
    /// Settings of a database were changed.
    DatabaseChanged,
    /// A database was removed.
    DatabaseRemoved,
    /// A loss of addresses of a trusted source was confirmed.
    LossConfirmed,
}

impl AuditAction {
    /// Every action.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The word of the APIs.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}
