//! Files in the state directory: the snapshot, sources added by hand, endings that are final, the
//! last good configuration and its trial, the last audit.

pub mod audit;
pub(crate) mod checked;
pub(crate) mod expiry;
pub(crate) mod files;
pub(crate) mod last_good;
pub(crate) mod local;
pub mod snapshot;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod trial;
