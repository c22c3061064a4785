//! A program in front of the measured one that gives every packet another source.

use std::{
    net::IpAddr,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::Path,
};

use aya_obj::generated::{
    bpf_map_type::{BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PROG_ARRAY},
    bpf_prog_type,
};

use super::run::time;
use crate::sys;

/// Writes the sources of a list into the packets in turn, then calls the program that is
/// measured; without one, the packets pass.
#[derive(Debug)]
pub struct Rotator {
    program: OwnedFd,
    _maps: [OwnedFd; 3],
}

impl Rotator {
    /// Calls the XDP program pinned at `measured`. The number of sources is a power of two.
    pub fn new(measured: Option<&Path>, v4: bool, sources: &[IpAddr]) -> Self {
        assert!(sources.len().is_power_of_two(), "the list is taken in turn by a mask");
        let map = |kind, value, entries| {
            sys::make_map(kind, value, entries).expect("make a map of the rotation")
        };
        let list = map(BPF_MAP_TYPE_ARRAY as u32, 16, sources.len() as u32);
        let turn = map(BPF_MAP_TYPE_ARRAY as u32, 8, 1);
        let calls = map(BPF_MAP_TYPE_PROG_ARRAY as u32, 4, 1);
        let octets: Vec<u8> = sources
            .iter()
            .flat_map(|source| match source {
                IpAddr::V4(v4) => [v4.octets(); 4].concat(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            })
            .collect();
        sys::update_array(list.as_fd(), 0, sources.len() as u32, &octets).expect("write the list");
        if let Some(pin) = measured {
            let program = sys::open_pin(pin).expect("open the measured program");
            let program = (program.as_raw_fd() as u32).to_ne_bytes();
            sys::update_element(calls.as_fd(), 0, &program).expect("aim at the measured program");
        }
        let code = instructions(
            [&turn, &list, &calls].map(|map| map.as_raw_fd()),
            v4,
            sources.len() as u32 - 1,
        );
        let program = sys::load(bpf_prog_type::BPF_PROG_TYPE_XDP, &code, FRAGS);
        let program = program.expect("load the rotation");
        Self { program, _maps: [list, turn, calls] }
    }

    /// Nanoseconds a packet, the rotation included.
    pub fn time(&self, packet: &[u8], ifindex: u32, repeat: u32) -> u32 {
        time(self.program.as_fd(), packet, ifindex, repeat)
    }
}

/// BPF_F_XDP_HAS_FRAGS: a tail call wants both programs to say so or neither.
const FRAGS: u32 = 1 << 5;

/// The program. Registers: 6 context, 7 packet, 8 the source's turn.
fn instructions([turn, list, calls]: [i32; 3], v4: bool, mask: u32) -> Vec<u64> {
    let op = |code: u8, dst: u8, src: u8, off: i16, imm: u32| {
        u64::from(code)
            | u64::from(dst | src << 4) << 8
            | u64::from(off as u16) << 16
            | u64::from(imm) << 32
    };
    let load_map = |dst: u8, fd: i32| [op(0x18, dst, 1, 0, fd as u32), 0];
    let (offset, words) = if v4 { (14 + 12, 1) } else { (14 + 8, 4) };
    let end = (offset + 4 * words) as u32;
    let mut code = vec![
        op(0xbf, 6, 1, 0, 0),   // r6 = ctx
        op(0x61, 7, 6, 0, 0),   // r7 = data
        op(0x61, 2, 6, 4, 0),   // r2 = data_end
        op(0xbf, 3, 7, 0, 0),   // r3 = r7
        op(0x07, 3, 0, 0, end), // r3 += end
        0,                      // if r3 > r2 goto out
        op(0x62, 10, 0, -4, 0), // *(u32 *)(fp - 4) = 0
        op(0xbf, 2, 10, 0, 0),
        op(0x07, 2, 0, 0, (-4i32) as u32),
    ];
    code.extend(load_map(1, turn));
    code.extend([
        op(0x85, 0, 0, 0, 1), // r0 = lookup(turn, 0)
        0,                    // if r0 == 0 goto out
        op(0x79, 8, 0, 0, 0), // r8 = *r0
        op(0xbf, 1, 8, 0, 0),
        op(0x07, 1, 0, 0, 1),
        op(0x7b, 0, 1, 0, 0),    // *r0 = r8 + 1
        op(0x57, 8, 0, 0, mask), // r8 &= mask
        op(0x63, 10, 8, -4, 0),  // *(u32 *)(fp - 4) = r8
        op(0xbf, 2, 10, 0, 0),
        op(0x07, 2, 0, 0, (-4i32) as u32),
    ]);
    code.extend(load_map(1, list));
    code.extend([
        op(0x85, 0, 0, 0, 1), // r0 = lookup(list, r8)
        0,                    // if r0 == 0 goto out
    ]);
    for word in 0..words {
        code.push(op(0x61, 1, 0, 4 * word, 0)); // r1 = word of the source
        code.push(op(0x63, 7, 1, offset + 4 * word, 0)); // into the packet
    }
    code.push(op(0xbf, 1, 6, 0, 0));
    code.extend(load_map(2, calls));
    code.extend([
        op(0xb7, 3, 0, 0, 0),
        op(0x85, 0, 0, 0, 12), // tail call
    ]);
    let out = code.len();
    code.extend([op(0xb7, 0, 0, 0, 2), 0x95]);
    // The jumps out, now that it is known where that is.
    let far = |at: usize| (out - at - 1) as i16;
    code[5] = op(0x2d, 3, 2, far(5), 0);
    code[12] = op(0x15, 0, 0, far(12), 0);
    code[25 - 1] = op(0x15, 0, 0, far(24), 0);
    code
}
