//! The trusted prefixes: full-length ones in hashes, the others in tries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::maps::{
    HashMap,
    lpm_trie::{Key, LpmTrie},
};
use dbfw_common::{Entry, HOSTS4, HOSTS6, NETS4, NETS6};
use ipnet::IpNet;

use super::{Kernel, chain};

impl Kernel {
    pub(super) fn write_entry(&mut self, net: IpNet, entry: Entry) {
        let place = Place::of(net);
        let name = place.map;
        let result = match (net.network(), place.prefix) {
            (IpAddr::V4(address), None) => {
                let mut map: HashMap<_, u32, _> = self.map(name);
                map.insert(word(address), entry, 0)
            }
            (IpAddr::V6(address), None) => {
                let mut map: HashMap<_, [u32; 4], _> = self.map(name);
                map.insert(words(address), entry, 0)
            }
            (IpAddr::V4(address), Some(length)) => {
                let mut map: LpmTrie<_, u32, _> = self.map(name);
                map.insert(&Key::new(length, word(address)), entry, 0)
            }
            (IpAddr::V6(address), Some(length)) => {
                let mut map: LpmTrie<_, [u32; 4], _> = self.map(name);
                map.insert(&Key::new(length, words(address)), entry, 0)
            }
        };
        result.unwrap_or_else(|error| panic!("cannot insert {net} into {name}: {}", chain(&error)));
    }

    pub(super) fn remove_entry(&mut self, net: IpNet) {
        let place = Place::of(net);
        let name = place.map;
        let result = match (net.network(), place.prefix) {
            (IpAddr::V4(address), None) => {
                let mut map: HashMap<_, u32, Entry> = self.map(name);
                map.remove(&word(address))
            }
            (IpAddr::V6(address), None) => {
                let mut map: HashMap<_, [u32; 4], Entry> = self.map(name);
                map.remove(&words(address))
            }
            (IpAddr::V4(address), Some(length)) => {
                let mut map: LpmTrie<_, u32, Entry> = self.map(name);
                map.remove(&Key::new(length, word(address)))
            }
            (IpAddr::V6(address), Some(length)) => {
                let mut map: LpmTrie<_, [u32; 4], Entry> = self.map(name);
                map.remove(&Key::new(length, words(address)))
            }
        };
        result.unwrap_or_else(|error| panic!("cannot remove {net} from {name}: {}", chain(&error)));
    }
}

/// Where a prefix lives.
struct Place {
    map: &'static str,
    /// Its length, for a trie; `None`: an address of its own, in a hash.
    prefix: Option<u32>,
}

impl Place {
    fn of(net: IpNet) -> Self {
        let full = net.prefix_len() == net.max_prefix_len();
        let map = match (net, full) {
            (IpNet::V4(_), true) => HOSTS4,
            (IpNet::V4(_), false) => NETS4,
            (IpNet::V6(_), true) => HOSTS6,
            (IpNet::V6(_), false) => NETS6,
        };
        Self { map, prefix: (!full).then(|| u32::from(net.prefix_len())) }
    }
}

/// An address as the maps' keys have it: the octets in the order of the wire.
pub(super) fn word(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

pub(super) fn words(address: Ipv6Addr) -> [u32; 4] {
    let octets = address.octets();
    [0, 4, 8, 12]
        .map(|at| word([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]].into()))
}
