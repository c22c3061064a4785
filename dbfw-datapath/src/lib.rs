//! The kernel side of dbfw: loading the programs, attaching and pinning them, and the maps.
//!
//! [`Datapath`] is the one writer, [`Reader`] is for those who only look. Everything is pinned
//! below one directory of a BPF file system and outlives the process that made it. [`hook`]
//! decides by which hook an interface is filtered.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use dbfw_common::Mode;
//! use dbfw_core::{Destinations, Port, policy::{Entries, diff}};
//! use dbfw_datapath::{Change, DatabaseSlot, Datapath};
//!
//! # fn main() -> Result<(), dbfw_datapath::DatapathError> {
//! // Makes or takes over the maps, and loads the programs.
//! let mut datapath = Datapath::open(Path::new("/sys/fs/bpf/dbfw"))?;
//! // Protects a port that nobody may reach.
//! let plan = diff(datapath.held(), &Entries::new());
//! let databases = vec![DatabaseSlot {
//!     id: 1,
//!     name: "orders".to_owned(),
//!     mode: Mode::Enforce,
//!     ports: Port { udp: false, port: 5432 }.into(),
//!     destinations: Destinations::default(),
//! }];
//! datapath.apply(&Change { plan, databases, ..Change::default() })?;
//! # Ok(())
//! # }
//! ```

mod attach;
pub mod connections;
mod counters;
mod databases;
mod datapath;
mod error;
mod events;
pub mod hook;
pub mod interfaces;
mod kernel;
mod keys;
mod maps;
mod mmap;
mod object;
mod own;
mod pins;
mod read;
mod routes;
mod sets;
mod shape;
mod sys;
mod trie;

pub use attach::{
    AttachError, AttachedProgram, Attachment, FirstPlace, attached_programs, socket_lookup_programs,
};
pub use databases::DatabaseSlot;
pub use datapath::{
    Datapath,
    apply::Change,
    links::{Gap, detach_pinned},
};
pub use error::DatapathError;
pub use events::Events;
pub use hook::{Attach, HookMode};
pub use interfaces::{Interface, Interfaces, Kind, Layer};
pub use kernel::{KernelVersion, ProgramRefusal};
pub use object::{has_perfmon, may_load, try_load, variant};
pub use own::{LocalAddresses, LocalRoutes};
pub use pins::{GROUP, lock_holder};
pub use read::{PinnedLink, Reader, TestRun, Totals};
pub use routes::Routes;
pub use sets::Sets;
pub use shape::OBJECT;
pub use sys::has_tcx;
