//! A packet as XDP and as TCX show it.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_hdr_start_off::BPF_HDR_START_NET,
    helpers::generated::{
        bpf_skb_load_bytes, bpf_skb_load_bytes_relative, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
    },
    programs::{TcContext, XdpContext},
};

const ETHERNET_HEADER: u32 = 14;

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

/// Behind the end of any packet.
const NOWHERE: u32 = 0xffff;

/// Words of an IP header that tell where it is.
const TELLING: usize = 5;

/// [`TcContext`] of a link without an Ethernet header, from its network header on. Before that
/// lies what carried it, where it came out of a sit or GRE tunnel.
pub(crate) struct NetworkPacket<'a> {
    ctx: &'a TcContext,
    /// The place of the network header in the data.
    base: u32,
    /// Its first byte.
    first: u8,
}

impl<'a> NetworkPacket<'a> {
    /// The packet behind what carried it. The kernel knows where that is and does not tell, but
    /// copies from there.
    #[inline(always)]
    pub(crate) fn new(ctx: &'a TcContext) -> Self {
        let mut first = 0u8;
        // SAFETY: `first` has room for a byte.
        let version = match unsafe { from_network_header(ctx, (&raw mut first).cast(), 1) } {
            true => first >> 4,
            false => 0,
        };
        if version != 4 && version != 6 {
            // Not IP: as it lies there.
            return Self { ctx, base: 0, first };
        }
        let mut header = MaybeUninit::<[u32; TELLING]>::uninit();
        let to = header.as_mut_ptr().cast();
        // SAFETY: `header` has room for it.
        if !unsafe { from_network_header(ctx, to, 4 * TELLING as u32) } {
            return Self { ctx, base: NOWHERE, first };
        }
        // SAFETY: the helper wrote all of it.
        let header = unsafe { header.assume_init_ref() };
        let length = match version {
            4 => u32::from_be(header[0]) & 0xffff,
            _ => 40 + (u32::from_be(header[1]) >> 16),
        };
        let is_at = |base: u32| match Packet::load::<TELLING>(ctx, base) {
            // Word by word: the compiler's comparison of arrays is a loop.
            Some(there) => {
                there[0] == header[0]
                    && there[1] == header[1]
                    && there[2] == header[2]
                    && there[3] == header[3]
                    && there[4] == header[4]
            }
            None => false,
        };
        let base = match ctx.len().wrapping_sub(length) {
            _ if is_at(0) => 0,
            // In a test run, behind the Ethernet header.
            _ if is_at(ETHERNET_HEADER) => ETHERNET_HEADER,
            before if before < NOWHERE && is_at(before) => before,
            _ => NOWHERE,
        };
        Self { ctx, base, first }
    }
}

/// Copies `length` bytes of the network header to `to`; whether they are all there.
///
/// # Safety
///
/// `to` has room for them.
#[inline(always)]
unsafe fn from_network_header(ctx: &TcContext, to: *mut c_void, length: u32) -> bool {
    // SAFETY: the caller's promise; the context is the hook's own.
    unsafe { bpf_skb_load_bytes_relative(ctx.as_ptr(), 0, to, length, BPF_HDR_START_NET) == 0 }
}

impl Packet for NetworkPacket<'_> {
    // A variable offset into the packet takes CAP_PERFMON, so nothing is read in place.
    #[inline(always)]
    fn start(&self) -> usize {
        0
    }

    #[inline(always)]
    fn linear_end(&self) -> usize {
        0
    }

    #[inline(always)]
    fn frame_len(&self) -> u32 {
        let carried = if self.base == NOWHERE { 0 } else { self.base };
        self.ctx.len().saturating_sub(carried)
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.ctx.ifindex()
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        Packet::load(self.ctx, self.base + offset)
    }

    #[inline(always)]
    fn load_u16(&self, offset: u32) -> Option<u16> {
        // Which IP it is is known in any case, so that it is refused as that.
        if self.base == NOWHERE {
            return Some(u16::from(self.first) << 8);
        }
        self.ctx.load_u16(self.base + offset)
    }
}
