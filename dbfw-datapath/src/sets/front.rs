//! The presence bits that a prefix sets in FRONT4 or FRONT6.
//!
//! A clear bit ends a lookup as a miss, so the bits must be a superset of the sets at every
//! moment: they are set before a prefix is inserted and cleared after it is removed.

use std::{net::IpAddr, ops::Range};

use dbfw_common::{
    FRONT4_COARSE, FRONT4_FINE, FRONT4_HOST, FRONT4_NET, FRONT4_WORDS, FRONT6_SHORT_COARSE,
    FRONT6_SHORT_FINE, FRONT6_WORDS, Family, LONG_NET6, front4_coarse, front4_fine,
    front6_long_coarse, front6_long_fine, front6_short_coarse, front6_short_fine,
};
use dbfw_core::source::Prefix;

use crate::keys::{key4, key6};

/// The one of each pair of bits of FRONT4 that stands for hosts.
const FIRST: u64 = u64::MAX / 3;
/// The other.
const SECOND: u64 = FIRST << 1;

const _: () = assert!(FRONT4_HOST == 1 && FRONT4_NET == 2);

/// Words of a family's map.
pub(crate) fn words(family: Family) -> u32 {
    match family {
        Family::V4 => FRONT4_WORDS,
        Family::V6 => FRONT6_WORDS,
    }
}

/// Calls `visit` with the words and bits that `prefix` sets. A host is looked up in a table,
/// or, if `in_trie`, as a network is.
pub(crate) fn marks(prefix: &Prefix, in_trie: bool, mut visit: impl FnMut(u32, u64)) {
    let leading = leading32(prefix.addr());
    let net = in_trie || !prefix.is_host();
    if prefix.is_v4() {
        blocks(leading, prefix.len(), 20, FRONT4_COARSE, 1, u64::MAX, &mut visit);
        let bits = if net { SECOND } else { FIRST };
        blocks(leading, prefix.len(), 24, FRONT4_FINE, 2, bits, &mut visit);
    } else if net && prefix.len() < LONG_NET6 {
        blocks(leading, prefix.len(), 16, FRONT6_SHORT_COARSE, 1, u64::MAX, &mut visit);
        blocks(leading, prefix.len(), 24, FRONT6_SHORT_FINE, 1, u64::MAX, &mut visit);
    } else {
        let (word, bit) = front6_long_coarse(key6(prefix.addr()));
        visit(word, 1 << bit);
        let (word, net_bit, host_bit) = front6_long_fine(key6(prefix.addr()));
        visit(word, 1 << if net { net_bit } else { host_bit });
    }
}

/// The words and bits of the blocks of `width` leading bits that a prefix touches, `each`
/// bits a block from the word `base` on, of which those in `pattern` count.
fn blocks(
    leading: u32,
    len: u8,
    width: u8,
    base: u32,
    each: u32,
    pattern: u64,
    visit: &mut impl FnMut(u32, u64),
) {
    let first = leading >> (32 - width);
    let count = 1u32 << width.saturating_sub(len);
    for_each_word(first * each..(first + count) * each, |word, bits| {
        visit(base + word, bits & pattern);
    });
}

/// Calls `visit` with every word that a range of bits touches, and the bits of it.
fn for_each_word(bits: Range<u32>, mut visit: impl FnMut(u32, u64)) {
    let mut bit = bits.start;
    while bit < bits.end {
        let (index, offset) = (bit / 64, bit % 64);
        let count = (64 - offset).min(bits.end - bit);
        visit(index, (u64::MAX >> (64 - count)) << offset);
        bit += count;
    }
}

/// The words and bits of the fine level that are `prefix`'s own, for a network of IPv4 or a
/// short one of IPv6, and for each of them the block it lies in: what is to be cleared when no
/// other network touches it.
pub(crate) fn net_blocks(prefix: &Prefix, visit: impl FnMut(u32, u64)) {
    let block = block(prefix);
    let mut visit = visit;
    let fine = if prefix.is_v4() { FRONT4_FINE } else { FRONT6_SHORT_FINE };
    marks(&block, true, |word, bits| {
        if word >= fine {
            visit(word, bits);
        }
    });
}

/// The block of at most 24 leading bits that `prefix` is or lies in.
pub(crate) fn block(prefix: &Prefix) -> Prefix {
    Prefix::new(prefix.addr(), prefix.len().min(24))
}

/// The words and bits of the coarse level that only stand while one below them does: calls
/// `visit` with word and bit, the words of the fine level below them, and which bits of these
/// count.
pub(crate) fn coarse_blocks(prefix: &Prefix, mut visit: impl FnMut(u32, u64, Range<u32>, u64)) {
    let (base, width): (u32, u32) =
        if prefix.is_v4() { (FRONT4_COARSE, 20) } else { (FRONT6_SHORT_COARSE, 16) };
    let first = leading32(prefix.addr()) >> (32 - width);
    for index in first..first + (1u32 << width.saturating_sub(u32::from(prefix.len()))) {
        let (below, count) = if prefix.is_v4() {
            let word = FRONT4_FINE + index / 2;
            (word..word + 1, u64::from(u32::MAX) << (index % 2 * 32))
        } else {
            let word = FRONT6_SHORT_FINE + index * 4;
            (word..word + 4, u64::MAX)
        };
        visit(base + index / 64, 1 << (index % 64), below, count);
    }
}

/// Whether the bits let a lookup go on to the sets, asking for each word as the programs do.
///
/// # Errors
/// Those of `word`.
pub(crate) fn admits<E>(address: IpAddr, word: impl Fn(u32) -> Result<u64, E>) -> Result<bool, E> {
    let at = |(index, shift): (u32, u32)| Ok(word(index)? >> shift);
    if address.is_ipv4() {
        let key = key4(address);
        return Ok(at(front4_coarse(key))? & 1 != 0
            && at(front4_fine(key))? & (FRONT4_HOST | FRONT4_NET) != 0);
    }
    let key = key6(address);
    if at(front6_long_coarse(key))? & 1 != 0 {
        let (index, net, host) = front6_long_fine(key);
        if word(index)? & (1 << net | 1 << host) != 0 {
            return Ok(true);
        }
    }
    Ok(at(front6_short_coarse(key))? & 1 != 0 && at(front6_short_fine(key))? & 1 != 0)
}

fn leading32(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => (address.to_bits() >> 96) as u32,
    }
}

#[cfg(test)]
mod tests;
