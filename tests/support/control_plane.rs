//! The real `dbfw-server` in a namespace, with directories of its own.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    netns::{Netns, finish},
    pydo,
};

/// Longest wait on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The port it listens on, in a namespace of its own.
const PORT: u16 = 7443;

/// The binary under test; `cargo xtask test` sets the variable.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("DBFW_SERVER_BIN").expect(
        "DBFW_SERVER_BIN must name the dbfw-server binary: run the tests with `cargo xtask test`",
    );
    PathBuf::from(path)
}

/// A server that was set up, with its first token in a file. It is killed when dropped.
#[derive(Debug)]
pub struct ControlPlane<'n> {
    /// `None`: this process's own.
    netns: Option<&'n Netns>,
    files: TempDir,
    url: String,
    port: u16,
    process: Option<Child>,
}

impl<'n> ControlPlane<'n> {
    /// Sets one up on loopback of a namespace, and starts it.
    pub fn start(netns: &'n Netns) -> Self {
        let mut server = Self::set_up(Some(netns), PORT);
        server.spawn();
        server
    }

    /// Sets one up on a port of loopback, and does not start it.
    pub fn set_up(netns: Option<&'n Netns>, port: u16) -> Self {
        let files = TempDir::with_prefix("dbfw-server-test-").expect("a directory");
        let url = format!("https://localhost:{port}");
        let server = Self { netns, files, url, port, process: None };
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:{port}\"]\nstate_dir = {:?}\nrun_dir = {:?}\n\
             metrics_listen = \"off\"\n",
            server.path("state"),
            server.path("run"),
        );
        fs::write(server.config(), text).expect("write the configuration");
        let token = server.done(&["init"]);
        write_token(&server.token_file(), &token);
        server
    }

    /// Starts it, and waits until it answers.
    pub fn spawn(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let log = fs::File::create(self.path("log")).expect("a log");
        let child = self
            .command(&["serve"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start dbfw-server");
        self.process = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains("ready") {
            assert!(Instant::now() < deadline, "it is not ready\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it, as a machine that fails does.
    pub fn kill(&mut self) {
        let mut child = self.process.take().expect("it runs");
        child.kill().expect("kill it");
        child.wait().expect("wait for it");
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        self.path("dbfw-server.toml")
    }

    /// A file of its own: `path("state")`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The file with its first token.
    pub fn token_file(&self) -> PathBuf {
        self.path("token")
    }

    /// The certificate of its authority.
    pub fn ca_file(&self) -> PathBuf {
        self.path("state/tls/ca.pem")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.netns {
            Some(netns) => netns.command(binary()),
            None => Command::new(binary()),
        };
        command.args(arguments).arg("--config").arg(self.config());
        command
    }

    /// Runs a subcommand that is to succeed; what it printed.
    pub fn done(&self, arguments: &[&str]) -> String {
        finish(&mut self.command(arguments))
    }

    /// A script of `tests/pydo` with a token in a file. The arguments are to be added.
    pub fn pydo(&self, script: &str, token_file: &Path) -> Command {
        pydo::command(self.netns, script, &self.url, token_file, &self.ca_file())
    }
}

/// Writes a token into a file that nobody else may read: the agent refuses another.
pub fn write_token(path: &Path, token: &str) {
    fs::write(path, token).expect("write the token");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("keep it from others");
}

impl Drop for ControlPlane<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
