//! The files and programs of the host that the checks read.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use caps::{CapSet, Capability};
use dbfw_datapath::interfaces::ethtool;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};

/// Root of all files that the checks read: `/`, or a made-up tree in tests.
#[derive(Debug)]
pub(super) struct Host {
    root: PathBuf,
    is_this: bool,
}

impl Host {
    pub(super) fn this() -> Self {
        Self { root: PathBuf::from("/"), is_this: true }
    }

    #[cfg(test)]
    pub(super) fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), is_this: false }
    }

    /// `path`, which is absolute, below the root.
    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The content of a small file, without the white space around it.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub(super) fn read(&self, path: impl AsRef<Path>) -> io::Result<String> {
        Ok(fs::read_to_string(self.path(path))?.trim().to_owned())
    }

    /// A setting below /proc/sys, named with slashes.
    ///
    /// # Errors
    ///
    /// The setting cannot be read.
    pub(super) fn sysctl(&self, name: &str) -> io::Result<String> {
        self.read(Path::new("/proc/sys").join(name))
    }

    /// The addresses of this network namespace's interfaces, by the interface's name; none in a
    /// made-up tree.
    pub(super) fn addresses(&self) -> Vec<(String, IpAddr)> {
        let listed = if self.is_this { getifaddrs().ok() } else { None };
        let address = |listed: InterfaceAddress| {
            let address = listed.address?;
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
            let v6 = address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip()));
            Some((listed.interface_name, v4.or(v6)?))
        };
        listed.into_iter().flatten().filter_map(address).collect()
    }

    pub(super) fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }

    /// Names in a directory, sorted; none if it cannot be read.
    pub(super) fn names(&self, directory: impl AsRef<Path>) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(directory)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Whether it is the host that this process runs on, and no made-up tree.
    pub(super) fn is_this(&self) -> bool {
        self.is_this
    }

    /// Whether this process has a capability; in tests it has all.
    pub(super) fn has(&self, capability: Capability) -> bool {
        !self.is_this || caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
    }

    /// Whether large receive offload is on; `None` where the device cannot be asked.
    pub(super) fn lro(&self, interface: &str) -> Option<bool> {
        if self.is_this { ethtool::lro(interface).ok() } else { None }
    }
}
