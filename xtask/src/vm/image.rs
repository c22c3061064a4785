//! The image a machine boots: cpio archives behind each other, which the kernel unpacks over each
//! other. A small Debian, the kernel's modules, and what is under test.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::archive::Archive;
use crate::cmd;

/// Packages that the checks need, beyond those of every Debian.
const PACKAGES: [&str; 10] = [
    "bpftool",
    "curl",
    "ethtool",
    "iproute2",
    "iputils-ping",
    "kmod",
    "mount",
    "nftables",
    "procps",
    "wireguard-tools",
];

/// Files that no check reads.
const LEFT_OUT: [&str; 6] = [
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/share/zoneinfo/*",
    "/usr/lib/x86_64-linux-gnu/gconv/*",
];

/// Files that only the installation needs.
const USED_UP: &str =
    "var/lib/apt/lists/* var/cache/apt/* usr/share/perl usr/lib/x86_64-linux-gnu/perl";

/// A small Debian as an archive, made unless it is here. It is the release of this machine, so
/// that what is built here runs there.
pub(super) fn root(archive: &Archive, directory: &Path) -> Result<PathBuf> {
    let release = release()?;
    let path = directory.join(format!("root-{release}.cpio"));
    let stamp = directory.join(format!("root-{release}.packages"));
    let packages = PACKAGES.join(",");
    if path.exists() && fs::read_to_string(&stamp).is_ok_and(|made| made == packages) {
        return Ok(path);
    }
    println!("vm: makes a small Debian, {release}");
    let fresh = path.with_extension("new");
    // In the tree while it is there, so that owners and devices are as they are to be.
    let pack = format!(
        "cd \"$1\" && rm -rf {USED_UP} && find . -xdev | cpio --quiet -o -H newc >'{}'",
        fresh.display()
    );
    let mut command = cmd::as_root("mmdebstrap")?;
    command
        .args(["--mode=root", "--variant=essential", "--format=null", "--quiet"])
        .arg(format!("--include={packages}"))
        .arg("--aptopt=Acquire::Languages \"none\"")
        .args(LEFT_OUT.map(|path| format!("--dpkgopt=path-exclude={path}")))
        .arg(format!("--customize-hook={pack}"))
        .args([&release, "-"])
        .arg(archive.source(&release).trim_end());
    command.env("LC_ALL", "C").stdout(Stdio::null());
    cmd::run(&mut command)?;
    fs::rename(&fresh, &path).context("mmdebstrap ended and there is no archive")?;
    fs::write(&stamp, packages).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(path)
}

/// The name of this machine's release of Debian.
pub(super) fn release() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    match (value("ID="), value("VERSION_CODENAME=")) {
        (Some("debian"), Some(release)) => Ok(release.trim_matches('"').to_owned()),
        _ => bail!("machines are made of this machine's own Debian, and it has none"),
    }
}

/// Makes a directory that is empty.
pub(super) fn make_empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))
}

/// Packs a part of a tree as the kernel unpacks it, everything root's.
pub(super) fn pack(tree: &Path, part: &str, archive: &Path) -> Result<()> {
    let fresh = archive.with_extension("new");
    let file = File::create(&fresh).with_context(|| format!("cannot write {}", fresh.display()))?;
    // The directories that lead to it first.
    let script = r#"set -e; p=; for d in $(echo "$1" | tr / ' '); do p=$p$d; echo "$p"; p=$p/; done >list; \
        find "$1" -mindepth 1 >>list; cpio --quiet -o -H newc -R 0:0 <list; rm list"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", part]).current_dir(tree).stdout(file);
    cmd::run(&mut command)?;
    fs::rename(&fresh, archive).with_context(|| format!("cannot write {}", archive.display()))
}

/// The files under test and those of the tests, which lie over the small Debian.
#[derive(Debug)]
pub(super) struct Payload {
    tree: PathBuf,
}

impl Payload {
    /// Nothing yet.
    pub(super) fn new(directory: &Path) -> Result<Self> {
        let tree = directory.join("payload");
        make_empty(&tree)?;
        Ok(Self { tree })
    }

    /// The first process.
    pub(super) fn init(&mut self, script: &Path) -> Result<()> {
        let at = self.place("init")?;
        fs::copy(script, &at).with_context(|| format!("cannot copy {}", script.display()))?;
        executable(&at)
    }

    /// A program, without what only a debugger reads.
    pub(super) fn program(&mut self, built: &Path, place: &str) -> Result<()> {
        let at = self.place(place)?;
        cmd::run(Command::new("strip").arg("--strip-debug").arg("-o").arg(&at).arg(built))?;
        executable(&at)
    }

    /// A file with a text.
    pub(super) fn text(&mut self, place: &str, text: &str) -> Result<()> {
        let at = self.place(place)?;
        fs::write(&at, text).with_context(|| format!("cannot write {}", at.display()))
    }

    /// Everything a machine boots, as one file in `run`.
    pub(super) fn initrd(&self, run: &Path, root: &Path, modules: &Path) -> Result<PathBuf> {
        make_empty(run)?;
        let payload = run.join("payload.cpio");
        pack(&self.tree, ".", &payload)?;
        let path = run.join("initrd");
        let mut whole =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        for part in [root, modules, &payload] {
            let mut part =
                File::open(part).with_context(|| format!("cannot read {}", part.display()))?;
            io::copy(&mut part, &mut whole)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        fs::remove_file(&payload).context("cannot remove the payload")?;
        Ok(path)
    }

    fn place(&self, place: &str) -> Result<PathBuf> {
        let at = self.tree.join(place);
        let directory = at.parent().context("a file is in a directory")?;
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(at)
    }
}

fn executable(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} a program", path.display()))
}
