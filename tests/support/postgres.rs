//! A real PostgreSQL server in a namespace.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User},
};
use tempfile::TempDir;

use crate::netns::{Netns, finish};

/// The user the server runs as: it refuses to run as root.
const USER: &str = "postgres";

/// A server with a fresh data directory that lets everybody in without a password. It ends
/// when dropped.
#[derive(Debug)]
pub struct Postgres {
    directory: TempDir,
    server: Child,
}

impl Postgres {
    /// Starts a server on every address of the namespace and waits until it answers.
    pub fn start(netns: &Netns, port: u16) -> Self {
        Self::start_with(netns, port, &[], |_| {})
    }

    /// Starts a server as [`Postgres::start`] does, with settings of its own (`name=value`).
    /// `prepare` gets the data directory before, to put files there, which become the server's.
    pub fn start_with(
        netns: &Netns,
        port: u16,
        settings: &[&str],
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let user = User::from_name(USER)
            .expect("read the users")
            .unwrap_or_else(|| panic!("there is no user {USER}: cargo xtask setup"));
        let directory = TempDir::with_prefix("dbfw-pg-").expect("a directory for the server");
        let at = directory.path();
        chown(at, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("give it the directory");
        finish(
            as_user(&mut Command::new("setpriv"), "initdb")
                .arg("--pgdata")
                .arg(at.join("data"))
                .args(["--auth", "trust", "--username", USER, "--no-sync"])
                .current_dir(at),
        );
        let data = at.join("data");
        let hba = data.join("pg_hba.conf");
        fs::write(&hba, "local all all trust\nhost all all all trust\n").expect("let all in");
        prepare(&data);
        for file in fs::read_dir(&data).expect("read the data directory").flatten() {
            let owner = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
            chown(file.path(), owner.0, owner.1).expect("give the server its files");
        }
        let log = fs::File::create(at.join("server.log")).expect("make the server's log");
        let mut command = netns.command("setpriv");
        let server = as_user(&mut command, "postgres")
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string()])
            .args(["-c", "listen_addresses=*", "-c", "fsync=off", "-c", "log_connections=on"])
            .args(["-c", "shared_buffers=1MB", "-c", "max_connections=10"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", at.display()))
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .current_dir(at)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start the server");
        let postgres = Self { directory, server };
        postgres.wait(port);
        postgres
    }

    fn wait(&self, port: u16) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let ready = Command::new(program("pg_isready"))
                .arg("--quiet")
                .arg("--host")
                .arg(self.directory.path())
                .args(["--port", &port.to_string()])
                .status()
                .expect("run pg_isready");
            if ready.success() {
                return;
            }
            assert!(Instant::now() < deadline, "PostgreSQL does not answer\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Process id of the server; processes of its connections are its children.
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// The server's data directory, where its configuration is.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The directory of the server's unix socket.
    pub fn socket_dir(&self) -> &Path {
        self.directory.path()
    }

    /// Tells the server to read its files again, which it does soon after.
    pub fn reload(&self) {
        let pid = i32::try_from(self.server.id()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGHUP).expect("tell the server");
    }

    /// The server's log after the first `from` bytes.
    pub fn log_after(&self, from: u64) -> String {
        let mut log = fs::File::open(self.directory.path().join("server.log")).expect("the log");
        log.seek(SeekFrom::Start(from)).expect("go on in the log");
        let mut text = Vec::new();
        log.read_to_end(&mut text).expect("read the log");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The length of what the server logged, in bytes.
    pub fn log_length(&self) -> u64 {
        let path = self.directory.path().join("server.log");
        fs::metadata(path).map_or(0, |found| found.len())
    }

    /// The major version of the installed server.
    pub fn version() -> u32 {
        let program = program("postgres");
        let version = program.parent().and_then(Path::parent).and_then(Path::file_name);
        let version = version.and_then(|name| name.to_str()?.parse().ok());
        version.unwrap_or_else(|| panic!("{} names no version", program.display()))
    }

    /// What the server logged: a line for every connection it accepted.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("server.log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT: end at once, and the server's children with it.
        if let Ok(pid) = i32::try_from(self.server.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
        }
        let _ = self.server.wait();
    }
}

/// Runs a query from a namespace. The client gives up after two seconds without a
/// connection.
pub fn query(netns: &Netns, server: &str, port: u16, sql: &str) -> Output {
    netns
        .command(program("psql"))
        .args(["--no-psqlrc", "--no-align", "--tuples-only", "--host", server])
        .args(["--port", &port.to_string(), "--username", USER, "--dbname", USER])
        .args(["--command", sql])
        .env("PGCONNECT_TIMEOUT", "2")
        .output()
        .expect("run psql")
}

/// Runs pgbench from a namespace to its end; what it printed. Panics if it fails.
pub fn pgbench(netns: &Netns, server: &str, port: u16, options: &[&str]) -> String {
    finish(
        netns
            .command(program("pgbench"))
            .args(["--host", server, "--port", &port.to_string(), "--username", USER])
            .args(options)
            .arg(USER),
    )
}

/// Adds to a `setpriv` command that it runs a program of PostgreSQL's as its user, and that
/// the program ends with the test.
fn as_user<'a>(command: &'a mut Command, name: &str) -> &'a mut Command {
    command
        .args(["--reuid", USER, "--regid", USER, "--init-groups", "--pdeathsig", "QUIT", "--"])
        .arg(program(name))
}

/// The newest installed version of one of PostgreSQL's programs.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is not in /usr/lib/postgresql: cargo xtask setup");
    versions
        .flatten()
        .filter_map(|version| {
            let number: u32 = version.file_name().to_str()?.parse().ok()?;
            let path = version.path().join(Path::new("bin")).join(name);
            path.exists().then_some((number, path))
        })
        .max()
        .map(|(_, path)| path)
        .unwrap_or_else(|| panic!("no {name} below /usr/lib/postgresql: cargo xtask setup"))
}
