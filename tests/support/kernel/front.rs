//! FRONT4 and FRONT6: which leading bits any prefix touches.

use std::ops::Range;

use aya::maps::Map;
use dbfw_common::{
    FRONT4, FRONT4_COARSE, FRONT4_FINE, FRONT4_WORDS, FRONT6, FRONT6_SHORT_COARSE,
    FRONT6_SHORT_FINE, FRONT6_WORDS, front6_long_coarse, front6_long_fine,
};
use ipnet::IpNet;

use super::{Kernel, entries::words, fail};
use crate::sys;

/// One of the two bit arrays as the kernel has it.
pub(super) struct Front {
    words: Vec<u64>,
}

/// Bits that stand beside each other for every so many leading bits.
struct Level {
    first_word: u32,
    leading: u32,
    /// Bits for each block, and the one of them that is set.
    bits: u32,
    bit: u32,
}

impl Front {
    pub(super) fn new(v4: bool) -> Self {
        Self { words: vec![0; if v4 { FRONT4_WORDS } else { FRONT6_WORDS } as usize] }
    }

    /// Sets the bits of a prefix, a host among them if the trie has it; the words it touches.
    fn mark(&mut self, net: IpNet, in_trie: bool) -> Vec<Range<u32>> {
        let level = |first_word, leading, bits, bit| Level { first_word, leading, bits, bit };
        let host = u32::from(net.prefix_len() == net.max_prefix_len() && !in_trie);
        let length = net.prefix_len();
        match net {
            IpNet::V4(v4) => {
                let leading = v4.network().to_bits();
                [level(FRONT4_COARSE, 20, 1, 0), level(FRONT4_FINE, 24, 2, 1 - host)]
                    .map(|level| self.mark_level(&level, leading, length))
                    .to_vec()
            }
            IpNet::V6(v6) if length < 48 => {
                let leading = (v6.network().to_bits() >> 96) as u32;
                [level(FRONT6_SHORT_COARSE, 16, 1, 0), level(FRONT6_SHORT_FINE, 24, 1, 0)]
                    .map(|level| self.mark_level(&level, leading, length))
                    .to_vec()
            }
            IpNet::V6(v6) => {
                let key = words(v6.network());
                let (coarse, bit) = front6_long_coarse(key);
                self.words[coarse as usize] |= 1 << bit;
                let (fine, of_net, of_host) = front6_long_fine(key);
                self.words[fine as usize] |= 1 << if host == 1 { of_host } else { of_net };
                vec![coarse..coarse + 1, fine..fine + 1]
            }
        }
    }

    fn mark_level(&mut self, level: &Level, leading: u32, length: u8) -> Range<u32> {
        let first = leading >> (32 - level.leading);
        let blocks = 1u32 << level.leading.saturating_sub(u32::from(length));
        let word = |block: u32| level.first_word + block * level.bits / 64;
        if blocks * level.bits < 64 {
            for block in first..first + blocks {
                let bit = block * level.bits + level.bit;
                self.words[word(block) as usize] |= 1 << (bit % 64);
            }
            return word(first)..word(first) + 1;
        }
        // As many blocks as there are begin at a multiple of their number.
        let all = if level.bits == 1 { u64::MAX } else { (u64::MAX / 3) << level.bit };
        let range = word(first)..word(first) + blocks * level.bits / 64;
        for value in &mut self.words[range.start as usize..range.end as usize] {
            *value |= all;
        }
        range
    }
}

impl Kernel {
    pub(super) fn mark(&mut self, net: IpNet) {
        let in_trie = self.overflow.contains(&net);
        for words in self.front(net).mark(net, in_trie) {
            self.write_front(net, words);
        }
    }

    /// Computes both arrays anew from every entry.
    pub(super) fn rebuild_front(&mut self) {
        /// Words that are compared and written at once.
        const RUN: usize = 512;
        for family in ["0.0.0.0/0", "::/0"].map(|any| any.parse::<IpNet>()) {
            let family = family.unwrap_or_else(|error| panic!("{error}"));
            let mut front = Front::new(family.max_prefix_len() == 32);
            let nets = self.entries.keys();
            let same = |net: &&IpNet| net.max_prefix_len() == family.max_prefix_len();
            nets.filter(same).for_each(|net| drop(front.mark(*net, self.overflow.contains(net))));
            // The head is no bit of a prefix.
            front.words[0] = self.front(family).words[0];
            let old = std::mem::replace(self.front(family), front);
            let new = &self.front(family).words;
            let runs = old.words.chunks(RUN).zip(new.chunks(RUN)).zip((0..).step_by(RUN));
            let changed = runs.filter(|((old, new), _)| old != new);
            let changed = changed.map(|((old, _), at)| at..at + old.len() as u32);
            for words in changed.collect::<Vec<_>>() {
                self.write_front(family, words);
            }
        }
    }

    /// Says which table of hosts a family uses.
    pub(super) fn write_table_word(&mut self, family: IpNet, word: u64) {
        self.front(family).words[0] = word;
        self.write_front(family, 0..1);
    }

    fn front(&mut self, family: IpNet) -> &mut Front {
        match family {
            IpNet::V4(_) => &mut self.front4,
            IpNet::V6(_) => &mut self.front6,
        }
    }

    fn write_front(&mut self, family: IpNet, words: Range<u32>) {
        let (name, front) = match family {
            IpNet::V4(_) => (FRONT4, &self.front4),
            IpNet::V6(_) => (FRONT6, &self.front6),
        };
        let values: Vec<u8> = front.words[words.start as usize..words.end as usize]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        let Some(Map::Array(data)) = self.ebpf.map(name) else {
            panic!("the object has no array {name}");
        };
        let fd = std::os::fd::AsFd::as_fd(data.fd());
        sys::update_array(fd, words.start, words.len() as u32, &values)
            .unwrap_or_else(|error| fail("write", name, &error.into()));
    }
}
