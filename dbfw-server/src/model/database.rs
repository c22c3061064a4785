//! [`Database`]: what is known of a database besides its list.

use std::{fmt, str::FromStr, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest that the answer to a change waits for the hosts.
pub const MAX_WAIT: Duration = Duration::from_secs(30);

/// Bytes of a name.
const MAX_NAME: usize = 63;

/// A database whose trusted sources are managed here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Its id, for ever.
    pub id: Uuid,
    /// Its name, which no other has.
    pub name: Name,
    /// `pg`, `mysql`, …: for clients that show it.
    pub engine: String,
    /// The engine's version; may be empty.
    pub version: String,
    /// A label; may be empty.
    pub region: String,
    /// Labels.
    pub tags: Vec<String>,
    /// The way by which clients reach it, for those that ask.
    pub connection: Connection,
    /// The certificate authority of the database, PEM, for clients that ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Whether its list may trust everybody.
    pub allow_any: bool,
    /// The lengths of the shortest prefixes of its list, IPv4 and IPv6.
    pub min_prefix: [u8; 2],
    /// Whether a change without If-Match is merged with others'.
    pub merge: bool,
    /// Milliseconds that the answer to a change waits for the hosts; `None`: as the server's
    /// configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u32>,
    /// The time at which it was added, in whole seconds.
    pub created_at: Timestamp,
    /// The name of the token that added it.
    pub created_by: String,
}

impl Database {
    /// Time that the answer to a change waits for the hosts, if it is set.
    pub fn wait(&self) -> Option<Duration> {
        self.wait_ms.map(|ms| Duration::from_millis(ms.into()))
    }
}

/// The way by which clients reach a database. Never a user or a password.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// A host name or an address; may be empty.
    pub host: String,
    /// A port; 0 is unknown.
    pub port: u16,
}

/// The name of a database: lower-case letters, digits, `-` and `_`, and nothing that looks like
/// an id, since either stands in a URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A text is not the name of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A character that no name has, or none at all, or too many.
    #[error(
        "a name has 1 to 63 lower-case letters, digits, - and _, and begins with a letter or a digit"
    )]
    Form,
    /// It would be taken for an id.
    #[error("a name does not look like an id: choose another")]
    LikeAnId,
}

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let allowed = |byte: u8| plain(byte) || matches!(byte, b'-' | b'_');
        let is_name = (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(allowed)
            && text.bytes().next().is_some_and(plain);
        if !is_name {
            return Err(NameError::Form);
        }
        if text.parse::<Uuid>().is_ok() {
            return Err(NameError::LikeAnId);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["orders", "o", "db-1_a", "0", &"x".repeat(63)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in ["", "Orders", "a b", "a/b", "-a", "ü", "a.b", &"x".repeat(64)] {
            assert_eq!(bad.parse::<Name>(), Err(NameError::Form), "{bad}");
        }
        for id in ["9cc10173-e9ea-4176-9dbc-a4cee4c4ff30", "9cc10173e9ea41769dbca4cee4c4ff30"] {
            assert_eq!(id.parse::<Name>(), Err(NameError::LikeAnId));
        }
    }
}
