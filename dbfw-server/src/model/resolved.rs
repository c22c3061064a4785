//! [`Resolved`]: what a trusted source was last found to stand for.

use dbfw_core::source::{Prefix, SourceKey};
use dbfw_wire::agent::{Digest, SetState};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The prefixes that a trusted source stands for: by their digest, under which they are stored in
/// pieces. It is written when it changes, and not when it is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// The source.
    pub source: SourceKey,
    /// The digest of the prefixes.
    pub digest: Digest,
    /// The number of prefixes.
    pub count: usize,
    /// The number of pieces that they are stored in.
    pub pieces: usize,
    /// The state of the answer.
    pub state: SetState,
    /// The time at which it was last confirmed before this was written.
    pub at: Timestamp,
}

/// Prefixes of a set, in order.
pub type Piece = Vec<Prefix>;

/// The times at which answers were last confirmed, by the sources' keys in the store.
pub type Confirmed = std::collections::BTreeMap<String, Timestamp>;
