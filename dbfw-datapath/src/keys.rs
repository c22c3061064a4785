//! Names of maps by family, and keys and values as the kernel stores them.

use std::net::IpAddr;

use dbfw_common::{
    BOUND4, BOUND6, Entry, FRONT4, FRONT6, Family, HOSTS4, HOSTS4_SMALL, HOSTS6, HOSTS6_SMALL,
    NETS4, NETS6, OWN4, OWN6,
};
use dbfw_core::source::Prefix;

/// The maps of presence bits, by family.
pub(crate) const FRONT: [&str; 2] = [FRONT4, FRONT6];
/// The maps that hold the large tables of hosts, by family.
pub(crate) const HOSTS: [&str; 2] = [HOSTS4, HOSTS6];
/// The tables for few hosts, by family.
pub(crate) const SMALL_HOSTS: [&str; 2] = [HOSTS4_SMALL, HOSTS6_SMALL];
/// The tries of networks, by family.
pub(crate) const NETS: [&str; 2] = [NETS4, NETS6];
/// The tries of this host's own addresses, by family.
pub(crate) const OWN_NETS: [&str; 2] = [OWN4, OWN6];

/// The tries of addresses that databases are bound to, by family.
pub(crate) const BOUND_NETS: [&str; 2] = [BOUND4, BOUND6];

/// The key of an IPv4 address: its octets as they lie in a packet.
pub(crate) fn key4(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => u32::from_ne_bytes(address.octets()),
        IpAddr::V6(_) => 0,
    }
}

/// The key of an IPv6 address.
pub(crate) fn key6(address: IpAddr) -> [u32; 4] {
    let IpAddr::V6(address) = address else { return [0; 4] };
    let octets = address.octets();
    std::array::from_fn(|i| {
        u32::from_ne_bytes([octets[4 * i], octets[4 * i + 1], octets[4 * i + 2], octets[4 * i + 3]])
    })
}

/// The address of a key.
pub(crate) fn address4(key: u32) -> IpAddr {
    IpAddr::from(key.to_ne_bytes())
}

/// The address of a key.
pub(crate) fn address6(key: [u32; 4]) -> IpAddr {
    let mut octets = [0; 16];
    for (chunk, word) in octets.chunks_exact_mut(4).zip(key) {
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    IpAddr::from(octets)
}

/// The prefix of a trie's key.
pub(crate) fn prefix_of(family: Family, key: &[u8]) -> Prefix {
    let word = |at| word_of(key, at);
    let address = match family {
        Family::V4 => address4(word(1)),
        Family::V6 => address6([word(1), word(2), word(3), word(4)]),
    };
    Prefix::new(address, word(0) as u8)
}

/// The family of an address.
pub(crate) fn family_of(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}

/// A 32-bit word of a key or value.
pub(crate) fn word_of(bytes: &[u8], index: usize) -> u32 {
    let bytes = bytes.get(4 * index..4 * index + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_ne_bytes)
}

/// An entry as the kernel gives it.
pub(crate) fn entry_of(value: &[u8]) -> Entry {
    Entry { databases: [word_of(value, 0), word_of(value, 1)], rules: word_of(value, 2) }
}
