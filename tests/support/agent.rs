//! The real agent in a namespace, with directories of its own.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::netns::Netns;

const BPFFS: &str = "/sys/fs/bpf";
/// Every pin directory is called `<PREFIX><pid>-<number>`.
const PREFIX: &str = "dbfw-test-";

/// The binary under test; `cargo xtask test` sets the variable.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("DBFW_BIN")
        .expect("DBFW_BIN must name the dbfw binary: run the tests with `cargo xtask test`");
    PathBuf::from(path)
}

/// A host that dbfw protects: a namespace, the agent's files, and the agent itself.
///
/// Dropping it kills the agent, detaches everything it pinned and removes its files.
#[derive(Debug)]
pub struct Host<'a> {
    netns: &'a Netns,
    files: TempDir,
    pin_dir: PathBuf,
    agent: Option<Child>,
}

impl<'a> Host<'a> {
    /// A host without a configuration; nothing runs yet.
    pub fn new(netns: &'a Netns) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        static LEFTOVERS: Once = Once::new();
        LEFTOVERS.call_once(remove_leftovers);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let pin_dir = Path::new(BPFFS).join(format!("{PREFIX}{}-{number}", std::process::id()));
        let files = TempDir::with_prefix("dbfw-test-").expect("a directory for the agent's files");
        Self { netns, files, pin_dir, agent: None }
    }

    /// A file or directory of this host's: `path("orders.list")`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Where the maps, programs and links are pinned: below the directory of the ABI.
    pub fn pins(&self) -> PathBuf {
        self.pin_dir.join(format!("v{}", dbfw_common::ABI_VERSION))
    }

    /// Writes the configuration: an `[agent]` table with this host's directories and
    /// `agent_keys`, then `databases`. Metrics are off unless `agent_keys` says otherwise.
    pub fn configure(&self, agent_keys: &str, databases: &str) {
        let at = |name: &str| self.path(name).display().to_string();
        let metrics =
            if agent_keys.contains("metrics_listen") { "" } else { "metrics_listen = \"off\"\n" };
        let text = format!(
            "[agent]\nstate_dir = \"{}\"\nrun_dir = \"{}\"\npin_dir = \"{}\"\n{metrics}{agent_keys}\n\n{databases}\n",
            at("state"),
            at("run"),
            self.pin_dir.display(),
        );
        fs::write(self.path("dbfw.toml"), text).expect("write the configuration");
    }

    /// Replaces a file as an editor does: a new one renamed over it.
    pub fn replace(&self, name: &str, content: &str) {
        let fresh = self.path(&format!("{name}.new"));
        fs::write(&fresh, content).expect("write the new file");
        fs::rename(&fresh, self.path(name)).expect("rename it into place");
    }

    /// Starts the agent without waiting for anything.
    pub fn spawn(&mut self) {
        self.spawn_through(&[]);
    }

    /// Starts the agent through a command that becomes it, as in `["setpriv", "--no-new-privs"]`.
    pub fn spawn_through(&mut self, wrapper: &[&str]) {
        assert!(self.agent.is_none(), "the agent runs already");
        let program = binary();
        let mut words = wrapper.iter().map(OsStr::new).chain([program.as_os_str()]);
        let first = words.next().expect("at least the agent itself");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("agent.log"))
            .expect("open the agent's log");
        let child = self
            .netns
            .command(first)
            .args(words)
            .args(["run", "--config"])
            .arg(self.path("dbfw.toml"))
            .env("DBFW_LOG", "debug")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start the agent");
        self.agent = Some(child);
    }

    /// Starts the agent and waits until it has read protection back from the kernel.
    pub fn start(&mut self) {
        self.start_through(&[]);
    }

    /// Starts the agent as [`Host::spawn_through`] does, and waits as [`Host::start`] does.
    pub fn start_through(&mut self, wrapper: &[&str]) {
        self.spawn_through(wrapper);
        self.wait("the agent to be ready", |host| {
            host.json(&["status"]).is_some_and(|status| status["agent"]["ready"] == true)
        });
    }

    /// Process id of the running agent.
    pub fn pid(&self) -> u32 {
        self.agent.as_ref().expect("the agent runs").id()
    }

    /// Sends the agent a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("process ids fit");
        kill(Pid::from_raw(pid), signal).expect("signal the agent");
    }

    /// Ends the agent with `signal`, waits for it, and returns its exit code, if it had one.
    pub fn stop(&mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        self.ended()
    }

    /// Waits for the agent to end by itself; its exit code, if it had one.
    pub fn ended(&mut self) -> Option<i32> {
        let mut agent = self.agent.take().expect("the agent runs");
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = agent.try_wait().expect("wait for the agent") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the agent did not end\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the agent logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// A `dbfw` command on this host, with its configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.netns.command(binary());
        command.args(arguments).arg("--config").arg(self.path("dbfw.toml"));
        command
    }

    /// Runs a `dbfw` command to its end.
    pub fn dbfw(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("run dbfw")
    }

    /// Starts a second agent beside the first, for a bounded time: it is to be refused.
    pub fn second_agent(&self) -> Output {
        let mut command = self.netns.command("timeout");
        command.args(["--kill-after=5", "15"]).arg(binary());
        command.args(["run", "--config"]).arg(self.path("dbfw.toml"));
        command.output().expect("run a second agent")
    }

    /// Runs a reader with `--output json`; `None` if it printed no JSON.
    pub fn json(&self, arguments: &[&str]) -> Option<Value> {
        let output = self.dbfw(&[arguments, &["--output", "json"]].concat());
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits up to a minute for something to hold, and panics with the agent's log if it never
    /// does. An emulated machine needs that long.
    pub fn wait(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            assert!(Instant::now() < deadline, "waited in vain for {what}\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a line of the agent's log that contains `text`.
    pub fn wait_for_log(&self, text: &str) {
        self.wait(&format!("the log to say {text:?}"), |host| host.log().contains(text));
    }

    /// Follows `dbfw drops --follow` in JSON until `done` says so; for a bounded time.
    pub fn follow_drops(&self, mut done: impl FnMut(&Value) -> bool) {
        let mut follower = self
            .command(&["drops", "--follow", "--output", "json"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("follow the drops");
        let lines = BufReader::new(follower.stdout.take().expect("a pipe")).lines();
        for line in lines.map_while(Result::ok) {
            if serde_json::from_str(&line).is_ok_and(|event: Value| done(&event)) {
                break;
            }
        }
        let _ = follower.kill();
        let _ = follower.wait();
    }
}

impl Drop for Host<'_> {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        remove_pins(&self.pin_dir);
    }
}

/// Removes the pin directories of test processes that were killed.
fn remove_leftovers() {
    for entry in fs::read_dir(BPFFS).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove_pins(&entry.path());
        }
    }
}

/// Removes everything pinned below `pin_dir`; the links among it are detached by that.
fn remove_pins(pin_dir: &Path) {
    let _ = fs::remove_dir_all(pin_dir);
}
