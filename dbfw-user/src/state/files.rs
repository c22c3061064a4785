//! State files: read only if they are root's or the agent's own, and written whole or not at all.
//!
//! Every call opens the directory anew and works below that descriptor, so that nobody who can
//! rename a directory on the way gets another file read or written. No call follows a symbolic
//! link in the file's place.

use std::{
    ffi::OsStr,
    fs,
    future::pending,
    io::{self, Read as _, Write as _},
    os::{
        fd::AsFd,
        unix::fs::{
            DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
        },
    },
    path::{Path, PathBuf},
};

use dbfw_datapath::GROUP;
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, renameat},
    sys::stat::Mode,
    unistd::{Group, UnlinkatFlags, fchown, unlinkat},
};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::exposure::Exposure;

/// Of a file that the group may read.
const GROUP_READS: u32 = 0o640;

/// Reason why nothing of a state file can be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is none.
    #[error("there is no {}", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("cannot read {}: {source} ({})", named(path), path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Its content is damaged, of another version, or could be somebody else's.
    #[error("{} cannot be used: {reason} ({})", named(path), path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Message.
        reason: String,
    },
}

/// The file's own name, so that a long path does not come before the reason.
fn named(path: &Path) -> std::path::Display<'_> {
    path.file_name().map_or(path, Path::new).display()
}

impl ReadError {
    /// Puts a damaged file out of the way, so that it can be looked at. Returns the message, which
    /// says where it is now.
    pub(crate) fn set_aside(self) -> String {
        let Self::Damaged { path, .. } = &self else { return self.to_string() };
        let aside = path.with_added_extension("bad");
        match rename(path, aside.file_name().unwrap_or_default()) {
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
    read_at_most(u64::MAX, path, parse)
}

/// As [`read`], of a file of at most so many bytes.
///
/// # Errors
/// The file is missing, cannot be read, is larger, or is damaged.
pub(crate) fn read_at_most<T>(
    most: u64,
    path: PathBuf,
    parse: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<T, ReadError> {
    match content(&path, most) {
        Ok(content) => parse(&content).map_err(|reason| ReadError::Damaged { path, reason }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ReadError::Missing(path)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(ReadError::Damaged { path, reason: error.to_string() })
        }
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
    let directory = fs::File::open(path)?;
    directory.set_permissions(fs::Permissions::from_mode(0o750))?;
    give_to_group(&directory);
    Ok(())
}

/// The exposure of a state directory, or of the link that it is reached by; none if nobody but root
/// and this process's user decides what is in it.
///
/// # Errors
///
/// The directory cannot be looked at.
pub(crate) fn exposure(directory: &Path) -> io::Result<Option<Exposure>> {
    Ok(directory_exposure(&fs::symlink_metadata(directory)?, &fs::metadata(directory)?))
}

/// The exposure of a directory by what its name stands for, which may be a link, and what was
/// found there.
fn directory_exposure(named: &fs::Metadata, found: &fs::Metadata) -> Option<Exposure> {
    let link = if named.is_symlink() { Exposure::of_owner(named) } else { None };
    link.or_else(|| Exposure::of(found))
}

/// A file's directory, open, and its name there.
struct Place<'p> {
    directory: fs::File,
    name: &'p OsStr,
}

impl<'p> Place<'p> {
    /// The place of `path`, if its directory is nobody else's to write.
    ///
    /// # Errors
    ///
    /// The directory is not there, or is exposed.
    fn of(path: &'p Path) -> io::Result<Self> {
        let (parent, name) = path.parent().zip(path.file_name()).ok_or(Errno::EINVAL)?;
        let named = fs::symlink_metadata(parent)?;
        // O_PATH: whoever may only search the directory may read files in it.
        let directory = fs::File::options()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(parent)?;
        match directory_exposure(&named, &directory.metadata()?) {
            None => Ok(Self { directory, name }),
            Some(exposure) => Err(exposure.error(&format!("its directory {}", parent.display()))),
        }
    }

    /// Opens the file itself, never what a symbolic link in its place names.
    fn open(&self, flags: OFlag, mode: u32) -> io::Result<fs::File> {
        // O_NONBLOCK: opening a pipe would otherwise wait for its other end.
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        match openat(&self.directory, self.name, flags, Mode::from_bits_truncate(mode)) {
            Ok(file) => Ok(file.into()),
            Err(Errno::ELOOP) => Err(Exposure::Link.error("it")),
            Err(errno) => Err(errno.into()),
        }
    }

    fn remove(&self) -> nix::Result<()> {
        unlinkat(&self.directory, self.name, UnlinkatFlags::NoRemoveDir)
    }

    fn rename_to(&self, name: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.directory, self.name, &self.directory, name)?)
    }

    /// Waits until the names in the directory are on disk.
    fn sync(&self) -> io::Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        fs::File::from(openat(&self.directory, ".", flags, Mode::empty())?).sync_all()
    }
}

/// Opens a state file to read it. Its mode may let others write: it decides nothing.
///
/// # Errors
///
/// There is none, it may not be read, or it is no regular file of root's or this user's.
pub(crate) fn open(path: &Path) -> io::Result<fs::File> {
    let file = Place::of(path)?.open(OFlag::O_RDONLY, 0)?;
    let metadata = file.metadata()?;
    let exposure =
        if metadata.is_file() { Exposure::of_owner(&metadata) } else { Some(Exposure::NotRegular) };
    exposure.map_or(Ok(file), |exposure| Err(exposure.error("it")))
}

/// The content of a state file that nobody else can have written. An error of the kind
/// [`io::ErrorKind::InvalidData`] means that somebody could, or that it is larger than it may be.
fn content(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    if let Some(exposure) = Exposure::of(&file.metadata()?) {
        return Err(exposure.error("it"));
    }
    let mut content = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        let message = format!("it is larger than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(content)
}

/// Opens a state file that is only ever appended to, 0640 root:dbfw, and makes it if there is
/// none.
///
/// # Errors
///
/// The system's reason, or it is another file than one that dbfw made.
pub(crate) fn open_to_append(path: &Path) -> io::Result<fs::File> {
    let place = Place::of(path)?;
    let flags = OFlag::O_RDWR | OFlag::O_APPEND;
    let file = match place.open(flags, 0) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = place.open(flags | OFlag::O_CREAT | OFlag::O_EXCL, GROUP_READS)?;
            place.sync()?;
            file
        }
        opened => opened?,
    };
    let metadata = file.metadata()?;
    let exposure = match metadata.nlink() {
        _ if !metadata.is_file() => Some(Exposure::NotRegular),
        0 | 1 => Exposure::of_owner(&metadata),
        names => Some(Exposure::Names(names)),
    };
    if let Some(exposure) = exposure {
        return Err(exposure.error("it"));
    }
    // The umask may have narrowed it, here or in an earlier agent.
    if let Err(error) = file.set_permissions(fs::Permissions::from_mode(GROUP_READS)) {
        tracing::debug!(path = %path.display(), %error, "cannot let the group read the file");
    }
    give_to_group(&file);
    Ok(file)
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
/// before it takes the name, and so is the name when this returns. One call for a path at a
/// time.
///
/// # Errors
///
/// The system's reason; the file is as it was.
pub(crate) fn replace(path: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    replace_by(path, readers, |file| file.write_all(content))
}

/// As [`replace`], with the content that `write` writes.
///
/// # Errors
///
/// The system's reason, or that of `write`; the file is as it was.
pub(crate) fn replace_by(
    path: &Path,
    readers: Readers,
    write: impl FnOnce(&mut fs::File) -> io::Result<()>,
) -> io::Result<()> {
    let Place { directory, name } = Place::of(path)?;
    // Always the same name: what a crash left is written over by the next call.
    let mut hidden = OsStr::new(".new-").to_owned();
    hidden.push(name);
    let new = Place { directory, name: &hidden };
    match new.remove() {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let written = write_new(&new, readers, write).and_then(|()| new.rename_to(name));
    if written.is_err() {
        // The error at hand is the one to report.
        let _ = new.remove();
    }
    written?;
    new.sync()
}

fn write_new(
    new: &Place<'_>,
    readers: Readers,
    write: impl FnOnce(&mut fs::File) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = new.open(OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL, 0o600)?;
    write(&mut file)?;
    if readers == Readers::Group {
        give_to_group(&file);
        file.set_permissions(fs::Permissions::from_mode(GROUP_READS))?;
    }
    file.sync_all()
}

/// Removes the file at `path`, if it is there. It stays removed after a crash.
///
/// # Errors
///
/// The system's reason.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let place = Place::of(path)?;
    match place.remove() {
        Ok(()) => place.sync(),
        Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Gives a file another name in its directory, which it keeps after a crash.
///
/// # Errors
///
/// The system's reason.
pub(crate) fn rename(path: &Path, name: &OsStr) -> io::Result<()> {
    let place = Place::of(path)?;
    place.rename_to(name)?;
    place.sync()
}

/// Gives a file to the group that may read it.
fn give_to_group(file: impl AsFd) {
    if let Some(group) = Group::from_name(GROUP).ok().flatten()
        && let Err(error) = fchown(file, None, Some(group.gid))
    {
        tracing::debug!(%error, "cannot give a state file to group {GROUP}");
    }
}

#[cfg(test)]
mod tests;
