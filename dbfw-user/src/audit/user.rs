//! The user that probes log in as.

/// A user that must not exist: no login succeeds.
pub(super) const USER: &str = "dbfw-audit";
