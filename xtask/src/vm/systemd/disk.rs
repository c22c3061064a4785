//! A disk with a Debian that systemd starts, dbfw's files beside it and not installed.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::{
    cmd,
    vm::{archive::Archive, image},
};

/// The packages of the system, beyond those of every Debian.
const PACKAGES: [&str; 9] = [
    // Without authorities no provider is asked, not even one without TLS.
    "ca-certificates",
    "dbus",
    "iproute2",
    "kmod",
    "procps",
    "python3",
    "systemd",
    "systemd-sysv",
    "udev",
];

/// Files that nobody reads there.
const LEFT_OUT: [&str; 3] = ["/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*"];

/// Services that are enabled: the last runs what the checks ask for.
const SERVICES: [&str; 4] = ["systemd-networkd", "database", "other", "commands"];

/// Unpacks the system, lays the files over it and makes a disk of both, as root.
const MAKE: &str = r#"set -e
base=$1 modules=$2 files=$3 tree=$4 disk=$5
shift 5
rm -rf "$tree" "$disk"
mkdir "$tree"
tar --extract --numeric-owner --file "$base" --directory "$tree"
(cd "$tree" && cpio --quiet --extract --make-directories --unconditional <"$modules")
cp -r "$files/." "$tree"
chroot "$tree" systemctl --quiet enable "$@"
truncate --size=1G "$disk"
mkfs.ext4 -q -F -d "$tree" "$disk"
rm -rf "$tree""#;

/// A Debian with systemd as an archive, made unless it is here. It is the release of this
/// machine, so that what is built here runs there.
pub(super) fn system(archive: &Archive, directory: &Path) -> Result<PathBuf> {
    let release = image::release()?;
    let path = directory.join(format!("systemd-{release}.tar"));
    let stamp = path.with_extension("packages");
    let packages = PACKAGES.join(",");
    if path.exists() && fs::read_to_string(&stamp).is_ok_and(|made| made == packages) {
        return Ok(path);
    }
    println!("vm: makes a Debian with systemd, {release}");
    let fresh = path.with_extension("new.tar");
    let mut command = cmd::as_root("mmdebstrap")?;
    command
        .args(["--mode=root", "--variant=minbase", "--format=tar", "--quiet"])
        .arg(format!("--include={packages}"))
        .arg("--aptopt=Acquire::Languages \"none\"")
        .args(LEFT_OUT.map(|path| format!("--dpkgopt=path-exclude={path}")))
        .arg(&release)
        .arg(&fresh)
        .arg(archive.source(&release).trim_end());
    command.env("LC_ALL", "C").stdout(Stdio::null());
    cmd::run(&mut command)?;
    fs::rename(&fresh, &path).context("mmdebstrap ended and there is no archive")?;
    fs::write(&stamp, packages).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(path)
}

/// Makes the disk. `tree` and `disk` are written anew.
pub(super) fn make(
    system: &Path,
    modules: &Path,
    files: &Files,
    tree: &Path,
    disk: &Path,
) -> Result<()> {
    let mut command = cmd::as_root("sh")?;
    command.env("PATH", cmd::path_with_sbin()).args(["-c", MAKE, "sh"]);
    command.args([system, modules, &files.0, tree, disk]).args(SERVICES);
    cmd::run(&mut command)
}

/// Files that lie over the system.
#[derive(Debug)]
pub(super) struct Files(PathBuf);

impl Files {
    /// None yet.
    pub(super) fn new(directory: PathBuf) -> Result<Self> {
        image::make_empty(&directory)?;
        Ok(Self(directory))
    }

    /// A copy of a file.
    pub(super) fn file(&mut self, from: &Path, place: &str) -> Result<()> {
        let at = self.place(place)?;
        fs::copy(from, &at).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }

    /// A copy of a program.
    pub(super) fn program(&mut self, from: &Path, place: &str) -> Result<()> {
        self.file(from, place)?;
        let at = self.0.join(place);
        fs::set_permissions(&at, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make {} a program", at.display()))
    }

    fn place(&self, place: &str) -> Result<PathBuf> {
        let at = self.0.join(place);
        let directory = at.parent().context("a file is in a directory")?;
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(at)
    }
}

/// A small archive that finds the disk at boot: busybox, and the modules that the disk needs.
pub(super) fn initrd(
    archive: &Archive,
    directory: &Path,
    run: &Path,
    modules: &Path,
) -> Result<PathBuf> {
    let busybox = directory.join("busybox");
    if !busybox.exists() {
        let deb = archive.fetch("busybox-static")?;
        let unpacked = directory.join("busybox.tree");
        image::make_empty(&unpacked)?;
        cmd::run(Command::new("dpkg-deb").arg("--extract").arg(&deb).arg(&unpacked))?;
        // Where it is depends on the release.
        let places = ["usr/bin/busybox", "bin/busybox"].map(|place| unpacked.join(place));
        let found = places.iter().find(|place| place.exists());
        let found = found.context("the package busybox-static has no busybox")?;
        fs::rename(found, &busybox).context("cannot keep busybox")?;
        fs::remove_dir_all(&unpacked).context("cannot remove the package")?;
        fs::remove_file(&deb).context("cannot remove the package")?;
    }
    let mut files = Files::new(run.join("initrd.tree"))?;
    files.program(&busybox, "bin/busybox")?;
    files.program(&cmd::root().join("tests/vm/systemd/init.sh"), "init")?;
    let own = run.join("initrd.own");
    image::pack(&files.0, ".", &own)?;
    let path = run.join("initrd");
    let mut whole = fs::read(modules).context("cannot read the modules")?;
    whole.extend(fs::read(&own).context("cannot read what was packed")?);
    fs::write(&path, whole).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
