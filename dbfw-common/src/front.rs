//! Places of the presence bits of an address. Addresses are given as their octets lie in
//! memory (network order).

use crate::{
    FRONT4_COARSE, FRONT4_FINE, FRONT6_LONG_COARSE, FRONT6_LONG_COARSE_BITS, FRONT6_LONG_FINE,
    FRONT6_LONG_FINE_BITS, FRONT6_SHORT_COARSE, FRONT6_SHORT_FINE,
    hash::{mix, spread},
};

/// Of the two bits of a leading 24 in FRONT4: a host lies there.
pub const FRONT4_HOST: u64 = 1;
/// Of the same: an entry of the trie touches it.
pub const FRONT4_NET: u64 = 2;

/// Word of FRONT4 and bit in it for the leading 20 bits of an address.
#[inline(always)]
pub const fn front4_coarse(address: u32) -> (u32, u32) {
    let index = u32::from_be(address) >> 12;
    (FRONT4_COARSE + index / 64, index % 64)
}

/// Word of FRONT4, and where in it the two bits for the leading 24 bits of an address begin.
#[inline(always)]
pub const fn front4_fine(address: u32) -> (u32, u32) {
    let index = u32::from_be(address) >> 8;
    (FRONT4_FINE + index / 32, index % 32 * 2)
}

/// Word of FRONT6 and bit in it for the leading 16 bits of an address.
#[inline(always)]
pub const fn front6_short_coarse(address: [u32; 4]) -> (u32, u32) {
    let index = u32::from_be(address[0]) >> 16;
    (FRONT6_SHORT_COARSE + index / 64, index % 64)
}

/// Word of FRONT6 and bit in it for the leading 24 bits of an address.
#[inline(always)]
pub const fn front6_short_fine(address: [u32; 4]) -> (u32, u32) {
    let index = u32::from_be(address[0]) >> 8;
    (FRONT6_SHORT_FINE + index / 64, index % 64)
}

/// Word of FRONT6 and bit in it for the leading 32 bits of an address. Different addresses may
/// share them.
#[inline(always)]
pub const fn front6_long_coarse(address: [u32; 4]) -> (u32, u32) {
    let index = (spread(address[0] as u64) >> (64 - FRONT6_LONG_COARSE_BITS)) as u32;
    (FRONT6_LONG_COARSE + index / 64, index % 64)
}

/// Word of FRONT6 for the leading 48 bits of an address, the bit in it for networks of at least
/// [`crate::LONG_NET6`] bits, and the bit for hosts, by their leading 64. Different addresses may
/// share all three.
#[inline(always)]
pub const fn front6_long_fine(address: [u32; 4]) -> (u32, u32, u32) {
    let leading = (u32::from_be(address[0]) as u64) << 32 | u32::from_be(address[1]) as u64;
    let net = mix(leading >> 16);
    let host = mix(leading);
    let word = FRONT6_LONG_FINE + (net >> (64 - FRONT6_LONG_FINE_BITS)) as u32;
    (word, (net >> 32 & 31) as u32, 32 + (host >> 59) as u32)
}
