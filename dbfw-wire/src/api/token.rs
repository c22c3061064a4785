//! Tokens.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Makes a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Its name, for people and the history.
    pub name: String,
    /// `viewer`, `editor` or `admin`, in place of scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Its scopes: `database:read`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The databases that it is for, by id or name; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub databases: Option<Vec<String>>,
    /// The time from which on it counts no more, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenDocument {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The beginning of its secret.
    pub begins_with: String,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// The ids of the databases that it is for; `null`: all.
    pub databases: Option<Vec<Uuid>>,
    /// The time from which on it counts no more.
    pub expires_at: Option<Timestamp>,
    /// The time of its making.
    pub created_at: Timestamp,
    /// The name of the token that made it.
    pub created_by: String,
    /// The time of its last use, to the hour.
    pub last_used: Option<Timestamp>,
}

/// A new token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedToken {
    /// It.
    pub token: TokenDocument,
    /// Its secret, which is shown only here.
    pub secret: String,
}

/// Every token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenList {
    /// By name.
    pub tokens: Vec<TokenDocument>,
}
