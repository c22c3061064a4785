//! A hash table of hosts, in memory that the programs read.
//!
//! It has buckets of slots: [`dbfw_common::Bucket4`] and [`dbfw_common::Bucket6`].
//!
//! A slot changes by one store of 64 bits, so a program finds a host with the entry it had
//! before or with the one it has afterwards. Of IPv6 the address is beside the slot, in words
//! of its own, and a slot may be taken anew at once: a program that meets the key of one host
//! and the slot of another finds the other's hash in it and takes neither.

use std::net::IpAddr;

use dbfw_common::{
    BUCKET_SLOTS, BUCKET4_WORDS, BUCKET6_WORDS, Family, ID_BITS, SMALL_TABLE_BITS, TAG4_SHIFT,
    TAG6_SHIFT, TableRef, host4_hash, host6_hash, host6_key, host6_tag,
};

use crate::{
    keys::{address4, address6, key4, key6},
    mmap::Words,
};

const SLOTS: u32 = BUCKET_SLOTS as u32;
/// Hosts a bucket should have on average at most. With 3 of 8 taken one host in 600 finds its
/// bucket full, with 4 one in 120; a bucket of IPv6 is three times as large.
const LOAD: [u32; 2] = [3, 4];

/// An address to look for, with its hash and the part of it that a slot holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    hash: u64,
    tag: u64,
    shift: u32,
    key: Option<[u64; 2]>,
}

impl Probe {
    /// The probe for `address`.
    pub(crate) fn new(address: IpAddr) -> Self {
        if address.is_ipv4() {
            let key = key4(address);
            Self { hash: host4_hash(key), tag: u64::from(key), shift: TAG4_SHIFT, key: None }
        } else {
            let key = host6_key(key6(address));
            let hash = host6_hash(key);
            Self { hash, tag: host6_tag(hash), shift: TAG6_SHIFT, key: Some(key) }
        }
    }

    /// The bucket of a table of `1 << bits`.
    pub(crate) fn bucket(&self, bits: u32) -> u32 {
        TableRef { slot: 0, bits }.bucket(self.hash)
    }

    /// The id in a bucket's words, if the address is there.
    pub(crate) fn find(&self, bucket: &[u64]) -> Option<u16> {
        let at = (0..BUCKET_SLOTS).find(|&at| {
            let key =
                (bucket.get(SLOTS as usize + 2 * at), bucket.get(SLOTS as usize + 2 * at + 1));
            self.is(bucket[at]) && self.key.is_none_or(|[a, b]| key == (Some(&a), Some(&b)))
        })?;
        Some(id(bucket[at]))
    }

    fn is(&self, slot: u64) -> bool {
        slot >> self.shift == self.tag && id(slot) != 0
    }
}

fn id(slot: u64) -> u16 {
    (slot & ((1 << ID_BITS) - 1)) as u16
}

/// The hosts in the words of one bucket, with the ids of their entries.
pub(crate) fn hosts_of(
    family: Family,
    bucket: &[u64],
) -> impl Iterator<Item = (IpAddr, u16)> + use<> {
    let hosts: [_; BUCKET_SLOTS] = std::array::from_fn(|at| {
        let (slot, key) = (bucket[at], BUCKET_SLOTS + 2 * at);
        let address = match bucket.get(key..key + 2) {
            _ if id(slot) == 0 => return None,
            _ if family == Family::V4 => address4((slot >> TAG4_SHIFT) as u32),
            Some(&[a, b]) => address6([a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32]),
            _ => return None,
        };
        Some((address, id(slot)))
    });
    hosts.into_iter().flatten()
}

/// Words of a bucket.
pub(crate) fn bucket_words(family: Family) -> u32 {
    match family {
        Family::V4 => BUCKET4_WORDS,
        Family::V6 => BUCKET6_WORDS,
    }
}

/// Hosts a table of `1 << bits` buckets is meant for.
pub(crate) fn capacity(family: Family, bits: u32) -> usize {
    (LOAD[family as usize] as usize) << bits
}

/// The smallest table for that many hosts, as a power of two of buckets.
pub(crate) fn bits_for(family: Family, hosts: usize) -> u32 {
    (SMALL_TABLE_BITS..32).find(|&bits| capacity(family, bits) >= hosts).unwrap_or(32)
}

/// The hosts of one family.
#[derive(Debug)]
pub(crate) struct Table {
    words: Words,
    family: Family,
    bits: u32,
    len: usize,
}

impl Table {
    /// The table in `words`, which hold `1 << bits` buckets.
    pub(crate) fn new(words: Words, family: Family, bits: u32) -> Self {
        let mut table = Self { words, family, bits, len: 0 };
        table.len = table.iter().count();
        table
    }

    /// Takes every host out.
    pub(crate) fn clear(&mut self) {
        (0..bucket_words(self.family) << self.bits).for_each(|word| self.words.set(word, 0));
        self.len = 0;
    }

    /// Its number of buckets as a power of two.
    pub(crate) fn bits(&self) -> u32 {
        self.bits
    }

    /// The hosts in it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The id of a host's entry.
    pub(crate) fn get(&self, probe: &Probe) -> Option<u16> {
        self.find(probe).map(|at| id(self.words.get(at)))
    }

    /// Gives a host an entry. Returns the id it had; `Err` if it has none and its bucket is
    /// full.
    ///
    /// # Errors
    /// Its bucket is full.
    pub(crate) fn insert(&mut self, probe: &Probe, id: u16) -> Result<Option<u16>, ()> {
        let slot = probe.tag << probe.shift | u64::from(id);
        if let Some(at) = self.find(probe) {
            let before = self::id(self.words.get(at));
            self.words.set(at, slot);
            return Ok(Some(before));
        }
        let first = self.first(probe);
        let mut slots = first..first + SLOTS;
        // Another with the same bits of the hash: what is left to chance is kept from happening.
        if slots.clone().any(|at| probe.is(self.words.get(at))) {
            return Err(());
        }
        let at = slots.find(|&at| self::id(self.words.get(at)) == 0).ok_or(())?;
        if let Some([a, b]) = probe.key {
            let key = key_of(first, at);
            self.words.set(key, a);
            self.words.set(key + 1, b);
        }
        // The store releases: what finds the slot finds the key.
        self.words.set(at, slot);
        self.len += 1;
        Ok(None)
    }

    /// Takes a host out. Returns the id it had.
    pub(crate) fn remove(&mut self, probe: &Probe) -> Option<u16> {
        let at = self.find(probe)?;
        let before = id(self.words.get(at));
        self.words.set(at, 0);
        self.len -= 1;
        Some(before)
    }

    /// Every host and the id of its entry.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (IpAddr, u16)> {
        let words = bucket_words(self.family);
        (0..1u32 << self.bits).flat_map(move |bucket| {
            let mut copy = [0; BUCKET6_WORDS as usize];
            for (at, word) in (bucket * words..).zip(&mut copy[..words as usize]) {
                *word = self.words.get(at);
            }
            hosts_of(self.family, &copy[..words as usize])
        })
    }

    fn first(&self, probe: &Probe) -> u32 {
        probe.bucket(self.bits) * bucket_words(self.family)
    }

    fn find(&self, probe: &Probe) -> Option<u32> {
        let first = self.first(probe);
        (first..first + SLOTS).find(|&at| {
            let key = key_of(first, at);
            probe.is(self.words.get(at))
                && probe
                    .key
                    .is_none_or(|[a, b]| self.words.get(key) == a && self.words.get(key + 1) == b)
        })
    }
}

/// The first of the two words of a slot's key.
fn key_of(bucket: u32, slot: u32) -> u32 {
    bucket + SLOTS + 2 * (slot - bucket)
}

#[cfg(test)]
mod tests;
