//! Checks of the BPF file system and the pin directory.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use dbfw_wire::control::Finding;
use nix::{
    errno::Errno,
    sys::statfs::{BPF_FS_MAGIC, FsType, statfs},
};

use super::{finding, host::Host, kernel::unreadable};

/// Mount point that systemd uses.
const BPFFS: &str = "/sys/fs/bpf";

pub(super) fn check(host: &Host, pin_dir: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    match file_system(host, pin_dir) {
        Ok(kind) => {
            findings.push(bpffs(pin_dir, kind));
            if kind == BPF_FS_MAGIC
                && let Ok(own) = host.read("/proc/self/mountinfo")
            {
                let first = host.read("/proc/1/mountinfo").ok();
                findings.push(mount(pin_dir, &own, first.as_deref()));
            }
        }
        Err(error) => findings.push(unreadable("bpffs", &pin_dir.to_string_lossy(), &error)),
    }
    for directory in directories(host, pin_dir) {
        match fs::symlink_metadata(host.path(&directory)) {
            Ok(metadata) => {
                let (is_directory, mode) = (metadata.is_dir(), metadata.mode() & 0o7777);
                findings.push(directory_access(&directory, is_directory, metadata.uid(), mode));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => findings.push(finding::ok(
                "pin_dir",
                format!("{} does not exist yet; the agent makes it", directory.display()),
            )),
            Err(error) => {
                findings.push(unreadable("pin_dir", &directory.to_string_lossy(), &error));
            }
        }
    }
    findings
}

/// The pin directory and those directly below it, one for each ABI.
fn directories(host: &Host, pin_dir: &Path) -> Vec<PathBuf> {
    let below = host.names(pin_dir).into_iter().map(|name| pin_dir.join(name));
    let below = below.filter(|path| host.path(path).is_dir());
    std::iter::once(pin_dir.to_owned()).chain(below).collect()
}

/// The type of the file system of a path, or of its nearest ancestor that exists.
fn file_system(host: &Host, path: &Path) -> io::Result<FsType> {
    for path in path.ancestors() {
        match statfs(&host.path(path)) {
            Err(Errno::ENOENT) => {}
            result => return Ok(result?.filesystem_type()),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn bpffs(pin_dir: &Path, kind: FsType) -> Finding {
    if kind == BPF_FS_MAGIC {
        finding::ok("bpffs", format!("{} is on a BPF file system", pin_dir.display()))
    } else {
        let fix = match pin_dir.starts_with(BPFFS) {
            true => format!("mount -t bpf bpf {BPFFS}"),
            false => format!("set pin_dir in [agent] to a directory below {BPFFS}"),
        };
        let shown = pin_dir.display();
        let detail = format!("{shown} is not on a BPF file system: nothing can be pinned");
        finding::fail("bpffs", detail, fix)
    }
}

/// Whether the file system below `path` is the one the host's first process sees: pins on
/// another vanish with the mount namespace that holds it.
fn mount(path: &Path, own: &str, first: Option<&str>) -> Finding {
    let Some(first) = first else {
        return finding::ok("bpffs_mount", "not compared with the host's: only root may");
    };
    match (device_at(own, path), device_at(first, path)) {
        (Some(ours), Some(theirs)) if ours == theirs => {
            finding::ok("bpffs_mount", format!("{} is the host's", path.display()))
        }
        _ => finding::fail(
            "bpffs_mount",
            format!(
                "the BPF file system at {} is private to this process: pins in it, and the \
                 protection, would vanish with it",
                path.display()
            ),
            "run dbfw in the host's mount namespace (no PrivateMounts, or mount the host's \
             /sys/fs/bpf into the container)",
        ),
    }
}

/// major:minor of what is mounted at a path or above it, by the text of a mountinfo file.
fn device_at<'a>(mountinfo: &'a str, path: &Path) -> Option<&'a str> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let device = fields.nth(2)?;
            let mount_point = Path::new(fields.nth(1)?);
            path.starts_with(mount_point).then(|| (mount_point.components().count(), device))
        })
        // Of mounts on one point the last one listed covers the others; so does max_by_key.
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, device)| device)
}

/// The right of others to the pin directory, by its owner and the permissions of its mode.
fn directory_access(path: &Path, is_directory: bool, owner: u32, mode: u32) -> Finding {
    let shown = path.display();
    if !is_directory {
        finding::fail(
            "pin_dir",
            format!("{shown} is not a directory: the agent refuses to use it"),
            format!("ls -ld {shown}; rm {shown}"),
        )
    } else if owner != 0 {
        finding::fail(
            "pin_dir",
            format!(
                "{shown} belongs to user {owner}, who could detach the programs; the agent refuses \
                 to use it"
            ),
            format!("ls -la {shown}; chown root {shown}"),
        )
    } else if mode & 0o022 != 0 {
        finding::fail(
            "pin_dir",
            format!(
                "{shown} is writable by more than root (mode {mode:04o}); the agent refuses to use \
                 it"
            ),
            format!("ls -la {shown}; chmod 0750 {shown}"),
        )
    } else {
        finding::ok("pin_dir", format!("{shown} is root's, mode {mode:04o}"))
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::statfs::SYSFS_MAGIC;

    use super::*;

    #[test]
    fn file_system_of_the_pins() {
        let path = Path::new("/sys/fs/bpf/dbfw");
        assert_eq!(bpffs(path, BPF_FS_MAGIC).state.as_str(), "ok");
        let finding = bpffs(path, SYSFS_MAGIC);
        assert_eq!(finding.state.as_str(), "fail");
        assert_eq!(finding.fix.as_deref(), Some("mount -t bpf bpf /sys/fs/bpf"));
    }

    #[test]
    fn owner_and_mode_of_the_pin_directory() {
        let path = Path::new("/sys/fs/bpf/dbfw");
        let state =
            |directory, owner, mode| directory_access(path, directory, owner, mode).state.as_str();
        assert_eq!(state(true, 0, 0o750), "ok");
        assert_eq!(state(true, 0, 0o700), "ok");
        assert_eq!(state(true, 0, 0o770), "fail");
        assert_eq!(state(true, 0, 0o1777), "fail");
        assert_eq!(state(true, 1000, 0o750), "fail");
        assert_eq!(state(false, 0, 0o644), "fail");
    }

    #[test]
    fn a_private_mount_is_found() {
        let host = "24 30 0:22 / /sys rw - sysfs sysfs rw\n\
                    31 24 0:27 / /sys/fs/bpf rw shared:9 - bpf bpf rw,mode=700\n";
        let private = "424 430 0:22 / /sys rw - sysfs sysfs rw\n\
                       431 424 0:27 / /sys/fs/bpf rw - bpf bpf rw\n\
                       432 431 0:88 / /sys/fs/bpf rw - bpf bpf rw\n";
        let path = Path::new("/sys/fs/bpf/dbfw");
        assert_eq!(mount(path, host, Some(host)).state.as_str(), "ok");
        assert_eq!(mount(path, private, Some(host)).state.as_str(), "fail");
        assert_eq!(mount(path, host, None).state.as_str(), "ok");
        assert_eq!(mount(path, host, Some("garbage\n\n1 2")).state.as_str(), "fail");
        assert_eq!(device_at(host, Path::new("/sys/fs/bpfx")), Some("0:22"));
    }
}
