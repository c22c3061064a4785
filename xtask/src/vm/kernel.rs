//! A kernel of Debian, unpacked: its image, and its modules as an archive for a machine.

use std::{
    cmp::Reverse,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{Series, archive::Archive, image};
use crate::cmd;

/// Built for virtual machines: small, and with every module that the checks need.
const FLAVOUR: &str = "-cloud-amd64";

/// The kernel modules that the checks need.
const KEPT: [&str; 9] = [
    "arch",
    "crypto",
    "drivers/block",
    "drivers/net",
    "drivers/virtio",
    "fs",
    "lib",
    "net",
    "virt",
];

/// A kernel that can be booted.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) release: String,
    pub(super) image: PathBuf,
    pub(super) modules: PathBuf,
}

/// The newest kernel of a series, fetched and unpacked unless it is here.
pub(super) fn provide(archive: &Archive, directory: &Path, series: Series) -> Result<Kernel> {
    let names = archive.names("linux-image-")?;
    let Some(release) = newest(&names, series) else {
        bail!("Debian's lists have no linux-image-{series}*{FLAVOUR}");
    };
    let kernel = Kernel {
        release: release.to_owned(),
        image: directory.join("kernels").join(release).join("vmlinuz"),
        modules: directory.join("kernels").join(release).join("modules.cpio"),
    };
    if !kernel.image.exists() || !kernel.modules.exists() {
        println!("vm: fetches the kernel {release}");
        unpack(archive, &kernel)?;
    }
    Ok(kernel)
}

/// The release of the newest kernel of a series, of packages' names.
fn newest(names: &[String], series: Series) -> Option<&str> {
    names
        .iter()
        .filter_map(|name| {
            let release = name.strip_prefix("linux-image-")?;
            let version = release.strip_suffix(FLAVOUR)?;
            let numbers = numbers(version)?;
            // linux-image-6.12-cloud-amd64 has a name without a kernel's own version.
            let [major, minor, _, ..] = numbers[..] else { return None };
            let of_series = match series {
                Series::Named(wanted, of) => (major, minor) == (wanted, of),
                Series::Newest => true,
            };
            of_series.then_some((numbers, release))
        })
        .max()
        .map(|(_, release)| release)
}

/// The numbers of `6.12.90+deb13.1` or `6.1.0-56`; none of what is no release (`-rt`, `-dbg`).
fn numbers(version: &str) -> Option<Vec<u32>> {
    version
        .split(['.', '-', '+'])
        .map(|part| part.strip_prefix("deb").unwrap_or(part).parse().ok())
        .collect()
}

fn unpack(archive: &Archive, kernel: &Kernel) -> Result<()> {
    let home = kernel.image.parent().context("a kernel is in a directory")?;
    let tree = home.join("tree");
    image::make_empty(&tree)?;
    for package in packages(archive, &kernel.release)? {
        let deb = archive.fetch(&package)?;
        cmd::run(Command::new("dpkg-deb").arg("--extract").arg(&deb).arg(&tree))?;
        fs::remove_file(&deb).with_context(|| format!("cannot remove {}", deb.display()))?;
    }
    let modules = tree.join("usr/lib/modules");
    if !modules.exists() {
        let old = tree.join("lib");
        fs::create_dir_all(tree.join("usr")).context("cannot make usr")?;
        fs::rename(&old, tree.join("usr/lib")).context("the packages have no modules")?;
    }
    // Kernels from 7.x have their image beside the modules.
    let images = [
        tree.join("boot").join(format!("vmlinuz-{}", kernel.release)),
        modules.join(&kernel.release).join("vmlinuz"),
    ];
    let image = images.iter().find(|image| image.exists());
    fs::rename(image.context("the packages have no kernel")?, &kernel.image)
        .with_context(|| format!("cannot move {}", kernel.image.display()))?;
    // depmod looks there.
    std::os::unix::fs::symlink("usr/lib", tree.join("lib")).context("cannot link lib")?;
    keep_modules(&modules.join(&kernel.release).join("kernel"))?;
    cmd::run(
        Command::new(cmd::find_program("depmod").context("depmod is not installed")?)
            .arg("--basedir")
            .arg(&tree)
            .arg(&kernel.release),
    )?;
    image::pack(&tree, &format!("usr/lib/modules/{}", kernel.release), &kernel.modules)?;
    fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))
}

/// The packages that make up a release: newer ones keep image and modules apart.
fn packages(archive: &Archive, release: &str) -> Result<Vec<String>> {
    let mut packages = vec![format!("linux-image-{release}")];
    let own = format!("-{release}");
    let mut next = 0;
    while let Some(package) = packages.get(next) {
        for needed in archive.dependencies(package)? {
            if needed.ends_with(&own) && !packages.contains(&needed) {
                packages.push(needed);
            }
        }
        next += 1;
    }
    packages.sort_by_key(|package| Reverse(package.len()));
    Ok(packages)
}

/// Removes the modules that no check needs: they would only have to be loaded into memory.
fn keep_modules(kernel: &Path) -> Result<()> {
    let needed = |path: &Path| {
        KEPT.iter().any(|kept| path.starts_with(kept) || Path::new(kept).starts_with(path))
    };
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        let full = kernel.join(&directory);
        let entries =
            fs::read_dir(&full).with_context(|| format!("cannot list {}", full.display()))?;
        for entry in entries.flatten() {
            let path = directory.join(entry.file_name());
            if !entry.path().is_dir() {
                continue;
            }
            if !needed(&path) {
                fs::remove_dir_all(entry.path())
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            } else if !KEPT.iter().any(|kept| path == Path::new(kept)) {
                waiting.push(path);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_series_is_taken_by_number() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-57-rt-amd64",
            "linux-image-6.1.0-58-amd64",
            "linux-image-6.12-cloud-amd64",
            "linux-image-6.12.9+deb13-cloud-amd64",
            "linux-image-6.12.90+deb13-cloud-amd64",
            "linux-image-6.12.90+deb13.1-cloud-amd64",
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-image-cloud-amd64",
        ]
        .map(str::to_owned);
        let of = |series| newest(&names, series);
        assert_eq!(of(Series::Named(6, 1)), Some("6.1.0-56-cloud-amd64"));
        assert_eq!(of(Series::Named(6, 12)), Some("6.12.90+deb13.1-cloud-amd64"));
        assert_eq!(of(Series::Newest), Some("7.3.4+deb13-cloud-amd64"));
        assert_eq!(of(Series::Named(5, 10)), None);
    }
}
