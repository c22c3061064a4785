//! Exit codes, a promise to scripts.

use std::{io, process::ExitCode};

use dbfw_core::toml::Problems;
use dbfw_wire::control::{ControlErrorKind, Failure, FailureKind};

use crate::control::client::ClientError;

/// Exit code of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done, or the answer is yes.
    Ok = 0,
    /// Not done, or the answer is no.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The answer is yes for some ways and no for others.
    Partly = 3,
    /// No agent answers.
    Unreachable = 69,
    /// Not permitted.
    NotPermitted = 77,
    /// The configuration is bad.
    BadConfig = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<FailureKind> for Exit {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Usage => Self::Usage,
            FailureKind::Unreachable | FailureKind::Silent | FailureKind::Busy => Self::Unreachable,
            FailureKind::NotPermitted => Self::NotPermitted,
            FailureKind::BadConfig => Self::BadConfig,
            FailureKind::Invalid | FailureKind::Failed => Self::Failure,
        }
    }
}

/// A failure of this kind, for the documents.
pub(super) fn failure(kind: FailureKind, message: String) -> Failure {
    Failure { kind, message, exit: Exit::from(kind) as u8 }
}

/// Standard output cannot be written. Its own type, so that a reader that went away is not
/// mistaken for an agent that did.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(super) struct OutputError(#[from] pub(super) io::Error);

impl OutputError {
    fn is_broken_pipe(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Whether `error` only says that nobody reads the output any more.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<OutputError>().is_some_and(OutputError::is_broken_pipe)
}

/// The exit code for an error.
pub(super) fn code(error: &anyhow::Error) -> Exit {
    if is_broken_pipe(error) { Exit::Ok } else { kind(error).into() }
}

/// The kind of an error: of the first in its chain that has one.
pub(super) fn kind(error: &anyhow::Error) -> FailureKind {
    error.chain().find_map(of_cause).unwrap_or(FailureKind::Failed)
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<FailureKind> {
    if cause.is::<OutputError>() {
        return Some(FailureKind::Failed);
    }
    if let Some(error) = cause.downcast_ref::<ClientError>() {
        return Some(match error {
            ClientError::Unreachable { .. } | ClientError::WentAway { .. } => {
                FailureKind::Unreachable
            }
            ClientError::Silent { .. } => FailureKind::Silent,
            ClientError::Busy { .. } => FailureKind::Busy,
            ClientError::NotPermitted { .. } => FailureKind::NotPermitted,
            ClientError::Refused(error) => match error.kind {
                ControlErrorKind::NotPermitted => FailureKind::NotPermitted,
                ControlErrorKind::BadConfig => FailureKind::BadConfig,
                ControlErrorKind::Busy => FailureKind::Busy,
                ControlErrorKind::Invalid => FailureKind::Invalid,
                ControlErrorKind::Failed => FailureKind::Failed,
            },
            ClientError::CutShort { .. } | ClientError::Garbled(_) => FailureKind::Failed,
        });
    }
    if cause.is::<Problems>() {
        return Some(FailureKind::BadConfig);
    }
    let error = cause.downcast_ref::<io::Error>()?;
    (error.kind() == io::ErrorKind::PermissionDenied).then_some(FailureKind::NotPermitted)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use anyhow::Context as _;
    use dbfw_wire::control::ControlError;

    use super::*;

    fn refused(kind: ControlErrorKind) -> anyhow::Error {
        ClientError::Refused(ControlError { kind, message: "no".to_owned() }).into()
    }

    #[test]
    fn every_error_has_its_code() {
        let path = || PathBuf::from("/run/dbfw/dbfw.sock");
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let unreachable = ClientError::Unreachable {
            path: path(),
            source: io::ErrorKind::ConnectionRefused.into(),
        };
        for (error, expected) in [
            (anyhow::Error::from(unreachable), Exit::Unreachable),
            (ClientError::NotPermitted { path: path() }.into(), Exit::NotPermitted),
            (ClientError::CutShort { path: path(), source: None }.into(), Exit::Failure),
            (ClientError::WentAway { path: path() }.into(), Exit::Unreachable),
            (refused(ControlErrorKind::NotPermitted), Exit::NotPermitted),
            (refused(ControlErrorKind::BadConfig), Exit::BadConfig),
            (refused(ControlErrorKind::Invalid), Exit::Failure),
            (refused(ControlErrorKind::Failed), Exit::Failure),
            (Problems::new(Vec::new()).into(), Exit::BadConfig),
            (denied().into(), Exit::NotPermitted),
            (OutputError(io::ErrorKind::BrokenPipe.into()).into(), Exit::Ok),
            (OutputError(denied()).into(), Exit::Failure),
            (anyhow::anyhow!("anything else"), Exit::Failure),
        ] {
            assert_eq!(code(&error), expected, "{error:#}");
        }
    }

    #[test]
    fn context_does_not_hide_the_cause() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Err::<(), _>(denied).context("cannot open the pins").unwrap_err();
        assert_eq!(code(&error), Exit::NotPermitted);
        let bad = Err::<(), _>(Problems::new(Vec::new())).context("not started").unwrap_err();
        assert_eq!(code(&bad), Exit::BadConfig);
    }

    #[test]
    fn only_a_lost_reader_is_a_broken_pipe() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&OutputError(broken()).into()));
        assert!(!is_broken_pipe(&broken().into()));
    }
}
