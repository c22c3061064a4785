//! Where lists of trusted sources come from. One file a provider.

pub mod aptible;
pub mod backoff;
pub mod budget;
pub mod digitalocean;
pub mod dns;
pub mod feed;
pub mod file;
pub mod http;
pub mod inventory;
pub mod list;
pub mod rounds;
pub mod secret;
pub mod stats;
mod watch;
pub mod worker;

use std::{io, path::PathBuf};

pub use file::FileProvider;
pub use watch::{Watcher, directories_to, watch};

use crate::{
    answers::Cause,
    config::{Problems, ProviderConfig},
};

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
    #[error(
        "{} may not be read: `sudo dbfw doctor` names the command that mends it",
        path.display()
    )]
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
    /// Which kind it is.
    pub const fn cause(&self) -> Cause {
        match self {
            Self::NotFound { .. } => Cause::NotFound,
            Self::Permission { .. } => Cause::Permission,
            Self::NotRegular { .. } | Self::Invalid(_) => Cause::Invalid,
            Self::TooLarge { .. } => Cause::TooLarge,
            Self::Io { .. } | Self::Watch { .. } => Cause::Io,
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
        ProviderConfig::DigitalOcean { cluster } => format!("digitalocean:{cluster}"),
        ProviderConfig::Aptible { vhost } => format!("aptible:{vhost}"),
    }
}
