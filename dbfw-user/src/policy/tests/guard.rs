//! The guards, by example and against sets of addresses.

use std::{collections::BTreeSet, net::IpAddr};

use proptest::{collection::vec, prelude::*};

use super::support::prefix;
use crate::{
    policy::{self, Guard, Refusal, check_width},
    source::Prefix,
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

fn check_shrink(old: &[Prefix], new: &[Prefix], percent: u8) -> Result<(), Refusal> {
    let counted = BTreeSet::from_iter(old).len();
    policy::check_shrink(old, counted, new, percent)
}

#[test]
fn halves_are_no_loss() {
    let old = list("10.0.0.0/24 2001:db8::/32");
    assert_eq!(check_shrink(&old, &list("10.0.0.0/25 10.0.0.128/25 2001:db8::/31"), 0), Ok(()));
    let refusal =
        check_shrink(&old, &list("10.0.0.0/25 10.0.0.129 2001:db8::/32"), 49).unwrap_err();
    assert_eq!((refusal.guard, refusal.total), (Guard::MaxShrink, 1));
    assert_eq!(refusal.prefixes, list("10.0.0.0/24"));
    assert_eq!(
        refusal.to_string(),
        "the new list loses 1 of 2 prefixes in force, more than max_shrink = \"49%\" allows: \
         10.0.0.0/24. The list in force stays; if the loss is meant, run `dbfw reload --confirm` \
         or raise max_shrink"
    );
    // The other family's numbers do not count.
    assert!(check_shrink(&list("32.1.0.0/16"), &list("::/0"), 99).is_err());
}

#[test]
fn the_share_is_exact() {
    let old = list("10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.4");
    let half = list("10.0.0.1 10.0.0.2");
    assert_eq!(check_shrink(&old, &half, 50), Ok(()));
    assert!(check_shrink(&old, &half, 49).is_err());
    assert_eq!(check_shrink(&old, &list("11.0.0.0/8"), 100), Ok(()));
    assert!(check_shrink(&old, &list("11.0.0.0/8"), 99).is_err());
    assert_eq!(check_shrink(&old, &old, 0), Ok(()));
    assert_eq!(check_shrink(&[], &old, 0), Ok(()));
    assert_eq!(check_shrink(&[], &[], 0), Ok(()));
}

#[test]
fn an_empty_list_is_on_empty_whatever_max_shrink_says() {
    for percent in [0, 50, 100] {
        let refusal = check_shrink(&list("10.0.0.1 10.0.0.2"), &[], percent).unwrap_err();
        assert_eq!((refusal.guard, refusal.total), (Guard::OnEmpty, 2));
        assert_eq!(
            refusal.message,
            "the new list is empty, and 2 prefixes are in force; on_empty keeps the list in force. \
             If nobody is to be trusted, run `dbfw reload --confirm` or set on_empty = \"close\""
        );
    }
}

#[test]
fn a_refusal_names_twenty() {
    let old: Vec<_> =
        (0..100).map(|host| Prefix::host(IpAddr::V4((0x0a00_0000 + host).into()))).collect();
    let refusal = check_shrink(&old, &list("11.0.0.1"), 50).unwrap_err();
    assert_eq!((refusal.total, refusal.prefixes.len()), (100, 20));
    assert!(refusal.message.contains("10.0.0.19/32 and 80 more. The"), "{refusal}");
}

#[test]
fn everybody_is_refused_in_every_form() {
    let eights = |range: std::ops::Range<u32>| {
        range.map(|n| format!("{n}.0.0.0/8")).collect::<Vec<_>>().join(" ")
    };
    for text in [
        "0.0.0.0/0",
        "::/0",
        "0.0.0.0/1 128.0.0.0/1",
        "10.0.0.0/7",
        "2001::/18",
        "fc00::/7",
        &eights(0..256),
        &eights(10..27),
        &format!("{} 200.0.0.0", eights(10..26)),
    ] {
        let refusal = check_width(&list(text), false, [8, 19]).unwrap_err();
        assert_eq!(refusal.guard, Guard::AllowAny);
        assert!(refusal.message.contains("allow_any = true"), "{text}: {refusal}");
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

proptest! {
    #[test]
    fn lost_is_what_no_address_set_holds(
        old in vec(small(), 0..8),
        new in vec(small(), 1..8),
        percent in 0u8..=100,
    ) {
        let held: BTreeSet<u128> = new.iter().flat_map(addresses).collect();
        let old: BTreeSet<_> = old.into_iter().collect();
        let lost: Vec<_> =
            old.iter().filter(|prefix| !addresses(prefix).is_subset(&held)).copied().collect();
        let refused = lost.len() * 100 > old.len() * usize::from(percent);
        let result = check_shrink(&Vec::from_iter(old), &new, percent);
        match result {
            Ok(()) => prop_assert!(!refused),
            Err(refusal) => {
                prop_assert!(refused);
                prop_assert_eq!(refusal.guard, Guard::MaxShrink);
                prop_assert_eq!(refusal.prefixes, lost);
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
}
