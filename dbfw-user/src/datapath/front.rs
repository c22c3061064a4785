//! Which bits of FRONT4 and FRONT6 a prefix touches. Pure.
//!
//! A clear bit ends a lookup as a miss, so the bits must be a superset of the sets at every
//! moment: they are set before a prefix is inserted and cleared after it is removed.

use std::{net::IpAddr, ops::Range};

use dbfw_common::{FRONT_COARSE_WORDS, FRONT_WORDS};

use super::Entries;
use crate::source::Prefix;

/// First bit of the second level, one for every leading 24 bits.
const FINE: u32 = FRONT_COARSE_WORDS * 64;
/// Bits of a map.
pub(super) const BITS: u32 = FRONT_WORDS * 64;

/// The bits `prefix` touches in its family's map: those of its leading 16 bits and those of
/// its leading 24 bits.
pub(super) fn bits(prefix: &Prefix) -> [Range<u32>; 2] {
    let leading = leading32(prefix.addr());
    [level(leading, prefix.len(), 16, 0), level(leading, prefix.len(), 24, FINE)]
}

/// Whether `bit` of the family's map is touched by any of `entries`.
pub(super) fn is_touched(entries: &Entries, v4: bool, bit: u32) -> bool {
    let (length, index) = if bit < FINE { (16, bit) } else { (24, bit - FINE) };
    let block = block(v4, length, index);
    let mut ancestors = (0..=length).map(|len| Prefix::new(block.addr(), len));
    ancestors.any(|ancestor| entries.contains_key(&ancestor))
        // Prefixes sort by address, so those inside the block follow it at once.
        || entries.range(block..).next().is_some_and(|(prefix, _)| block.covers(prefix))
}

fn block(v4: bool, length: u8, index: u32) -> Prefix {
    let leading = index << (32 - length);
    let address = if v4 {
        IpAddr::V4(leading.into())
    } else {
        IpAddr::V6((u128::from(leading) << 96).into())
    };
    Prefix::new(address, length)
}

fn leading32(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => (address.to_bits() >> 96) as u32,
    }
}

/// The bits of one level, whose blocks are `width` bits long.
fn level(leading: u32, len: u8, width: u8, base: u32) -> Range<u32> {
    let first = leading >> (32 - width);
    let count = 1u32 << width.saturating_sub(len);
    base + first..base + first + count
}

#[cfg(test)]
mod tests {
    use dbfw_common::{Entry, front4_coarse, front4_fine, front6_coarse, front6_fine};
    use proptest::prelude::*;

    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_touches_both_levels() {
        assert_eq!(bits(&prefix("0.0.0.0/0")), [0..1 << 16, FINE..BITS]);
        assert_eq!(bits(&prefix("0.1.0.0/16")), [1..2, FINE + 256..FINE + 512]);
        assert_eq!(bits(&prefix("0.1.2.3/32")), [1..2, FINE + 258..FINE + 259]);
        assert_eq!(bits(&prefix("::/0")), [0..1 << 16, FINE..BITS]);
        assert_eq!(
            bits(&prefix("2001:db8::1/128")),
            [0x2001..0x2002, FINE + 0x20010d..FINE + 0x20010e]
        );
    }

    proptest! {
        /// Every address in a prefix finds its own bits among those of the prefix.
        #[test]
        fn addresses_find_their_bits(v4: bool, raw: u128, len in 0u8..=128, host: u128) {
            let (prefix, address) = if v4 {
                let prefix = Prefix::new(IpAddr::V4((raw as u32).into()), len.min(32));
                let hosts = u32::MAX.checked_shr(u32::from(prefix.len())).unwrap_or(0);
                let IpAddr::V4(base) = prefix.addr() else { unreachable!() };
                (prefix, IpAddr::V4((base.to_bits() | (host as u32 & hosts)).into()))
            } else {
                // Outside the mapped range, which canonical prefixes never lie in.
                let prefix = Prefix::new(IpAddr::V6((raw | 1 << 127).into()), len.max(1));
                let hosts = u128::MAX.checked_shr(u32::from(prefix.len())).unwrap_or(0);
                let IpAddr::V6(base) = prefix.addr() else { unreachable!() };
                (prefix, IpAddr::V6((base.to_bits() | (host & hosts)).into()))
            };
            let (coarse, fine) = match address {
                IpAddr::V4(a) => {
                    let word = u32::from_ne_bytes(a.octets());
                    (front4_coarse(word), front4_fine(word))
                }
                IpAddr::V6(a) => {
                    let mut words = [0; 4];
                    for (word, octets) in words.iter_mut().zip(a.octets().chunks_exact(4)) {
                        *word = u32::from_ne_bytes(octets.try_into().unwrap());
                    }
                    (front6_coarse(words), front6_fine(words))
                }
            };
            let [first, second] = bits(&prefix);
            prop_assert!(first.contains(&(coarse.0 * 64 + coarse.1)));
            prop_assert!(second.contains(&(fine.0 * 64 + fine.1)));
        }

        /// `is_touched` agrees with the bits of every entry.
        #[test]
        fn touched_is_the_union(
            prefixes in proptest::collection::vec((any::<u16>(), 8u8..=32), 0..20),
            probe: u16,
        ) {
            // Few distinct leading bits, so that neighbours and parents occur.
            let entries: Entries = prefixes
                .iter()
                .map(|&(raw, len)| {
                    let address = u32::from(raw) << 12 | 0x0a00_0000;
                    (Prefix::new(IpAddr::V4(address.into()), len), Entry::new(1, 0))
                })
                .collect();
            let probe = Prefix::new(IpAddr::V4((u32::from(probe) << 12 | 0x0a00_0000).into()), 32);
            for range in bits(&probe) {
                let bit = range.start;
                let expected =
                    entries.keys().any(|prefix| bits(prefix).iter().any(|r| r.contains(&bit)));
                prop_assert_eq!(is_touched(&entries, true, bit), expected);
            }
        }
    }
}
