//! The history of a list.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::source::SourceDocument;

/// A change of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeDocument {
    /// The version that it made.
    pub version: u64,
    /// Its time.
    pub at: Timestamp,
    /// The name of who made it.
    pub by: String,
    /// The token it was made with.
    pub token: Option<Uuid>,
    /// The kind of client: `doctl`, `terraform`, `pydo`, `godo`, `api`, `admin` or `server`.
    pub via: String,
    /// The name that the client gives itself.
    pub agent: Option<String>,
    /// The address it came from.
    pub from: Option<IpAddr>,
    /// The reason given.
    pub reason: Option<String>,
    /// The version that it went back to.
    pub reverts_to: Option<u64>,
    /// The number of others' changes that it kept, which the client had not read.
    pub merged: usize,
    /// The sources that it added.
    pub added: Vec<SourceDocument>,
    /// The sources that it removed.
    pub removed: Vec<SourceDocument>,
    /// The edits of sources.
    pub edited: Vec<EditedSource>,
    /// SHA-256 of the change before.
    pub previous_sha256: String,
}

/// A change of a source's details.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditedSource {
    /// The source.
    pub uuid: Uuid,
    /// Its description before.
    pub description_before: Option<String>,
    /// Its description afterwards.
    pub description: Option<String>,
    /// Its expiry before.
    pub expires_at_before: Option<Timestamp>,
    /// Its expiry afterwards.
    pub expires_at: Option<Timestamp>,
}

/// Changes of a list, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// They.
    pub changes: Vec<ChangeDocument>,
}

/// Goes back to an earlier version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevertRequest {
    /// The reason, for the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The version after going back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reverted {
    /// It.
    pub version: u64,
}
