//! `cargo xtask bench`: the measurements of `tests/bench`, as root, on release builds.

use anyhow::Result;

use crate::{artifact, cmd, setup};

/// Runs the scenarios named in `args`, or all of them.
pub(crate) fn run(args: &[String]) -> Result<()> {
    setup::run(&[])?;
    setup::ensure_bpffs()?;
    let dbfw = artifact::dbfw(&["--release"])?;
    let bench = artifact::bench()?;
    cmd::run(cmd::as_root("env")?.arg(format!("DBFW_BIN={}", dbfw.display())).arg(bench).args(args))
}
