//! [`Presence`]: the presence bits of one family, in memory that the programs read.

use dbfw_common::Family;
use dbfw_core::{policy::Entries, source::Prefix};

use super::{front, table::Table};
use crate::{error::DatapathError, keys::FRONT, maps::Maps, mmap::Words};

/// Removed hosts whose bits may stand, at least; and then a part of those that are there.
const STALE: usize = 4_096;
const STALE_PART: usize = 4;
/// Networks looked at to find out whether a block is still touched. Beyond, it counts as such.
const SCAN: usize = 4_096;

/// The bits of FRONT4 or FRONT6.
#[derive(Debug)]
pub(crate) struct Presence {
    /// The map's memory, while it is needed: some megabytes that would count as the agent's.
    words: Option<Words>,
    family: Family,
    /// At most so many bits stand for what is gone. Bits found by a hash, and those of hosts,
    /// cannot be cleared without looking at all others.
    stale: usize,
}

impl Presence {
    /// The bits of a family, whose memory is not mapped yet.
    pub(crate) fn new(family: Family) -> Self {
        Self { words: None, family, stale: 0 }
    }

    /// Maps the memory, which everything below needs.
    ///
    /// # Errors
    /// The system does not map it.
    pub(crate) fn map_memory(&mut self, maps: &Maps) -> Result<(), DatapathError> {
        let words = maps.words(FRONT[self.family as usize], front::words(self.family))?;
        self.words = Some(words);
        Ok(())
    }

    /// Gives the memory back.
    pub(crate) fn unmap_memory(&mut self) {
        self.words = None;
    }

    fn get(&self, word: u32) -> u64 {
        debug_assert!(self.words.is_some(), "the bits are read without memory");
        self.words.as_ref().map_or(0, |words| words.get(word))
    }

    fn set(&self, word: u32, bits: u64) {
        debug_assert!(self.words.is_some(), "the bits are changed without memory");
        if let Some(words) = &self.words {
            words.set(word, bits);
        }
    }

    /// The word that says which table is in use.
    pub(crate) fn table_word(&self) -> u64 {
        self.get(0)
    }

    /// Says which table is in use from now on.
    pub(crate) fn set_table_word(&self, word: u64) {
        self.set(0, word);
    }

    /// Sets the bits of a prefix that is about to be inserted.
    pub(crate) fn add(&self, prefix: &Prefix, in_trie: bool) {
        front::marks(prefix, in_trie, |word, bits| {
            self.set(word, self.get(word) | bits);
        });
    }

    /// Notes that a host is gone from the table.
    pub(crate) fn host_gone(&mut self) {
        self.stale += 1;
    }

    /// Clears what only `prefix` touched, which is in the trie no more; `nets` is what is.
    pub(crate) fn net_gone(&mut self, prefix: &Prefix, nets: &Entries) {
        if self.family == Family::V6 && prefix.len() >= dbfw_common::LONG_NET6 {
            self.stale += 1;
            return;
        }
        let block = front::block(prefix);
        let mut ancestors = (0..block.len()).map(|len| Prefix::new(block.addr(), len));
        if ancestors.any(|ancestor| nets.contains_key(&ancestor)) {
            return;
        }
        let mut kept: Vec<(u32, u64)> = Vec::new();
        // Prefixes sort by address, so those inside the block follow it at once.
        for (at, (inside, _)) in nets.range(block..).enumerate() {
            if !block.covers(inside) {
                break;
            }
            if at == SCAN && block.len() == 24 {
                self.stale += 1;
                return;
            }
            if self.family == Family::V4 || inside.len() < dbfw_common::LONG_NET6 {
                if block.len() == 24 {
                    return;
                }
                front::net_blocks(inside, |word, bits| match kept.last_mut() {
                    Some((last, all)) if *last == word => *all |= bits,
                    _ => kept.push((word, bits)),
                });
            }
        }
        // Nested networks come again to words that were passed.
        kept.sort_unstable_by_key(|(word, _)| *word);
        let mut kept = kept.into_iter().peekable();
        front::net_blocks(&block, |word, bits| {
            let mut keep = 0;
            while let Some((_, bits)) = kept.next_if(|(at, _)| *at <= word) {
                keep |= bits;
            }
            self.set(word, self.get(word) & !(bits & !keep));
        });
        front::coarse_blocks(&block, |word, bits, mut below, count| {
            if below.all(|word| self.get(word) & count == 0) {
                self.set(word, self.get(word) & !bits);
            }
        });
    }

    /// Makes the bits fit again, if too many may stand for what is gone.
    pub(crate) fn tidy(&mut self, table: &Table, nets: &Entries) {
        if self.stale > STALE + (table.len() + nets.len()) / STALE_PART {
            self.fit(table, nets);
        }
    }

    /// Makes the bits those of the sets, no more and no less.
    pub(crate) fn fit(&mut self, table: &Table, nets: &Entries) {
        let mut exact = vec![0u64; front::words(self.family) as usize];
        let mut mark = |word: u32, bits| exact[word as usize] |= bits;
        for (address, _) in table.iter() {
            front::marks(&Prefix::host(address), false, &mut mark);
        }
        for prefix in nets.keys() {
            front::marks(prefix, true, &mut mark);
        }
        for (index, &word) in exact.iter().enumerate().skip(dbfw_common::FRONT_HEAD as usize) {
            self.set(index as u32, word);
        }
        self.stale = 0;
    }
}

#[cfg(test)]
mod tests;
