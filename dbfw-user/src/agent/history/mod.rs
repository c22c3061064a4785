//! The history: a record of every change of who may connect, and of who asked for it.

mod diff;
mod entries;
mod files;
mod log;
mod writer;

pub(super) use dbfw_wire::control::{HistoryEntry as Entry, HistoryKind as Kind};

pub(crate) use self::files::{HistoryFiles, path};
pub(super) use self::writer::History;
