//! Limits that logins to all servers have.

use std::time::Duration;

/// Time for a statement.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
