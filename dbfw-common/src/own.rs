//! The bits of OWN, which say which addresses may be this host's own: found by a hash of the
//! address, and two that say of a family that a network of it is local as a whole.

use crate::hash::{host6_key, spread};

/// 64-bit words of OWN.
pub const OWN_WORDS: u32 = 128;

/// Set in every word: some IPv4 network is local as a whole.
pub const OWN_NETS4: u32 = 62;
/// Set in every word: some IPv6 network is local as a whole.
pub const OWN_NETS6: u32 = 63;

/// Bits of a value of OWN4 and OWN6 that name routing domains; the others say what kind of
/// destination it is.
pub const OWN_DOMAINS: u32 = (1 << 30) - 1;
/// Set in a value of OWN4 or OWN6: packets to it are taken by several hosts, or by any of
/// several (broadcast, anycast).
pub const OWN_SHARED: u32 = 1 << 31;
/// Set in a value of OWN4 or OWN6: local on one link, where others may have it as well.
pub const OWN_LINK: u32 = 1 << 30;

/// Word and bit of an IPv4 address, as it lies in memory.
#[inline(always)]
pub const fn own4(address: u32) -> (u32, u32) {
    place(spread(address as u64))
}

/// Word and bit of an IPv6 address.
#[inline(always)]
pub const fn own6(address: [u32; 4]) -> (u32, u32) {
    let key = host6_key(address);
    place(spread(key[0] ^ key[1].rotate_left(31)))
}

#[inline(always)]
const fn place(hash: u64) -> (u32, u32) {
    // Seven bits name a word, five a bit of its lower half.
    ((hash >> 57) as u32, (hash >> 52) as u32 & 31)
}
