//! Processes known by id and start time, so that a later run ends those of an earlier one
//! and never a stranger that got the same id.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

/// Time for a process to end when asked, and then when killed. PostgreSQL gives its
/// own children five seconds.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) pid: u32,
    /// In clock ticks since boot.
    started: u64,
}

impl Process {
    /// A process that was just started.
    pub(super) fn of(name: &str, pid: u32) -> Result<Self> {
        let stat = stat(pid).with_context(|| format!("{name} (process {pid}) is not there"))?;
        Ok(Self { name: name.to_owned(), pid, started: stat.started })
    }

    pub(super) fn to_json(&self) -> Value {
        json!({ "name": self.name, "pid": self.pid, "started": self.started })
    }

    pub(super) fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            name: value["name"].as_str()?.to_owned(),
            pid: value["pid"].as_u64()?.try_into().ok()?,
            started: value["started"].as_u64()?,
        })
    }

    /// Whether it has not ended.
    pub(super) fn runs(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && !stat.is_dead)
    }

    /// Asks it with `signal` to end, kills it if it does not, and waits until it is gone.
    pub(super) fn end(&self, signal: Signal) -> Result<()> {
        for signal in [signal, Signal::SIGKILL] {
            if !self.runs() {
                return Ok(());
            }
            let pid = Pid::from_raw(i32::try_from(self.pid).context("no such process id")?);
            match kill(pid, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => bail!("cannot end {} (process {pid}): {errno}", self.name),
            }
            let end = Instant::now() + PATIENCE;
            while self.runs() && Instant::now() < end {
                thread::sleep(Duration::from_millis(5));
            }
        }
        if self.runs() {
            bail!("{} (process {}) does not end", self.name, self.pid);
        }
        Ok(())
    }
}

struct Stat {
    is_dead: bool,
    started: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name in parentheses may hold anything: fields count from the last one.
fn parse(stat: &str) -> Option<Stat> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let started = fields.nth(18)?.parse().ok()?;
    Some(Stat { is_dead, started })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_read_after_any_name() {
        let line = "7 (a ) b) Z 1 7 7 0 -1 4228 95 0 0 0 0 0 0 0 20 0 1 0 123456 3 4\n";
        let stat = parse(line).expect("a line of /proc");
        assert!(stat.is_dead);
        assert_eq!(stat.started, 123_456);
        assert!(parse("7 (sh").is_none());
    }

    #[test]
    fn a_process_is_known_again_and_not_mistaken() {
        let this = Process::of("this", std::process::id()).expect("this process");
        assert!(this.runs());
        assert_eq!(Process::from_json(&this.to_json()), Some(this.clone()));
        let other = Process { started: this.started + 1, ..this };
        assert!(!other.runs());
        assert!(Process::from_json(&json!({ "pid": -1 })).is_none());
    }
}
