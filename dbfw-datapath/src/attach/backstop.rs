//! The backstop: attaching it to the network namespace, and reading it back.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::Path,
};

use aya_obj::generated::bpf_attach_type;
use dbfw_common::PROGRAM_BACKSTOP;

use crate::{
    error::DatapathError,
    object::Programs,
    pins::{self, Pins, names::BACKSTOP_PIN},
    sys::{self, Attached},
};

const HOOK: bpf_attach_type = bpf_attach_type::BPF_SK_LOOKUP;
const NAMESPACE: &str = "/proc/thread-self/ns/net";

/// The backstop's link.
#[derive(Debug)]
pub(crate) struct Backstop {
    link: OwnedFd,
    /// The network namespace of this process, kept so that a check needs no descriptor.
    namespace: Attached,
}

impl Backstop {
    /// Attaches the backstop to the network namespace of this process, or takes over its
    /// pinned link.
    ///
    /// # Errors
    /// The kernel refuses it, or it cannot be pinned.
    pub(crate) fn attach(programs: &Programs, pins: &Pins) -> Result<Self, String> {
        let program = programs.get(PROGRAM_BACKSTOP)?;
        let namespace = namespace().map_err(|error| error.to_string())?;
        if let Ok(link) = pins.link(BACKSTOP_PIN)
            && let Ok(info) = sys::link_info(link.as_fd())
            && info.attached == here(&namespace)
        {
            sys::link_update(link.as_fd(), program.fd.as_fd())
                .map_err(|error| format!("cannot replace the backstop's program: {error}"))?;
            return Ok(Self { link, namespace: here(&namespace) });
        }
        let target = namespace.as_raw_fd() as u32;
        let link = sys::link_create(program.fd.as_fd(), target, HOOK, 0, 0)
            .map_err(|error| format!("cannot attach the backstop: {error}"))?;
        pins.replace(link.as_fd(), BACKSTOP_PIN).map_err(|error| error.to_string())?;
        Ok(Self { link, namespace: here(&namespace) })
    }

    /// Reads back that it holds.
    ///
    /// # Errors
    /// The reason why it does not hold.
    pub(crate) fn check(&self, programs: &Programs) -> Result<(), String> {
        let info = sys::link_info(self.link.as_fd()).map_err(|error| error.to_string())?;
        if info.attached != self.namespace {
            return Err("the backstop was detached".to_owned());
        }
        if !programs.is_ours(info.program) {
            return Err(format!("program {} is the backstop, which is not ours", info.program));
        }
        Ok(())
    }

    /// Pins the link again if its pin is gone or another link's.
    ///
    /// # Errors
    /// The link cannot be pinned.
    pub(crate) fn repair_pin(&self, pins: &Pins) -> Result<bool, DatapathError> {
        pins.repair_link(BACKSTOP_PIN, self.link.as_fd())
    }

    /// Detaches and removes the pin.
    ///
    /// # Errors
    /// The pin is there and cannot be removed.
    pub(crate) fn detach(self, pins: &Pins) -> Result<(), DatapathError> {
        pins.detach_link(BACKSTOP_PIN, self.link.as_fd())
    }
}

/// Ids of every socket lookup program of this network namespace. Needs CAP_NET_ADMIN.
///
/// # Errors
/// The kernel does not tell.
pub fn socket_lookup_programs() -> io::Result<Vec<u32>> {
    let namespace = namespace()?;
    Ok(sys::chain(namespace.as_raw_fd() as u32, HOOK)?.programs)
}

/// Refuses pins whose backstop is attached to another network namespace: taking over its
/// links would open that one.
///
/// # Errors
/// [`DatapathError::OtherNamespace`] names the pin.
pub(crate) fn check_namespace(pin_dir: &Path) -> Result<(), DatapathError> {
    let namespace =
        namespace().map_err(|error| DatapathError::pin("open", Path::new(NAMESPACE), error))?;
    for abi in pins::list(pin_dir, "v")? {
        let path = pin_dir.join(abi).join(BACKSTOP_PIN);
        let attached = sys::obj_get(&path, false).and_then(|fd| sys::link_info(fd.as_fd()));
        match attached.map(|info| info.attached) {
            // Inode 0: its namespace is gone.
            Ok(attached @ Attached::NetworkNamespace { inode })
                if inode != 0 && attached != here(&namespace) =>
            {
                return Err(DatapathError::OtherNamespace { path });
            }
            _ => {}
        }
    }
    Ok(())
}

/// The network namespace of this thread.
fn namespace() -> io::Result<File> {
    File::open(NAMESPACE)
}

/// Whether a link is attached to the network namespace of this thread.
pub(crate) fn is_here(attached: Attached) -> bool {
    namespace().is_ok_and(|namespace| attached == here(&namespace))
}

fn here(namespace: &File) -> Attached {
    let inode = namespace.metadata().map_or(0, |metadata| metadata.ino() as u32);
    Attached::NetworkNamespace { inode }
}
