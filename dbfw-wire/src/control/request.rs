//! Requests, and the lines of an answer.

use std::net::IpAddr;

use dbfw_core::source::Prefix;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::DropOrder;

/// A request of the command line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// One [`super::Status`].
    Status {},
    /// One [`super::Sources`].
    Sources {},
    /// Many [`super::MapEntry`], then the end.
    MapDump {},
    /// One [`super::Lookup`].
    MapLookup { address: IpAddr },
    /// One [`super::Explanation`] for every database and port asked about.
    Explain {
        address: IpAddr,
        port: Option<u16>,
        /// Of UDP or of TCP alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        udp: Option<bool>,
        /// Destination of the packets.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<IpAddr>,
    },
    /// One [`super::Drops`]; with `follow` then many [`super::DropEvent`] until the client goes.
    Drops {
        follow: bool,
        limit: usize,
        /// Sources in this address or network alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<Prefix>,
        /// Of this database alone; "*": of packets whose port could not be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        database: Option<String>,
        /// Only those refused since then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
        /// The order of the sources.
        #[serde(default, skip_serializing_if = "is_default")]
        order: DropOrder,
    },
    /// One [`super::Text`]: the metrics in the Prometheus text format.
    Metrics {},
    /// One [`super::TrustList`].
    TrustList {},
    /// Root only. One [`super::TrustList`] with what was added.
    TrustAdd {
        database: String,
        source: String,
        expires_at: Option<Timestamp>,
        why: Option<String>,
    },
    /// Root only. One [`super::TrustList`] with what was removed.
    TrustRemove { database: String, source: String },
    /// Root only. One [`super::Reloaded`].
    Reload {
        /// Refused changes to let through: [`super::RefusedPlan::id`] of those that a human saw,
        /// and no others.
        #[serde(default)]
        plans: Vec<String>,
        /// Seconds until the configuration before is in force again, unless it is kept; absent: it
        /// is in force for good.
        #[serde(default)]
        trial_seconds: Option<u64>,
    },
    /// Root only. One [`super::Text`]: the configuration on trial stays.
    TrialKeep {},
    /// Root only. One [`super::Reloaded`]: the configuration before the trial is in force again.
    TrialRevert {},
    /// One [`super::Suggestions`].
    Suggest {
        /// For this database alone.
        database: Option<String>,
    },
    /// Root only. One [`super::Text`].
    Detach {},
}

impl Request {
    /// Whether it changes what is enforced or trusted, which only root may do.
    pub fn changes(&self) -> bool {
        match self {
            Self::Status {}
            | Self::Sources {}
            | Self::MapDump {}
            | Self::MapLookup { .. }
            | Self::Explain { .. }
            | Self::Drops { .. }
            | Self::Metrics {}
            | Self::TrustList {}
            | Self::Suggest { .. } => false,
            Self::TrustAdd { .. }
            | Self::TrustRemove { .. }
            | Self::Reload { .. }
            | Self::TrialKeep {}
            | Self::TrialRevert {}
            | Self::Detach {} => true,
        }
    }
}

/// Whether a field need not be sent: an agent of an earlier version does not know it.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A line of the answer: any number of `data`, then `end`, or `error` and nothing more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// A document of the request's type.
    Data(serde_json::Value),
    /// Nothing more follows.
    End {},
    /// It was not done.
    Error(ControlError),
}

/// An answer in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// The words.
    pub text: String,
}

/// The reason why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ControlError {
    /// The kind of failure, for the exit code.
    pub kind: ControlErrorKind,
    /// The failure in words, and what to do next.
    pub message: String,
}

/// Kinds of [`ControlError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlErrorKind {
    /// The request could not be read, or names something that does not exist.
    Invalid,
    /// The peer may not do this.
    NotPermitted,
    /// The new configuration is bad; the old one stands.
    BadConfig,
    /// The agent has no room for another connection now.
    Busy,
    /// It was tried and failed.
    Failed,
}
