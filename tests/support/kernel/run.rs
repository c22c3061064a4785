//! Running a program on a packet, by BPF_PROG_TEST_RUN.
//!
//! What the kernel (6.18, net/bpf/test_run.c) wants of a run; what it does not take is
//! EINVAL:
//! - Data: at least 14 bytes, an Ethernet header, whatever the program parses.
//! - XDP: 3,520 bytes are linear, what is longer becomes fragments of a page, 17 at most.
//!   Without a context the packet comes from the loopback device, ifindex 1. With one:
//!   `data` and `data_meta` 0 (`data` would be the length of metadata), `data_end` where
//!   the linear part ends: 0 to the data's length, and the rest becomes fragments.
//!   `ingress_ifindex` is a device of the calling thread's network namespace (ENODEV if it
//!   has none; whether it is up does not matter), or 0: then again the loopback device.
//! - TCX: a `__sk_buff` of zeros but for `ifindex`, again of the thread's namespace; 0 is
//!   the loopback device. The skb is linear and smaller than a page, so jumbo frames run
//!   as XDP alone. If bytes 12 and 13 say IPv4 or IPv6, a whole fixed IP header must follow
//!   them. The network header is behind the Ethernet header, so a packet of a device without
//!   one gets `LINK_HEADER`. Nothing has taken a VLAN tag out of the data, as the stack does.
//! - sk_lookup: no data, and everything behind `local_port` zero, so `ingress_ifindex` is
//!   always 0: only real traffic tells about loopback and exempt interfaces.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use aya::maps::{MapData, PerCpuArray};
use aya_obj::generated::bpf_prog_type;
use dbfw_common::{Family, Reason, TRACE, Trace, Verdict};

use super::{
    Kernel, Program,
    entries::{word, words},
    fail,
};
use crate::{packets::hex, policy::Transport, sys};

/// Fewest bytes the kernel runs a program on.
pub const SMALLEST_FRAME: usize = 14;

/// What the kernel takes for a link header, of a type it does not look into: for experiments
/// (IEEE 802, "Local Experimental EtherType 1").
const LINK_HEADER: [u8; 14] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0xb5];

/// An XDP frame has at most 17 fragments of a page.
const LARGEST_XDP_FRAME: usize = 17 * 4096;
/// An skb of a test run fits a page, beside its headroom and its shared info.
const LARGEST_SKB: usize = 4096 - 512;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const TCX_NEXT: u32 = u32::MAX;
const TCX_DROP: u32 = 2;
const SK_DROP: u32 = 0;
const SK_PASS: u32 = 1;

/// How a packet reaches the program. The default is a traced run: from the loopback
/// device, which counts nothing and leaves its verdict in TRACE.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context {
    /// Interface the packet comes from, in the thread's namespace; 0: loopback.
    pub ifindex: u32,
    /// Bytes of the linear part, XDP only: the rest are fragments.
    pub linear: Option<usize>,
}

impl Program {
    /// Bytes that a run counts for a packet. Of one too short for an IP header the TCX program
    /// cannot tell where it begins, and counts what lies before it as well.
    pub fn counted(self, packet: &[u8]) -> usize {
        let runt = self == Self::TcxL3 && packet.len() < 20;
        packet.len() + if runt { LINK_HEADER.len() } else { 0 }
    }
}

impl Context {
    /// From a real interface: counted.
    pub fn from_interface(ifindex: u32) -> Self {
        Self { ifindex, linear: None }
    }

    /// Traced, with only the first `linear` bytes in the linear part.
    pub fn split_at(linear: usize) -> Self {
        Self { ifindex: 0, linear: Some(linear) }
    }
}

/// What TRACE says of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// Its reason.
    pub reason: Reason,
    /// The database; 0: the host's slot.
    pub database: u32,
    /// The packet's family.
    pub family: Family,
    /// Slot of the rule that let it in; 0: none.
    pub rule: u32,
}

/// What came of a run.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The return value told the kernel to drop the packet.
    pub dropped: bool,
    /// What the program noted; `None` for a counted run.
    pub judged: Option<Judged>,
}

/// A socket lookup, for [`Kernel::lookup`].
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    /// The client.
    pub source: IpAddr,
    /// The protocol.
    pub transport: Transport,
    /// The local port.
    pub port: u16,
}

/// An XDP program that passes every packet, to compare with.
#[derive(Debug)]
pub struct EmptyXdp(OwnedFd);

impl EmptyXdp {
    /// Loads it.
    pub fn load() -> Self {
        let program = sys::load_constant(bpf_prog_type::BPF_PROG_TYPE_XDP, XDP_PASS);
        Self(program.expect("load an empty program"))
    }

    /// As [`Kernel::time`].
    pub fn time(&self, packet: &[u8], ifindex: u32, repeat: u32) -> u32 {
        time(self.0.as_fd(), packet, ifindex, repeat)
    }
}

pub(super) fn time(program: BorrowedFd<'_>, packet: &[u8], ifindex: u32, repeat: u32) -> u32 {
    let context = to_bytes(&[0, packet.len() as u32, 0, ifindex, 0, 0]);
    sys::time(program, packet, &context, repeat).expect("time a program")
}

impl Kernel {
    /// Runs a packet program. Panics if the kernel refuses the run.
    pub fn run(&mut self, program: Program, packet: &[u8], context: Context) -> Outcome {
        self.try_run(program, packet, context).unwrap_or_else(|error| {
            panic!("the kernel refused to run {program:?} on {}: {error}", hex(packet))
        })
    }

    /// Runs a packet program; `None` if the packet is one that test runs do not take. Any
    /// other refusal is a panic.
    pub fn run_if_accepted(
        &mut self,
        program: Program,
        packet: &[u8],
        context: Context,
    ) -> Option<Outcome> {
        match self.try_run(program, packet, context) {
            Ok(outcome) => Some(outcome),
            Err(error)
                if error.raw_os_error() == Some(libc::EINVAL) && untakeable(program, packet) =>
            {
                None
            }
            Err(error) => {
                panic!("the kernel refused to run {program:?} on {}: {error}", hex(packet))
            }
        }
    }

    /// Runs a packet program and returns what TRACE says.
    pub fn judge(&mut self, program: Program, packet: &[u8]) -> Judged {
        match self.run(program, packet, Context::default()).judged {
            Some(judged) => judged,
            None => panic!("a traced run left no trace"),
        }
    }

    /// An error means that the kernel refused the run. Panics if the return value is none
    /// the program may give, or if it contradicts the trace.
    fn try_run(
        &mut self,
        program: Program,
        packet: &[u8],
        context: Context,
    ) -> io::Result<Outcome> {
        let bytes = match program {
            Program::Xdp | Program::XdpL3 => {
                // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index,
                // egress_ifindex.
                let linear = context.linear.unwrap_or(packet.len()) as u32;
                to_bytes(&[0, linear, 0, context.ifindex, 0, 0])
            }
            Program::Tcx | Program::TcxL3 => {
                assert!(context.linear.is_none(), "an skb of a test run is linear");
                let mut skb = [0u32; 48];
                skb[10] = context.ifindex;
                to_bytes(&skb)
            }
            Program::Backstop => panic!("the backstop judges lookups, not packets"),
        };
        let traced = context.ifindex == 0;
        let bytes = (!traced || context.linear.is_some()).then_some(bytes.as_slice());
        let framed;
        let data = if program == Program::TcxL3 {
            framed = [&LINK_HEADER[..], packet].concat();
            &framed
        } else {
            packet
        };
        let value = sys::test_run(self.programs[program as usize].as_fd(), data, bytes)?;
        let dropped = match (program.is_xdp(), value) {
            (true, XDP_DROP) | (false, TCX_DROP) => true,
            (true, XDP_PASS) | (false, TCX_NEXT) => false,
            _ => panic!("{program:?} returned {value} for {}", hex(packet)),
        };
        let judged = traced.then(|| {
            let map = self.ebpf.map(TRACE).unwrap_or_else(|| panic!("the object has no {TRACE}"));
            let map = PerCpuArray::try_from(map).unwrap_or_else(|error| fail("use", TRACE, &error));
            self.trace.read(&map)
        });
        if let Some(judged) = judged {
            let says_drop = judged.verdict == Verdict::Drop;
            assert_eq!(says_drop, dropped, "{program:?} traced {judged:?} for {}", hex(packet));
        }
        Ok(Outcome { dropped, judged })
    }

    /// Nanoseconds an XDP program takes for a packet from `ifindex`, counted as in real
    /// life: the mean of `repeat` runs, as the kernel measures it.
    pub fn time(&mut self, program: Program, packet: &[u8], ifindex: u32, repeat: u32) -> u32 {
        assert!(program.is_xdp(), "only XDP programs are timed");
        time(self.programs[program as usize].as_fd(), packet, ifindex, repeat)
    }

    /// Runs the backstop on a lookup; whether it refused. The lookup's interface is 0.
    pub fn lookup(&mut self, lookup: &Lookup) -> bool {
        // struct bpf_sk_lookup: cookie (2 words), family, protocol, remote_ip4, remote_ip6
        // (4), remote_port, local_ip4, local_ip6 (4), local_port, ingress_ifindex, padding.
        let mut context = [0u32; 18];
        context[3] = u32::from(lookup.transport.number());
        match lookup.source {
            IpAddr::V4(address) => {
                context[2] = libc::AF_INET as u32;
                context[4] = word(address);
            }
            IpAddr::V6(address) => {
                context[2] = libc::AF_INET6 as u32;
                context[5..9].copy_from_slice(&words(address));
            }
        }
        context[9] = u32::from(40_000u16.to_be());
        context[15] = u32::from(lookup.port);
        let fd = self.programs[Program::Backstop as usize].as_fd();
        match sys::test_run(fd, &[], Some(&to_bytes(&context))) {
            Ok(SK_DROP) => true,
            Ok(SK_PASS) => false,
            Ok(value) => panic!("the backstop returned {value} for {lookup:?}"),
            Err(error) => panic!("the kernel refused to run the backstop on {lookup:?}: {error}"),
        }
    }
}

/// Whether a test run may refuse the packet, see the module's text.
fn untakeable(program: Program, packet: &[u8]) -> bool {
    if program.is_xdp() {
        return packet.len() < SMALLEST_FRAME || packet.len() > LARGEST_XDP_FRAME;
    }
    if program == Program::TcxL3 {
        return packet.is_empty() || LINK_HEADER.len() + packet.len() > LARGEST_SKB;
    }
    let smallest = match packet.get(12..14) {
        Some([0x08, 0x00]) => SMALLEST_FRAME + 20,
        Some([0x86, 0xdd]) => SMALLEST_FRAME + 40,
        _ => SMALLEST_FRAME,
    };
    packet.len() < smallest || packet.len() > LARGEST_SKB
}

fn to_bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Finds the CPU a run happened on by the number of runs it has seen.
#[derive(Default)]
pub(super) struct TraceReader {
    runs: Vec<u64>,
}

impl TraceReader {
    fn read(&mut self, map: &PerCpuArray<&MapData, Trace>) -> Judged {
        let values = map.get(&0, 0).unwrap_or_else(|error| fail("read", TRACE, &error));
        self.runs.resize(values.len(), 0);
        let mut found = None;
        for (trace, runs) in values.iter().zip(&mut self.runs) {
            if trace.runs != *runs {
                assert!(found.is_none(), "two CPUs traced one run");
                assert_eq!(trace.runs, *runs + 1, "one run was traced more than once");
                *runs = trace.runs;
                found = Some(*trace);
            }
        }
        let Some(trace) = found else { panic!("the run left no trace") };
        let known = (
            Verdict::from_u8(trace.verdict),
            Reason::from_u8(trace.reason),
            Family::from_u8(trace.family),
        );
        let (Some(verdict), Some(reason), Some(family)) = known else {
            panic!("TRACE holds a value of no meaning: {trace:?}");
        };
        Judged { verdict, reason, database: u32::from(trace.database), family, rule: trace.rule }
    }
}
