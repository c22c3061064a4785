//! A provider's list, the guards before it, and a database's rules in force.

mod enforced;
mod list;

use serde::{Deserialize, Serialize};

use crate::{answers::ListId, policy::USUAL_MIN_LEN};

pub use enforced::{Candidate, Decision, Enforced, ListPart, Refused, is_listed};
pub use list::List;

/// Settings of the guards of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guards {
    /// The database's name.
    pub database: String,
    /// The list that is guarded, if there is a provider.
    pub provider: Option<ListId>,
    /// The meaning of an empty list.
    pub on_empty: OnEmpty,
    /// The largest part of the prefixes in force that a change may take away, in percent.
    pub max_shrink: u8,
    /// Whether a list may trust everybody.
    pub allow_any: bool,
    /// The shortest prefix that a list may hold.
    pub min_prefix: MinPrefix,
}

impl Guards {
    /// The shortest prefix lengths, as `[v4, v6]`.
    fn min_len(&self) -> [u8; 2] {
        [self.min_prefix.ipv4, self.min_prefix.ipv6]
    }
}

/// The shortest prefix that a list may hold without confirmation, by family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinPrefix {
    /// 1 to 32.
    pub ipv4: u8,
    /// 1 to 128.
    pub ipv6: u8,
}

impl Default for MinPrefix {
    fn default() -> Self {
        let [ipv4, ipv6] = USUAL_MIN_LEN;
        Self { ipv4, ipv6 }
    }
}

/// Meaning of an empty list from a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnEmpty {
    /// A mistake: keep the last good list.
    Keep,
    /// Nobody.
    Close,
    /// Everybody.
    Open,
}
