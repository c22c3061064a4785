//! Programs with dbfw's names that are attached, whichever pins hold them.

use std::{io, os::fd::AsFd as _};

use aya_obj::generated::bpf_attach_type;
use dbfw_common::{PROGRAM_XDP_LEAN, PROGRAMS};

use super::socket_lookup_programs;
use crate::{
    interfaces::Interface,
    sys::{self, has_tcx},
};

/// A program with a name of dbfw's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedProgram {
    /// Its id in the kernel.
    pub id: u32,
    /// The interface that it filters; `None`: the backstop.
    pub interface: Option<String>,
}

/// Programs with dbfw's names that are attached to `interfaces` or to this network namespace.
/// Needs CAP_SYS_ADMIN and CAP_NET_ADMIN.
///
/// # Errors
/// The kernel does not tell which programs are attached, or what they are called.
pub fn attached_programs(interfaces: &[Interface]) -> io::Result<Vec<AttachedProgram>> {
    let mut found = Vec::new();
    for interface in interfaces {
        let in_chain = if has_tcx() { in_chain(interface.index)? } else { Vec::new() };
        for id in interface.xdp_program.into_iter().chain(in_chain) {
            if is_named(id)? {
                found.push(AttachedProgram { id, interface: Some(interface.name.clone()) });
            }
        }
    }
    for id in socket_lookup_programs()? {
        if is_named(id)? {
            found.push(AttachedProgram { id, interface: None });
        }
    }
    Ok(found)
}

fn in_chain(index: u32) -> io::Result<Vec<u32>> {
    match sys::chain(index, bpf_attach_type::BPF_TCX_INGRESS) {
        Ok(chain) => Ok(chain.programs),
        // Nothing is attached, or the interface is gone.
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether the kernel calls a program by a name of dbfw's.
fn is_named(id: u32) -> io::Result<bool> {
    match sys::program_by_id(id).and_then(|program| sys::program_info(program.as_fd())) {
        Ok(info) => Ok(PROGRAMS.contains(&&*info.name) || info.name == PROGRAM_XDP_LEAN),
        // Unloaded since it was listed.
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}
