//! Exit codes, a promise to scripts.

use std::{io, process::ExitCode};

use dbfw_core::toml::Problems;

use super::client::ClientError;

/// Exit code of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done.
    Ok = 0,
    /// Not done.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No server answers.
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

/// Standard output cannot be written. Its own type, so that a reader that went away is not
/// mistaken for a server that did.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(super) struct OutputError(#[from] pub(super) io::Error);

/// The exit code for an error: of the first in its chain that has one.
pub(super) fn code(error: &anyhow::Error) -> Exit {
    error.chain().find_map(of_cause).unwrap_or(Exit::Failure)
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(OutputError(error)) = cause.downcast_ref() {
        let is_gone = error.kind() == io::ErrorKind::BrokenPipe;
        return Some(if is_gone { Exit::Ok } else { Exit::Failure });
    }
    if let Some(error) = cause.downcast_ref::<ClientError>() {
        return Some(match error {
            ClientError::Unreachable(..) => Exit::Unreachable,
            ClientError::NotPermitted(_) => Exit::NotPermitted,
            ClientError::CutShort(_) | ClientError::Refused(_) => Exit::Failure,
        });
    }
    if cause.is::<Problems>() {
        return Some(Exit::BadConfig);
    }
    let error = cause.downcast_ref::<io::Error>()?;
    (error.kind() == io::ErrorKind::PermissionDenied).then_some(Exit::NotPermitted)
}

/// An error with its causes, each said once.
pub(super) fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn every_error_has_its_code() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        for (error, expected) in [
            (anyhow::Error::from(OutputError(io::ErrorKind::BrokenPipe.into())), Exit::Ok),
            (OutputError(denied()).into(), Exit::Failure),
            (Problems::new(Vec::new()).into(), Exit::BadConfig),
            (ClientError::Unreachable("/s".into(), denied()).into(), Exit::Unreachable),
            (ClientError::NotPermitted("/s".into()).into(), Exit::NotPermitted),
            (ClientError::Refused("no".to_owned()).into(), Exit::Failure),
            (denied().into(), Exit::NotPermitted),
            (Err::<(), _>(denied()).context("not opened").unwrap_err(), Exit::NotPermitted),
            (anyhow::anyhow!("anything else"), Exit::Failure),
        ] {
            assert_eq!(code(&error), expected, "{error:#}");
        }
    }
}
