//! [`Meta`]: the store itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The format of the documents that this version reads and writes.
pub const FORMAT: u32 = 1;

/// The format of a store into which a backup is being loaded.
pub const LOADING: u32 = 0;

/// The store itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The format of its documents.
    pub format: u32,
    /// Its identity, which a backup shares.
    pub store_id: Uuid,
    /// The number of times that it was loaded from a backup, and 1: what agents tell by that
    /// versions began anew.
    pub epoch: u64,
    /// The time of its making.
    pub created_at: Timestamp,
}
