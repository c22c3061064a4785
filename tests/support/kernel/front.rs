//! FRONT4 and FRONT6: which leading bits any prefix touches.

use std::ops::Range;

use aya::maps::Map;
use dbfw_common::{FRONT_COARSE_WORDS, FRONT_WORDS, FRONT4, FRONT6};
use ipnet::IpNet;

use super::{Kernel, fail};
use crate::sys;

/// One of the two bit arrays as the kernel has it.
pub(super) struct Front {
    words: Vec<u64>,
}

impl Front {
    pub(super) fn new() -> Self {
        Self { words: vec![0; FRONT_WORDS as usize] }
    }

    fn mark(&mut self, net: IpNet) {
        let leading = match net {
            IpNet::V4(net) => net.network().to_bits(),
            IpNet::V6(net) => (net.network().to_bits() >> 96) as u32,
        };
        let length = u32::from(net.prefix_len());
        let coarse = FRONT_COARSE_WORDS as usize;
        set(&mut self.words[..coarse], leading >> 16, 16 - length.min(16));
        set(&mut self.words[coarse..], leading >> 8, 24 - length.min(24));
    }
}

/// Sets the `1 << exponent` bits from `first` on; `first` is a multiple of their number.
fn set(words: &mut [u64], first: u32, exponent: u32) {
    let word = (first / 64) as usize;
    if exponent < 6 {
        let bits = (1u64 << (1 << exponent)) - 1;
        words[word] |= bits << (first % 64);
    } else {
        words[word..word + (1 << (exponent - 6))].fill(u64::MAX);
    }
}

impl Kernel {
    pub(super) fn mark(&mut self, net: IpNet) {
        let old = self.front(net).words.clone();
        self.front(net).mark(net);
        self.write_front(net, &old);
    }

    /// Computes both arrays anew from every entry.
    pub(super) fn rebuild_front(&mut self) {
        for family in ["0.0.0.0/0", "::/0"].map(|any| any.parse::<IpNet>()) {
            let family = family.unwrap_or_else(|error| panic!("{error}"));
            let mut front = Front::new();
            let nets = self.entries.keys();
            let same = |net: &&IpNet| net.max_prefix_len() == family.max_prefix_len();
            nets.filter(same).for_each(|net| front.mark(*net));
            let old = std::mem::replace(self.front(family), front);
            self.write_front(family, &old.words);
        }
    }

    fn front(&mut self, family: IpNet) -> &mut Front {
        match family {
            IpNet::V4(_) => &mut self.front4,
            IpNet::V6(_) => &mut self.front6,
        }
    }

    fn write_front(&mut self, family: IpNet, old: &[u64]) {
        let (name, front) = match family {
            IpNet::V4(_) => (FRONT4, &self.front4),
            IpNet::V6(_) => (FRONT6, &self.front6),
        };
        for changed in changes(old, &front.words) {
            let values: Vec<u8> =
                front.words[changed.clone()].iter().flat_map(|word| word.to_ne_bytes()).collect();
            let Some(Map::Array(data)) = self.ebpf.map(name) else {
                panic!("the object has no array {name}");
            };
            let fd = std::os::fd::AsFd::as_fd(data.fd());
            sys::update_array(fd, changed.start as u32, changed.len() as u32, &values)
                .unwrap_or_else(|error| fail("write", name, &error.into()));
        }
    }
}

/// Runs of words that differ. Short gaps are written too: a call costs more than they do.
fn changes(old: &[u64], new: &[u64]) -> Vec<Range<usize>> {
    const GAP: usize = 16;
    let mut runs: Vec<Range<usize>> = Vec::new();
    for at in (0..new.len()).filter(|&at| old[at] != new[at]) {
        match runs.last_mut() {
            Some(run) if at <= run.end + GAP => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}
