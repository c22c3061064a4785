//! The stack of a program, as older kernels count it, 6.1 among them (kernel/bpf/verifier.c:
//! `check_max_stack_depth`).

use std::collections::BTreeSet;

use aya_obj::generated::bpf_insn;

use super::{CALL, OWN};

/// Bytes that the frames of nested calls may take together.
pub(super) const MOST: usize = 512;
/// Bytes that the size of a frame is a multiple of.
const UNIT: usize = 32;

const FRAME_POINTER: u8 = 10;
const MOVE_REGISTER: u8 = 0xbf;
const ADD: u8 = 0x07;
const LOAD: u8 = 1;
const STORE: u8 = 2;
const STORE_REGISTER: u8 = 3;

/// The most bytes that frames of nested calls take.
pub(super) fn deepest(program: &[bpf_insn]) -> usize {
    let starts: BTreeSet<usize> = (0..program.len()).filter_map(|at| called(program, at)).collect();
    let starts: Vec<usize> = std::iter::once(0).chain(starts).collect();
    depth(program, &starts, 0)
}

/// The function that an instruction calls, if it calls one of the program.
fn called(program: &[bpf_insn], at: usize) -> Option<usize> {
    let insn = &program[at];
    let is_call = insn.code == CALL && insn.src_reg() == OWN;
    is_call.then(|| (at as i64 + 1 + i64::from(insn.imm)) as usize)
}

/// The depth of the function at `start` with the deepest that it calls.
fn depth(program: &[bpf_insn], starts: &[usize], start: usize) -> usize {
    let end = starts.iter().copied().find(|next| *next > start).unwrap_or(program.len());
    let frame = frame(&program[start..end]).max(1).next_multiple_of(UNIT);
    let calls = (start..end).filter_map(|at| called(program, at));
    frame + calls.map(|callee| depth(program, starts, callee)).max().unwrap_or(0)
}

/// The bytes below the frame pointer that a function uses.
fn frame(function: &[bpf_insn]) -> usize {
    let below = |offset: i32| usize::try_from(-offset).unwrap_or(0);
    let accesses = function.iter().map(|insn| match insn.code & 7 {
        LOAD if insn.src_reg() == FRAME_POINTER => below(insn.off.into()),
        STORE | STORE_REGISTER if insn.dst_reg() == FRAME_POINTER => below(insn.off.into()),
        _ => 0,
    });
    // An address on the stack: the frame pointer, then the offset.
    let addresses = function.windows(2).map(|pair| {
        let is_address = pair[0].code == MOVE_REGISTER
            && pair[0].src_reg() == FRAME_POINTER
            && pair[1].code == ADD
            && pair[1].dst_reg() == pair[0].dst_reg();
        if is_address { below(pair[1].imm) } else { 0 }
    });
    accesses.chain(addresses).max().unwrap_or(0)
}

#[test]
fn frames_of_nested_calls_are_rounded_and_added_up() {
    let insn = |code: u8, dst: u8, src: u8, off: i16, imm: i32| {
        let registers = bpf_insn::new_bitfield_1(dst, src);
        bpf_insn { code, _bitfield_align_1: [], _bitfield_1: registers, off, imm }
    };
    let exit = || insn(0x95, 0, 0, 0, 0);
    let call = |imm| insn(CALL, 0, OWN, 0, imm);
    assert_eq!(deepest(&[exit()]), 32);
    // A store of a word, 40 bytes below.
    assert_eq!(deepest(&[insn(0x7b, 10, 1, -40, 0), exit()]), 64);
    assert_eq!(deepest(&[insn(0x79, 1, 10, -8, 0), exit()]), 32);
    // The address of a buffer of 72 bytes.
    let address = [insn(0xbf, 2, 10, 0, 0), insn(0x07, 2, 0, 0, -72), exit()];
    assert_eq!(deepest(&address), 96);
    // Two functions beside each other, of 32 and 64 bytes, and one in the second.
    let nested = [
        call(2),
        call(2),
        exit(),
        exit(),
        insn(0x7b, 10, 1, -64, 0),
        call(1),
        exit(),
        insn(0x62, 10, 0, -33, 0),
        exit(),
    ];
    assert_eq!(deepest(&nested), 32 + 64 + 64);
    // What is subtracted from another register is no frame.
    assert_eq!(deepest(&[insn(0x07, 3, 0, 0, -224), exit()]), 32);
}
