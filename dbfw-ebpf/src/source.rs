//! A packet's source address, and what the maps know about it.

use aya_ebpf::maps::lpm_trie::Key;
use dbfw_common::{Entry, Family, front4_coarse, front4_fine, front6_coarse, front6_fine};

use crate::maps::{FRONT4, FRONT6, HOSTS4, HOSTS6, NETS4, NETS6};

/// A source address: its octets as on the wire, IPv4 in the first word.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) family: Family,
    pub(crate) words: [u32; 4],
}

impl Source {
    /// What the address may reach: the longest prefix that covers it, if any does.
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
    let (word, bit) = front4_fine(address);
    if FRONT4.get(word)? >> bit & 1 == 0 {
        return None;
    }
    // SAFETY: entries are replaced as a whole by the agent; a value read while its element
    // is being reused is the old or the new one, and both are of a validated policy.
    match unsafe { HOSTS4.get(address) } {
        Some(entry) => Some(entry),
        None => NETS4.get(&Key::new(32, address)),
    }
}

#[inline(always)]
fn entry6(address: [u32; 4]) -> Option<&'static Entry> {
    let (word, bit) = front6_coarse(address);
    if FRONT6.get(word)? >> bit & 1 == 0 {
        return None;
    }
    let (word, bit) = front6_fine(address);
    if FRONT6.get(word)? >> bit & 1 == 0 {
        return None;
    }
    // SAFETY: as in `entry4`.
    match unsafe { HOSTS6.get(address) } {
        Some(entry) => Some(entry),
        None => NETS6.get(&Key::new(128, address)),
    }
}
