//! Network namespaces and veth pairs that live as long as the test that made them.
//!
//! Whatever the kernel refuses is a panic that says what was asked and what it answered:
//! a test that cannot build its network has failed.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, setns},
};

const DIRECTORY: &str = "/run/netns";
/// Every namespace is called `<PREFIX>-<pid>-<counter>-<label>`.
const PREFIX: &str = "dbfwt";

/// A named network namespace, removed when dropped if it was made here. Its loopback device is
/// up.
#[derive(Debug)]
pub struct Netns {
    name: String,
    /// It was there before, and stays.
    keep: bool,
}

impl Netns {
    /// Makes a namespace. `label` only helps a human who looks at `ip netns`.
    pub fn new(label: &str) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        static LEFTOVERS: Once = Once::new();
        LEFTOVERS.call_once(remove_leftovers);

        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{number}-{label}", process::id());
        finish(Command::new("ip").args(["netns", "add", &name]));
        let ns = Self { name, keep: false };
        ns.ip("link set lo up");
        ns
    }

    /// A namespace that is there under this name, and stays when this is dropped.
    pub fn existing(name: &str) -> Self {
        Self { name: name.to_owned(), keep: true }
    }

    /// The name `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }

    /// An open handle on it, as `setns` and attaching to a namespace take it.
    pub fn open(&self) -> File {
        let path = self.path();
        File::open(&path)
            .unwrap_or_else(|error| panic!("cannot open namespace {}: {error}", path.display()))
    }

    /// Moves the calling thread into the namespace, for good.
    pub fn enter(&self) {
        if let Err(error) = setns(self.open(), CloneFlags::CLONE_NEWNET) {
            panic!("cannot enter namespace {}: {error}", self.name);
        }
    }

    /// Runs `work` on a thread that is in the namespace. Sockets it returns stay there.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                self.enter();
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A command that will run in the namespace. It enters the network namespace alone:
    /// `ip netns exec` would mount a fresh /sys, which hides the bpffs.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Runs `ip <arguments>` in the namespace; the arguments are split at spaces.
    pub fn ip(&self, arguments: &str) {
        let arguments = arguments.split_whitespace();
        finish(Command::new("ip").args(["-netns", &self.name]).args(arguments));
    }

    /// Sets an interface up.
    pub fn up(&self, interface: &str) {
        self.ip(&format!("link set dev {interface} up"));
    }

    /// Sets an interface down. Its IPv6 addresses vanish with that.
    pub fn down(&self, interface: &str) {
        self.ip(&format!("link set dev {interface} down"));
    }

    /// Sets the MTU of an interface.
    pub fn mtu(&self, interface: &str, mtu: u32) {
        self.ip(&format!("link set dev {interface} mtu {mtu}"));
    }

    /// Adds an address (`10.0.0.1/24`, `fd00::1/64`), IPv6 without duplicate address
    /// detection, so that it can be used at once.
    pub fn address(&self, interface: &str, address: &str) {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        self.ip(&format!("address add {address} dev {interface} {nodad}"));
    }

    /// Writes a sysctl of the namespace, named by dots or slashes.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        self.run(|| {
            fs::write(&path, value)
                .unwrap_or_else(|error| panic!("cannot write {value} to {path}: {error}"));
        });
    }

    /// Index of an interface.
    pub fn ifindex(&self, interface: &str) -> u32 {
        self.run(|| {
            if_nametoindex(interface).unwrap_or_else(|error| {
                panic!("no interface {interface} in {}: {error}", self.name)
            })
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if !self.keep {
            remove(&self.name);
        }
    }
}

/// Joins two namespaces (or one to itself) by a veth pair. Both ends are up.
pub fn veth(a: (&Netns, &str), b: (&Netns, &str)) {
    a.0.ip(&format!("link add name {} type veth peer name {} netns {}", a.1, b.1, b.0.name()));
    a.0.up(a.1);
    b.0.up(b.1);
}

/// Runs a command to its end; panics with what it said if it failed.
pub fn finish(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Namespaces of test processes that were killed.
fn remove_leftovers() {
    let Ok(entries) = fs::read_dir(DIRECTORY) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let mut parts = name.split('-');
        if parts.next() != Some(PREFIX) {
            continue;
        }
        let Some(pid) = parts.next().and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        if !Path::new(&format!("/proc/{pid}")).exists() {
            remove(name);
        }
    }
}

/// Errors are not told: another process may be removing the same leftover, and a panic in
/// a drop would hide the one of the test.
fn remove(name: &str) {
    let _ = Command::new("ip").args(["netns", "delete", name]).output();
}
