//! A model of the control-flow check that kernels before 6.7 make before they verify a
//! program (kernel/bpf/verifier.c: `check_cfg`, `visit_insn`, `push_insn`). It walks the
//! instructions depth first, and where an edge leads back to one whose walk is not over, a
//! loop, the edge must be one of a jump. 6.7 forgives others as well ("bpf: fix control-flow
//! graph checking in privileged mode").

use std::fmt;

use aya_obj::generated::bpf_insn;

// include/uapi/linux/bpf_common.h and bpf.h
const CLASS: u8 = 0x07;
const JMP: u8 = 0x05;
const JMP32: u8 = 0x06;
const OPERATION: u8 = 0xf0;
const JA: u8 = 0x00;
const CALL: u8 = 0x80;
const EXIT: u8 = 0x90;
const LOAD_64: u8 = 0x18;
const PSEUDO_CALL: u8 = 1;
const PSEUDO_FUNC: u8 = 4;

/// A fault that the check finds in a program; instructions are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A loop is closed by an instruction that is no jump.
    BackEdge { from: usize, to: usize },
    /// An edge leaves the program.
    OutOfRange { from: usize },
    /// No edge leads here.
    Unreachable(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BackEdge { from, to } => write!(f, "back-edge from insn {from} to {to}"),
            Self::OutOfRange { from } => write!(f, "jump out of range from insn {from}"),
            Self::Unreachable(at) => write!(f, "unreachable insn {at}"),
        }
    }
}

/// An edge out of an instruction.
#[derive(Clone, Copy)]
struct Edge {
    to: i64,
    may_loop: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Unseen,
    Discovered,
    Explored,
}

/// Checks a program as it is loaded, its subprograms behind it.
///
/// # Errors
/// The first fault.
pub(crate) fn check(instructions: &[bpf_insn]) -> Result<(), Fault> {
    let mut states = vec![State::Unseen; instructions.len()];
    if let Some(first) = states.first_mut() {
        *first = State::Discovered;
    }
    // What is being walked, each with its edges that are still to be taken.
    let mut stack = vec![(0, edges(instructions, 0))];
    while let Some((at, edges)) = stack.last_mut() {
        let from = *at;
        let Some(edge) = edges.pop() else {
            states[from] = State::Explored;
            stack.pop();
            continue;
        };
        let Some(to) = usize::try_from(edge.to).ok().filter(|to| *to < instructions.len()) else {
            return Err(Fault::OutOfRange { from });
        };
        match states[to] {
            State::Unseen => {
                states[to] = State::Discovered;
                stack.push((to, self::edges(instructions, to)));
            }
            State::Discovered if !edge.may_loop => return Err(Fault::BackEdge { from, to }),
            State::Discovered | State::Explored => {}
        }
    }
    match states.iter().position(|state| *state != State::Explored) {
        Some(at) => Err(Fault::Unreachable(at)),
        None => Ok(()),
    }
}

/// The edges out of the instruction at `at`, the one to take first behind the others.
fn edges(instructions: &[bpf_insn], at: usize) -> Vec<Edge> {
    let instruction = &instructions[at];
    let here = at as i64;
    let next = |may_loop| Edge { to: here + 1, may_loop };
    let callee = |may_loop| Edge { to: here + 1 + i64::from(instruction.imm), may_loop };
    let jump = Edge { to: here + 1 + i64::from(instruction.off), may_loop: true };
    if instruction.code == LOAD_64 && instruction.src_reg() == PSEUDO_FUNC {
        return vec![callee(true), next(false)];
    }
    if !matches!(instruction.code & CLASS, JMP | JMP32) {
        return vec![next(false)];
    }
    match instruction.code & OPERATION {
        EXIT => Vec::new(),
        CALL if instruction.src_reg() == PSEUDO_CALL => vec![callee(false), next(false)],
        CALL => vec![next(false)],
        JA => vec![jump],
        _ => vec![jump, next(true)],
    }
}
