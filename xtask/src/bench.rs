//! `cargo xtask bench`: the measurements of `tests/bench`, as root, on release builds.

use anyhow::Result;

use crate::{artifact, cmd, setup};

/// Scenarios that measure nothing but dbfw.
const ALONE: [&str; 4] = ["path", "enforce", "agent", "providers"];

/// Runs the scenarios named in `args`, or all of them. JSON and curves go to target/bench.
pub(crate) fn run(args: &[String]) -> Result<()> {
    setup::run(&[])?;
    let mut named = args.iter().filter(|arg| !arg.starts_with('-')).peekable();
    if named.peek().is_none() || named.any(|name| !ALONE.contains(&name.as_str())) {
        setup::ensure_peers();
    }
    setup::ensure_bpffs()?;
    let dbfw = artifact::dbfw(&["--release"])?;
    let bench = artifact::bench()?;
    let results = cmd::root().join("target/bench");
    cmd::run(
        cmd::as_root("env")?
            .arg(format!("DBFW_BIN={}", dbfw.display()))
            .arg(format!("DBFW_BENCH_DIR={}", results.display()))
            .arg(bench)
            .args(args),
    )
}
