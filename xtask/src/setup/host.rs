//! The distribution and its package manager.

use std::{cell::Cell, io::Write, path::Path, process::Command};

use anyhow::{Context, Result};

use super::doing;
use crate::cmd;

/// Keeps the installation of PostgreSQL's server from starting one. Only there while
/// packages are installed.
const NO_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/dbfw-setup.conf";

/// Asked by Debian's packages before they start a service; 101 forbids it.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Packages whose servers start with their installation, on this host's ports.
const SERVERS: [&str; 4] = ["etcd-server", "mariadb-server", "pgbouncer", "redis-server"];

/// A package manager that setup can drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manager {
    Apt,
    /// Untested: the package names are Fedora's, nothing more is known.
    Dnf,
    /// Untested: the package names are Arch's, nothing more is known.
    Pacman,
}

/// The machine setup runs on.
#[derive(Debug)]
pub(super) struct Host {
    /// The distribution's own name.
    pub(super) name: String,
    /// Its `ID` in os-release.
    pub(super) id: String,
    /// None on a distribution setup does not know.
    pub(super) manager: Option<Manager>,
    lists_are_fresh: Cell<bool>,
}

impl Host {
    /// Reads os-release.
    pub(super) fn detect() -> Self {
        let text = ["/etc/os-release", "/usr/lib/os-release"]
            .into_iter()
            .find_map(|path| std::fs::read_to_string(path).ok())
            .unwrap_or_default();
        Self::parse(&text)
    }

    fn parse(os_release: &str) -> Self {
        let value = |key: &str| {
            os_release
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
        };
        let id = value("ID").unwrap_or_default();
        let like = value("ID_LIKE").unwrap_or_default();
        let manager =
            std::iter::once(id.as_str()).chain(like.split_whitespace()).find_map(|id| match id {
                "debian" | "ubuntu" => Some(Manager::Apt),
                "fedora" => Some(Manager::Dnf),
                "arch" => Some(Manager::Pacman),
                _ => None,
            });
        let name = value("PRETTY_NAME").unwrap_or_else(|| "an unknown distribution".to_owned());
        Self { name, id, manager, lists_are_fresh: Cell::new(false) }
    }

    /// Whether packages are Debian's.
    pub(super) fn is_debian(&self) -> bool {
        self.manager == Some(Manager::Apt)
    }

    /// Installs packages with the distribution's package manager.
    pub(super) fn install(&self, manager: Manager, packages: &[&str]) -> Result<()> {
        doing(packages.join(" "));
        match manager {
            Manager::Apt => self.apt_install(packages),
            Manager::Dnf => cmd::run(cmd::as_root("dnf")?.args(["install", "-y"]).args(packages)),
            Manager::Pacman => {
                let arguments = ["-S", "--needed", "--noconfirm"];
                cmd::run(cmd::as_root("pacman")?.args(arguments).args(packages))
            }
        }
    }

    /// Whether apt could install a package.
    pub(super) fn apt_offers(&self, package: &str) -> Result<bool> {
        self.apt_update()?;
        let policy =
            cmd::read(Command::new("apt-cache").env("LC_ALL", "C").args(["policy", package]))?;
        Ok(policy
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Candidate:"))
            .any(|candidate| candidate.trim() != "(none)"))
    }

    fn apt_update(&self) -> Result<()> {
        if !self.lists_are_fresh.replace(true) {
            cmd::run(cmd::as_root("apt-get")?.args(["update", "--quiet"]))?;
        }
        Ok(())
    }

    fn apt_install(&self, packages: &[&str]) -> Result<()> {
        self.apt_update()?;
        let server = packages.contains(&"postgresql");
        if server {
            forbid_cluster()?;
        }
        let starts = packages.iter().any(|package| SERVERS.contains(package));
        let forbids = starts && !Path::new(POLICY).exists();
        if forbids {
            forbid_services()?;
        }
        let installed = cmd::run(
            cmd::as_root("env")?
                .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes"])
                .args(["--quiet", "--no-install-recommends"])
                .args(packages),
        );
        if server {
            cmd::run(cmd::as_root("rm")?.args(["-f", NO_CLUSTER]))?;
        }
        if forbids {
            cmd::run(cmd::as_root("rm")?.args(["-f", POLICY]))?;
        }
        if starts {
            // Nor with the next boot. Without systemd there is none.
            for unit in ["etcd", "mariadb", "pgbouncer", "redis-server"] {
                let unit = ["disable", "--quiet", unit];
                let _ = cmd::run(cmd::as_root("systemctl")?.args(unit));
            }
        }
        if packages.contains(&"prometheus") {
            // It starts with its installation, on every address. Without systemd it did not.
            let unit = ["disable", "--now", "--quiet", "prometheus"];
            let _ = cmd::run(cmd::as_root("systemctl")?.args(unit));
        }
        installed
    }
}

fn forbid_cluster() -> Result<()> {
    put(b"create_main_cluster = false\n", "0644", NO_CLUSTER)
}

fn forbid_services() -> Result<()> {
    put(b"#!/bin/sh\nexit 101\n", "0755", POLICY)
}

/// Writes a file of the system.
fn put(content: &[u8], mode: &str, path: &str) -> Result<()> {
    let mut file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    file.write_all(content).context("cannot write a temporary file")?;
    cmd::run(cmd::as_root("install")?.args(["-D", "-m", mode]).arg(file.path()).arg(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_manager_follows_id_and_id_like() {
        let cases = [
            ("ID=debian\n", Some(Manager::Apt)),
            ("ID=pop\nID_LIKE=\"ubuntu debian\"\n", Some(Manager::Apt)),
            ("NAME=\"Fedora Linux\"\nID=fedora\n", Some(Manager::Dnf)),
            ("ID=manjaro\nID_LIKE=arch\n", Some(Manager::Pacman)),
            ("ID=alpine\n", None),
            ("", None),
        ];
        for (text, manager) in cases {
            assert_eq!(Host::parse(text).manager, manager, "{text:?}");
        }
        assert_eq!(
            Host::parse("PRETTY_NAME=\"Debian GNU/Linux 12\"\n").name,
            "Debian GNU/Linux 12"
        );
    }
}
