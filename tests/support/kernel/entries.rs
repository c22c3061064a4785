//! The trusted prefixes: full-length ones in tables, the others in tries.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd as _, OwnedFd},
};

use aya::maps::{
    Array,
    lpm_trie::{Key, LpmTrie},
};
use dbfw_common::{
    BUCKET_SLOTS, ENTRIES, Entry, ID_BITS, NETS4, NETS6, TAG4_SHIFT, TAG6_SHIFT, TableRef,
    host4_hash, host6_hash, host6_key, host6_tag,
};
use ipnet::IpNet;

use super::{Kernel, chain};
use crate::sys;

/// Buckets of a large table, as a power of two: one size, since nothing changes while packets
/// are judged here.
pub(super) const LARGE_BITS: u32 = 13;

/// The table of a family's hosts.
pub(super) struct Table {
    pub(super) fd: OwnedFd,
    pub(super) place: TableRef,
    /// 64-bit words of a bucket.
    pub(super) words: usize,
}

impl Kernel {
    pub(super) fn write_entry(&mut self, net: IpNet, entry: Entry) {
        if net.prefix_len() == net.max_prefix_len() {
            if self.write_host(net, entry) {
                return;
            }
            self.overflow.insert(net);
        }
        let length = u32::from(net.prefix_len());
        let result = match net.network() {
            IpAddr::V4(address) => {
                let mut map: LpmTrie<_, u32, _> = self.map(NETS4);
                map.insert(&Key::new(length, word(address)), entry, 0)
            }
            IpAddr::V6(address) => {
                let mut map: LpmTrie<_, [u32; 4], _> = self.map(NETS6);
                map.insert(&Key::new(length, words(address)), entry, 0)
            }
        };
        result.unwrap_or_else(|error| panic!("cannot insert {net}: {}", chain(&error)));
    }

    pub(super) fn remove_entry(&mut self, net: IpNet) {
        if net.prefix_len() == net.max_prefix_len() && !self.overflow.remove(&net) {
            let Some((place, mut bucket, slot)) = self.find(net) else { return };
            bucket[slot] = 0;
            self.write_bucket(net, place, &bucket);
            self.free_ids.extend(self.ids.remove(&net));
            return;
        }
        let length = u32::from(net.prefix_len());
        let result = match net.network() {
            IpAddr::V4(address) => {
                let mut map: LpmTrie<_, u32, Entry> = self.map(NETS4);
                map.remove(&Key::new(length, word(address)))
            }
            IpAddr::V6(address) => {
                let mut map: LpmTrie<_, [u32; 4], Entry> = self.map(NETS6);
                map.remove(&Key::new(length, words(address)))
            }
        };
        result.unwrap_or_else(|error| panic!("cannot remove {net}: {}", chain(&error)));
    }

    /// Writes a host, which has an id of its own; whether its bucket has room.
    fn write_host(&mut self, net: IpNet, entry: Entry) -> bool {
        let Some((place, mut bucket, slot)) =
            self.find(net).filter(|_| !self.overflow.contains(&net))
        else {
            return false;
        };
        let next = self.ids.len() as u32 + 1;
        let free = &mut self.free_ids;
        let id = *self.ids.entry(net).or_insert_with(|| free.pop().unwrap_or(next));
        let mut map: Array<_, Entry> = self.map(ENTRIES);
        map.set(id, entry, 0)
            .unwrap_or_else(|error| panic!("cannot write entry {id}: {}", chain(&error)));
        bucket[slot] = tag(net) | u64::from(id);
        if let IpAddr::V6(address) = net.addr() {
            let at = BUCKET_SLOTS + 2 * slot;
            bucket[at..at + 2].copy_from_slice(&host6_key(words(address)));
        }
        self.write_bucket(net, place, &bucket);
        true
    }

    /// The bucket of a host, its words, and the slot that is the host's or free, if one is.
    fn find(&self, net: IpNet) -> Option<(u32, Vec<u64>, usize)> {
        let hash = match net.addr() {
            IpAddr::V4(address) => host4_hash(word(address)),
            IpAddr::V6(address) => host6_hash(host6_key(words(address))),
        };
        let table = self.table(net);
        let place = table.place.bucket(hash);
        let mut bytes = vec![0; table.words * 8];
        sys::read_element(table.fd.as_fd(), place, &mut bytes)
            .unwrap_or_else(|error| panic!("cannot read a bucket: {error}"));
        let bucket: Vec<u64> =
            bytes.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        let is_id = |slot: u64| slot & ((1 << ID_BITS) - 1) != 0;
        let ids = &bucket[..BUCKET_SLOTS];
        let own =
            ids.iter().position(|&slot| is_id(slot) && slot >> ID_BITS == tag(net) >> ID_BITS);
        let slot = own.or_else(|| ids.iter().position(|&slot| !is_id(slot)))?;
        Some((place, bucket, slot))
    }

    fn write_bucket(&self, net: IpNet, place: u32, bucket: &[u64]) {
        let bytes: Vec<u8> = bucket.iter().flat_map(|word| word.to_ne_bytes()).collect();
        sys::update_array(self.table(net).fd.as_fd(), place, 1, &bytes)
            .unwrap_or_else(|error| panic!("cannot write a bucket: {error}"));
    }
}

/// What a slot holds of a host above the id.
fn tag(net: IpNet) -> u64 {
    match net.addr() {
        IpAddr::V4(address) => u64::from(word(address)) << TAG4_SHIFT,
        IpAddr::V6(address) => host6_tag(host6_hash(host6_key(words(address)))) << TAG6_SHIFT,
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
