//! BPF instructions (RFC 9669), as much of them as the bench's programs need.

use std::os::fd::{AsRawFd as _, BorrowedFd};

/// A register.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Reg {
    /// Return value.
    R0,
    /// Arguments of calls, lost by them.
    R1,
    R2,
    R3,
    /// Kept over calls.
    R6 = 6,
    R7,
    R8,
    R9,
    /// Frame pointer.
    R10,
}

/// Width of a load or store.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Width {
    Word = 0x00,
    Half = 0x08,
    Byte = 0x10,
    Double = 0x18,
}

/// 64-bit arithmetic.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Alu {
    Add = 0x00,
    Mul = 0x20,
    Or = 0x40,
    And = 0x50,
    Shl = 0x60,
    Shr = 0x70,
    Xor = 0xa0,
    Mov = 0xb0,
}

/// Unsigned comparisons.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Jump {
    Equal = 0x10,
    Greater = 0x20,
    Unequal = 0x50,
}

/// Helpers by their number (`enum bpf_func_id`).
pub(super) mod helper {
    pub(crate) const MAP_LOOKUP: i32 = 1;
    pub(crate) const PRANDOM: i32 = 7;
}

/// A place to jump to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

/// A program being written.
#[derive(Debug, Default)]
pub(super) struct Asm {
    code: Vec<u64>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

const IMMEDIATE: u8 = 0x00;
const REGISTER: u8 = 0x08;

impl Asm {
    fn emit(&mut self, opcode: u8, dst: Reg, src: u8, offset: i16, immediate: u32) -> &mut Self {
        self.code.push(
            u64::from(opcode)
                | u64::from(dst as u8) << 8
                | u64::from(src) << 12
                | u64::from(offset as u16) << 16
                | u64::from(immediate) << 32,
        );
        self
    }

    /// `dst op= immediate`; the immediate is sign-extended.
    pub(super) fn alu(&mut self, op: Alu, dst: Reg, immediate: i32) -> &mut Self {
        self.emit(0x07 | IMMEDIATE | op as u8, dst, 0, 0, immediate as u32)
    }

    /// `dst op= src`.
    pub(super) fn alu_reg(&mut self, op: Alu, dst: Reg, src: Reg) -> &mut Self {
        self.emit(0x07 | REGISTER | op as u8, dst, src as u8, 0, 0)
    }

    /// `dst = value`, without sign.
    pub(super) fn mov32(&mut self, dst: Reg, value: u32) -> &mut Self {
        self.emit(0xb4, dst, 0, 0, value)
    }

    /// The lower bits of `dst` in network order, the others zero.
    pub(super) fn network_order(&mut self, dst: Reg, bits: u32) -> &mut Self {
        self.emit(0xdc, dst, 0, 0, bits)
    }

    /// `dst = *(src + offset)`.
    pub(super) fn load(&mut self, width: Width, dst: Reg, src: Reg, offset: i16) -> &mut Self {
        self.emit(0x61 | width as u8, dst, src as u8, offset, 0)
    }

    /// `*(dst + offset) = src`.
    pub(super) fn store(&mut self, width: Width, dst: Reg, offset: i16, src: Reg) -> &mut Self {
        self.emit(0x63 | width as u8, dst, src as u8, offset, 0)
    }

    /// The address of a map, for helpers.
    pub(super) fn map(&mut self, dst: Reg, map: BorrowedFd<'_>) -> &mut Self {
        self.wide(dst, 1, map.as_raw_fd() as u32)
    }

    /// The address of the value of an array of one element.
    pub(super) fn map_value(&mut self, dst: Reg, map: BorrowedFd<'_>) -> &mut Self {
        self.wide(dst, 2, map.as_raw_fd() as u32)
    }

    fn wide(&mut self, dst: Reg, kind: u8, fd: u32) -> &mut Self {
        self.emit(0x18, dst, kind, 0, fd);
        self.code.push(0);
        self
    }

    pub(super) fn call(&mut self, helper: i32) -> &mut Self {
        self.emit(0x85, Reg::R0, 0, 0, helper as u32)
    }

    pub(super) fn exit(&mut self) -> &mut Self {
        self.emit(0x95, Reg::R0, 0, 0, 0)
    }

    /// `return code`.
    pub(super) fn finish(&mut self, code: u32) -> &mut Self {
        self.mov32(Reg::R0, code).exit()
    }

    /// A label for [`Self::jump`], placed later by [`Self::here`].
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label is the next instruction.
    pub(super) fn here(&mut self, label: Label) -> &mut Self {
        self.labels[label.0] = Some(self.code.len());
        self
    }

    /// Jumps if `dst` compares so with a constant.
    pub(super) fn jump(&mut self, when: Jump, dst: Reg, value: i32, to: Label) -> &mut Self {
        self.jumps.push((self.code.len(), to));
        self.emit(0x05 | IMMEDIATE | when as u8, dst, 0, 0, value as u32)
    }

    /// Jumps if `dst` compares so with `src`.
    pub(super) fn jump_reg(&mut self, when: Jump, dst: Reg, src: Reg, to: Label) -> &mut Self {
        self.jumps.push((self.code.len(), to));
        self.emit(0x05 | REGISTER | when as u8, dst, src as u8, 0, 0)
    }

    /// The instructions, with every jump resolved.
    pub(super) fn code(&self) -> Vec<u64> {
        let mut code = self.code.clone();
        for (at, label) in &self.jumps {
            let target = self.labels[label.0].expect("every label is placed");
            let distance = i16::try_from(target - at - 1).expect("programs are short");
            code[*at] |= u64::from(distance as u16) << 16;
        }
        code
    }
}
