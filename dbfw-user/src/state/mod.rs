//! Files in the state directory: the snapshot, sources added by hand, endings that are final.

pub(crate) mod checked;
pub(crate) mod expiry;
pub(crate) mod files;
pub(crate) mod local;
pub mod snapshot;
