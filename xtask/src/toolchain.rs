//! Which installed toolchain can build the kernel programs. Also compiled into
//! dbfw-user's build script: standard library only.

use std::{path::Path, process::Command};

/// Names a toolchain to use instead of the ones looked for.
pub(crate) const OVERRIDE: &str = "DBFW_EBPF_TOOLCHAIN";

/// The name `cargo xtask setup` links a distribution's compiler under.
pub(crate) const LINKED: &str = "dbfw-ebpf";

/// A toolchain that has core's source, and the linker that fits it.
#[derive(Debug)]
pub(crate) struct EbpfToolchain {
    /// As rustup knows it.
    pub(crate) name: String,
}

/// Looks for a toolchain with core's source and for bpf-linker; the error says what is
/// missing.
pub(crate) fn find() -> Result<EbpfToolchain, String> {
    let name = find_toolchain()?;
    if !has_linker() {
        return Err("bpf-linker is not installed".to_owned());
    }
    Ok(EbpfToolchain { name })
}

/// The first of the override, the linked distribution toolchain and nightly that has
/// core's source.
pub(crate) fn find_toolchain() -> Result<String, String> {
    if let Ok(name) = std::env::var(OVERRIDE) {
        return if has_core_source(&name) {
            Ok(name)
        } else {
            Err(format!("toolchain {name} ({OVERRIDE}) has no source of core"))
        };
    }
    [LINKED, "nightly"]
        .into_iter()
        .find(|name| has_core_source(name))
        .map(str::to_owned)
        .ok_or_else(|| "no toolchain with the source of core (rust-src)".to_owned())
}

/// Whether bpf-linker runs.
pub(crate) fn has_linker() -> bool {
    Command::new("bpf-linker").arg("--version").output().is_ok_and(|output| output.status.success())
}

fn has_core_source(toolchain: &str) -> bool {
    let Ok(output) =
        Command::new("rustup").args(["run", toolchain, "rustc", "--print", "sysroot"]).output()
    else {
        return false;
    };
    let sysroot = String::from_utf8_lossy(&output.stdout);
    output.status.success()
        && Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").is_dir()
}
