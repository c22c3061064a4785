//! Somebody else's programs, attached before ours.

use std::os::fd::{AsFd as _, OwnedFd};

use aya_obj::generated::bpf_prog_type;

use crate::{netns::Netns, sys};

/// A program at the TCX ingress hook that ends the chain and lets every packet in, attached
/// for as long as this lives.
#[derive(Debug)]
pub struct TcxPass(#[expect(dead_code, reason = "it is attached while it is open")] OwnedFd);

impl TcxPass {
    /// Attaches it to an interface of `netns`.
    pub fn attach(netns: &Netns, interface: &str) -> Self {
        const TCX_PASS: u32 = 0;
        let index = netns.ifindex(interface);
        let link = netns.run(move || {
            let program = sys::load_constant(bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS, TCX_PASS)
                .expect("load a program that lets everything in");
            sys::attach_tcx(program.as_fd(), index).expect("attach it")
        });
        Self(link)
    }
}
