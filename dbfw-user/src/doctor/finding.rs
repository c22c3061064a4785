//! Findings of the checks, with their fixes.

/// Finding of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub check: String,
    /// Severity, with the fix.
    pub state: State,
    /// Facts that were found.
    pub detail: String,
}

/// Severity of a finding. Whatever is not as it should be has a fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could, or not always.
    Warn {
        /// The command that improves it, or what to do.
        fix: String,
    },
    /// It keeps dbfw from protecting this host.
    Fail {
        /// The command that repairs it, or what to do.
        fix: String,
    },
}

impl Finding {
    pub(super) fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { check: check.into(), state: State::Ok, detail: detail.into() }
    }

    pub(super) fn warn(
        check: impl Into<String>,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let state = State::Warn { fix: fix.into() };
        Self { check: check.into(), state, detail: detail.into() }
    }

    pub(super) fn fail(
        check: impl Into<String>,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let state = State::Fail { fix: fix.into() };
        Self { check: check.into(), state, detail: detail.into() }
    }

    /// Whether it keeps dbfw from protecting this host.
    pub fn is_failure(&self) -> bool {
        matches!(self.state, State::Fail { .. })
    }
}

#[cfg(test)]
impl Finding {
    /// Fix, if there is something to fix.
    pub(super) fn fix(&self) -> Option<&str> {
        match &self.state {
            State::Ok => None,
            State::Warn { fix } | State::Fail { fix } => Some(fix),
        }
    }

    /// The word for its state.
    pub(super) fn state_name(&self) -> &'static str {
        match self.state {
            State::Ok => "ok",
            State::Warn { .. } => "warn",
            State::Fail { .. } => "fail",
        }
    }
}
