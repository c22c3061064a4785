//! Errors of operations on programs, maps and pins, with the command that fixes them.

use std::{
    io,
    path::{Path, PathBuf},
};

use aya::maps::MapError;

use crate::kernel::{self, ProgramRefusal};

/// An operation on the kernel's programs, maps or pins failed.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The pin directory is not on a bpffs.
    #[error(
        "{} is not on a BPF file system, where the filter can outlive the agent: mount -t bpf bpf \
         /sys/fs/bpf", path.display()
    )]
    NoBpffs {
        /// The deepest directory that exists.
        path: PathBuf,
    },
    /// The bpffs is of this mount namespace alone.
    #[error(
        "{} is a BPF file system of this service alone: the filter would vanish with it. \
         Set PrivateMounts=no and no PrivateBPF=, or mount the host's there", path.display()
    )]
    PrivateBpffs {
        /// The mount.
        path: PathBuf,
    },
    /// Somebody else made the pin directory, or could write to it.
    #[error(
        "{} belongs to uid {owner} with mode {mode:o}: others could have put programs there. \
         Look at what is in it, then rm -r it (this detaches links pinned there)", path.display()
    )]
    Squatted {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// The pins belong to another network namespace.
    #[error(
        "{} holds the filter of another network namespace: start dbfw there, or give this one \
         an agent.pin_dir of its own", path.display()
    )]
    OtherNamespace {
        /// The pinned backstop.
        path: PathBuf,
    },
    /// Another agent runs.
    #[error(
        "another dbfw agent{} already works on {}: stop it first (systemctl stop dbfw)",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), path.display()
    )]
    Locked {
        /// The pin directory.
        path: PathBuf,
        /// The other agent.
        pid: Option<u32>,
    },
    /// A pinned object is not the one that belongs there.
    #[error(
        "{} is not dbfw's map: {found}, expected {expected}. Programs that are attached go on \
         filtering with the maps they have; to replace this one, rm {} and start again",
        path.display(), path.display()
    )]
    WrongPin {
        /// The pin.
        path: PathBuf,
        /// A description of the object that is there.
        found: String,
        /// A description of the object that belongs there.
        expected: String,
    },
    /// The kernel lacks something that the programs need.
    #[error(
        "Linux {} is too old: it has {}. Nothing was attached or replaced; install a kernel of \
         6.1 or newer",
        kernel::release(),
        missing.iter().map(|it| format!("no {it}")).collect::<Vec<_>>().join(" and ")
    )]
    OldKernel {
        /// The missing facilities.
        missing: Vec<&'static str>,
    },
    /// The kernel refused a program.
    #[error("{refusal}. Nothing was attached or replaced; {fix}", refusal = .0, fix = .0.fix())]
    Refused(ProgramRefusal),
    /// The maps cannot be made or taken over.
    #[error("cannot make the maps: {0}")]
    Maps(String),
    /// The object that was built in is broken.
    #[error("the built-in kernel object cannot be read: {0}")]
    Object(String),
    /// More than the maps can hold.
    #[error("{wanted} prefixes do not fit into {map}, which holds {limit}: nothing was changed")]
    Capacity {
        /// The map.
        map: &'static str,
        /// Entries wanted.
        wanted: usize,
        /// Entries it can hold.
        limit: usize,
    },
    /// A map operation failed.
    #[error("cannot {action} {map}: {source}{}", map_hint(source))]
    Map {
        /// "write 10.0.0.0/8 to", …
        action: String,
        /// The map's name.
        map: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// This process can open no file.
    #[error("cannot look at the pins: {0} (LimitNOFILE=, prlimit)")]
    NoDescriptor(#[source] io::Error),
    /// A file operation on a pin failed.
    #[error("cannot {action} {}: {source}{} ({})", named(path), pin_hint(source), path.display())]
    Pin {
        /// pin, open, chmod, …
        action: &'static str,
        /// The pin.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl DatapathError {
    /// Whether this process lacks the right to open a pin.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Pin { source, .. }
            if source.kind() == io::ErrorKind::PermissionDenied)
    }

    /// The failure to `action` the pin at `path`.
    pub(crate) fn pin(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Pin { action, path: path.to_owned(), source }
    }

    /// The failure to `action` a map.
    pub(crate) fn map(action: impl Into<String>, map: &'static str, source: io::Error) -> Self {
        Self::Map { action: action.into(), map, source }
    }
}

fn map_hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOMEM) => {
            " (the service's memory limit counts BPF maps: raise MemoryMax=; the old policy stays \
             in force)"
        }
        Some(libc::E2BIG | libc::ENOSPC) => " (the map is full; the old policy stays in force)",
        _ => "",
    }
}

/// The pin's own name, so that a long path does not come before the reason.
fn named(path: &Path) -> std::path::Display<'_> {
    path.file_name().map_or(path, Path::new).display()
}

fn pin_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => " (be root, or a member of group dbfw for reading)",
        io::ErrorKind::NotFound => " (nothing is pinned there: is dbfw running?)",
        _ => "",
    }
}

/// The system's reason inside aya's error, where there is one.
pub(crate) fn map_io(error: MapError) -> io::Error {
    match error {
        MapError::SyscallError(error) => error.io_error,
        MapError::CreateError { io_error, .. } => io_error,
        MapError::KeyNotFound | MapError::ElementNotFound => {
            io::Error::from_raw_os_error(libc::ENOENT)
        }
        MapError::IoError(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_remedy() {
        let refusal = |with_perfmon, verifier: &str| ProgramRefusal {
            program: "dbfw_xdp",
            reason: "Invalid argument (os error 22)".to_owned(),
            verifier: verifier.to_owned(),
            with_perfmon,
        };
        let error = DatapathError::Refused(refusal(true, "back-edge from insn 1301 to 1302"));
        assert_eq!(
            error.to_string(),
            "the kernel refused program dbfw_xdp: Invalid argument (os error 22): the verifier \
             says \"back-edge from insn 1301 to 1302\". Nothing was attached or replaced; install \
             a kernel of 6.1 or newer, and report this line if it is one"
        );
        let error = DatapathError::Refused(refusal(false, "")).to_string();
        assert!(error.contains("CAP_PERFMON") && !error.contains("verifier"), "{error}");
    }

    #[test]
    fn an_old_kernel_is_told_what_it_lacks() {
        let missing = vec![kernel::MULTI_BUFFER_XDP, kernel::RING_BUFFER];
        assert_eq!(
            DatapathError::OldKernel { missing }.to_string(),
            format!(
                "Linux {} is too old: it has no multi-buffer XDP (Linux 5.18) and no BPF ring \
                 buffers (Linux 5.8). Nothing was attached or replaced; install a kernel of 6.1 \
                 or newer",
                kernel::release()
            )
        );
    }
}
