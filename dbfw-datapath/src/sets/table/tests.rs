use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn table(family: Family, bits: u32) -> Table {
    Table::new(Words::private(bucket_words(family) << bits), family, bits)
}

/// Few different addresses, so that they meet again; all zeros and all ones among them.
fn address(family: Family, n: u8) -> IpAddr {
    let wide = match n {
        0 => 0,
        1 => u128::MAX,
        _ => u128::from(n) << (u32::from(n % 13) * 9),
    };
    if family == Family::V4 {
        IpAddr::V4((wide as u32 ^ u32::from(n)).into())
    } else {
        IpAddr::V6(wide.into())
    }
}

proptest! {
    /// Whatever is done to it, a table holds what a map holds, except for what found its
    /// bucket full.
    #[test]
    fn a_table_is_a_map(
        family in prop::sample::select(&Family::ALL[..]),
        bits in 1u32..4,
        steps in proptest::collection::vec((any::<u8>(), 0u16..5), 0..200),
    ) {
        let mut table = table(family, bits);
        let mut model: BTreeMap<IpAddr, u16> = BTreeMap::new();
        for (n, id) in steps {
            let address = address(family, n);
            let probe = Probe::new(address);
            if id == 0 {
                prop_assert_eq!(table.remove(&probe), model.remove(&address));
            } else {
                let bucket = |other: &IpAddr| Probe::new(*other).bucket(bits) == probe.bucket(bits);
                let full = model.keys().filter(|other| bucket(other)).count() == BUCKET_SLOTS;
                match table.insert(&probe, id) {
                    Ok(before) => prop_assert_eq!(before, model.insert(address, id)),
                    Err(()) => prop_assert!(full && !model.contains_key(&address)),
                }
            }
            prop_assert_eq!(table.get(&probe), model.get(&address).copied());
            prop_assert_eq!(table.len(), model.len());
        }
        prop_assert_eq!(table.iter().collect::<BTreeMap<_, _>>(), model.clone());
        // The next agent finds the same.
        let again = Table::new(table.words, family, bits);
        prop_assert_eq!(again.len(), model.len());
        for (address, id) in &model {
            prop_assert_eq!(again.get(&Probe::new(*address)), Some(*id));
        }
    }
}

#[test]
fn the_key_of_one_host_and_the_slot_of_another_are_neither() {
    let [a, b] = ["2001:db8::1", "2001:db8::2"].map(|text| Probe::new(text.parse().unwrap()));
    let mut bucket = [0; BUCKET6_WORDS as usize];
    for (slot, key) in [(a, b), (b, a)] {
        bucket[0] = slot.tag << slot.shift | 7;
        bucket[BUCKET_SLOTS..BUCKET_SLOTS + 2].copy_from_slice(&key.key.unwrap());
        assert_eq!([a.find(&bucket), b.find(&bucket)], [None, None]);
    }
    bucket[BUCKET_SLOTS..BUCKET_SLOTS + 2].copy_from_slice(&b.key.unwrap());
    assert_eq!([a.find(&bucket), b.find(&bucket)], [None, Some(7)]);
}

#[test]
fn few_hosts_find_their_bucket_full() {
    for family in Family::ALL {
        let hosts = 40_000u32;
        let mut table = table(family, bits_for(family, hosts as usize));
        // As addresses are given out: in blocks, one after the other, in steps.
        let full = (0..hosts)
            .map(|n| match n % 4 {
                0 => n,
                1 => n << 8,
                2 => 0x0a00_0000 + n * 4,
                _ => n.wrapping_mul(0x9e37_79b9),
            })
            .map(|n| {
                if family == Family::V4 {
                    IpAddr::V4(n.into())
                } else {
                    IpAddr::V6((u128::from(n) << 64 | 1).into())
                }
            })
            .filter(|address| table.insert(&Probe::new(*address), 1).is_err())
            .count();
        assert!(full < hosts as usize / 200, "{full} of {hosts}, {family:?}");
    }
}

/// The last octets of both halves of an address, as sites number their networks and hosts.
#[test]
fn addresses_of_neighbouring_networks_have_hashes_of_their_own() {
    let mut tags = std::collections::BTreeSet::new();
    for (net, host) in (0..=255u128).flat_map(|net| (0..=255u128).map(move |host| (net, host))) {
        let address = 0x2604_a880u128 << 96 | net << 64 | host;
        assert!(tags.insert(Probe::new(IpAddr::V6(address.into())).tag), "{net} {host}");
    }
}

#[test]
fn a_table_fits_its_hosts() {
    for family in Family::ALL {
        for hosts in [0, 1, 10_000, 1_000_000, 4_194_304] {
            let bits = bits_for(family, hosts);
            assert!(capacity(family, bits) >= hosts);
            assert!(bits == SMALL_TABLE_BITS || capacity(family, bits - 1) < hosts);
        }
    }
}
