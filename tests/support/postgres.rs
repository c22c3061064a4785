//! A real PostgreSQL server in a namespace.

use std::{
    fs,
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
        let hba = at.join("data/pg_hba.conf");
        fs::write(&hba, "local all all trust\nhost all all all trust\n").expect("let all in");
        let log = fs::File::create(at.join("server.log")).expect("make the server's log");
        let mut command = netns.command("setpriv");
        let server = as_user(&mut command, "postgres")
            .arg("-D")
            .arg(at.join("data"))
            .args(["-p", &port.to_string()])
            .args(["-c", "listen_addresses=*", "-c", "fsync=off", "-c", "log_connections=on"])
            .args(["-c", "shared_buffers=1MB", "-c", "max_connections=10"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", at.display()))
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
