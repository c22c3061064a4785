//! `cargo xtask setup`: what the build and the tests need, found or installed. Says what it
//! does; when all is there it only looks.

mod axe;
mod bpffs;
mod ebpf;
mod host;
mod pydo;
mod tools;

use anyhow::{Result, bail};

pub(crate) use bpffs::ensure_bpffs;
use host::Host;
pub(crate) use tools::find as find_program;

/// Runs the task.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if let Some(arg) = args.first() {
        bail!("setup takes no arguments, and got {arg}");
    }
    let host = Host::detect();
    println!("setup: {}", host.name);
    let mut missing = tools::ensure(&host)?;
    missing.extend(tools::ensure_components());
    missing.extend(pydo::ensure(&host)?);
    missing.extend(axe::ensure());
    missing.extend(ebpf::ensure(&host)?);
    if host.is_debian() {
        missing.extend(tools::ensure_machines(&host)?);
    }
    complain(&host, &missing)
}

/// Installs what `cargo xtask vm` needs besides.
pub(crate) fn ensure_vm() -> Result<()> {
    let host = Host::detect();
    println!("setup: {}", host.name);
    let missing = tools::ensure_machines(&host)?;
    complain(&host, &missing)
}

/// Says what is missing, if anything is.
fn complain(host: &Host, missing: &[String]) -> Result<()> {
    if missing.is_empty() {
        println!("setup: all is there");
        return Ok(());
    }
    for line in missing {
        println!("missing  {line}");
    }
    bail!("setup cannot install the above on {}: install it and run this again", host.name)
}

/// Installs what `cargo xtask bench` measures dbfw beside. What cannot be installed is only
/// printed: the bench shows it as no result.
pub(crate) fn ensure_peers() {
    match tools::ensure_peers(&Host::detect()) {
        Ok(missing) => missing.iter().for_each(|line| println!("missing  {line}")),
        Err(error) => println!("missing  peers to compare with: {error:#}"),
    }
}

/// One line for something that is there.
fn have(what: &str, which: impl std::fmt::Display) {
    println!("have     {what}: {which}");
}

/// One line for something setup is about to do.
fn doing(what: impl std::fmt::Display) {
    println!("install  {what}");
}
