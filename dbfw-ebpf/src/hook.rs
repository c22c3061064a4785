//! A packet as XDP and as TCX show it.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};

/// Of a frame that goes on behind so short a linear part, no packet ends in that: drivers split
/// frames where a buffer is full, or behind the headers.
const SHORT_FRAME: u32 = 512;

/// A packet as one of the hooks sees it.
pub(crate) trait Packet {
    /// First byte of the linear part.
    fn start(&self) -> usize;
    /// Behind the last byte of the linear part.
    fn linear_end(&self) -> usize;
    /// Length of the whole frame.
    fn frame_len(&self) -> u32;
    /// As [`Packet::frame_len`], for a packet that ends at `end`.
    #[inline(always)]
    fn frame_len_around(&self, _end: u32) -> u32 {
        self.frame_len()
    }
    /// Interface it came in on.
    fn ifindex(&self) -> u32;
    /// `N` words of 32 bits at `offset`, as they lie in the frame; `None` beyond its end.
    fn load<const N: usize>(&self, offset: u32) -> Option<[u32; N]>;
    /// 16 bits at `offset`, in host order.
    fn load_u16(&self, offset: u32) -> Option<u16>;
}

impl Packet for XdpContext {
    #[inline(always)]
    fn start(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn linear_end(&self) -> usize {
        self.data_end()
    }

    #[inline(always)]
    fn frame_len(&self) -> u32 {
        // SAFETY: the context is the hook's own.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as u32 }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        let mut words = MaybeUninit::<[u32; N]>::uninit();
        // SAFETY: `words` has room for N words.
        let error = unsafe {
            bpf_xdp_load_bytes(self.ctx, offset, words.as_mut_ptr().cast(), 4 * N as u32)
        };
        // SAFETY: the helper wrote all of it.
        if error == 0 { Some(unsafe { words.assume_init() }) } else { None }
    }

    #[inline(always)]
    fn load_u16(&self, offset: u32) -> Option<u16> {
        let mut value = 0u16;
        // SAFETY: `value` has room for two bytes.
        let error = unsafe { bpf_xdp_load_bytes(self.ctx, offset, (&raw mut value).cast(), 2) };
        if error == 0 { Some(u16::from_be(value)) } else { None }
    }
}

/// [`XdpContext`] for a loader with CAP_PERFMON, whose programs may subtract pointers.
#[derive(Clone, Copy)]
pub(crate) struct Lean<'a>(pub(crate) &'a XdpContext);

impl Packet for Lean<'_> {
    #[inline(always)]
    fn start(&self) -> usize {
        self.0.data()
    }

    #[inline(always)]
    fn linear_end(&self) -> usize {
        self.0.data_end()
    }

    #[inline(always)]
    fn frame_len(&self) -> u32 {
        self.0.frame_len()
    }

    #[inline(always)]
    fn frame_len_around(&self, end: u32) -> u32 {
        let linear = (self.linear_end() - self.start()) as u32;
        if end != 0 && end <= linear && linear <= SHORT_FRAME {
            return linear;
        }
        self.frame_len()
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.0.ifindex()
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        self.0.load(offset)
    }

    #[inline(always)]
    fn load_u16(&self, offset: u32) -> Option<u16> {
        self.0.load_u16(offset)
    }
}

impl Packet for TcContext {
    #[inline(always)]
    fn start(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn linear_end(&self) -> usize {
        self.data_end()
    }

    #[inline(always)]
    fn frame_len(&self) -> u32 {
        self.len()
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is the hook's own.
        unsafe { (*self.skb.skb).ifindex }
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        let mut words = MaybeUninit::<[u32; N]>::uninit();
        // SAFETY: `words` has room for N words.
        let error = unsafe {
            bpf_skb_load_bytes(self.as_ptr(), offset, words.as_mut_ptr().cast(), 4 * N as u32)
        };
        // SAFETY: the helper wrote all of it.
        if error == 0 { Some(unsafe { words.assume_init() }) } else { None }
    }

    #[inline(always)]
    fn load_u16(&self, offset: u32) -> Option<u16> {
        let mut value = 0u16;
        // SAFETY: `value` has room for two bytes.
        let error =
            unsafe { bpf_skb_load_bytes(self.as_ptr(), offset, (&raw mut value).cast(), 2) };
        if error == 0 { Some(u16::from_be(value)) } else { None }
    }
}
