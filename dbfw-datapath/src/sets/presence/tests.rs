use std::net::IpAddr;

use dbfw_common::{Entry, Family};
use dbfw_core::testing::cases;
use proptest::prelude::*;

use super::{
    super::table::{Probe, bucket_words},
    *,
};

const BITS: u32 = 8;

fn presence(family: Family) -> (Presence, Table) {
    let table = Table::new(Words::private(bucket_words(family) << BITS), family, BITS);
    (Presence { words: Some(Words::private(front::words(family))), family, stale: 0 }, table)
}

/// Few different leading bits, so that neighbours and parents occur.
fn prefix(family: Family, raw: u16, len: u8) -> Prefix {
    if family == Family::V4 {
        let address = u32::from(raw & 0xfff) << 14 | 0x0a00_0000;
        Prefix::new(IpAddr::V4(address.into()), len % 33)
    } else {
        let raw = u128::from(raw);
        let address = 0x2a00 << 112 | (raw & 0xf) << 100 | (raw >> 4 & 0xf) << 76 | raw >> 8 & 0xff;
        Prefix::new(IpAddr::V6(address.into()), len % 129)
    }
}

proptest! {
    #![proptest_config(cases(48))]

    /// After every step whatever the sets hold finds its bits, and of networks that are found
    /// by their leading bits nothing stands that no other touches.
    #[test]
    fn the_bits_are_those_of_the_sets(
        family in prop::sample::select(&Family::ALL[..]),
        steps in proptest::collection::vec((any::<u16>(), any::<u8>(), any::<bool>()), 0..60),
    ) {
        let (mut presence, mut table) = presence(family);
        let mut nets = Entries::new();
        for (raw, len, add) in steps {
            let prefix = prefix(family, raw, len);
            let probe = prefix.is_host().then(|| Probe::new(prefix.addr()));
            match (probe, add) {
                (Some(probe), true) => {
                    presence.add(&prefix, false);
                    prop_assume!(table.insert(&probe, 1).is_ok());
                }
                (Some(probe), false) => {
                    if table.remove(&probe).is_some() {
                        presence.host_gone();
                    }
                }
                (None, true) => {
                    presence.add(&prefix, true);
                    nets.insert(prefix, Entry::new(1, 0));
                }
                (None, false) => {
                    if nets.remove(&prefix).is_some() {
                        presence.net_gone(&prefix, &nets);
                    }
                }
            }
            for prefix in table.iter().map(|(host, _)| Prefix::host(host)).chain(nets.keys().copied()) {
                let word = |index| Ok::<_, ()>(presence.get(index));
                prop_assert_eq!(front::admits(prefix.addr(), word), Ok(true));
            }
        }
        let (exact, _) = self::presence(family);
        let mut exact = exact;
        exact.fit(&table, &nets);
        let stale = presence.stale > 0;
        for index in dbfw_common::FRONT_HEAD..front::words(family) {
            let (has, should) = (presence.get(index), exact.get(index));
            prop_assert_eq!(has & should, should);
            prop_assert!(stale || has == should, "word {}: {:x}, not {:x}", index, has, should);
        }
        presence.fit(&table, &nets);
        for index in dbfw_common::FRONT_HEAD..front::words(family) {
            prop_assert_eq!(presence.get(index), exact.get(index));
        }
    }
}
