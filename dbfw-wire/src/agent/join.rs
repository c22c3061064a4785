//! Joining: how a host gets its token.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Digest;

/// The text that every join token begins with.
const PREFIX: &str = "dbfwj_";
/// The text that every host token begins with.
const HOST_PREFIX: &str = "dbfwh_";
/// Bytes of a secret, each two hexadecimal digits.
const SECRET: usize = 32;

/// The body of a request to join.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The join token.
    pub token: String,
    /// The host's name, for people.
    pub hostname: String,
}

/// The answer to a request to join.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The host's id.
    pub host: Uuid,
    /// The host's token, a [`HostToken`], which is shown once.
    pub token: String,
    /// The certificates of the authorities that the server's certificate comes from, PEM.
    pub ca: String,
    /// The name of the server.
    pub server: String,
    /// The names of the databases whose lists the host may read.
    pub databases: Vec<String>,
}

/// A join token: `dbfwj_ID.SECRET.PIN`. The pin is SHA-256 of the public key (SPKI) of the
/// authority that the server's certificate comes from; a server whose certificate comes from a
/// public authority gives none.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Its id.
    pub id: Uuid,
    /// Its secret, hexadecimal digits.
    pub secret: String,
    /// The pin.
    pub pin: Option<Digest>,
}

/// A text is no join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinTokenError {
    /// It begins with something else.
    #[error("a join token begins with {PREFIX}")]
    Prefix,
    /// A part is missing, or is other than it should be.
    #[error("the join token is damaged or not whole: copy all of the line that was printed")]
    Damaged,
}

impl FromStr for JoinToken {
    type Err = JoinTokenError;

    fn from_str(text: &str) -> Result<Self, JoinTokenError> {
        let parts = text.strip_prefix(PREFIX).ok_or(JoinTokenError::Prefix)?;
        let mut parts = parts.split('.');
        let (Some(id), Some(secret)) = (parts.next(), parts.next()) else {
            return Err(JoinTokenError::Damaged);
        };
        let pin = parts.next();
        if !is_secret(secret) || parts.next().is_some() {
            return Err(JoinTokenError::Damaged);
        }
        let id = Uuid::try_parse(id).map_err(|_| JoinTokenError::Damaged)?;
        let pin = pin.map(Digest::from_digits).transpose().map_err(|_| JoinTokenError::Damaged)?;
        Ok(Self { id, secret: secret.to_owned(), pin })
    }
}

impl JoinToken {
    /// The text, with the secret.
    pub fn reveal(&self) -> String {
        let pin = self.pin.map(|pin| format!(".{}", pin.digits())).unwrap_or_default();
        format!("{PREFIX}{}.{}{pin}", self.id.simple(), self.secret)
    }
}

/// Without the secret.
impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Without the token.
impl fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinRequest").field("hostname", &self.hostname).finish_non_exhaustive()
    }
}

/// Without the token.
impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joined").field("host", &self.host).finish_non_exhaustive()
    }
}

fn is_secret(text: &str) -> bool {
    text.len() == 2 * SECRET && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// A host's token: `dbfwh_HOST.SECRET`, with the host's id without dashes.
#[derive(Clone, PartialEq, Eq)]
pub struct HostToken {
    /// The host's id.
    pub host: Uuid,
    /// Its secret, hexadecimal digits.
    pub secret: String,
}

/// A text is no host token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a host's token is {HOST_PREFIX}, its id, a dot and 64 hexadecimal digits")]
pub struct HostTokenError;

impl FromStr for HostToken {
    type Err = HostTokenError;

    fn from_str(text: &str) -> Result<Self, HostTokenError> {
        let (host, secret) = text
            .strip_prefix(HOST_PREFIX)
            .and_then(|parts| parts.split_once('.'))
            .filter(|(_, secret)| is_secret(secret))
            .ok_or(HostTokenError)?;
        let host = Uuid::try_parse(host).map_err(|_| HostTokenError)?;
        Ok(Self { host, secret: secret.to_owned() })
    }
}

impl HostToken {
    /// The text, with the secret.
    pub fn reveal(&self) -> String {
        format!("{HOST_PREFIX}{}.{}", self.host.simple(), self.secret)
    }
}

/// Without the secret.
impl fmt::Debug for HostToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostToken").field("host", &self.host).finish_non_exhaustive()
    }
}
