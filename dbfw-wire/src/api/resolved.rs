//! What trusted sources stand for, as the server found it.

use dbfw_core::answers::SourceState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a trusted source stands for.
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

/// The state of the last answer for a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum ResolutionState {
    /// Nobody has answered yet.
    Pending,
    /// It is current.
    Ok,
    /// It could not be confirmed: what it last was counts.
    Stale,
    /// The provider says that it does not exist any more.
    Gone,
    /// It has no address.
    Unresolvable,
    /// Some of it is older than `max_stale`.
    Expired,
}

impl ResolutionState {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

impl From<SourceState> for ResolutionState {
    fn from(state: SourceState) -> Self {
        match state {
            SourceState::Pending => Self::Pending,
            SourceState::Ok => Self::Ok,
            SourceState::Stale => Self::Stale,
            SourceState::Gone => Self::Gone,
            SourceState::Unresolvable => Self::Unresolvable,
            SourceState::Expired => Self::Expired,
        }
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
    /// What it stands for.
    pub resolved: Resolution,
}

/// The trusted sources of all lists that the server resolves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedList {
    /// By type and value.
    pub sources: Vec<ResolvedSource>,
}
