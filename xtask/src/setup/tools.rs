//! Programs the tests and the demo run, and cargo's own components.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{
    doing, have,
    host::{Host, Manager},
};
use crate::cmd;

/// A program, and the package that has it.
struct Tool {
    program: &'static str,
    debian: &'static str,
    /// Untested.
    fedora: &'static str,
    /// Untested.
    arch: &'static str,
}

const fn tool(
    program: &'static str,
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
) -> Tool {
    Tool { program, debian, fedora, arch }
}

const TOOLS: [Tool; 24] = [
    tool("ip", "iproute2", "iproute", "iproute2"),
    tool("nsenter", "util-linux", "util-linux", "util-linux"),
    tool("systemctl", "systemd", "systemd", "systemd"),
    tool("setpriv", "util-linux", "util-linux", "util-linux"),
    tool("ethtool", "ethtool", "ethtool", "ethtool"),
    tool("nft", "nftables", "nftables", "nftables"),
    tool("iptables-nft", "iptables", "iptables-nft", "iptables-nft"),
    tool("bpftool", "bpftool", "bpftool", "bpf"),
    tool("curl", "curl", "curl", "curl"),
    tool("psql", "postgresql-client", "postgresql", "postgresql"),
    tool("postgres", "postgresql", "postgresql-server", "postgresql"),
    tool("pgbench", "postgresql", "postgresql-contrib", "postgresql"),
    tool("pgbouncer", "pgbouncer", "pgbouncer", "pgbouncer"),
    tool("redis-server", "redis-server", "redis", "redis"),
    tool("redis-cli", "redis-tools", "redis", "redis"),
    tool("mariadbd", "mariadb-server", "mariadb-server", "mariadb"),
    // Builds etcd's client, with the includes of `INCLUDES`.
    tool("protoc", "protobuf-compiler", "protobuf-compiler", "protobuf"),
    tool("etcd", "etcd-server", "etcd", "etcd"),
    tool("etcdctl", "etcd-client", "etcd", "etcd"),
    tool("chromium", "chromium", "chromium", "chromium"),
    tool("chromedriver", "chromium-driver", "chromedriver", "chromium"),
    tool("npm", "npm", "nodejs-npm", "npm"),
    tool("prometheus", "prometheus", "golang-github-prometheus", "prometheus"),
    tool("promtool", "prometheus", "golang-github-prometheus", "prometheus"),
];

/// A file of the includes of protoc, which etcd's client is built with.
const INCLUDES: &str = "/usr/include/google/protobuf/descriptor.proto";

/// Tools that boot virtual machines. They are made of Debian's packages, so only a Debian needs them;
/// the names for the others are only said.
const MACHINES: [Tool; 7] = [
    tool("qemu-system-x86_64", "qemu-system-x86", "qemu-system-x86", "qemu-system-x86"),
    tool("mmdebstrap", "mmdebstrap", "mmdebstrap", "mmdebstrap"),
    tool("cpio", "cpio", "cpio", "cpio"),
    tool("depmod", "kmod", "kmod", "kmod"),
    tool("mkfs.ext4", "e2fsprogs", "e2fsprogs", "e2fsprogs"),
    tool("strip", "binutils", "binutils", "binutils"),
    tool("gpgv", "gpgv", "gnupg2", "gnupg"),
];

/// The keys of Debian's archive.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Tools that dbfw is measured beside.
const PEERS: [Tool; 3] = [
    tool("ipset", "ipset", "ipset", "ipset"),
    tool("iptables-legacy", "iptables", "iptables-legacy", "iptables"),
    tool("xdp-filter", "xdp-tools", "xdp-tools", "xdp-tools"),
];

/// Finds every program, installs the packages of those that are not there, and returns what
/// is missing after that.
pub(super) fn ensure(host: &Host) -> Result<Vec<String>> {
    let mut missing = ensure_all(host, &TOOLS)?;
    let has_includes = || Path::new(INCLUDES).exists();
    if let Some(manager) = host.manager.filter(|_| !has_includes()) {
        let package = match manager {
            Manager::Apt => "libprotobuf-dev",
            Manager::Dnf => "protobuf-devel",
            Manager::Pacman => "protobuf",
        };
        host.install(manager, &[package])?;
    }
    if has_includes() {
        have("the includes of protoc", INCLUDES);
    } else {
        missing.push(format!("{INCLUDES} (Debian's package: libprotobuf-dev)"));
    }
    Ok(missing)
}

/// The same for what boots virtual machines.
pub(super) fn ensure_machines(host: &Host) -> Result<Vec<String>> {
    let mut missing = ensure_all(host, &MACHINES)?;
    let has_keys = || Path::new(KEYRING).exists();
    if let Some(manager) = host.manager.filter(|_| !has_keys()) {
        host.install(manager, &["debian-archive-keyring"])?;
    }
    if !has_keys() {
        missing.push(format!("{KEYRING} (Debian's package: debian-archive-keyring)"));
    }
    Ok(missing)
}

/// The same for the peers.
pub(super) fn ensure_peers(host: &Host) -> Result<Vec<String>> {
    ensure_all(host, &PEERS)
}

fn ensure_all(host: &Host, tools: &'static [Tool]) -> Result<Vec<String>> {
    let mut absent = Vec::new();
    for tool in tools {
        match find(tool.program) {
            Some(path) => have(tool.program, path.display()),
            None => absent.push(tool),
        }
    }
    if absent.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(manager) = host.manager {
        let mut packages: Vec<&str> =
            absent.iter().flat_map(|tool| packages(host, manager, tool)).collect();
        packages.sort_unstable();
        packages.dedup();
        host.install(manager, &packages)?;
    }
    Ok(absent
        .into_iter()
        .filter(|tool| find(tool.program).is_none())
        .map(|tool| format!("{} (Debian's package: {})", tool.program, tool.debian))
        .collect())
}

fn packages(host: &Host, manager: Manager, tool: &Tool) -> Vec<&'static str> {
    match manager {
        Manager::Apt if tool.program == "bpftool" && host.id == "ubuntu" => {
            vec!["linux-tools-common", "linux-tools-generic"]
        }
        Manager::Apt => vec![tool.debian],
        Manager::Dnf => vec![tool.fedora],
        Manager::Pacman => vec![tool.arch],
    }
}

/// The path of a program. Debian keeps PostgreSQL's out of PATH, one directory a version.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    cmd::find_program(program).or_else(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        versions
            .filter_map(|version| Some(version.ok()?.path().join("bin").join(program)))
            .filter(|path| cmd::is_executable(path))
            .max()
    })
}

/// rustfmt and clippy of the toolchain in use, for the checks of CI. Returns what is missing.
pub(super) fn ensure_components() -> Vec<String> {
    let lacking: Vec<&str> = [("rustfmt", "fmt"), ("clippy", "clippy")]
        .into_iter()
        .filter_map(|(component, subcommand)| match version(subcommand) {
            Some(version) => {
                have(component, version);
                None
            }
            None => Some(component),
        })
        .collect();
    if lacking.is_empty() {
        return Vec::new();
    }
    doing(format!("rustup components {}", lacking.join(" ")));
    let added = cmd::run(Command::new("rustup").args(["component", "add"]).args(&lacking));
    match added {
        Ok(()) => Vec::new(),
        Err(error) => {
            println!("         {error:#}");
            lacking.into_iter().map(|name| format!("{name} of the toolchain in use")).collect()
        }
    }
}

fn version(subcommand: &str) -> Option<String> {
    let text = cmd::read(cmd::cargo().args([subcommand, "--version"])).ok()?;
    Some(text.trim().to_owned())
}
