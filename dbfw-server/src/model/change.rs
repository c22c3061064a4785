//! [`Change`]: an entry of a list's history.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use strum::{Display, IntoStaticStr, VariantArray};
use uuid::Uuid;

use crate::list::Difference;

/// A change of a list: who, how, from where, what. Every version of a list has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The version that it made.
    pub version: u64,
    /// Its time.
    pub at: Timestamp,
    /// By whom.
    pub by: By,
    /// By what kind of client.
    pub via: Via,
    /// The name that the client gives itself, cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The address it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// The reason given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The version that it went back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverts_to: Option<u64>,
    /// Changes of others since the client read, where those were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<Kept>,
    /// The difference.
    pub difference: Difference,
    /// SHA-256 of the change before; empty at the first.
    pub previous_sha256: String,
}

/// The author of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum By {
    /// Whoever has a token.
    Token {
        /// Its id.
        id: Uuid,
        /// Its name then.
        name: String,
    },
    /// A user of the server's own machine, through the admin socket.
    User {
        /// The user.
        uid: u32,
    },
    /// The server, by a rule's expiry.
    Expiry,
}

impl By {
    /// The name that rules keep.
    pub fn name(&self) -> String {
        match self {
            Self::Token { name, .. } => name.clone(),
            Self::User { uid: 0 } => "root".to_owned(),
            Self::User { uid } => format!("uid {uid}"),
            Self::Expiry => "expiry".to_owned(),
        }
    }
}

/// The kind of client that made a change.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Via {
    /// DigitalOcean's command line.
    Doctl,
    /// Terraform's provider.
    Terraform,
    /// DigitalOcean's library for Python.
    Pydo,
    /// DigitalOcean's library for Go, in some other program.
    Godo,
    /// The panel.
    Panel,
    /// Any other client of an API.
    Api,
    /// The admin socket.
    Admin,
    /// The server itself.
    Server,
}

impl Via {
    /// Every kind.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The word.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// The kind of a client by its User-Agent.
    pub fn of_agent(agent: &str) -> Self {
        let agent = agent.to_ascii_lowercase();
        let kinds = [
            ("doctl", Self::Doctl),
            ("terraform", Self::Terraform),
            ("pydo", Self::Pydo),
            ("godo", Self::Godo),
        ];
        let known = kinds.iter().find(|(word, _)| agent.contains(word));
        known.map_or(Self::Api, |(_, via)| *via)
    }
}

/// The changes of others that a merge kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Sources that others had added.
    pub added: usize,
    /// Sources that others had removed.
    pub removed: usize,
}

/// SHA-256 of a stored document, in hexadecimal digits.
pub fn digest(document: &[u8]) -> String {
    Sha256::digest(document).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_known_by_their_user_agents() {
        for (agent, via) in [
            ("doctl/1.2.3 (linux amd64) godo/1.2", Via::Doctl),
            ("HashiCorp Terraform/1.11.4 godo/1.2", Via::Terraform),
            ("azsdk-python-pydo/0.44.0 Python/3.13", Via::Pydo),
            ("godo/1.2", Via::Godo),
            ("curl/8", Via::Api),
            ("", Via::Api),
        ] {
            assert_eq!(Via::of_agent(agent), via, "{agent}");
        }
    }
}
