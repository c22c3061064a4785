//! Somebody else's programs at the hook of ours.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya_obj::generated::bpf_prog_type;

use crate::{netns::Netns, sys};

/// Ends the chain and lets the packet in.
pub const TCX_PASS: i32 = 0;
/// Lets the next program decide.
pub const TCX_NEXT: i32 = -1;

/// A program at the TCX ingress hook that says the same of every packet, attached for as long
/// as this lives.
#[derive(Debug)]
pub struct TcxProgram(#[expect(dead_code, reason = "it is attached while it is open")] OwnedFd);

impl TcxProgram {
    /// Attaches it before all others.
    ///
    /// # Errors
    /// The kernel refuses to attach it: it has no TCX.
    pub fn before(netns: &Netns, interface: &str, verdict: i32) -> io::Result<Self> {
        const BPF_F_BEFORE: u32 = 1 << 3;
        Self::attach(netns, interface, verdict, BPF_F_BEFORE)
    }

    /// Attaches it behind all others.
    ///
    /// # Errors
    /// The kernel refuses to attach it: it has no TCX.
    pub fn behind(netns: &Netns, interface: &str, verdict: i32) -> io::Result<Self> {
        Self::attach(netns, interface, verdict, 0)
    }

    fn attach(netns: &Netns, interface: &str, verdict: i32, flags: u32) -> io::Result<Self> {
        let index = netns.ifindex(interface);
        let link = netns.run(move || {
            let kind = bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS;
            let program = sys::load_constant(kind, verdict as u32).expect("load a program");
            sys::attach_tcx(program.as_fd(), index, flags)
        });
        link.map(Self)
    }
}
