//! Prefixes that hold many addresses: sizes, shared links, temporary addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
};

use dbfw_core::source::Prefix;

/// The addresses that are in a prefix.
pub(super) fn covered<T>(addresses: &BTreeMap<IpAddr, T>, prefix: &Prefix) -> Vec<IpAddr> {
    addresses.range(prefix.addr()..=prefix.last_addr()).map(|(address, _)| *address).collect()
}

/// Number of addresses in prefixes; the largest number stands for more.
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
    let mut prefixes: Vec<Prefix> = Vec::new();
    for address in addresses {
        let mut next = Prefix::host(*address);
        // The upper half of a prefix whose lower half is there: both are that prefix.
        while let Some(len) = next.len().checked_sub(1)
            && let whole = Prefix::new(next.addr(), len)
            && prefixes
                .pop_if(|last| last.len() == next.len() && last.addr() == whole.addr())
                .is_some()
        {
            next = whole;
        }
        prefixes.push(next);
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

/// Addresses of a link that look temporary, from which on the link is proposed.
const MANY_OF_A_LINK: usize = 2;

/// Bits of an address that name its link, where hosts make the rest themselves (RFC 4291, 2.5.1).
const LINK_BITS: u8 = 64;

/// The links of which several addresses look temporary, and of how many each.
pub(super) fn links_of_temporary(addresses: &BTreeSet<IpAddr>) -> BTreeMap<Prefix, usize> {
    let mut links: BTreeMap<Prefix, Vec<Ipv6Addr>> = BTreeMap::new();
    for address in addresses {
        if let IpAddr::V6(v6) = address
            && is_temporary(*v6)
        {
            links.entry(Prefix::new(*address, LINK_BITS)).or_default().push(*v6);
        }
    }
    // Two of a row, as a DHCP server hands them out, are not both made at random.
    let rows = |of: &[Ipv6Addr]| {
        let rows: BTreeSet<u128> = of.iter().map(|address| address.to_bits() >> 16).collect();
        rows.len()
    };
    links.retain(|_, of| rows(of) >= MANY_OF_A_LINK);
    links.into_iter().map(|(link, of)| (link, of.len())).collect()
}

/// Whether the half that a host makes itself looks like one made at random (RFC 8981): not of a
/// hardware address, and not as people number their hosts. One of five thousand at random does
/// not.
fn is_temporary(address: Ipv6Addr) -> bool {
    let [.., a, b, c, d] = address.segments();
    let words = [a, b, c, d];
    // A hardware address has ff:fe in its middle (RFC 4291, appendix A).
    let is_hardware = b & 0xff == 0xff && c >> 8 == 0xfe;
    let is_tunnel = a & !0x200 == 0 && b == 0x5efe;
    let small = words.iter().filter(|word| **word < 0x100).count();
    // 192:168:100:200 is an IPv4 address in decimal digits.
    let is_ipv4 = words.iter().all(|word| *word <= 0x255);
    let repeats = (1..words.len()).any(|at| words[..at].contains(&words[at]));
    !(is_hardware || is_tunnel || small > 1 || is_ipv4 || repeats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_temporary() {
        for address in [
            "2001:db8::d4a1:3c5f:9be2:71f0",
            "2001:db8:1:2:8c2e:19ff:7a03:5d61",
            "fd12:3456:789a:1:5d0b:e1f4:2a77:c839",
            "2001:db8::a3f1:1ff:4efe:9012",
            "2001:db8::a3f1:c1ff:4efe:12",
        ] {
            assert!(is_temporary(address.parse().unwrap()), "{address}");
        }
        for address in [
            "2001:db8::1",
            "2001:db8::1234",
            "2001:db8::53:1",
            "2001:db8::10:0:0:1",
            "2001:db8::192:168:1:5",
            "2001:db8::192:168:100:200",
            "2001:db8::c0a8:105",
            "2001:db8::5054:ff:fe12:3456",
            "2001:db8::225:90ff:fec2:1a2b",
            "2001:db8::200:5efe:c0a8:105",
            "2001:db8::aaaa:bbbb:aaaa:cccc",
            "2001:db8::dead:beef:0:1",
            "2001:db8::fdff:ffff:ffff:fffe",
        ] {
            assert!(!is_temporary(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn addresses_of_a_row_are_no_temporary_ones() {
        let links = |addresses: &[&str]| {
            links_of_temporary(&addresses.iter().map(|text| text.parse().unwrap()).collect())
        };
        let row = ["2001:db8::a3f1:c1ff:4efe:1001", "2001:db8::a3f1:c1ff:4efe:1002"];
        assert!(links(&row).is_empty());
        let more = [&row[..], &["2001:db8::5d0b:e1f4:2a77:c839"]].concat();
        assert_eq!(links(&more), BTreeMap::from([("2001:db8::/64".parse().unwrap(), 3)]));
    }

    /// Of hosts' own random halves nearly all are seen as what they are.
    #[test]
    fn most_of_what_is_random_is_seen() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            // SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ mixed >> 31
        };
        let of_link = 0x2001_0db8_u128 << 96;
        let seen = (0..10_000).filter(|_| is_temporary((of_link | u128::from(random())).into()));
        let seen = seen.count();
        assert!((9_980..=10_000).contains(&seen), "{seen}");
    }
}
