//! Everything the demo makes on the machine, and its removal: at the end, after a signal, or
//! by a later run if this one is killed.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{ErrorKind, Read as _, Seek as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{hosts, process::Process};

/// Pin directory of the demo's agent.
pub(super) const PINS: &str = "/sys/fs/bpf/dbfw-demo";

/// Says what a run made. Locked while it runs.
const RECORD: &str = "/run/dbfw-demo.json";

/// The things that a run made.
#[derive(Debug)]
pub(super) struct Site {
    /// Holds the lock.
    file: File,
    kept: bool,
    directory: Option<PathBuf>,
    processes: Vec<Process>,
    children: BTreeMap<&'static str, Child>,
    /// Whether this run made something that is neither removed nor to be kept.
    dirty: bool,
}

impl Site {
    /// Takes hold of the site, with what an earlier run may have left on it.
    pub(super) fn claim() -> Result<Self> {
        let mut file = File::options()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(RECORD)
            .with_context(|| format!("cannot open {RECORD}"))?;
        let locked = file.try_lock();
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(|| format!("cannot read {RECORD}"))?;
        let record: Value = serde_json::from_str(&text).unwrap_or_default();
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("a demo runs already (process {}): wait for its end", record["demo"])
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {RECORD}"));
            }
        }
        if file.metadata().is_ok_and(|metadata| metadata.nlink() == 0) {
            bail!("another demo was just ending: run this again");
        }
        Ok(Self {
            file,
            kept: record["kept"].as_bool().unwrap_or(false),
            directory: record["directory"].as_str().map(PathBuf::from),
            processes: record["processes"]
                .as_array()
                .map(|list| list.iter().filter_map(Process::from_json).collect())
                .unwrap_or_default(),
            children: BTreeMap::new(),
            dirty: false,
        })
    }

    /// Whether there is nothing on it.
    pub(super) fn is_empty(&self) -> bool {
        self.directory.is_none() && !hosts::any() && !Path::new(PINS).exists()
    }

    /// Whether an earlier run left it standing on purpose.
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    /// Makes the directory for everybody's files.
    pub(super) fn make_directory(&mut self) -> Result<()> {
        let directory = tempfile::Builder::new()
            .prefix("dbfw-demo-")
            .tempdir()
            .context("cannot make a temporary directory")?
            .keep();
        self.dirty = true;
        self.directory = Some(directory.clone());
        self.record()?;
        // PostgreSQL runs as another user.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot open {} to everybody", directory.display()))
    }

    /// A file in the directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.as_deref().unwrap_or(Path::new("/nonexistent")).join(name)
    }

    /// Starts a server; what it says goes to `<name>.log`.
    pub(super) fn start(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        let path = self.path(&format!("{name}.log"));
        let log = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let both = log.try_clone().with_context(|| format!("cannot share {}", path.display()))?;
        let child = command
            .stdout(both)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let process = Process::of(name, child.id());
        self.children.insert(name, child);
        self.processes.push(process?);
        self.record()
    }

    /// An error if a server has ended.
    pub(super) fn check(&mut self, name: &str) -> Result<()> {
        let child =
            self.children.get_mut(name).with_context(|| format!("{name} is not started"))?;
        match child.try_wait().with_context(|| format!("cannot ask for {name}"))? {
            Some(status) => bail!("{name} ended ({status})"),
            None => Ok(()),
        }
    }

    /// Kills a server as the kernel would; its process id.
    pub(super) fn kill(&mut self, name: &str) -> Result<u32> {
        self.check(name)?;
        let mut child =
            self.children.remove(name).with_context(|| format!("{name} is not started"))?;
        child.kill().with_context(|| format!("cannot kill {name}"))?;
        child.wait().with_context(|| format!("cannot wait for {name}"))?;
        self.processes.retain(|process| process.pid != child.id());
        self.record()?;
        Ok(child.id())
    }

    /// Leaves everything standing.
    pub(super) fn keep(&mut self) -> Result<()> {
        self.kept = true;
        self.record()?;
        self.dirty = false;
        Ok(())
    }

    /// Removes everything; goes on past what cannot be removed and then says what that was.
    pub(super) fn remove(&mut self) -> Result<()> {
        self.dirty = false;
        let mut problems = Vec::new();
        for process in &self.processes {
            // Ends PostgreSQL without a last checkpoint, and lets it remove its shared memory.
            let signal = if process.name == "postgres" { Signal::SIGQUIT } else { Signal::SIGTERM };
            problems.extend(process.end(signal).err());
        }
        for child in self.children.values_mut() {
            // Those that could not be ended are in the problems.
            let _ = child.try_wait();
        }
        problems.extend(remove_tree(Path::new(PINS)).err());
        problems.extend(hosts::remove().err());
        if let Some(directory) = &self.directory {
            problems.extend(remove_tree(directory).err());
        }
        if problems.is_empty() {
            return fs::remove_file(RECORD).with_context(|| format!("cannot remove {RECORD}"));
        }
        let text: Vec<String> = problems.iter().map(|problem| format!("{problem:#}")).collect();
        Err(anyhow!("{}: `cargo xtask demo --clean` tries again", text.join("; ")))
    }

    fn record(&mut self) -> Result<()> {
        let processes: Vec<Value> = self.processes.iter().map(Process::to_json).collect();
        let record = json!({
            "demo": std::process::id(),
            "kept": self.kept,
            "directory": self.directory,
            "processes": processes,
        });
        let text = record.to_string();
        self.file
            .rewind()
            .and_then(|()| self.file.set_len(0))
            .and_then(|()| self.file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {RECORD}"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.dirty {
            // A panic or an early error, which is told already.
            let _ = self.remove();
        }
    }
}

/// Removes a directory with all that is in it. Tries again for a while: a program that was
/// just killed may still have been writing there.
fn remove_tree(path: &Path) -> Result<()> {
    let mut left = 40;
    loop {
        match fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound && !path.exists() => return Ok(()),
            Err(_) if left > 0 => left -= 1,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
}
