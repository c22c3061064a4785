//! The programs the demo runs, each to its end and never for long.

use std::{
    fs::File,
    io::{Read as _, Seek as _},
    path::PathBuf,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::signals;
use crate::{cmd, setup};

/// No command of the demo takes longer, except on a machine that is overwhelmed.
const LIMIT: Duration = Duration::from_secs(60);

/// The programs of this tree.
#[derive(Clone, Debug)]
pub(super) struct Built {
    pub(super) dbfw: PathBuf,
    /// The provider.
    pub(super) api: PathBuf,
}

/// Directories of programs that are not in everybody's PATH.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) dbfw: PathBuf,
    /// The provider.
    pub(super) api: PathBuf,
    pub(super) psql: PathBuf,
    pub(super) postgres: PathBuf,
    pub(super) initdb: PathBuf,
}

impl Programs {
    pub(super) fn find(built: Built) -> Result<Self> {
        let find = |name| {
            setup::find_program(name)
                .with_context(|| format!("{name} is not installed: run `cargo xtask setup`"))
        };
        let postgres = find("postgres")?;
        // Of the same version, where several are installed.
        let beside = postgres.with_file_name("initdb");
        let initdb = if cmd::is_executable(&beside) { beside } else { find("initdb")? };
        let Built { dbfw, api } = built;
        Ok(Self { dbfw, api, psql: find("psql")?, postgres, initdb })
    }
}

/// The result of a command.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Runs a command to its end; a signal to the demo ends it.
pub(super) fn finish(command: &mut Command) -> Result<Done> {
    signals::check()?;
    let mut stdout = tempfile::tempfile().context("cannot make a temporary file")?;
    let mut stderr = tempfile::tempfile().context("cannot make a temporary file")?;
    let shown = cmd::show(command);
    let mut child = command
        .stdout(stdout.try_clone().context("cannot share a temporary file")?)
        .stderr(stderr.try_clone().context("cannot share a temporary file")?)
        .spawn()
        .with_context(|| format!("cannot run `{shown}`"))?;
    let end = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("cannot await `{shown}`"))? {
            break status;
        }
        let waited = signals::pause(Duration::from_millis(2));
        if waited.is_err() || Instant::now() > end {
            // Not yet waited for, so the group is still its own. What it started goes too.
            if let Ok(group) = i32::try_from(child.id()) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            let _ = child.wait();
            waited?;
            bail!("`{shown}` did not end within {} s", LIMIT.as_secs());
        }
    };
    Ok(Done { status, stdout: text(&mut stdout)?, stderr: text(&mut stderr)? })
}

/// Runs a command that must succeed, and returns what it printed.
pub(super) fn succeed(command: &mut Command) -> Result<String> {
    let done = finish(command)?;
    if !done.status.success() {
        bail!("`{}` failed ({}): {}", cmd::show(command), done.status, done.stderr.trim());
    }
    Ok(done.stdout)
}

fn text(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .context("cannot read a temporary file")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
