//! Files and directories that somebody besides root and this process's user may write.

use std::{fs::Metadata, io, os::unix::fs::MetadataExt as _, path::Path};

use nix::unistd::{Uid, User, geteuid};

/// Bits of a mode by which group and others may write.
const OTHERS_WRITE: u32 = 0o022;

/// The bit of a directory in which only a file's owner may remove or rename it.
const STICKY: u32 = 0o1000;

/// A way in which another user decides, or could decide, what a file or directory holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exposure {
    /// It is another user's.
    #[error("belongs to {}", user(*.0))]
    Owner(u32),
    /// Its mode lets others write.
    #[error("is writable by others (mode {0:04o})")]
    Mode(u32),
    /// It names another file.
    #[error("is a symbolic link")]
    Link,
    /// It is a pipe, a device, a directory.
    #[error("is not a regular file")]
    NotRegular,
    /// It is another file as well, which a write would change.
    #[error("has {0} names (hard links)")]
    Names(u64),
}

impl Exposure {
    /// The exposure of a file or directory, by its owner and mode.
    pub(crate) fn of(metadata: &Metadata) -> Option<Self> {
        Self::of_owner(metadata).or_else(|| {
            let mode = metadata.mode() & 0o7777;
            (mode & OTHERS_WRITE != 0).then_some(Self::Mode(mode))
        })
    }

    /// The exposure of a directory to whoever could put another file in place of one that is
    /// there.
    pub(crate) fn of_parent(directory: &Metadata) -> Option<Self> {
        let exposure = Self::of(directory);
        let is_shared = directory.mode() & STICKY != 0;
        exposure.filter(|exposure| !(is_shared && matches!(exposure, Self::Mode(_))))
    }

    /// The exposure by an owner that is neither root nor this process's user.
    pub(crate) fn of_owner(metadata: &Metadata) -> Option<Self> {
        let owner = metadata.uid();
        let is_safe = owner == 0 || owner == geteuid().as_raw();
        (!is_safe).then_some(Self::Owner(owner))
    }

    /// The command that ends it.
    pub(crate) fn fix(&self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Owner(_) => format!("chown root {path} && chmod go-w {path}"),
            Self::Mode(_) => format!("chmod go-w {path}"),
            Self::Link | Self::NotRegular | Self::Names(_) => format!("ls -l {path}; rm {path}"),
        }
    }

    /// The error of a file that is not used for it.
    pub(super) fn error(self, what: &str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("{what} {self}"))
    }
}

/// A user by name and id.
fn user(id: u32) -> String {
    match User::from_uid(Uid::from_raw(id)).ok().flatten() {
        Some(user) => format!("{} (uid {id})", user.name),
        None => format!("uid {id}"),
    }
}
