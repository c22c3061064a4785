//! The history: a record of every change of who may connect, and of who asked for it.

mod diff;
mod entries;
mod files;
mod log;
mod writer;

pub(crate) use self::files::{HistoryFiles, path};
pub(super) use self::writer::History;
pub(super) use crate::control::wire::{HistoryEntry as Entry, HistoryKind as Kind};
