use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn marked(prefix: &Prefix, in_trie: bool) -> BTreeMap<u32, u64> {
    let mut words = BTreeMap::new();
    marks(prefix, in_trie, |word, bits| *words.entry(word).or_default() |= bits);
    words
}

#[test]
fn a_prefix_touches_its_blocks() {
    let host = marked(&prefix("0.1.2.3/32"), false);
    assert_eq!(host, BTreeMap::from([(FRONT4_COARSE, 1 << 16), (FRONT4_FINE + 8, 1 << 4)]));
    let in_trie = marked(&prefix("0.1.2.3/32"), true);
    assert_eq!(in_trie, BTreeMap::from([(FRONT4_COARSE, 1 << 16), (FRONT4_FINE + 8, 2 << 4)]));
    let net = marked(&prefix("0.1.0.0/16"), false);
    assert_eq!(net.len(), 9);
    assert!(net.range(FRONT4_FINE..).all(|(_, bits)| *bits == SECOND));
    let all = marked(&prefix("0.0.0.0/0"), false);
    assert_eq!(all.len() as u32, FRONT4_WORDS - FRONT4_COARSE);
    let short = marked(&prefix("2001:db8::/32"), false);
    assert_eq!(short.values().map(|bits| bits.count_ones()).sum::<u32>(), 2);
    let all = marked(&prefix("::/0"), false);
    assert_eq!(all.len() as u32, dbfw_common::FRONT6_LONG_COARSE - FRONT6_SHORT_COARSE);
}

#[test]
fn ranges_become_words() {
    let mut seen = Vec::new();
    for_each_word(62..130, |index, mask| seen.push((index, mask)));
    assert_eq!(seen, [(0, 3 << 62), (1, u64::MAX), (2, 3)]);
    for_each_word(5..5, |_, _| panic!("an empty range touches nothing"));
}

proptest! {
    /// Every address in a prefix finds its bits among those of the prefix.
    #[test]
    fn addresses_find_their_bits(v4: bool, raw: u128, len in 0u8..=128, host: u128, in_trie: bool) {
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
        let words = marked(&prefix, in_trie);
        let word = |index| Ok::<_, ()>(words.get(&index).copied().unwrap_or(0));
        prop_assert_eq!(admits(address, word), Ok(true));
        prop_assert_eq!(admits(address, |_| Ok::<_, ()>(0)), Ok(false));
    }
}
