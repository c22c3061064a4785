//! `cargo xtask bench`: the measurements of `tests/bench`, as root, on release builds.

use anyhow::Result;

use crate::{artifact, cmd, setup};

/// Scenarios that measure nothing but dbfw.
const ALONE: [&str; 5] = ["path", "enforce", "agent", "providers", "fleet"];

/// Runs the scenarios named in `args`, or all of them. JSON and curves go to target/bench.
pub(crate) fn run(args: &[String]) -> Result<()> {
    setup::run(&[])?;
    let is_name = |arg: &&String| !arg.starts_with('-') && arg.parse::<usize>().is_err();
    let mut named = args.iter().filter(is_name).peekable();
    if named.peek().is_none() || named.any(|name| !ALONE.contains(&name.as_str())) {
        setup::ensure_peers();
    }
    setup::ensure_bpffs()?;
    let dbfw = artifact::dbfw(&["--release"])?;
    let server = artifact::dbfw_server(&["--release"])?;
    let bench = artifact::bench()?;
    let results = cmd::root().join("target/bench");
    cmd::run(
        cmd::as_root("env")?
            .arg(format!("DBFW_BIN={}", dbfw.display()))
            .arg(format!("DBFW_SERVER_BIN={}", server.display()))
            .arg(format!("DBFW_BENCH_DIR={}", results.display()))
            .arg(bench)
            .args(args),
    )
}
