//! Values of the maps.

use crate::{MAX_EXEMPT, MAX_NAME};

/// Value of ENTRIES and NETS*: what an address may reach.
///
/// Words of 32 bits because the kernel places the value of a trie node behind its key,
/// 20 bytes for IPv6: a 64-bit field would be misaligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Entry {
    /// Bit `id - 1`: database `id` may be reached. Bit 0 is bit 0 of the first word.
    pub databases: [u32; 2],
    /// First of this entry's slots in RULE_STATS: one for every set bit of `databases`, in
    /// the order of the bits. 0: none.
    pub rules: u32,
}

impl Entry {
    /// An entry for the databases of `mask` whose slots begin at `rules`.
    pub const fn new(mask: u64, rules: u32) -> Self {
        Self { databases: [mask as u32, (mask >> 32) as u32], rules }
    }

    /// The databases as one word, bit `id - 1` for database `id`.
    pub const fn mask(&self) -> u64 {
        self.databases[0] as u64 | (self.databases[1] as u64) << 32
    }
}

/// Value of DATABASES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Database {
    /// [`crate::Mode`] as a number. The host's slot holds the strictest mode of all.
    pub mode: u32,
    /// `FLAG_*`; only the host's slot has any.
    pub flags: u32,
    /// UTF-8, zero-padded; empty: the slot is free.
    pub name: [u8; MAX_NAME],
}

/// Value of STATS, per CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the first byte of the frame.
    pub bytes: u64,
}

/// Value of RULE_STATS, per CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RuleCounter {
    /// Packets this rule let in.
    pub packets: u64,
    /// The last of them: nanoseconds of CLOCK_MONOTONIC_COARSE; 0: never.
    pub last_hit: u64,
}

/// Value of BOUND4 and BOUND6: the databases that are bound to an address. In words of 32 bits
/// for the same reason as [`Entry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Bound {
    /// Bit `id - 1`: database `id`. Bit 0 is bit 0 of the first word.
    pub databases: [u32; 2],
}

impl Bound {
    /// The databases of `mask`.
    pub const fn new(mask: u64) -> Self {
        Self { databases: [mask as u32, (mask >> 32) as u32] }
    }

    /// The databases as one word, bit `id - 1` for database `id`.
    pub const fn mask(&self) -> u64 {
        self.databases[0] as u64 | (self.databases[1] as u64) << 32
    }
}

/// Value of EXEMPT: interfaces whose packets the backstop lets through. A value, not a
/// key: ifindexes are the agent's to keep current.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Exempt {
    /// ifindexes; 0: unused.
    pub ifindex: [u32; MAX_EXEMPT],
}

#[cfg(feature = "user")]
mod pod {
    use super::*;

    // SAFETY: all are repr(C), Copy, without padding, and valid for every bit pattern.
    unsafe impl aya::Pod for Entry {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Database {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Counter {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RuleCounter {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Exempt {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Bound {}
}

const _: () = {
    assert!(size_of::<Entry>() == 12 && align_of::<Entry>() == 4);
    assert!(size_of::<Bound>() == 8 && align_of::<Bound>() == 4);
    assert!(size_of::<Database>() == 8 + MAX_NAME);
    assert!(size_of::<Counter>() == 16);
    assert!(size_of::<RuleCounter>() == 16);
    assert!(size_of::<Exempt>() == 4 * MAX_EXEMPT);
};
