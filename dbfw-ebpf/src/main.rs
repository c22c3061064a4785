//! The kernel programs' entry points. Each walks the packet's headers, asks for a verdict
//! and translates it into what its hook understands; nothing is decided here.
#![no_std]
#![no_main]

mod backstop;
mod bound;
mod count;
mod hook;
mod maps;
mod own;
mod packet;
mod source;
mod verdict;

use aya_ebpf::{
    bindings::{sk_action, tcx_action_base, xdp_action},
    macros::{classifier, sk_lookup, xdp},
    programs::{SkLookupContext, TcContext, XdpContext},
};
use dbfw_common::Verdict;

use crate::{
    hook::{Lean, NetworkPacket},
    packet::{ETHERNET, NO_LINK_HEADER},
};

/// Links with an Ethernet header.
#[xdp(frags)]
pub(crate) fn dbfw_xdp(ctx: XdpContext) -> u32 {
    xdp_action(verdict::judge::<_, ETHERNET>(&ctx))
}

/// The same, where the loader may have pointers subtracted.
#[xdp(frags)]
pub(crate) fn dbfw_xdp_lean(ctx: XdpContext) -> u32 {
    xdp_action(verdict::judge::<_, ETHERNET>(&Lean(&ctx)))
}

/// Links without one (tun, WireGuard).
#[xdp(frags)]
pub(crate) fn dbfw_xdp_l3(ctx: XdpContext) -> u32 {
    xdp_action(verdict::judge::<_, NO_LINK_HEADER>(&ctx))
}

/// Links with an Ethernet header where XDP cannot attach.
#[classifier]
pub(crate) fn dbfw_tcx(ctx: TcContext) -> i32 {
    tcx_action(verdict::judge::<_, ETHERNET>(&ctx))
}

/// Links without an Ethernet header, also where something else lies before the IP header.
#[classifier]
pub(crate) fn dbfw_tcx_l3(ctx: TcContext) -> i32 {
    tcx_action(verdict::judge::<_, NO_LINK_HEADER>(&NetworkPacket::new(&ctx)))
}

/// Every new connection to a local socket, whatever way it came.
#[sk_lookup]
pub(crate) fn dbfw_backstop(ctx: SkLookupContext) -> u32 {
    match backstop::judge(&ctx) {
        Verdict::Drop => sk_action::SK_DROP,
        Verdict::Pass | Verdict::Allow | Verdict::Observe => sk_action::SK_PASS,
    }
}

#[inline(always)]
fn xdp_action(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Drop => xdp_action::XDP_DROP,
        Verdict::Pass | Verdict::Allow | Verdict::Observe => xdp_action::XDP_PASS,
    }
}

#[inline(always)]
fn tcx_action(verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Drop => tcx_action_base::TCX_DROP,
        // Not TCX_PASS: programs attached behind this one still see the packet.
        Verdict::Pass | Verdict::Allow | Verdict::Observe => tcx_action_base::TCX_NEXT,
    }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier proves that no panic is reachable: an object with one does not load.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
