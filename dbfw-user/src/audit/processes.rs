//! Database servers of this network namespace: their listening sockets and processes, from /proc.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read as _},
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use dbfw_core::audit::Engine;

use crate::sockets::{WaitingSocket, waiting};

/// Processes that are looked at.
const MAX_PROCESSES: usize = 100_000;
/// Open files of a process that are looked at.
const MAX_FILES: usize = 65_536;
/// Bytes of a command line that are read.
const MAX_ARGUMENTS: u64 = 64 * 1024;

/// The kind of program that a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// A database server.
    Database(Engine),
    /// One that passes clients on to PostgreSQL.
    Pooler,
    /// One that passes clients on to a container.
    DockerProxy,
}

impl Program {
    /// The program of this name, which the kernel cuts after 15 bytes.
    fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "postgres" | "postmaster" => Self::Database(Engine::Postgres),
            "mariadbd" | "mysqld" => Self::Database(Engine::MySql),
            "redis-server" | "valkey-server" | "keydb-server" => Self::Database(Engine::Redis),
            "mongod" | "mongos" => Self::Database(Engine::MongoDb),
            "pgbouncer" | "pgcat" | "odyssey" | "pgpool" | "pgagroal" => Self::Pooler,
            "docker-proxy" => Self::DockerProxy,
            _ => return None,
        })
    }
}

/// A socket that listens for clients by TCP, and the process that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// `None`: no program that is known holds it.
    pub(super) process: Option<Process>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) name: String,
    pub(super) program: Program,
}

impl Listener {
    /// The engine of its server.
    pub(super) fn engine(&self) -> Option<Engine> {
        match self.process.as_ref()?.program {
            Program::Database(engine) => Some(engine),
            Program::Pooler => Some(Engine::Postgres),
            Program::DockerProxy => None,
        }
    }

    /// Whether an address of this host is one that it serves.
    pub(super) fn serves(&self, address: IpAddr) -> bool {
        match self.address {
            IpAddr::V4(own) if own.is_unspecified() => address.is_ipv4(),
            IpAddr::V6(own) if own.is_unspecified() => true,
            own => own == address,
        }
    }
}

/// The listeners of this network namespace.
///
/// # Errors
///
/// The tables of sockets cannot be read.
pub(super) fn listeners() -> io::Result<Vec<Listener>> {
    let mut found: BTreeMap<u64, Listener> = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = match fs::read_to_string(table) {
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            text => text?,
        };
        found.extend(waiting(&text, false).filter_map(|WaitingSocket { address, port, inode }| {
            Some((inode?, Listener { address, port: port.port, process: None }))
        }));
    }
    for process in processes() {
        for inode in sockets(process.pid) {
            if let Some(listener) = found.get_mut(&inode) {
                // The children of a server hold its sockets too, and came later.
                listener.process.get_or_insert_with(|| process.clone());
            }
        }
    }
    Ok(found.into_values().collect())
}

/// The processes of programs that are known, those that are older first as far as their ids say.
pub(super) fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut pids: Vec<u32> = pids.take(MAX_PROCESSES).collect();
    pids.sort_unstable();
    let process = |pid: u32| {
        let name = fs::read_to_string(of(pid, "comm")).ok()?;
        let name = name.trim_end().to_owned();
        Some(Process { pid, program: Program::of_name(&name)?, name })
    };
    pids.into_iter().filter_map(process).collect()
}

/// A file of a process in /proc.
pub(super) fn of(pid: u32, name: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(name)
}

/// The inodes of a process's sockets.
pub(super) fn sockets(pid: u32) -> BTreeSet<u64> {
    let Ok(entries) = fs::read_dir(of(pid, "fd")) else { return BTreeSet::new() };
    let inode = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        inode.parse().ok()
    };
    entries.flatten().take(MAX_FILES).filter_map(inode).collect()
}

/// The words of a process's command line.
///
/// # Errors
///
/// It cannot be read.
pub(super) fn arguments(pid: u32) -> io::Result<Vec<Vec<u8>>> {
    let mut text = Vec::new();
    File::open(of(pid, "cmdline"))?.take(MAX_ARGUMENTS).read_to_end(&mut text)?;
    Ok(text.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect())
}

/// Whether the names of files mean the same to a process as to this one.
pub(super) fn shares_files(pid: u32) -> bool {
    let of_path = |path: &Path| fs::metadata(path).map(|root| (root.dev(), root.ino()));
    match (of_path(&of(pid, "root")), of_path(Path::new("/"))) {
        (Ok(theirs), Ok(ours)) => theirs == ours,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_serve_their_families() {
        let serves = |own: &str, address: &str| {
            let address = address.parse().unwrap();
            Listener { address: own.parse().unwrap(), port: 1, process: None }.serves(address)
        };
        assert!(serves("0.0.0.0", "192.0.2.1"));
        assert!(!serves("0.0.0.0", "2001:db8::1"));
        assert!(serves("::", "192.0.2.1"));
        assert!(serves("192.0.2.1", "192.0.2.1"));
        assert!(!serves("192.0.2.1", "192.0.2.2"));
    }

    /// This process listens, and is none of the programs.
    #[test]
    fn a_socket_of_this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = listeners().unwrap();
        let found = found.iter().find(|found| found.port == port).unwrap();
        assert_eq!((found.address, &found.process), ("127.0.0.1".parse().unwrap(), &None));
        assert!(!sockets(std::process::id()).is_empty());
        assert!(shares_files(std::process::id()));
    }
}
