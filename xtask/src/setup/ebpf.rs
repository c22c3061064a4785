//! A toolchain with core's source, and a bpf-linker whose LLVM reads that toolchain's bitcode.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use dbfw_toolchain as toolchain;

use super::{doing, have, host::Host};
use crate::cmd;

const LINKER_VERSION: &str = "0.13.0";

/// The LLVM versions bpf-linker 0.13 has features for.
const LINKER_LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// Debian's compiler, new enough and with its source; it is built for web browsers, hence
/// the name.
const DEBIAN_TOOLCHAIN: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_PREFIX: &str = "/usr";

/// Finds or installs both; returns what is missing after that.
pub(super) fn ensure(host: &Host) -> Result<Vec<String>> {
    if cmd::find_program("rustup").is_none() {
        return Ok(vec!["rustup, which picks the compilers (https://rustup.rs)".to_owned()]);
    }
    let name = match toolchain::find_toolchain() {
        Ok(name) => name,
        Err(why) => match provide_toolchain(host, &why)? {
            Ok(name) => name,
            Err(missing) => return Ok(vec![missing]),
        },
    };
    have("toolchain for the BPF target", format!("{name} ({})", describe(&name)?));
    if let Some(version) = linker_version() {
        have("bpf-linker", version);
        return Ok(Vec::new());
    }
    let missing = provide_linker(host, &name)?;
    if missing.is_none() {
        have("bpf-linker", linker_version().unwrap_or_default());
        let found = toolchain::find().map_err(anyhow::Error::msg)?;
        if found.name != name {
            have("toolchain for the BPF target, now", found.name);
        }
    }
    Ok(missing.into_iter().collect())
}

/// A toolchain's name, or what is missing.
fn provide_toolchain(host: &Host, why: &str) -> Result<Result<String, String>> {
    println!("absent   {why}");
    if std::env::var_os(toolchain::OVERRIDE).is_some() {
        return Ok(Err(format!(
            "the toolchain {} names, with rust-src: correct the variable or unset it",
            toolchain::OVERRIDE
        )));
    }
    if let Err(error) = add_nightly_source() {
        println!("         {error:#}");
        let linked = host.is_debian() && link_debian_toolchain(host)?;
        if !linked {
            return Ok(Err("a toolchain with core's source: \
                 rustup toolchain install nightly --component rust-src"
                .to_owned()));
        }
    }
    Ok(toolchain::find_toolchain())
}

fn add_nightly_source() -> Result<()> {
    let installed = cmd::read(Command::new("rustup").args(["toolchain", "list"]))?
        .lines()
        .any(|line| line.starts_with("nightly-"));
    let arguments: &[&str] = if installed {
        &["component", "add", "rust-src", "--toolchain", "nightly"]
    } else {
        &["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"]
    };
    doing(format!("rustup {}", arguments.join(" ")));
    cmd::run(Command::new("rustup").args(arguments))
}

/// Gives rustup the distribution's compiler under a name of ours. False where the
/// distribution has none that is new enough.
fn link_debian_toolchain(host: &Host) -> Result<bool> {
    if !debian_toolchain_serves() {
        if let Some(manager) = host.manager
            && host.apt_offers(DEBIAN_TOOLCHAIN[0])?
        {
            host.install(manager, &DEBIAN_TOOLCHAIN)?;
        }
        if !debian_toolchain_serves() {
            return Ok(false);
        }
    }
    doing(format!("rustup toolchain {} -> {DEBIAN_PREFIX}", toolchain::LINKED));
    let arguments = ["toolchain", "link", toolchain::LINKED, DEBIAN_PREFIX];
    cmd::run(Command::new("rustup").args(arguments))?;
    Ok(true)
}

fn debian_toolchain_serves() -> bool {
    let prefix = Path::new(DEBIAN_PREFIX);
    let version = cmd::read(Command::new(prefix.join("bin/rustc")).arg("--version"));
    cmd::is_executable(&prefix.join("bin/cargo"))
        && prefix.join("lib/rustlib/src/rust/library/core").is_dir()
        && version.is_ok_and(|text| rust_version(&text) >= rust_version(&required_rust()))
}

fn required_rust() -> String {
    format!("rustc {}", env!("CARGO_PKG_RUST_VERSION"))
}

/// Major and minor of `rustc 1.96.0 (...)`.
fn rust_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_whitespace().nth(1)?.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn describe(toolchain: &str) -> Result<String> {
    let text = verbose_version(toolchain)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn verbose_version(toolchain: &str) -> Result<String> {
    cmd::read(Command::new("rustup").args(["run", toolchain, "rustc", "--version", "--verbose"]))
}

/// The major version in the line `LLVM version: 22.1.2`.
fn llvm_major(verbose_version: &str) -> Option<u32> {
    let line = verbose_version.lines().find_map(|line| line.strip_prefix("LLVM version:"))?;
    line.trim().split('.').next()?.parse().ok()
}

fn linker_version() -> Option<String> {
    toolchain::has_linker().then(|| {
        cmd::read(Command::new("bpf-linker").arg("--version")).unwrap_or_default().trim().to_owned()
    })
}

/// Installs bpf-linker; returns what is missing if it cannot.
fn provide_linker(host: &Host, toolchain: &str) -> Result<Option<String>> {
    let bin = cargo_bin();
    if cmd::is_executable(&bin.join("bpf-linker")) && cmd::find_program("bpf-linker").is_none() {
        let bin = bin.display();
        return Ok(Some(format!("{bin} in PATH, for bpf-linker: export PATH=\"{bin}:$PATH\"")));
    }
    println!("absent   a bpf-linker that runs");
    if install_ready_made() || build_for(host, toolchain)? {
        return Ok(unless_in_path(&bin));
    }
    if host.is_debian()
        && toolchain != toolchain::LINKED
        && std::env::var_os(toolchain::OVERRIDE).is_none()
        && link_debian_toolchain(host)?
        && build_for(host, toolchain::LINKED)?
    {
        return Ok(unless_in_path(&bin));
    }
    let llvm = llvm_major(&verbose_version(toolchain)?).unwrap_or_default();
    Ok(Some(format!(
        "bpf-linker {LINKER_VERSION} that reads LLVM {llvm}; it could not be built here. Take \
         the ready-made one: cargo install cargo-binstall, then \
         cargo binstall bpf-linker@{LINKER_VERSION}"
    )))
}

fn unless_in_path(bin: &Path) -> Option<String> {
    let bin = bin.display();
    (!toolchain::has_linker())
        .then(|| format!("{bin} in PATH, for bpf-linker: export PATH=\"{bin}:$PATH\""))
}

/// Upstream's static build, the one it recommends; it reads the bitcode of every LLVM up to
/// its own.
fn install_ready_made() -> bool {
    if cmd::find_program("cargo-binstall").is_none() {
        return false;
    }
    doing("bpf-linker, ready-made, with cargo-binstall");
    let package = format!("bpf-linker@{LINKER_VERSION}");
    let arguments = ["binstall", "--no-confirm", "--disable-strategies", "compile"];
    match cmd::run(cmd::cargo().args(arguments).arg(package)) {
        Ok(()) => toolchain::has_linker(),
        Err(error) => {
            println!("         {error:#}");
            false
        }
    }
}

/// Builds bpf-linker with an LLVM at least as new as the toolchain's; false if none is here
/// or can be installed.
fn build_for(host: &Host, toolchain: &str) -> Result<bool> {
    let major = llvm_major(&verbose_version(toolchain)?)
        .with_context(|| format!("rustc of toolchain {toolchain} does not name its LLVM"))?;
    for llvm in major.max(*LINKER_LLVM.start())..=*LINKER_LLVM.end() {
        let Some(prefix) = provide_llvm(host, llvm)? else { continue };
        match build_linker(llvm, &prefix) {
            Ok(()) => return Ok(true),
            Err(error) => println!("         {error:#}"),
        }
    }
    Ok(false)
}

/// The directory of an LLVM with its headers; on Debian it is installed first.
fn provide_llvm(host: &Host, major: u32) -> Result<Option<PathBuf>> {
    if let Some(manager) = host.manager.filter(|_| host.is_debian()) {
        let package = format!("llvm-{major}-dev");
        if host.apt_offers(&package)? {
            host.install(manager, &[&package, "g++", "libxml2-dev", "libzstd-dev", "zlib1g-dev"])?;
        }
    }
    Ok(find_llvm(major))
}

fn find_llvm(major: u32) -> Option<PathBuf> {
    let known = [format!("/usr/lib/llvm-{major}"), format!("/usr/lib64/llvm{major}")]
        .map(|prefix| Path::new(&prefix).join("bin/llvm-config"));
    let found = known.into_iter().find(|config| cmd::is_executable(config));
    let config = found.or_else(|| cmd::find_program("llvm-config"))?;
    let ask = |what: &str| Some(cmd::read(Command::new(&config).arg(what)).ok()?.trim().to_owned());
    let version = ask("--version")?;
    (version.split('.').next()?.parse::<u32>().ok()? == major).then_some(())?;
    ask("--prefix").map(PathBuf::from)
}

fn build_linker(llvm: u32, prefix: &Path) -> Result<()> {
    doing(format!("bpf-linker {LINKER_VERSION} with LLVM {llvm} (some minutes)"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(prefix.join("bin")).chain(std::env::split_paths(&path));
    let feature = format!("llvm-{llvm}");
    cmd::run(
        cmd::cargo()
            .args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked", "--force"])
            .args(["--no-default-features", "--features", &feature])
            .env("LLVM_PREFIX", prefix)
            .env("PATH", std::env::join_paths(path).context("PATH cannot be extended")?),
    )
}

/// The directory in which `cargo install` puts programs.
fn cargo_bin() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo")
    });
    home.join("bin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_rustc_prints() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25)\nhost: x\nLLVM version: 22.1.2\n";
        assert_eq!(rust_version(text), Some((1, 96)));
        assert_eq!(rust_version("rustc 1.97.0-nightly (e50aa6fba 2026-05-19)"), Some((1, 97)));
        assert_eq!(llvm_major(text), Some(22));
        assert_eq!(llvm_major("rustc 1.96.0"), None);
        assert!(rust_version(&required_rust()) >= Some((1, 95)));
    }
}
