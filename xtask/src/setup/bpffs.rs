//! The BPF file system, where pinned links and maps live.

use std::path::Path;

use anyhow::Result;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use crate::cmd;

const BPFFS: &str = "/sys/fs/bpf";

/// Mounts bpffs where every tool expects it, unless it is there. The tests and the demo
/// need it, the build does not.
pub(crate) fn ensure_bpffs() -> Result<()> {
    if is_bpffs(Path::new(BPFFS)) {
        return Ok(());
    }
    println!("mount    {BPFFS}");
    cmd::run(cmd::as_root("mount")?.args(["-t", "bpf", "bpf", BPFFS]))
}

fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| stat.filesystem_type() == BPF_FS_MAGIC)
}
