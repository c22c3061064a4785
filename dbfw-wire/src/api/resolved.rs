//! The resolution of trusted sources at the server.

use dbfw_core::answers::SourceState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::words::words;

/// The resolution of a trusted source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// The state of the last answer.
    pub state: ResolutionState,
    /// The number of addresses and networks that hosts are sent.
    pub prefixes: usize,
    /// The time at which they were last confirmed; `null`: nobody has answered yet.
    pub at: Option<Timestamp>,
    /// The reason why they could not be confirmed.
    pub error: Option<String>,
    /// Parts without an address, or that could not be asked for, with the reason; the first 20.
    pub unresolved: Vec<String>,
    /// Notes on what is probably not meant.
    pub notes: Vec<String>,
    /// The loss that is held until somebody confirms it.
    pub held: Option<HeldLoss>,
}

/// A loss of addresses that is held until somebody confirms it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLoss {
    /// The id by which it is confirmed.
    pub id: String,
    /// The number of addresses and networks that would go.
    pub lost: usize,
    /// The number of those that hosts are sent now.
    pub of: usize,
    /// The time from which on it is held.
    pub since: Timestamp,
}

words! {
    /// The state of the last answer for a source.
    pub enum ResolutionState from SourceState {
        /// Nobody has answered yet.
        Pending = "pending",
        /// It is current.
        Ok = "ok",
        /// It could not be confirmed: what it last was counts.
        Stale = "stale",
        /// The provider says that it does not exist any more.
        Gone = "gone",
        /// It has no address.
        Unresolvable = "unresolvable",
        /// Some of it is older than `max_stale`.
        Expired = "expired",
    }
}

/// A trusted source that the server resolves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedSource {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its value, as written.
    pub value: String,
    /// Its resolution.
    pub resolved: Resolution,
}

/// The trusted sources of all lists that the server resolves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedList {
    /// By type and value.
    pub sources: Vec<ResolvedSource>,
}
