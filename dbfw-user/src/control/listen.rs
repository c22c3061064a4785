//! The listening control socket, with its owner and mode.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt as _, PermissionsExt, chown},
    },
    path::{Path, PathBuf},
};

use dbfw_datapath::GROUP;
use nix::{
    sys::{
        socket::{
            AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind as bind_socket, listen,
            socket,
        },
        stat::{Mode, fchmod},
    },
    unistd::{Gid, Group},
};
use tokio::net::UnixListener;

use super::{SOCKET_NAME, client::connect};

/// Connections the kernel keeps waiting for `accept`.
const BACKLOG: i32 = 64;

/// Reason why the control socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody answers on it.
    #[error("a running dbfw answers on {}; stop it first", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is in its place.
    #[error("{} is where the control socket belongs, and is not a socket; remove it", path.display())]
    NotASocket {
        /// Kind of file that is there.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// Action that failed.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Reason of the failure.
        source: io::Error,
    },
}

/// The error of `action` on `path`, for what the system says.
fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ListenError {
    move |source| ListenError::Io { action, path: path.to_owned(), source }
}

/// The control socket: what listens, and the file that leads to it.
#[derive(Debug)]
pub struct ControlSocket {
    /// The listening socket.
    pub(super) listener: UnixListener,
    run_dir: PathBuf,
    /// Device and inode of the file.
    file: (u64, u64),
}

impl ControlSocket {
    /// Listens anew if the file is gone, or another than it was. Returns whether it did.
    ///
    /// # Errors
    /// Those of [`bind`]. The socket is what it was.
    pub(super) fn restore(&mut self) -> Result<bool, ListenError> {
        if identity(&self.run_dir.join(SOCKET_NAME)).is_ok_and(|found| found == self.file) {
            return Ok(false);
        }
        // Before anything is said about the group, since this is tried again every second.
        refuse_live(&self.run_dir.join(SOCKET_NAME))?;
        *self = bind(&self.run_dir)?;
        Ok(true)
    }
}

/// Device and inode of a file.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Listens on `run_dir/dbfw.sock`, mode 0660 and group dbfw, or the owner's own group where
/// there is no such group. A socket that an earlier agent left behind is replaced, one that somebody
/// answers on is not. Must be called within a tokio runtime.
///
/// # Errors
///
/// The socket cannot be made, or something else has its path.
pub fn bind(run_dir: &Path) -> Result<ControlSocket, ListenError> {
    match Group::from_name(GROUP) {
        Ok(Some(group)) => bind_for(run_dir, Some(group.gid)),
        Ok(None) => {
            tracing::warn!(
                "there is no group {GROUP}: only root can use the control socket; \
                 `groupadd --system {GROUP}` and a restart let its members read"
            );
            bind_for(run_dir, None)
        }
        Err(error) => {
            tracing::warn!(
                "group {GROUP} cannot be looked up ({error}): only root can use the control socket"
            );
            bind_for(run_dir, None)
        }
    }
}

fn bind_for(run_dir: &Path, group: Option<Gid>) -> Result<ControlSocket, ListenError> {
    let path = run_dir.join(SOCKET_NAME);
    fs::create_dir_all(run_dir).map_err(failed("create directory", run_dir))?;
    refuse_live(&path)?;

    // Made under another name and moved into place: whoever connects finds the socket
    // with its final owner and mode, or none.
    let new = tempfile::Builder::new()
        .prefix(".new-")
        .make_in(run_dir, listening)
        .map_err(failed("listen in", run_dir))?;
    open_to_group(new.path(), group)?;
    let file = identity(new.path()).map_err(failed("look at", new.path()))?;
    let socket = new.persist(&path).map_err(|error| failed("create", &path)(error.error))?;
    let listener = UnixListener::from_std(socket.into()).map_err(failed("listen on", &path))?;
    Ok(ControlSocket { listener, run_dir: run_dir.to_owned(), file })
}

/// A socket that listens at `path` and that only its owner can open.
fn listening(path: &Path) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // The mode of the descriptor is the mode of the file that bind makes.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind_socket(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket)
}

/// Opens the socket at `path` to its group, which is `group` if there is one to give it to.
fn open_to_group(path: &Path, group: Option<Gid>) -> Result<(), ListenError> {
    let given = group.map_or(Ok(()), |gid| chown(path, None, Some(gid.as_raw())));
    match given {
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(0o660))
            .map_err(failed("set the mode of", path)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            tracing::warn!(
                "the control socket cannot be given to group {GROUP} ({error}): only its owner \
                 can use it"
            );
            Ok(())
        }
        Err(error) => Err(failed("give group dbfw", path)(error)),
    }
}

/// Fails unless `path` is free, or a socket that nobody answers on.
fn refuse_live(path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(ListenError::NotASocket { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", path)(error)),
    }
    let in_use = || ListenError::InUse { path: path.to_owned() };
    match connect(path) {
        Ok(_) => Err(in_use()),
        Err(error) => match error.kind() {
            // Its queue of connections is full, so somebody listens.
            io::ErrorKind::WouldBlock => Err(in_use()),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(()),
            _ => Err(failed("connect to", path)(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use nix::unistd::getgid;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn the_group_may_open_it() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().join("run/dbfw");
        let _listener = bind_for(&run_dir, Some(getgid())).unwrap();
        let socket = run_dir.join(SOCKET_NAME);
        assert_eq!(mode(&socket), 0o660);
        assert_eq!(fs::metadata(&socket).unwrap().gid(), getgid().as_raw());
        assert_eq!(fs::read_dir(&run_dir).unwrap().count(), 1, "no temporary name is left");
    }

    #[tokio::test]
    async fn without_the_group_it_has_the_owners() {
        let dir = tempfile::tempdir().unwrap();
        let _listener = bind_for(dir.path(), None).unwrap();
        let socket = dir.path().join(SOCKET_NAME);
        assert_eq!(mode(&socket), 0o660);
        assert_eq!(fs::metadata(&socket).unwrap().gid(), getgid().as_raw());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let first = bind_for(dir.path(), None).unwrap();
        assert!(matches!(bind_for(dir.path(), None), Err(ListenError::InUse { .. })));
        drop(first);
        let second = bind_for(dir.path(), None).unwrap();
        let path = dir.path().join(SOCKET_NAME);
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        second.listener.accept().await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_whose_file_is_gone_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(SOCKET_NAME);
        let mut socket = bind_for(dir.path(), None).unwrap();
        assert!(!socket.restore().unwrap());
        fs::remove_file(&path).unwrap();
        assert!(socket.restore().unwrap());
        fs::rename(&path, dir.path().join("other")).unwrap();
        fs::write(&path, "").unwrap();
        assert!(matches!(socket.restore(), Err(ListenError::NotASocket { .. })));
        fs::remove_file(&path).unwrap();
        assert!(socket.restore().unwrap() && !socket.restore().unwrap());
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        socket.listener.accept().await.unwrap();
        // Another agent's, which answers.
        fs::remove_file(&path).unwrap();
        let _other = bind_for(dir.path(), None).unwrap();
        assert!(matches!(socket.restore(), Err(ListenError::InUse { .. })));
    }

    #[tokio::test]
    async fn a_file_in_its_place_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(SOCKET_NAME);
        fs::write(&path, "").unwrap();
        let error = bind_for(dir.path(), None).unwrap_err();
        assert!(matches!(error, ListenError::NotASocket { .. }));
        assert!(error.to_string().contains(path.to_str().unwrap()));
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().join("x".repeat(120));
        assert!(matches!(bind_for(&run_dir, None), Err(ListenError::Io { .. })));
    }
}
