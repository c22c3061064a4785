//! Everything that can wake the agent's loop.

use std::io;

use tokio::sync::oneshot;

use crate::{
    control::server::Call,
    provider::worker::{Account, Report},
    state::{local::LocalChange, snapshot::SnapshotError},
};

/// One reason to look again.
#[derive(Debug)]
pub(super) enum Event {
    /// A second has passed: read protection back from the kernel.
    Tick,
    /// A trusted source has reached its expiry.
    Expiry,
    /// A task that asks the outside learned something.
    Learned(Account, Vec<Report>),
    /// Interfaces or their addresses came, went or changed.
    Links,
    /// The kernel wrote drop events.
    Drops,
    /// A change of the sources added by hand was written, or not.
    LocalSaved(LocalChange, io::Result<()>),
    /// The refused sources were written, or not.
    RefusedSaved(io::Result<()>),
    /// The snapshot was written, or not.
    Saved(Result<(), SnapshotError>),
    /// SIGHUP.
    Reload,
    /// Somebody asks over the control socket.
    Call(Call),
    /// Somebody scrapes the metrics.
    Scrape(oneshot::Sender<String>),
    /// SIGTERM or SIGINT.
    Shutdown,
}
