//! The built object: its sections, and its control flow as old kernels check it.

mod control_flow;
mod frames;

use std::collections::HashSet;

use aya_obj::generated::bpf_insn;
use object::{Object as _, ObjectSection as _};

use control_flow::{Fault, check};

use crate::shape::OBJECT;

const MOVE: u8 = 0xb7;
const LOAD_64: u8 = 0x18;
const JUMP: u8 = 0x05;
const JUMP_IF: u8 = 0x15;
const JUMP_IF_32: u8 = 0x16;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const OWN: u8 = 1;
const FUNCTION: u8 = 4;

/// An instruction by its code, source register, offset and immediate.
fn instruction(code: u8, source: u8, off: i16, imm: i32) -> bpf_insn {
    let registers = bpf_insn::new_bitfield_1(0, source);
    bpf_insn { code, _bitfield_align_1: [], _bitfield_1: registers, off, imm }
}

fn verdict(instructions: &[(u8, u8, i16, i32)]) -> Result<(), Fault> {
    let program: Vec<_> = instructions
        .iter()
        .map(|&(code, src, off, imm)| instruction(code, src, off, imm))
        .collect();
    check(&program)
}

#[test]
fn a_loop_must_be_closed_by_a_jump() {
    let back_edge = |from, to| Err(Fault::BackEdge { from, to });
    // do { 0 } while (1)
    assert_eq!(verdict(&[(MOVE, 0, 0, 0), (JUMP_IF, 0, -2, 0), (EXIT, 0, 0, 0)]), Ok(()));
    assert_eq!(verdict(&[(MOVE, 0, 0, 0), (JUMP_IF_32, 0, -2, 0), (EXIT, 0, 0, 0)]), Ok(()));
    // while (1) { 2 }, closed by an unconditional jump
    let closed = [(MOVE, 0, 0, 0), (JUMP_IF, 0, 2, 0), (MOVE, 0, 0, 0), (JUMP, 0, -3, 0)];
    assert_eq!(verdict(&[&closed[..], &[(EXIT, 0, 0, 0)]].concat()), Ok(()));
    // The layout LLVM chose once: the body lies before the head and falls through into it.
    let fallen_into =
        [(JUMP, 0, 1, 0), (MOVE, 0, 0, 0), (MOVE, 0, 0, 0), (JUMP_IF, 0, -3, 0), (EXIT, 0, 0, 0)];
    assert_eq!(verdict(&fallen_into), back_edge(1, 2));
    // The same where the last of the body is a call.
    let called =
        [(JUMP, 0, 1, 0), (CALL, 0, 0, 5), (MOVE, 0, 0, 0), (JUMP_IF, 0, -3, 0), (EXIT, 0, 0, 0)];
    assert_eq!(verdict(&called), back_edge(1, 2));
    // And where it is the fall-through side of a jump.
    let jump_last = [
        (JUMP, 0, 1, 0),
        (JUMP_IF, 0, 2, 0),
        (MOVE, 0, 0, 0),
        (JUMP_IF, 0, -3, 0),
        (EXIT, 0, 0, 0),
    ];
    assert_eq!(verdict(&jump_last), Ok(()));
}

#[test]
fn subprograms_are_walked_with_their_callers() {
    let back_edge = |from, to| Err(Fault::BackEdge { from, to });
    let calls = [(CALL, OWN, 0, 1), (EXIT, 0, 0, 0)];
    assert_eq!(verdict(&[&calls[..], &[(MOVE, 0, 0, 0), (EXIT, 0, 0, 0)]].concat()), Ok(()));
    let bad = [(JUMP, 0, 1, 0), (MOVE, 0, 0, 0), (MOVE, 0, 0, 0), (JUMP_IF, 0, -3, 0)];
    assert_eq!(verdict(&[&calls[..], &bad[..], &[(EXIT, 0, 0, 0)]].concat()), back_edge(3, 4));
    // A subprogram that calls itself is a loop closed by a call.
    assert_eq!(verdict(&[(MOVE, 0, 0, 0), (CALL, OWN, 0, -2), (EXIT, 0, 0, 0)]), back_edge(1, 0));
    // One whose address is taken may be.
    let address = [(MOVE, 0, 0, 0), (LOAD_64, FUNCTION, 0, -2), (0, 0, 0, 0), (EXIT, 0, 0, 0)];
    assert_eq!(verdict(&address), Ok(()));
}

#[test]
fn edges_stay_inside_and_reach_everything() {
    assert_eq!(verdict(&[(EXIT, 0, 0, 0)]), Ok(()));
    assert_eq!(verdict(&[(MOVE, 0, 0, 0)]), Err(Fault::OutOfRange { from: 0 }));
    assert_eq!(verdict(&[(JUMP, 0, -2, 0)]), Err(Fault::OutOfRange { from: 0 }));
    assert_eq!(verdict(&[(CALL, OWN, 0, 7), (EXIT, 0, 0, 0)]), Err(Fault::OutOfRange { from: 0 }));
    let skipped = [(JUMP, 0, 1, 0), (MOVE, 0, 0, 0), (EXIT, 0, 0, 0)];
    assert_eq!(verdict(&skipped), Err(Fault::Unreachable(1)));
}

/// Calls `visit` with every program and its instructions, its subprograms behind it, as when it is
/// loaded.
fn for_each_program(visit: impl Fn(&str, &[bpf_insn])) {
    let mut built = aya_obj::Object::parse(OBJECT).expect("the built object");
    let text: HashSet<usize> = built.functions.keys().map(|(section, _)| *section).collect();
    built.relocate_calls(&text).expect("calls to subprograms");
    assert!(!built.programs.is_empty());
    for (name, program) in &built.programs {
        visit(name, &built.functions[&program.function_key()].instructions);
    }
}

#[test]
fn kernels_before_6_7_take_the_control_flow_of_every_program() {
    for_each_program(|name, program| {
        check(program).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    });
}

#[test]
fn old_kernels_take_the_stack_of_every_program() {
    for_each_program(|name, program| {
        let deepest = frames::deepest(program);
        println!("{name}: {deepest} bytes of stack");
        assert!(deepest <= frames::MOST, "{name}: {deepest} bytes of stack");
    });
}

#[test]
fn the_object_has_btf_and_no_dwarf() {
    let file = object::File::parse(OBJECT).expect("the built object");
    let names: Vec<_> =
        file.sections().filter_map(|section| Some(section.name().ok()?.to_owned())).collect();
    let dwarf: Vec<_> = names.iter().filter(|name| name.contains("debug")).collect();
    assert!(dwarf.is_empty(), "{dwarf:?}");
    for needed in [".BTF", ".BTF.ext"] {
        assert!(names.iter().any(|name| name == needed), "no {needed} in {names:?}");
    }
}
