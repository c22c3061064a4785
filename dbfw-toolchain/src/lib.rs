//! The toolchain that builds the kernel programs: one with the source of core, and bpf-linker.
//!
//! The build script of dbfw-datapath and `cargo xtask setup` look for it here.
//!
//! ```no_run
//! match dbfw_toolchain::find() {
//!     Ok(toolchain) => println!("cargo +{} build", toolchain.name),
//!     Err(missing) => println!("{missing}: run cargo xtask setup"),
//! }
//! ```

use std::{path::Path, process::Command};

/// Names a toolchain to use instead of the ones looked for.
pub const OVERRIDE: &str = "DBFW_EBPF_TOOLCHAIN";

/// The name `cargo xtask setup` links a distribution's compiler under.
pub const LINKED: &str = "dbfw-ebpf";

/// A toolchain that has core's source, and the linker that fits it.
#[derive(Debug)]
pub struct EbpfToolchain {
    /// As rustup knows it.
    pub name: String,
}

/// Looks for a toolchain with core's source and for bpf-linker.
///
/// # Errors
/// Neither is installed, or one of them is not; the text says which.
pub fn find() -> Result<EbpfToolchain, String> {
    let name = find_toolchain()?;
    if !has_linker() {
        return Err("bpf-linker is not installed".to_owned());
    }
    Ok(EbpfToolchain { name })
}

/// The first of the override, the linked distribution toolchain and nightly that has
/// core's source.
///
/// # Errors
/// None has it, or the override names one without it.
pub fn find_toolchain() -> Result<String, String> {
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
pub fn has_linker() -> bool {
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
