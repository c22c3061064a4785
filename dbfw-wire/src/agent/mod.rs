//! The protocol between the agents and dbfw-server.
//!
//! An agent sends a [`Hello`] by POST to [`WATCH`]. The answer is a body that goes on: one
//! [`Frame`] a line, the newest list of each database first and then every change. The agent
//! sends a [`Report`] by POST to [`REPORT`] once a list is in force, or refused. A set of prefixes
//! that does not ride along is fetched below [`SETS`] by its digest, and verified by it.
//!
//! Frames are states: one that is missed is made up for by the next, and whoever reads slowly
//! skips to the newest.

mod bundle;
mod digest;
mod frame;
mod hello;
mod join;
mod report;

pub use self::{
    bundle::{Bundle, BundleSource, Delta, DeltaError, SetReference, SetState, list_digest},
    digest::{Digest, DigestError, set_digest},
    frame::Frame,
    hello::{Have, Hello, HostDatabase, HostGuards},
    join::{HostToken, HostTokenError, JoinRequest, JoinToken, JoinTokenError, Joined},
    report::{
        Applied, AppliedState, Hits, HostAudit, HostFinding, HostProblem, LeftOut, Refused, Report,
    },
};

/// The version of the protocol.
pub const PROTOCOL: u32 = 1;

/// The path of streams: POST, a [`Hello`].
pub const WATCH: &str = "/agent/v1/watch";
/// The path of reports: POST, a [`Report`].
pub const REPORT: &str = "/agent/v1/report";
/// Above every set of prefixes: GET, its digest in hexadecimal digits.
pub const SETS: &str = "/agent/v1/sets/";
/// The path of a new host: POST, a [`JoinRequest`].
pub const JOIN: &str = "/agent/v1/join";

/// Bytes of the longest frame, its line break included.
pub const MAX_FRAME: usize = 64 << 20;
/// Bytes of the longest set that rides along with its bundle.
pub const MAX_INLINE_SET: usize = 16 << 10;
/// Sources in the longest list.
pub const MAX_SOURCES: usize = 5000;
/// Prefixes in all sets of a list together.
pub const MAX_PREFIXES: usize = 2_000_000;
/// Sources of a list that a report names of those that the host left out.
pub const MAX_LEFT_OUT: usize = 100;
/// Findings of an audit in a report.
pub const MAX_FINDINGS: usize = 100;

#[cfg(test)]
mod tests;
