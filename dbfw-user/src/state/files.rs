//! State files: read and written whole or not at all.

use std::{
    fs,
    future::pending,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use dbfw_datapath::GROUP;
use nix::unistd::{Group, chown};
use tokio::task::{JoinHandle, spawn_blocking};

/// Reason why nothing of a state file can be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is none.
    #[error("there is no {}", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Its content is damaged or of another version.
    #[error("{} cannot be used: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Message.
        reason: String,
    },
}

impl ReadError {
    /// Puts a damaged file out of the way, so that it can be looked at. Returns the message, which
    /// says where it is now.
    pub(crate) fn set_aside(self) -> String {
        let Self::Damaged { path, .. } = &self else { return self.to_string() };
        let aside = path.with_added_extension("bad");
        match fs::rename(path, &aside) {
            Ok(()) => format!("{self}; set aside as {}", aside.display()),
            Err(error) => format!("{self}; and cannot be set aside: {error}"),
        }
    }
}

/// Reads a file, whose content `parse` takes or says why not.
///
/// # Errors
/// The file is missing, cannot be read, or is damaged.
pub(crate) fn read<T>(
    path: PathBuf,
    parse: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<T, ReadError> {
    match fs::read(&path) {
        Ok(content) => parse(&content).map_err(|reason| ReadError::Damaged { path, reason }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ReadError::Missing(path)),
        Err(source) => Err(ReadError::Io { path, source }),
    }
}

/// A write on another thread, while it is under way.
#[derive(Debug, Default)]
pub(crate) struct Write(Option<JoinHandle<anyhow::Result<()>>>);

impl Write {
    /// Whether it is under way.
    pub(crate) fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    /// Begins to write.
    pub(crate) fn begin(&mut self, write: impl FnOnce() -> anyhow::Result<()> + Send + 'static) {
        self.0 = Some(spawn_blocking(write));
    }

    /// Waits until it has ended, for ever if none is under way. Can be cancelled at any time.
    ///
    /// # Errors
    /// The error of the write, or that its thread ended early.
    pub(crate) async fn done(&mut self) -> anyhow::Result<()> {
        let Some(task) = &mut self.0 else { return pending().await };
        let result = task.await.unwrap_or_else(|error| Err(error.into()));
        self.0 = None;
        result
    }
}

/// Makes a directory 0750 root:dbfw unless it exists.
///
/// # Errors
///
/// The directory cannot be made.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().mode(0o750).recursive(true).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o750))?;
    give_to_group(path);
    Ok(())
}

/// Readers of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// root alone: 0600.
    Owner,
    /// The group as well: 0640 root:dbfw.
    Group,
}

/// Replaces the file at `path` in one step that survives a crash: the new content is on disk
/// before it takes the name, and so is the name when this returns.
///
/// # Errors
///
/// The system's reason; the file is as it was.
pub(crate) fn replace(path: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    let directory = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    file.write_all(content)?;
    if readers == Readers::Group {
        give_to_group(file.path());
        file.as_file().set_permissions(fs::Permissions::from_mode(0o640))?;
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    fs::File::open(directory)?.sync_all()
}

/// Gives a file to the group that may read it.
pub(crate) fn give_to_group(path: &Path) {
    if let Some(group) = Group::from_name(GROUP).ok().flatten()
        && let Err(error) = chown(path, None, Some(group.gid))
    {
        tracing::debug!(path = %path.display(), %error, "cannot give the file to group {GROUP}");
    }
}
