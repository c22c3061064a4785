//! A systemd of the tests' own: a user's manager, in a mount namespace where it finds itself
//! booted.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// Where distributions have it.
const PROGRAMS: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];

/// A running manager with the units it was given. Its services end with it.
#[derive(Debug)]
pub struct Manager {
    files: TempDir,
    child: Child,
    /// Managers of one user share a control group, and units of one name in it.
    _lock: Flock<File>,
}

impl Manager {
    /// Starts one with units, by name and content.
    pub fn start(units: &[(&str, &str)]) -> Self {
        let program = PROGRAMS.into_iter().find(|path| Path::new(path).exists());
        let program = program.expect("systemd is installed: run `cargo xtask setup`");
        let path = std::env::temp_dir().join("dbfw-test-systemd.lock");
        let file = File::create(&path).expect("a lock file");
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .unwrap_or_else(|(_, error)| panic!("cannot lock {}: {error}", path.display()));
        let files = TempDir::with_prefix("dbfw-systemd-").expect("a directory for systemd");
        let directory = files.path().join("home/.config/systemd/user");
        fs::create_dir_all(&directory).expect("a directory for units");
        fs::create_dir(files.path().join("run")).expect("a runtime directory");
        for (name, text) in [("default.target", "[Unit]\n")].iter().chain(units) {
            fs::write(directory.join(name), text).expect("write a unit");
        }
        let script = "mkdir -p /run/systemd && mount -t tmpfs tmpfs /run/systemd && \
                      mkdir /run/systemd/system && exec \"$0\" --user --log-level=err";
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script, program])
            .env("XDG_RUNTIME_DIR", files.path().join("run"))
            .env("HOME", files.path().join("home"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("start systemd");
        let manager = Self { files, child, _lock: lock };
        manager.wait("systemd to answer", |manager| {
            manager.systemctl(&["is-active", "default.target"]).status.success()
        });
        manager
    }

    /// A file or directory beside its units.
    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Runs `systemctl` to its end.
    pub fn systemctl(&self, arguments: &[&str]) -> Output {
        Command::new("nsenter")
            .arg(format!("--mount=/proc/{}/ns/mnt", self.child.id()))
            .args(["systemctl", "--user"])
            .args(arguments)
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("HOME", self.path("home"))
            .output()
            .expect("run systemctl")
    }

    /// Runs `systemctl`, which is to succeed.
    pub fn done(&self, arguments: &[&str]) {
        let output = self.systemctl(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "systemctl {arguments:?}: {said}");
    }

    /// A property of a unit.
    pub fn show(&self, unit: &str, property: &str) -> String {
        let output = self.systemctl(&["show", "--value", "--property", property, unit]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Waits up to twenty seconds for something to hold.
    pub fn wait(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds(self) {
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // It stops its services first.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
