//! Files that the agent may read, found out by trying.
//!
//! Owners and modes do not tell: access control lists, network file systems and security modules
//! have their say as well.

use std::{
    fmt, fs, io,
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    thread,
};

use caps::CapSet;
use dbfw_provider::file::directories_to;
use nix::unistd::Gid;

/// The rights that the agent reads files with under systemd: root's, without the
/// capabilities that open other users' files, and those of one group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rights {
    /// The group `dbfw`; `None`: this system has no such group.
    pub(super) group: Option<Gid>,
}

/// A directory or file on the way that the agent may not search or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) path: PathBuf,
    pub(super) is_directory: bool,
    pub(super) owner: u32,
    pub(super) group: u32,
    pub(super) mode: u32,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, owner, group, mode, .. } = self;
        let kind = if self.is_directory { "the directory " } else { "" };
        write!(f, "{kind}{} has mode {mode:04o}, user {owner}, group {group}", path.display())
    }
}

/// A directory or file, opened without the right to read it.
struct Step {
    file: fs::File,
    /// The obstacle that it is where it is not allowed.
    obstacle: Obstacle,
}

impl Step {
    fn open(path: &Path) -> io::Result<Self> {
        let file = fs::File::options().read(true).custom_flags(libc::O_PATH).open(path)?;
        let metadata = file.metadata()?;
        let obstacle = Obstacle {
            path: path.to_owned(),
            is_directory: metadata.is_dir(),
            owner: metadata.uid(),
            group: metadata.gid(),
            mode: metadata.mode() & 0o7777,
        };
        Ok(Self { file, obstacle })
    }

    /// Whether the calling thread may search the directory, or read the file.
    fn is_allowed(&self) -> bool {
        // Through the descriptor, so that only this one's own permissions count.
        let own = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        let result = if self.obstacle.is_directory {
            fs::metadata(own.join(".")).map(|_| ())
        } else {
            let options = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).to_owned();
            options.open(own).map(|_| ())
        };
        !result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }
}

impl Rights {
    /// Obstacle that keeps a holder of these rights from reading the file at `path`: none if
    /// it may, and if there is no such file.
    ///
    /// # Errors
    /// Only root can give up what it has and try; and the caller must be able to reach the
    /// file itself.
    pub(super) fn obstacles(self, path: &Path) -> io::Result<Vec<Obstacle>> {
        let file = match fs::canonicalize(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let way = directories_to(&std::path::absolute(path)?);
        let steps: Vec<Step> =
            way.iter().chain([&file]).map(|path| Step::open(path)).collect::<Result<_, _>>()?;
        let tried = thread::scope(|scope| {
            let trial = scope.spawn(|| {
                self.take_on()?;
                let denied = steps.iter().filter(|step| !step.is_allowed());
                Ok(denied.map(|step| step.obstacle.clone()).collect())
            });
            trial.join()
        });
        tried.unwrap_or_else(|_| Err(io::Error::other("the thread that tried it panicked")))
    }

    /// Leaves the calling thread, and no other, with these rights.
    fn take_on(self) -> io::Result<()> {
        if let Some(group) = self.group {
            let group = group.as_raw();
            // The C library's functions would change every thread.
            // SAFETY: setgroups(2) reads one id, which outlives the call.
            done(unsafe { libc::syscall(libc::SYS_setgroups, 1_usize, &raw const group) })?;
            // SAFETY: setresgid(2) takes nothing but ids.
            done(unsafe { libc::syscall(libc::SYS_setresgid, group, group, group) })?;
        }
        for set in [CapSet::Effective, CapSet::Permitted] {
            caps::clear(None, set).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

fn done(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use nix::unistd::{Gid, Uid, chown, geteuid};

    use super::*;

    const OTHER: u32 = 65534;
    const GROUP: u32 = 4711;

    /// A list of another user's, below a directory of its own, and a link to it.
    fn lay_out(directory: u32, file: u32) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let app = root.path().join("app");
        fs::create_dir(&app).unwrap();
        let list = app.join("list");
        fs::write(&list, "10.0.0.1\n").unwrap();
        let link = root.path().join("link");
        symlink("app/list", &link).unwrap();
        for (path, mode) in [(&list, file), (&app, directory)] {
            chown(path, Some(Uid::from_raw(OTHER)), Some(Gid::from_raw(OTHER))).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        (root, link)
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        if !geteuid().is_root() {
            let error = Rights { group: Some(Gid::from_raw(GROUP)) }.obstacles(Path::new("/etc"));
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            return;
        }
        let rights = Rights { group: Some(Gid::from_raw(GROUP)) };
        for (directory, file, wanted) in [
            (0o755, 0o644, &[][..]),
            (0o711, 0o604, &[]),
            (0o755, 0o640, &["list"]),
            (0o700, 0o600, &["app", "list"]),
            (0o750, 0o644, &["app"]),
        ] {
            let (_root, link) = lay_out(directory, file);
            let found = rights.obstacles(&link).unwrap();
            let names: Vec<_> =
                found.iter().map(|o| o.path.file_name().unwrap().to_str().unwrap()).collect();
            assert_eq!(names, wanted, "{directory:o} {file:o}");
            // By the link as by its own name, and only in that thread.
            assert_eq!(rights.obstacles(&link.with_file_name("app/list")).unwrap(), found);
            fs::read(&link).unwrap();
        }
        let (root, link) = lay_out(0o750, 0o640);
        for path in [root.path().join("app"), root.path().join("app/list")] {
            chown(&path, None, Some(Gid::from_raw(GROUP))).unwrap();
        }
        assert_eq!(rights.obstacles(&link).unwrap(), []);
        assert_eq!(rights.obstacles(&root.path().join("missing")).unwrap(), []);
        assert_eq!(rights.obstacles(root.path()).unwrap(), []);
    }
}
