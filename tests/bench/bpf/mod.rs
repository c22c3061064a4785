//! Kernel programs and maps of the bench itself: written in an assembler of a page, so that
//! no second toolchain run is needed, and loaded by bpf(2).

mod asm;
mod load;
pub(crate) mod programs;

pub(crate) use load::{Map, MapKind, Xdp, run_live};
