//! A packet's source address, and what the maps know about it.

use aya_ebpf::maps::lpm_trie::Key;
use dbfw_common::{
    BUCKET_SLOTS, Entry, FRONT4_HOST, FRONT4_NET, Family, ID_BITS, SMALL_TABLE, SMALL_TABLE_BITS,
    TAG4_SHIFT, TAG6_SHIFT, TableRef, front4_coarse, front4_fine, front6_long_coarse,
    front6_long_fine, front6_short_coarse, front6_short_fine, host4_hash, host6_hash, host6_key,
    host6_tag,
};

use crate::maps::{
    ENTRIES, FRONT4, FRONT6, HOSTS4, HOSTS4_SMALL, HOSTS6, HOSTS6_SMALL, NETS4, NETS6,
};

/// An address of a packet, its source mostly: its octets as on the wire, IPv4 in the first
/// word.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) family: Family,
    pub(crate) words: [u32; 4],
}

impl Source {
    /// Writes `family` and no address. Word by word, because the compiler would do it with memset,
    /// whose loop the verifier refuses to a loader without CAP_PERFMON.
    ///
    /// # Safety
    /// The pointer is valid for writes of a whole value.
    #[inline(always)]
    pub(crate) unsafe fn clear(at: *mut Self, family: Family) {
        // SAFETY: the caller's; volatile, so that the stores stay stores.
        unsafe {
            (&raw mut (*at).family).write_volatile(family);
            let words = (&raw mut (*at).words).cast::<u32>();
            words.write_volatile(0);
            words.add(1).write_volatile(0);
            words.add(2).write_volatile(0);
            words.add(3).write_volatile(0);
        }
    }

    /// The entry of the longest prefix that covers the address, if any does.
    #[inline(always)]
    pub(crate) fn entry(&self) -> Option<&'static Entry> {
        match self.family {
            Family::V4 => entry4(self.words[0]),
            Family::V6 => entry6(self.words),
        }
    }
}

#[inline(always)]
fn entry4(address: u32) -> Option<&'static Entry> {
    let (word, bit) = front4_coarse(address);
    if FRONT4.get(word)? >> bit & 1 == 0 {
        return None;
    }
    let (word, shift) = front4_fine(address);
    let touched = FRONT4.get(word)? >> shift;
    if touched & FRONT4_HOST != 0
        && let Some(entry) = host4(address)
    {
        return Some(entry);
    }
    if touched & FRONT4_NET == 0 {
        return None;
    }
    NETS4.get(&Key::new(32, address))
}

#[inline(always)]
fn entry6(address: [u32; 4]) -> Option<&'static Entry> {
    let mut in_trie = false;
    let (word, bit) = front6_long_coarse(address);
    if FRONT6.get(word)? >> bit & 1 != 0 {
        let (word, net, host) = front6_long_fine(address);
        let touched = *FRONT6.get(word)?;
        if touched >> host & 1 != 0
            && let Some(entry) = host6(address)
        {
            return Some(entry);
        }
        in_trie = touched >> net & 1 != 0;
    }
    let (word, bit) = front6_short_coarse(address);
    if !in_trie && FRONT6.get(word)? >> bit & 1 != 0 {
        let (word, bit) = front6_short_fine(address);
        in_trie = FRONT6.get(word)? >> bit & 1 != 0;
    }
    if !in_trie {
        return None;
    }
    NETS6.get(&Key::new(128, address))
}

#[inline(always)]
fn host4(address: u32) -> Option<&'static Entry> {
    // SAFETY: a word of the map; the agent writes it through memory.
    let table = TableRef::from_word(unsafe { FRONT4.get_ptr(0)?.read_volatile() });
    let hash = host4_hash(address);
    let bucket = match table.slot {
        // Without a call: the kernel puts a look-up in place where it knows the map's size.
        SMALL_TABLE => HOSTS4_SMALL.get_ptr(small_bucket(hash))?,
        slot => HOSTS4.get_value_ptr_mut(slot, &table.bucket(hash))?.cast_const(),
    };
    let slots = bucket.cast::<u64>();
    let mut i = 0;
    while i < BUCKET_SLOTS {
        // SAFETY: a word of the bucket; address and id are one load, so both are of one host.
        let slot = unsafe { slots.add(i).read_volatile() };
        if (slot >> TAG4_SHIFT) as u32 == address && id(slot) != 0 {
            return ENTRIES.get(id(slot));
        }
        i += 1;
    }
    None
}

#[inline(always)]
fn host6(address: [u32; 4]) -> Option<&'static Entry> {
    let key = host6_key(address);
    let hash = host6_hash(key);
    // SAFETY: as in `host4`.
    let table = TableRef::from_word(unsafe { FRONT6.get_ptr(0)?.read_volatile() });
    let bucket = match table.slot {
        SMALL_TABLE => HOSTS6_SMALL.get_ptr(small_bucket(hash))?,
        slot => HOSTS6.get_value_ptr_mut(slot, &table.bucket(hash))?.cast_const(),
    };
    let (slots, keys) = (bucket.cast::<u64>(), BUCKET_SLOTS);
    let mut i = 0;
    while i < BUCKET_SLOTS {
        // SAFETY: words of the bucket. The key may be that of an earlier or later host of the
        // slot; but the slot's own bits of the hash say whose the id is.
        unsafe {
            let slot = slots.add(i).read_volatile();
            if slot >> TAG6_SHIFT == host6_tag(hash)
                && id(slot) != 0
                && slots.add(keys + 2 * i).read_volatile() == key[0]
                && slots.add(keys + 2 * i + 1).read_volatile() == key[1]
            {
                return ENTRIES.get(id(slot));
            }
        }
        i += 1;
    }
    None
}

/// The bucket of a small table for an address with this hash.
#[inline(always)]
fn small_bucket(hash: u64) -> u32 {
    TableRef { slot: SMALL_TABLE, bits: SMALL_TABLE_BITS }.bucket(hash)
}

/// The id of the entry a slot names; 0: it is free.
#[inline(always)]
fn id(slot: u64) -> u32 {
    (slot & ((1 << ID_BITS) - 1)) as u32
}
