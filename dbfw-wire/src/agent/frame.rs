//! [`Frame`]: a line of a stream.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Bundle, Delta};

/// A line of a stream. An agent ignores frames of a type that it does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Frame {
    /// The first.
    Welcome {
        /// The server's name.
        server: String,
        /// The identity of its store, which a backup shares.
        store: Uuid,
        /// The number of times that the store was loaded from a backup, and 1.
        epoch: u64,
        /// The server's clock.
        now: Timestamp,
        /// Seconds between two [`Frame::Beat`]; three times as long without a byte means that the
        /// stream is dead.
        beat_seconds: u64,
        /// Certificates of the authorities that the server's certificates come from, PEM, now and
        /// in future.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        trust: Vec<String>,
    },
    /// The whole list of a database.
    Bundle(Bundle),
    /// A change of a database's list.
    Delta(Delta),
    /// Everything that the hello asked for was sent; from here on come changes.
    Synced {},
    /// The stream is alive.
    Beat {},
    /// The server has no such database, or none for this host. What the host enforces stays.
    Gone {
        /// The name that the hello gave.
        name: String,
        /// The reason.
        reason: String,
    },
    /// The server stops.
    Goodbye {
        /// The time after which to come back, at random up to it.
        after_ms: u64,
    },
}
