//! Tables of hosts in HOSTS4 and HOSTS6: their buckets, slots and hashes.

use crate::BUCKET_SLOTS;

/// A bucket of HOSTS4: a cache line. A slot is the address (as it lies in memory) in the
/// upper half and the id of its entry in the lower; 0 in the lower half: free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Bucket4 {
    /// The slots.
    pub slots: [u64; BUCKET_SLOTS],
}

/// A bucket of HOSTS6. A slot is 48 bits of the address's hash above the id of its entry; 0
/// in the lowest 16 bits: free. What does not match these needs no look at the keys, which
/// lie in cache lines of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Bucket6 {
    /// The slots.
    pub slots: [u64; BUCKET_SLOTS],
    /// For each slot its address, as [`host6_key`] has it.
    pub keys: [[u64; 2]; BUCKET_SLOTS],
}

/// 64-bit words of a bucket of HOSTS4.
pub const BUCKET4_WORDS: u32 = (size_of::<Bucket4>() / 8) as u32;
/// 64-bit words of a bucket of HOSTS6.
pub const BUCKET6_WORDS: u32 = (size_of::<Bucket6>() / 8) as u32;

/// Bits of a slot that hold the id.
pub const ID_BITS: u32 = 16;
/// Shift of the address in a slot of HOSTS4.
pub const TAG4_SHIFT: u32 = 32;
/// Shift of the bits of the hash in a slot of HOSTS6.
pub const TAG6_SHIFT: u32 = ID_BITS;

/// The table of hosts in use, as the first word of FRONT4 or FRONT6 names it. Number of buckets
/// and slot are one word, so that a program never takes one table for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRef {
    /// Its place in HOSTS4 or HOSTS6; [`crate::SMALL_TABLE`]: the map for few hosts.
    pub slot: u32,
    /// Its number of buckets as a power of two; 0: there is no table.
    pub bits: u32,
}

impl TableRef {
    /// As the word.
    pub const fn to_word(self) -> u64 {
        (self.bits as u64) << 8 | self.slot as u64
    }

    /// Of the word.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self { slot: (word & 0xff) as u32, bits: (word >> 8 & 63) as u32 }
    }

    /// The bucket of an address with this hash.
    #[inline(always)]
    pub const fn bucket(self, hash: u64) -> u32 {
        (hash >> ((64 - self.bits) & 63)) as u32
    }
}

/// Spreads values that differ anywhere over all bits of the result, best over the upper.
#[inline(always)]
pub(crate) const fn mix(value: u64) -> u64 {
    // The multipliers are those of splitmix64 (Steele, Lea, Flood 2014).
    let value = spread(value);
    (value ^ value >> 32).wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// The cheaper half of [`mix`]: spreads small values over the upper bits of the result.
#[inline(always)]
pub(crate) const fn spread(value: u64) -> u64 {
    value.wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// The hash of an IPv4 address.
#[inline(always)]
pub const fn host4_hash(address: u32) -> u64 {
    mix(address as u64)
}

/// An IPv6 address as two words.
#[inline(always)]
pub const fn host6_key(address: [u32; 4]) -> [u64; 2] {
    [address[0] as u64 | (address[1] as u64) << 32, address[2] as u64 | (address[3] as u64) << 32]
}

/// The hash of an IPv6 address.
#[inline(always)]
pub const fn host6_hash(key: [u64; 2]) -> u64 {
    // One after the other: octets of both halves that change together must not cancel.
    let high = mix(key[0]);
    let hash = mix(high ^ high >> 32 ^ key[1]);
    // Folded down: a slot keeps the lower bits, which multiplying alone leaves weak.
    hash ^ hash >> 29
}

/// The bits of the hash that a slot of HOSTS6 keeps.
#[inline(always)]
pub const fn host6_tag(hash: u64) -> u64 {
    hash & (u64::MAX >> TAG6_SHIFT)
}

const _: () = {
    assert!(size_of::<Bucket4>() == 64);
    assert!(size_of::<Bucket6>() == 192);
};
