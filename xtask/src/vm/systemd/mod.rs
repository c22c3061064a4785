//! A Debian that systemd starts, with dbfw installed as the README says. What happens to a
//! host in its life happens to it, while the other end of its network counts who is answered.

mod disk;
mod docs;
mod guest;
mod life;
mod peer;
mod site;
mod traffic;

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result};

use super::{
    Series,
    archive::Archive,
    checks::{CheckReport, Reports},
    image, kernel,
};
use crate::cmd;
use guest::{Guest, Hardware};
use life::CHECKS;
use peer::Peer;
use site::Site;

/// The kernel it boots.
const KERNEL: Series = Series::Named(6, 12);

/// Path of the sources in the machine, where they are built too.
const SOURCES: &str = "root/dbfw";

/// Boots the machine and runs every check.
pub(super) fn run(archive: &Archive, directory: &Path, dbfw: &Path) -> Result<Reports> {
    let kernel = kernel::provide(archive, directory, KERNEL)
        .with_context(|| format!("the kernel {KERNEL} cannot be had"))?;
    println!("\nvm systemd: {}", kernel.release);
    let system = disk::system(archive, directory)?;
    let run = directory.join("run").join("systemd");
    image::make_empty(&run)?;
    let root = cmd::root();
    let scripts = root.join("tests/vm/systemd");
    let mut files = disk::Files::new(run.join("files"))?;
    for script in ["commands.py", "listen.py", "digitalocean.py"] {
        files.program(&scripts.join(script), &format!("opt/dbfw/{script}"))?;
    }
    for unit in ["commands", "database", "other"] {
        let name = format!("{unit}.service");
        files.file(&scripts.join(&name), &format!("etc/systemd/system/{name}"))?;
    }
    files.file(&scripts.join("eth0.network"), "etc/systemd/network/eth0.network")?;
    files
        .file(&scripts.join("emulated.conf"), "etc/systemd/system/dbfw.service.d/emulated.conf")?;
    let unit = "packaging/systemd/dbfw.service";
    files.file(&root.join(unit), &format!("{SOURCES}/{unit}"))?;
    files.program(dbfw, &format!("{SOURCES}/target/release/dbfw"))?;
    let disk = run.join("disk");
    disk::make(&system, &kernel.modules, &files, &run.join("tree"), &disk)?;
    let initrd = disk::initrd(archive, directory, &run, &kernel.modules)?;

    // The name of a socket has no more than 107 bytes.
    let sockets = tempfile::tempdir().context("cannot make a directory for sockets")?;
    let [own, machine, control] =
        ["peer", "machine", "control"].map(|name| sockets.path().join(name));
    let console = run.join("console.log");
    let peer = Peer::start(&own, &machine)?;
    let guest = Guest::start(&Hardware {
        kernel: &kernel.image,
        initrd: &initrd,
        disk: &disk,
        console: &console,
        control: &control,
        network: (&machine, &own),
        mac: peer::HOST_MAC,
    });
    let guest = guest.with_context(|| guest::last_words(&console))?;
    let mut reports = Reports { kernel: guest.kernel.clone(), ..Reports::default() };
    let mut site = Site::new(guest, peer, &run.join("checks.log"))?;
    for (name, check) in CHECKS {
        let begun = Instant::now();
        site.note(name)?;
        let failure = check(&mut site).err().map(|error| format!("{error:#}"));
        let seconds = begun.elapsed().as_secs();
        let mark = if failure.is_some() { "FAIL" } else { "pass" };
        println!("  {mark} {name} ({seconds} s)");
        if let Some(failure) = &failure {
            site.note(failure)?;
            site.note_journal()?;
        }
        reports.checks.push(CheckReport { name: name.to_owned(), seconds, failure });
        if site.guest.is_gone() {
            reports.last_words = guest::last_words(&console);
            return Ok(reports);
        }
    }
    reports.ended = true;
    fs::remove_file(&disk).context("cannot remove the disk")?;
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::checks::{Checks, List};

    #[test]
    fn every_check_is_in_the_list_in_order() {
        let names = CHECKS.map(|(name, _)| format!("{name}\n")).concat();
        let listed = Checks::read().and_then(|checks| checks.select(&[List::Systemd], &[]));
        assert_eq!(listed.expect("the list").names(), names);
    }

    #[test]
    fn the_documentation_has_what_the_machine_is_set_up_with() {
        let read = |path: &str| fs::read_to_string(cmd::root().join(path)).expect(path);
        let steps = docs::installation(&read("README.md")).expect("steps");
        for step in ["groupadd", "dbfw check", "dbfw doctor", "systemctl enable --now dbfw"] {
            assert!(steps.iter().any(|line| line.starts_with(step)), "{step} in {steps:?}");
        }
        assert!(docs::drop_in(&read("docs/operations.md")).expect("a drop-in").contains("[Unit]"));
    }
}
