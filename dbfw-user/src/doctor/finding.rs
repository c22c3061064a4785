//! Findings of the checks. Whatever is not as it should be has a fix.

use dbfw_wire::control::{Finding, FindingState};

/// A doubt whether the configuration does on this host what is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The doubt.
    pub message: String,
    /// The remedy.
    pub fix: String,
}

pub(super) fn ok(check: impl Into<String>, detail: impl Into<String>) -> Finding {
    Finding { check: check.into(), state: FindingState::Ok, detail: detail.into(), fix: None }
}

/// A finding that it works, but not as well as it could, or not always.
pub(super) fn warn(
    check: impl Into<String>,
    detail: impl Into<String>,
    fix: impl Into<String>,
) -> Finding {
    Finding { state: FindingState::Warn, fix: Some(fix.into()), ..ok(check, detail) }
}

/// A finding that keeps dbfw from protecting this host.
pub(super) fn fail(
    check: impl Into<String>,
    detail: impl Into<String>,
    fix: impl Into<String>,
) -> Finding {
    Finding { state: FindingState::Fail, ..warn(check, detail, fix) }
}
