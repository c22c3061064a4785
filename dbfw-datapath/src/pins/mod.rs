//! The pin directory: `<pin_dir>/v<ABI>/`, one file for every map, program and link.
//!
//! Whoever can open the pinned links can detach them, so the directory is 0750 root:dbfw,
//! links and programs are 0600, maps 0640 so that the group may read them.

pub(crate) mod names;

use std::{
    ffi::OsStr,
    fs, io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use nix::{
    sys::statfs::{BPF_FS_MAGIC, statfs},
    unistd::{Gid, Group, chown},
};

use crate::{
    error::DatapathError,
    sys::{self, MapShape},
};

/// Group whose members may read the maps and the control socket.
pub const GROUP: &str = "dbfw";

/// Ends the name of a pin that is about to replace another; no name of an interface is
/// encoded to it.
const FRESH: &str = "~new";
const DIRECTORY_MODE: u32 = 0o750;
const MAP_MODE: u32 = 0o640;
const PRIVATE_MODE: u32 = 0o600;

/// The directory, opened and locked by its one writer.
#[derive(Debug)]
pub(crate) struct Pins {
    /// The directory of all ABIs.
    root: PathBuf,
    /// The one of this ABI.
    directory: PathBuf,
    group: Option<Gid>,
    /// Holds the flock for as long as this process lives.
    lock: fs::File,
}

impl Pins {
    /// Makes or opens `<pin_dir>/v<abi>`, checks that nobody else could have put anything
    /// there, and locks it.
    ///
    /// # Errors
    /// The directory is not on a BPF file system of the host, others could write to it, or
    /// another agent has the lock.
    pub(crate) fn open(pin_dir: &Path, abi: u32) -> Result<Self, DatapathError> {
        let group = Group::from_name(GROUP).ok().flatten().map(|group| group.gid);
        check_bpffs(pin_dir)?;
        let directory = directory(pin_dir, abi);
        for path in [pin_dir, &directory] {
            make_directory(path, group)?;
        }
        let lock = lock(pin_dir)?;
        // What a crash left between pinning and renaming.
        for leftover in list(&directory, "")?.iter().filter(|name| name.ends_with(FRESH)) {
            remove(&directory.join(leftover))?;
        }
        Ok(Self { root: pin_dir.to_owned(), directory, group, lock })
    }

    /// Makes the directories again if somebody removed them, and locks the new one: the old
    /// lock is on a directory that a second agent cannot find.
    ///
    /// # Errors
    /// The BPF file system is gone, a directory cannot be made, or another agent has the lock.
    pub(crate) fn ensure_directories(&mut self) -> Result<(), DatapathError> {
        check_bpffs(&self.root)?;
        for path in [&self.root, &self.directory] {
            make_directory(path, self.group)?;
        }
        let stat = |error| DatapathError::pin("stat", &self.root, error);
        let (there, locked) =
            (fs::metadata(&self.root).map_err(stat)?, self.lock.metadata().map_err(stat)?);
        if (there.dev(), there.ino()) != (locked.dev(), locked.ino()) {
            self.lock = lock(&self.root)?;
        }
        Ok(())
    }

    /// The directory of the pins.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The directories of other ABIs beside it.
    ///
    /// # Errors
    /// They cannot be listed.
    pub(crate) fn other_directories(&self) -> Result<Vec<PathBuf>, DatapathError> {
        let mut found = list(&self.root, "v")?;
        found.retain(|name| self.directory.file_name() != Some(OsStr::new(name)));
        Ok(found.into_iter().map(|name| self.root.join(name)).collect())
    }

    /// The path of a pin.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Gives a pinned map its mode and group.
    ///
    /// # Errors
    /// The mode of the pin cannot be set.
    pub(crate) fn protect_map(&self, name: &str) -> Result<(), DatapathError> {
        let path = self.path(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(MAP_MODE))
            .map_err(|error| DatapathError::pin("chmod", &path, error))?;
        // Without CAP_CHOWN it needs the group among ours; readers then lack access to this one
        // map, which the control socket makes up for.
        give_to(self.group, &path);
        Ok(())
    }

    /// Pins a program or link, replacing what is pinned there in one step.
    ///
    /// # Errors
    /// The object cannot be pinned, or the pin not renamed.
    pub(crate) fn replace(&self, fd: BorrowedFd<'_>, name: &str) -> Result<(), DatapathError> {
        let path = self.path(name);
        let fresh = self.path(&format!("{name}{FRESH}"));
        remove(&fresh)?;
        sys::obj_pin(fd, &fresh).map_err(|error| DatapathError::pin("pin", &fresh, error))?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(PRIVATE_MODE))
            .map_err(|error| DatapathError::pin("chmod", &fresh, error))?;
        fs::rename(&fresh, &path).map_err(|error| DatapathError::pin("rename", &path, error))
    }

    /// Removes a pin; one that is not there is fine.
    ///
    /// # Errors
    /// The pin is there and cannot be removed.
    pub(crate) fn remove(&self, name: &str) -> Result<(), DatapathError> {
        remove(&self.path(name))
    }

    /// The link pinned as `name`.
    ///
    /// # Errors
    /// The system call fails.
    pub(crate) fn link(&self, name: &str) -> io::Result<OwnedFd> {
        sys::obj_get(&self.path(name), false)
    }

    /// Whether the map with this id is pinned as `name`.
    pub(crate) fn has_map(&self, name: &str, id: u32) -> bool {
        let pinned = sys::obj_get(&self.path(name), false);
        pinned.and_then(|fd| sys::map_info(fd.as_fd())).is_ok_and(|info| info.id == id)
    }

    /// Pins a link again if its pin is gone or another link's; whether it was.
    ///
    /// # Errors
    /// The link cannot be pinned.
    pub(crate) fn repair_link(
        &self,
        name: &str,
        link: BorrowedFd<'_>,
    ) -> Result<bool, DatapathError> {
        let same = self
            .link(name)
            .and_then(|pinned| Ok(sys::link_info(pinned.as_fd())? == sys::link_info(link)?));
        if matches!(same, Ok(true)) {
            return Ok(false);
        }
        self.replace(link, name)?;
        Ok(true)
    }

    /// Detaches a link and removes its pin.
    ///
    /// # Errors
    /// The pin is there and cannot be removed.
    pub(crate) fn detach_link(
        &self,
        name: &str,
        link: BorrowedFd<'_>,
    ) -> Result<(), DatapathError> {
        // The kernel refuses to detach a link that is no longer attached: that is the goal.
        let _ = sys::link_detach(link);
        self.remove(name)
    }
}

/// The map pinned at `path` and its id, if it has this shape.
///
/// # Errors
/// The pin cannot be opened, or is not of this shape.
pub(crate) fn open_map(
    path: &Path,
    read_only: bool,
    shape: &MapShape,
) -> Result<(OwnedFd, u32), DatapathError> {
    let fd =
        sys::obj_get(path, read_only).map_err(|error| DatapathError::pin("open", path, error))?;
    let info = sys::map_info(fd.as_fd());
    match info {
        Ok(info) if info.shape == *shape => Ok((fd, info.id)),
        info => Err(DatapathError::WrongPin {
            path: path.to_owned(),
            found: info.map_or_else(|_| "not a map".to_owned(), |info| info.shape.to_string()),
            expected: shape.to_string(),
        }),
    }
}

/// `<pin_dir>/v<abi>`.
pub(crate) fn directory(pin_dir: &Path, abi: u32) -> PathBuf {
    pin_dir.join(format!("v{abi}"))
}

/// Names of the files in `directory` that begin with `prefix`, sorted.
///
/// # Errors
/// The directory is there and cannot be listed.
pub(crate) fn list(directory: &Path, prefix: &str) -> Result<Vec<String>, DatapathError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(DatapathError::pin("list", directory, error)),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    Ok(names)
}

/// Removes a pin; one that is not there is fine.
///
/// # Errors
/// The pin is there and cannot be removed.
pub(crate) fn remove(path: &Path) -> Result<(), DatapathError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DatapathError::pin("remove", path, error))
        }
        _ => Ok(()),
    }
}

fn check_bpffs(pin_dir: &Path) -> Result<(), DatapathError> {
    let existing = pin_dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let kind = statfs(existing)
        .map_err(|errno| DatapathError::pin("statfs", existing, errno.into()))?
        .filesystem_type();
    if kind != BPF_FS_MAGIC {
        return Err(DatapathError::NoBpffs { path: existing.to_owned() });
    }
    // A bpffs of this mount namespace alone would take the links with it when the service
    // stops. What cannot be compared (no right to look at process 1) is not refused.
    let host = Path::new("/proc/1/root").join(existing.strip_prefix("/").unwrap_or(existing));
    if let (Ok(ours), Ok(host)) = (fs::metadata(existing), fs::metadata(host))
        && ours.dev() != host.dev()
    {
        return Err(DatapathError::PrivateBpffs { path: existing.to_owned() });
    }
    Ok(())
}

fn make_directory(path: &Path, group: Option<Gid>) -> Result<(), DatapathError> {
    match fs::DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Ok(()) => {
            // The umask may have narrowed it.
            fs::set_permissions(path, fs::Permissions::from_mode(DIRECTORY_MODE))
                .map_err(|error| DatapathError::pin("chmod", path, error))?;
            give_to(group, path);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let metadata = fs::symlink_metadata(path)
                .map_err(|error| DatapathError::pin("stat", path, error))?;
            let ours = nix::unistd::geteuid().as_raw();
            if !metadata.is_dir() || metadata.uid() != ours || metadata.mode() & 0o022 != 0 {
                return Err(DatapathError::Squatted {
                    path: path.to_owned(),
                    owner: metadata.uid(),
                    mode: metadata.mode() & 0o7777,
                });
            }
            Ok(())
        }
        Err(error) => Err(DatapathError::pin("make", path, error)),
    }
}

/// Gives a pin or directory to the group, if there is one.
fn give_to(group: Option<Gid>, path: &Path) {
    if group.is_some()
        && let Err(error) = chown(path, None, group)
    {
        tracing::warn!(path = %path.display(), %error, "cannot give it to group {GROUP}");
    }
}

/// One writer: the flock on the directory itself, which the kernel drops with the process.
fn lock(pin_dir: &Path) -> Result<fs::File, DatapathError> {
    let file =
        fs::File::open(pin_dir).map_err(|error| DatapathError::pin("open", pin_dir, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(DatapathError::Locked { path: pin_dir.to_owned(), pid: lock_holder(pin_dir) })
        }
        Err(fs::TryLockError::Error(error)) => Err(DatapathError::pin("lock", pin_dir, error)),
    }
}

/// The process that holds the flock on `path`, if any.
pub fn lock_holder(path: &Path) -> Option<u32> {
    let metadata = fs::metadata(path).ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    parse_lock_holder(&locks, metadata.dev(), metadata.ino())
}

/// `/proc/locks` (proc_locks(5)): number, type, …, pid, major:minor:inode, range.
fn parse_lock_holder(locks: &str, dev: u64, inode: u64) -> Option<u32> {
    let file =
        format!("{:02x}:{:02x}:{inode}", nix::sys::stat::major(dev), nix::sys::stat::minor(dev));
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            [_, "FLOCK", _, _, pid, at, ..] if at == file => pid.parse().ok(),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_holder_is_found() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 00:1c:7 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 4321 00:1c:7 0 EOF\n";
        let dev = nix::sys::stat::makedev(0, 0x1c);
        assert_eq!(parse_lock_holder(locks, dev, 7), Some(4321));
        assert_eq!(parse_lock_holder(locks, dev, 8), None);
    }
}
