//! The guards, by example and against sets of addresses.

use std::{collections::BTreeSet, net::IpAddr};

use proptest::{collection::vec, prelude::*};

use super::support::prefix;
use crate::{
    policy::{self, Guard, Refusal, narrowest},
    source::{Prefix, PrefixSet, PrefixUnion},
};

fn list(text: &str) -> Vec<Prefix> {
    text.split_whitespace().map(prefix).collect()
}

/// A prefix inside 10.0.0.0/28, where every address can be counted.
fn small() -> impl Strategy<Value = Prefix> {
    (0u32..16, 28u8..=32)
        .prop_map(|(host, len)| Prefix::new(IpAddr::V4((0x0a00_0000 | host).into()), len))
}

fn addresses(prefix: &Prefix) -> BTreeSet<u128> {
    let (first, last) = prefix.bounds();
    (first..=last).collect()
}

/// In three sets, which may overlap.
fn union(prefixes: &[Prefix]) -> PrefixUnion {
    let (one, other) = prefixes.split_at(prefixes.len() / 2);
    let sets = [one, other, &prefixes[..prefixes.len() / 3]];
    let sets = sets.map(|part| part.iter().copied().collect::<PrefixSet>());
    sets.iter().collect()
}

fn check_shrink(old: &[Prefix], new: &[Prefix], percent: u8) -> Result<(), Refusal> {
    policy::check_shrink(&union(old), |_| true, |_| true, &union(new), percent)
}

fn check_width(prefixes: &[Prefix], allow_any: bool, min_len: [u8; 2]) -> Result<(), Refusal> {
    policy::check_width(&union(prefixes), allow_any, min_len)
}

/// So many hosts of 10.0.0.0/8, from this one on.
fn hosts(first: u32, count: u32) -> Vec<Prefix> {
    (first..first + count)
        .map(|host| Prefix::host(IpAddr::V4((0x0a00_0000 + host).into())))
        .collect()
}

#[test]
fn halves_are_no_loss() {
    let old = list("10.0.0.0/24 2001:db8::/32");
    assert_eq!(check_shrink(&old, &list("10.0.0.0/25 10.0.0.128/25 2001:db8::/31"), 0), Ok(()));
    let old = list("10.0.0.0/24 10.0.1.0/24 10.0.2.0/24 10.0.3.0/24 2001:db8::/32");
    let new = list("10.0.0.0/25 10.0.1.129 10.0.2.0/25 10.0.3.0/25 2001:db8::/32");
    let refusal = check_shrink(&old, &new, 79).unwrap_err();
    assert_eq!(refusal.guard(), Guard::MaxShrink);
    assert_eq!(
        refusal.to_string(),
        "the new list loses 4 of 5 prefixes in force, more than max_shrink = \"79%\" allows: \
         10.0.0.0/24, 10.0.1.0/24, 10.0.2.0/24, 10.0.3.0/24. The list in force stays"
    );
    assert_eq!(
        refusal.fix("1a2b3c4d"),
        "run `dbfw reload --confirm 1a2b3c4d` if the loss is meant, or raise max_shrink"
    );
    // The other family's numbers do not count.
    let old = list("32.1.0.0/16 32.2.0.0/16 32.3.0.0/16 32.4.0.0/16");
    assert!(check_shrink(&old, &list("::/0"), 99).is_err());
}

#[test]
fn the_share_is_exact() {
    let old =
        list("10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.7 10.0.0.8 10.0.0.8");
    let half = &old[..4];
    assert_eq!(check_shrink(&old, half, 50), Ok(()));
    assert!(check_shrink(&old, half, 49).is_err());
    assert_eq!(check_shrink(&old, &list("11.0.0.0/8"), 100), Ok(()));
    assert!(check_shrink(&old, &list("11.0.0.0/8"), 99).is_err());
    assert_eq!(check_shrink(&old, &old, 0), Ok(()));
    assert_eq!(check_shrink(&[], &old, 0), Ok(()));
    assert_eq!(check_shrink(&[], &[], 0), Ok(()));
}

/// In a short list one address is a large share: it may be replaced without a word.
#[test]
fn three_prefixes_may_go_whatever_their_share() {
    for (old, new) in [
        (hosts(1, 1), hosts(2, 1)),
        (hosts(1, 3), hosts(4, 1)),
        (hosts(1, 3), hosts(4, 3)),
        (hosts(1, 4), hosts(4, 1)),
        (hosts(1, 100), hosts(4, 97)),
        (list("10.0.0.0/8 2001:db8::/32 192.0.2.1"), list("198.51.100.1")),
    ] {
        for percent in [0, 1, 50] {
            assert_eq!(check_shrink(&old, &new, percent), Ok(()), "{old:?} {new:?}");
        }
    }
    for (old, new) in [(hosts(1, 4), hosts(5, 1)), (hosts(1, 5), hosts(1, 1))] {
        let refusal = check_shrink(&old, &new, 50).unwrap_err();
        assert_eq!(refusal.guard(), Guard::MaxShrink);
        assert!(refusal.to_string().contains("loses 4 of"), "{refusal}");
    }
}

#[test]
fn an_empty_list_is_on_empty_whatever_max_shrink_says() {
    for percent in [0, 50, 100] {
        for old in ["10.0.0.1", "10.0.0.1 10.0.0.2 10.0.0.3", "10.0.0.0/8 ::1 ::2 ::3 ::4"] {
            let old = list(old);
            let refusal = check_shrink(&old, &[], percent).unwrap_err();
            assert_eq!(refusal.guard(), Guard::OnEmpty);
        }
        let refusal = check_shrink(&list("10.0.0.1 10.0.0.2"), &[], percent).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "the new list is empty, and 2 prefixes are in force; on_empty keeps the list in force"
        );
        assert_eq!(
            refusal.fix("1a2b3c4d"),
            "run `dbfw reload --confirm 1a2b3c4d` if that is meant, or set on_empty = \
             \"close\""
        );
    }
}

#[test]
fn a_refusal_names_twenty() {
    let refusal = check_shrink(&hosts(0, 100), &list("11.0.0.1"), 50).unwrap_err();
    assert!(refusal.to_string().contains("10.0.0.19/32 and 80 more. The"), "{refusal}");
}

#[test]
fn everybody_is_refused_in_every_form() {
    let eights = |range: std::ops::Range<u32>| {
        range.map(|n| format!("{n}.0.0.0/8")).collect::<Vec<_>>().join(" ")
    };
    let any = "allow_any = true";
    for (text, setting) in [
        ("0.0.0.0/0", any),
        ("::/0", any),
        ("0.0.0.0/0 fd00::/8", any),
        ("0.0.0.0/1 128.0.0.0/1", any),
        ("::/1 8000::/2 c000::/3 e000::/4 f000::/5 f800::/6 fc00::/7 fe00::/7", any),
        (&eights(0..256), any),
        ("10.0.0.0/7", "min_prefix = { ipv4 = 7 }"),
        ("2001::/18", "min_prefix = { ipv6 = 18 }"),
        ("10.0.0.0/7 2001::/18", "min_prefix = { ipv4 = 7, ipv6 = 18 }"),
        ("fc00::/6", "min_prefix = { ipv6 = 6 }"),
        ("fe80::/9", "min_prefix = { ipv6 = 9 }"),
        (&eights(10..27), "min_prefix = { ipv4 = 7 }"),
        (&format!("{} 200.0.0.0", eights(10..26)), "min_prefix = { ipv4 = 7 }"),
    ] {
        let refusal = check_width(&list(text), false, [8, 19]).unwrap_err();
        assert_eq!(refusal.guard(), Guard::AllowAny);
        let fix = refusal.fix("");
        assert_eq!(fix, format!("if it is meant, set {setting} for the database"), "{text}");
        assert_eq!(check_width(&list(text), true, [8, 19]), Ok(()));
    }
    let every19: Vec<_> =
        (0..1u128 << 19).map(|n| Prefix::new(IpAddr::V6((n << 109).into()), 19)).collect();
    assert!(check_width(&every19, false, [8, 19]).is_err());
    for text in ["", "10.0.0.0/8 172.16.0.0/12 2001:db8::/32 2000::/19", &eights(10..26)] {
        assert_eq!(check_width(&list(text), false, [8, 19]), Ok(()));
    }
    // What overlaps counts once.
    let nested = format!("{} 10.0.0.0/9 10.1.0.0/16 25.255.255.255", eights(10..26));
    assert_eq!(check_width(&list(&nested), false, [8, 19]), Ok(()));
}

/// Private and link-local ranges, as people list them in each family.
const OWN4: &str = "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16";
const OWN6: &str = "fc00::/7 fd00::/8 fd12:3456:789a::/48 fe80::/10 fe80::/64";

#[test]
fn private_and_link_local_ranges_are_nobody_out_there() {
    for text in [OWN4, OWN6, &format!("{OWN4} {OWN6}"), "fd00::/8", "fe80::/10", "fc00::/8"] {
        assert_eq!(check_width(&list(text), false, [8, 19]), Ok(()), "{text}");
        assert_eq!(narrowest(&list(text), [8, 19]), list(text).into_iter().collect());
    }
    // They leave the others as much room as there is without them.
    let nineteens = (0..16).map(|n: u128| Prefix::new(IpAddr::V6((n << 109).into()), 19));
    let all: Vec<_> = nineteens.chain(list(OWN6)).collect();
    assert_eq!(check_width(&all, false, [8, 19]), Ok(()));
    let beyond = [all, list("2001:db8::1")].concat();
    let refusal = check_width(&beyond, false, [8, 19]).unwrap_err();
    assert_eq!(refusal.fix(""), "if it is meant, set min_prefix = { ipv6 = 18 } for the database");
}

/// Whoever sets a longer `min_prefix` means these ranges too, in both families.
#[test]
fn a_longer_min_prefix_is_for_private_ranges_as_well() {
    for (text, min, setting) in [
        ("10.0.0.0/8", [16, 48], "set min_prefix = { ipv6 = 48 }"),
        ("fd00::/8", [16, 48], "set min_prefix = { ipv4 = 16 }"),
        ("fe80::/10", [8, 20], "leave min_prefix out"),
        ("fd00::/8 2001::/18", [8, 48], "set min_prefix = { ipv6 = 18 }"),
        ("10.0.0.0/8 fd00::/8", [9, 48], "leave min_prefix out"),
        ("10.0.0.0/12", [16, 19], "set min_prefix = { ipv4 = 12 }"),
    ] {
        let refusal = check_width(&list(text), false, min).unwrap_err();
        let fix = format!("if it is meant, {setting} for the database");
        assert_eq!(refusal.fix(""), fix, "{text} {min:?}");
    }
    assert_eq!(check_width(&list("fd12:3456:789a::/48"), false, [16, 48]), Ok(()));
}

proptest! {
    #[test]
    fn lost_is_what_no_address_set_holds(
        old in vec(small(), 0..16),
        new in vec(small(), 1..8),
        percent in 0u8..=100,
    ) {
        let held: BTreeSet<u128> = new.iter().flat_map(addresses).collect();
        let old: BTreeSet<_> = old.into_iter().collect();
        let lost: Vec<_> =
            old.iter().filter(|prefix| !addresses(prefix).is_subset(&held)).copied().collect();
        let refused = lost.len() > 3 && lost.len() * 100 > old.len() * usize::from(percent);
        let result = check_shrink(&Vec::from_iter(old), &new, percent);
        match result {
            Ok(()) => prop_assert!(!refused),
            Err(refusal) => {
                prop_assert!(refused);
                prop_assert_eq!(refusal.guard(), Guard::MaxShrink);
                let names: Vec<_> = lost.iter().map(ToString::to_string).collect();
                let named = format!("allows: {}. The", names.join(", "));
                prop_assert!(refusal.to_string().contains(&named), "{} not in {}", named, refusal);
            }
        }
    }

    #[test]
    fn width_counts_every_address_once(
        prefixes in vec((0u32..4096, 8u8..=12), 0..200),
    ) {
        let prefixes: Vec<_> = prefixes
            .into_iter()
            .map(|(block, len)| Prefix::new(IpAddr::V4((block << 20).into()), len))
            .collect();
        let blocks: BTreeSet<u128> = prefixes
            .iter()
            .flat_map(|prefix| {
                let (first, last) = prefix.bounds();
                first >> 20..=last >> 20
            })
            .collect();
        prop_assert_eq!(check_width(&prefixes, false, [8, 19]).is_ok(), blocks.len() <= 16 * 16);
    }

    /// The setting that the refusal names lets the list through; the next longer length does not.
    #[test]
    fn the_least_setting_is_the_least(
        v4 in vec((any::<u32>(), 0u8..=12), 0..6),
        v6 in vec((any::<u128>(), 0u8..=24, 0u128..3), 0..6),
        min in (1u8..=16, 1u8..=32),
    ) {
        let own = [0, 0xfc << 120, 0xfe8 << 116];
        let v4 = v4.into_iter().map(|(bits, len)| Prefix::new(IpAddr::V4(bits.into()), len));
        let v6 = v6.into_iter().map(|(bits, len, range)| {
            Prefix::new(IpAddr::V6((bits >> 7 | own[range as usize]).into()), len)
        });
        let prefixes: Vec<_> = v4.chain(v6).collect();
        let min = [min.0, min.1];
        let Err(refusal) = check_width(&prefixes, false, min) else { return Ok(()) };
        let fix = refusal.fix("");
        if fix.contains("allow_any") {
            return Ok(());
        }
        let key = |name: &str, usual: u8| {
            let after = fix.split(&format!("{name} = ")).nth(1);
            let digits = after.map(|text| text.chars().take_while(char::is_ascii_digit));
            digits.map_or(usual, |digits| digits.collect::<String>().parse().unwrap())
        };
        let set = [key("ipv4", 8), key("ipv6", 19)];
        prop_assert_eq!(check_width(&prefixes, false, set), Ok(()), "{}", fix);
        for family in 0..2 {
            if set[family] < min[family] {
                let mut longer = set;
                longer[family] += 1;
                prop_assert!(check_width(&prefixes, false, longer).is_err(), "{}", fix);
            }
        }
    }
}
