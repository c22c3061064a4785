//! Atomic writes of state files: whole or not at all.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
};

use dbfw_datapath::GROUP;
use nix::unistd::{Group, chown};

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

/// Puts a file that cannot be used out of the way, so that it can be looked at, and returns
/// where it is now.
///
/// # Errors
///
/// The file cannot be renamed.
pub(crate) fn set_aside(path: &Path) -> io::Result<std::path::PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(".bad");
    let aside = std::path::PathBuf::from(name);
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// Gives a file to the group that may read it.
pub(crate) fn give_to_group(path: &Path) {
    if let Some(group) = Group::from_name(GROUP).ok().flatten()
        && let Err(error) = chown(path, None, Some(group.gid))
    {
        tracing::debug!(path = %path.display(), %error, "cannot give the file to group {GROUP}");
    }
}
