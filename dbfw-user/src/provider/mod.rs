//! Where lists of trusted sources come from. One file a provider.

pub mod file;
pub mod list;
mod watch;

use std::{io, path::PathBuf};

pub use file::FileProvider;
pub use watch::{Watcher, watch};

use crate::config::{Problems, ProviderConfig};

/// Why a provider gave no list. Whatever it is, the last good list stays in force.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// There is no such file.
    #[error("{} does not exist: create it, or change the path of the provider", path.display())]
    NotFound {
        /// The file or directory.
        path: PathBuf,
    },
    /// The agent may not read it.
    #[error("{} may not be read: let the user that dbfw runs as read it", path.display())]
    Permission {
        /// The file or directory.
        path: PathBuf,
    },
    /// It is a directory, a pipe or a device.
    #[error("{} is not a regular file: name a file that holds the list", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// It is larger than a list may be.
    #[error(
        "{} is larger than {limit} bytes: summarise addresses as CIDRs, or split the list",
        path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What it may have.
        limit: u64,
    },
    /// Something in it is wrong; none of it is used.
    #[error("{0}")]
    Invalid(#[from] Problems),
    /// Reading failed.
    #[error("{} cannot be read: {source}: check the file system", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Changes cannot be watched.
    #[error(
        "{} cannot be watched: {source}: raise fs.inotify.max_user_instances and \
         fs.inotify.max_user_watches",
        path.display()
    )]
    Watch {
        /// The directory.
        path: PathBuf,
        /// What the watcher said.
        source: notify::Error,
    },
}

impl ProviderError {
    /// The label of the metrics.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Permission { .. } => "permission",
            Self::NotRegular { .. } | Self::Invalid(_) => "invalid",
            Self::TooLarge { .. } => "too_large",
            Self::Io { .. } | Self::Watch { .. } => "io",
        }
    }

    fn io(path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::PermissionDenied => Self::Permission { path },
            _ => Self::Io { path, source },
        }
    }
}

/// What status, logs and [`crate::source::Origin`] call it: "file:/etc/dbfw/orders.list".
pub fn provider_name(provider: &ProviderConfig) -> String {
    match provider {
        ProviderConfig::File { path } => format!("file:{}", path.display()),
    }
}
