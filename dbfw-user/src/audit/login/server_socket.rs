//! [`ServerSocket`]: the Unix socket of a server, and the system user to come as.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _, net::UnixStream as StdUnixStream},
    },
    path::{Path, PathBuf},
    thread,
};

use dbfw_core::audit::Engine;
use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket},
    unistd::{Gid, Uid, User},
};
use tokio::net::UnixStream;

use super::super::processes;

/// Bytes of the list of Unix sockets that are read.
const MAX_LIST: u64 = 64 << 20;
/// Set for a socket that waits for clients.
const ACCEPTS: u32 = 0x1_0000;

/// A system user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SystemUser {
    pub(super) name: String,
    uid: Uid,
    gid: Gid,
}

impl SystemUser {
    /// The user that a process runs as.
    ///
    /// # Errors
    ///
    /// It cannot be told: the reason.
    pub(super) fn of_process(pid: u32) -> Result<Self, String> {
        let status = fs::read_to_string(processes::of(pid, "status"))
            .map_err(|error| format!("process {pid} cannot be looked at: {error}"))?;
        let uid = effective_uid(&status);
        let uid = uid.ok_or_else(|| format!("whose process {pid} is cannot be told"))?;
        Self::of_uid(uid)
    }

    fn of_uid(uid: Uid) -> Result<Self, String> {
        match User::from_uid(uid) {
            Ok(Some(user)) => Ok(user.into()),
            Ok(None) => Err(format!("the system has no user of id {uid}")),
            Err(error) => Err(format!("the users of the system cannot be read: {error}")),
        }
    }

    /// The user of a name.
    ///
    /// # Errors
    ///
    /// There is none: the reason.
    pub(super) fn of_name(name: &str) -> Result<Self, String> {
        match User::from_name(name) {
            Ok(Some(user)) => Ok(user.into()),
            Ok(None) => Err(format!(
                "the system has no user {name}, whom the server would let in without a password: \
                 make it, or write password_file in [database.audit]"
            )),
            Err(error) => Err(format!("the users of the system cannot be read: {error}")),
        }
    }
}

impl From<User> for SystemUser {
    fn from(user: User) -> Self {
        Self { name: user.name, uid: user.uid, gid: user.gid }
    }
}

/// The second number of the line `Uid:`.
fn effective_uid(status: &str) -> Option<Uid> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok().map(Uid::from_raw)
}

/// The Unix socket of a server.
#[derive(Debug)]
pub(super) struct ServerSocket {
    path: PathBuf,
    /// The user that the server runs as.
    pub(super) server: SystemUser,
}

impl ServerSocket {
    /// The socket that is named, of a server that its owner runs.
    ///
    /// # Errors
    ///
    /// It cannot be looked at: the reason.
    pub(super) fn named(path: &Path, pid: Option<u32>) -> Result<Self, String> {
        let server = match pid {
            Some(pid) => SystemUser::of_process(pid)?,
            None => {
                let found = fs::metadata(path)
                    .map_err(|error| format!("{} cannot be used: {error}", path.display()))?;
                SystemUser::of_uid(Uid::from_raw(found.uid()))?
            }
        };
        Ok(Self { path: path.to_owned(), server })
    }

    /// The socket that a server's process waits at.
    ///
    /// # Errors
    ///
    /// There is none: the reason.
    pub(super) fn of_process(engine: Engine, pid: u32) -> Result<Self, String> {
        if !processes::shares_files(pid) {
            return Err(
                "the server runs in a container: name its Unix socket in [database.audit]".into()
            );
        }
        let server = SystemUser::of_process(pid)?;
        let mut list = Vec::new();
        let read = fs::File::open("/proc/net/unix")
            .and_then(|file| file.take(MAX_LIST).read_to_end(&mut list));
        read.map_err(|error| format!("the Unix sockets cannot be listed: {error}"))?;
        let own = processes::sockets(pid);
        let waiting = waiting(&list).filter(|(inode, _)| own.contains(inode));
        let mut paths: Vec<PathBuf> =
            waiting.map(|(_, path)| path).filter(|path| is_for_clients(engine, path)).collect();
        paths.sort();
        let path = paths.into_iter().next().ok_or_else(|| {
            format!(
                "process {pid} waits at no Unix socket: let it have one, or name it in \
                 [database.audit]"
            )
        })?;
        Ok(Self { path, server })
    }

    /// Connects as a user, and makes sure that the server's user is on the other side: only then
    /// may a secret be said.
    ///
    /// # Errors
    ///
    /// It cannot be connected to, or another user's process is there: the reason.
    pub(super) fn open(&self, user: &SystemUser) -> Result<UnixStream, String> {
        let shown = self.path.display();
        let stream = connect_as(user, &self.path)
            .map_err(|error| format!("cannot connect to {shown} as {}: {error}", user.name))?;
        let stream = UnixStream::from_std(stream);
        let stream = stream.map_err(|error| format!("{shown} cannot be used: {error}"))?;
        let other = stream.peer_cred();
        let other = other.map_err(|error| format!("whose {shown} is cannot be told: {error}"))?;
        let other = Uid::from_raw(other.uid());
        if other != self.server.uid && !other.is_root() {
            return Err(format!("{shown} is not a socket of {}'s", self.server.name));
        }
        Ok(stream)
    }
}

/// Whether a socket is one for clients of an engine.
fn is_for_clients(engine: Engine, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    match engine {
        Engine::Postgres => name.starts_with(b".s.PGSQL."),
        // The X protocol has a socket of its own.
        Engine::MySql => !name.ends_with(b"mysqlx.sock"),
        Engine::Redis | Engine::MongoDb => true,
    }
}

/// The sockets of /proc/net/unix that wait for clients and have an absolute path, each with its
/// inode.
fn waiting(list: &[u8]) -> impl Iterator<Item = (u64, PathBuf)> {
    list.split(|byte| *byte == b'\n').filter_map(|line| {
        // Slot, users, protocol, flags, type, state, inode; the path is all that is left.
        let mut rest = line;
        let mut words = Vec::with_capacity(7);
        while words.len() < 7 {
            rest = rest.trim_ascii_start();
            let end = rest.iter().position(|byte| *byte == b' ')?;
            words.push(str::from_utf8(&rest[..end]).ok()?);
            rest = &rest[end..];
        }
        let path = rest.strip_prefix(b" ")?;
        let flags = u32::from_str_radix(words[3], 16).ok()?;
        let is_stream = words[4] == "0001";
        let is_meant = flags & ACCEPTS != 0 && is_stream && path.starts_with(b"/");
        Some((words[6].parse().ok()?, PathBuf::from(OsStr::from_bytes(path)))).filter(|_| is_meant)
    })
}

/// Connects as a user. A thread takes the user's place and goes no further than to connect: the
/// kernel tells the server whose place it was. The other threads stay what they are.
fn connect_as(user: &SystemUser, path: &Path) -> io::Result<StdUnixStream> {
    let (uid, gid) = (user.uid, user.gid);
    let path = path.to_owned();
    let connecting = thread::Builder::new().spawn(move || {
        become_user(uid, gid)?;
        // A server that is stopped, and whose queue is full, is no reason to wait.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(socket.as_raw_fd(), &UnixAddr::new(&path)?)?;
        Ok(StdUnixStream::from(socket))
    })?;
    connecting.join().unwrap_or_else(|_| Err(io::Error::other("the thread for it failed")))
}

/// Makes this thread another user's for good, and no other thread.
fn become_user(uid: Uid, gid: Gid) -> io::Result<()> {
    let (uid, gid) = (uid.as_raw(), gid.as_raw());
    // SAFETY: with a size of 0 the kernel reads no list; the other calls take numbers alone. The
    // calls themselves, unlike the library's functions, change this thread alone.
    let results = unsafe {
        [
            libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()),
            libc::syscall(libc::SYS_setresgid, gid, gid, gid),
            libc::syscall(libc::SYS_setresuid, uid, uid, uid),
        ]
    };
    match results.into_iter().all(|result| result == 0) {
        true => Ok(()),
        false => Err(Errno::last().into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sockets_that_wait() {
        let list = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 4711 /run/a b/.s.PGSQL.5432\n\
            0000000000000000: 00000002 00000000 00010000 0001 01    12 /run/mysqld.sock\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 4712 /run/mysqld.sock\n\
            0000000000000000: 00000002 00000000 00010000 0005 01 4713 /run/udev/control\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 4714 @abstract\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 4715\n";
        let found: Vec<_> = waiting(list).collect();
        let expected = [(4711, "/run/a b/.s.PGSQL.5432"), (12, "/run/mysqld.sock")];
        assert_eq!(found, expected.map(|(inode, path)| (inode, PathBuf::from(path))));
        let is = |engine, path: &str| is_for_clients(engine, Path::new(path));
        assert!(is(Engine::Postgres, "/run/.s.PGSQL.5432"));
        assert!(!is(Engine::Postgres, "/run/other"));
        assert!(!is(Engine::MySql, "/run/mysqld/mysqlx.sock"));
        assert!(is(Engine::MySql, "/run/mysqld/mysqld.sock"));
    }

    #[test]
    fn the_effective_user_counts() {
        let status = "Name:\tx\nUid:\t0\t999\t0\t0\nGid:\t0\t0\t0\t0\n";
        assert_eq!(effective_uid(status), Some(Uid::from_raw(999)));
        assert_eq!(effective_uid("Uid:\t0"), None);
        assert_eq!(effective_uid(""), None);
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(5_000))]

        #[test]
        fn no_list_panics(list in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = waiting(&list).count();
            let _ = effective_uid(&String::from_utf8_lossy(&list));
        }
    }
}
