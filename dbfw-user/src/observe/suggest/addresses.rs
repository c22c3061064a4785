use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::source::{Prefix, range_prefixes};

/// The addresses that are in a prefix.
pub(super) fn covered<T>(addresses: &BTreeMap<IpAddr, T>, prefix: &Prefix) -> Vec<IpAddr> {
    let (first, last) = (prefix.addr(), last(prefix));
    addresses.range(first..=last).map(|(address, _)| *address).collect()
}

/// How many addresses prefixes hold; the largest number stands for more.
pub(super) fn admitted(prefixes: &[Prefix]) -> u128 {
    let mut sorted = prefixes.to_vec();
    sorted.sort_unstable();
    let mut sum: u128 = 0;
    let mut last: Option<Prefix> = None;
    for prefix in sorted {
        // One that covers another comes before it, and after it nothing but what it covers.
        if last.is_none_or(|last| !last.covers(&prefix)) {
            let (low, high) = prefix.bounds();
            sum = sum.saturating_add((high - low).saturating_add(1));
            last = Some(prefix);
        }
    }
    sum
}

/// The fewest prefixes that together are exactly the addresses.
pub(super) fn complete_prefixes(addresses: &BTreeSet<IpAddr>) -> Vec<Prefix> {
    let mut prefixes = Vec::new();
    let mut rest = addresses.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while let Some(next) = rest.next_if(|next| next_address(last) == Some(*next)) {
            last = next;
        }
        match range_prefixes(first, last) {
            Ok(range) => prefixes.extend(range),
            // Only ends of two families or mapped ones fail, and there are none.
            Err(_) => prefixes.extend([first, last].map(Prefix::host)),
        }
    }
    prefixes
}

/// Whether an address is of a network that is not reached from everywhere.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            // 100.64.0.0/10 is for carriers' NAT (RFC 6598).
            let is_shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_private() || v4.is_link_local() || is_shared
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

fn last(prefix: &Prefix) -> IpAddr {
    let (_, last) = prefix.bounds();
    match u32::try_from(last) {
        Ok(v4) if prefix.is_v4() => Ipv4Addr::from(v4).into(),
        _ => Ipv6Addr::from(last).into(),
    }
}

fn next_address(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|next| Ipv4Addr::from(next).into()),
        IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|next| Ipv6Addr::from(next).into()),
    }
}
