//! Which presence bits a prefix sets. Pure.
//!
//! A clear bit ends a lookup as a miss, so the bits must be a superset of the sets at every
//! moment: they are set before a prefix is inserted and cleared after it is removed.

use std::{net::IpAddr, ops::Range};

use dbfw_common::{
    FRONT_HEAD, FRONT4_FINE, FRONT4_HOST, FRONT4_MID, FRONT4_NET, FRONT4_WORDS, FRONT6_FAR,
    FRONT6_NEAR, FRONT6_SHORT, FRONT6_WORDS, LONG_NET6, front4_coarse, front4_fine, front4_mid,
    front6_coarse, front6_long, front6_mid, front6_short,
};

use super::maps::{key4, key6};
use crate::source::Prefix;

/// The one of each pair of bits that stands for hosts (FRONT4), or hosts and long networks
/// (FRONT6).
const FIRST: u64 = u64::MAX / 3;
/// The other.
const SECOND: u64 = FIRST << 1;

const _: () = assert!(FRONT4_HOST == 1 && FRONT4_NET == 2 && FRONT6_FAR == 1 && FRONT6_NEAR == 2);

/// Words of a family's map.
pub(super) fn words(v4: bool) -> u32 {
    if v4 { FRONT4_WORDS } else { FRONT6_WORDS }
}

/// Calls `visit` with the words and bits that `prefix` sets. A host is looked up in a table,
/// or, if `in_trie`, as a network is.
pub(super) fn marks(prefix: &Prefix, in_trie: bool, mut visit: impl FnMut(u32, u64)) {
    let leading = leading32(prefix.addr());
    let net = in_trie || !prefix.is_host();
    if prefix.is_v4() {
        blocks(leading, prefix.len(), 16, FRONT_HEAD, 1, u64::MAX, &mut visit);
        blocks(leading, prefix.len(), 20, FRONT4_MID, 1, u64::MAX, &mut visit);
        let bits = if net { SECOND } else { FIRST };
        blocks(leading, prefix.len(), 24, FRONT4_FINE, 2, bits, &mut visit);
    } else if net && prefix.len() < LONG_NET6 {
        blocks(leading, prefix.len(), 16, FRONT_HEAD, 2, SECOND, &mut visit);
        blocks(leading, prefix.len(), 24, FRONT6_SHORT, 1, u64::MAX, &mut visit);
    } else {
        blocks(leading, prefix.len(), 16, FRONT_HEAD, 2, FIRST, &mut visit);
        let (word, bit) = front6_mid(key6(prefix.addr()));
        visit(word, 1 << bit);
        let (word, net_bit, host_bit) = front6_long(key6(prefix.addr()));
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

/// The words and bits of the last level that are `prefix`'s own, for a network of IPv4 or a
/// short one of IPv6, and for each of them the block it lies in: what is to be cleared when no
/// other network touches it.
pub(super) fn net_blocks(prefix: &Prefix, visit: impl FnMut(u32, u64)) {
    let block = block(prefix);
    let mut visit = visit;
    let last = if prefix.is_v4() { FRONT4_FINE } else { FRONT6_SHORT };
    marks(&block, true, |word, bits| {
        if word >= last {
            visit(word, bits);
        }
    });
}

/// The block of at most 24 leading bits that `prefix` is or lies in.
pub(super) fn block(prefix: &Prefix) -> Prefix {
    Prefix::new(prefix.addr(), prefix.len().min(24))
}

/// The words and bits of the levels before the last that only stand while one of the last
/// does: calls `visit` with word and bit, the words of the last level below them, and which
/// bits of these count.
pub(super) fn blocks_above(prefix: &Prefix, mut visit: impl FnMut(u32, u64, Range<u32>, u64)) {
    let leading = leading32(prefix.addr());
    let above = |width: u8| {
        let first = leading >> (32 - width);
        first..first + (1u32 << width.saturating_sub(prefix.len()))
    };
    if prefix.is_v4() {
        for index in above(20) {
            let below = FRONT4_FINE + index / 2;
            let half = u64::from(u32::MAX) << (index % 2 * 32);
            visit(FRONT4_MID + index / 64, 1 << (index % 64), below..below + 1, half);
        }
    }
    for index in above(16) {
        if prefix.is_v4() {
            let below = FRONT4_FINE + index * 8;
            visit(FRONT_HEAD + index / 64, 1 << (index % 64), below..below + 8, u64::MAX);
        } else {
            let below = FRONT6_SHORT + index * 4;
            let bit = FRONT6_NEAR << (index % 32 * 2);
            visit(FRONT_HEAD + index / 32, bit, below..below + 4, u64::MAX);
        }
    }
}

/// Whether the bits let a lookup go on to the sets, asking for each word as the programs do.
pub(super) fn admits<E>(address: IpAddr, word: impl Fn(u32) -> Result<u64, E>) -> Result<bool, E> {
    let at = |(index, shift): (u32, u32)| Ok(word(index)? >> shift);
    if address.is_ipv4() {
        let key = key4(address);
        return Ok(at(front4_coarse(key))? & 1 != 0
            && at(front4_mid(key))? & 1 != 0
            && at(front4_fine(key))? & (FRONT4_HOST | FRONT4_NET) != 0);
    }
    let key = key6(address);
    let coarse = at(front6_coarse(key))?;
    if coarse & FRONT6_FAR != 0 && at(front6_mid(key))? & 1 != 0 {
        let (index, net, host) = front6_long(key);
        if word(index)? & (1 << net | 1 << host) != 0 {
            return Ok(true);
        }
    }
    Ok(coarse & FRONT6_NEAR != 0 && at(front6_short(key))? & 1 != 0)
}

fn leading32(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => (address.to_bits() >> 96) as u32,
    }
}

#[cfg(test)]
mod tests;
