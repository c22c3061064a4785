//! The maps of 64-bit words: PORTS, FRONT4 and FRONT6. The writer has them as memory
//! (BPF_F_MMAPABLE); the kernel does not map a map that was opened read-only, so readers
//! ask for each word.

use std::{
    io,
    num::NonZeroUsize,
    ops::Range,
    os::fd::BorrowedFd,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::{Array, MapData, MapError};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The words of a map that was opened read-only.
pub(super) struct WordReader(Array<MapData, u64>);

impl WordReader {
    pub(super) fn new(words: Array<MapData, u64>) -> Self {
        Self(words)
    }

    /// The word at `index`.
    pub(super) fn get(&self, index: u32) -> Result<u64, MapError> {
        self.0.get(&index, 0)
    }

    /// Whether the bit is set.
    pub(super) fn bit(&self, bit: u32) -> Result<bool, MapError> {
        Ok(self.get(bit / 64)? >> (bit % 64) & 1 != 0)
    }
}

/// The words of a map as memory, in the order of their keys.
#[derive(Debug)]
pub(super) struct Words {
    start: NonNull<AtomicU64>,
    len: usize,
}

// SAFETY: the memory is shared with the kernel anyway; every access is atomic.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Maps the `len` words of `map`.
    pub(super) fn map(map: BorrowedFd<'_>, len: u32) -> io::Result<Self> {
        let len = len as usize;
        let bytes = NonZeroUsize::new(len * size_of::<u64>())
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address the kernel chooses, unmapped when dropped.
        let start = unsafe { mmap(None, bytes, protection, MapFlags::MAP_SHARED, map, 0) }?;
        Ok(Self { start: start.cast(), len })
    }

    fn word(&self, index: usize) -> Option<&AtomicU64> {
        // SAFETY: in bounds, and page alignment is more than a word needs.
        (index < self.len).then(|| unsafe { self.start.add(index).as_ref() })
    }

    /// The word at `index`; 0 beyond the end.
    pub(super) fn get(&self, index: u32) -> u64 {
        self.word(index as usize).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Writes the word at `index`.
    pub(super) fn set(&self, index: u32, value: u64) {
        if let Some(word) = self.word(index as usize)
            && word.load(Ordering::Relaxed) != value
        {
            // Release: a program that sees the bit cleared finds the entry already gone.
            word.store(value, Ordering::Release);
        }
    }

    /// Whether the bit is set.
    pub(super) fn bit(&self, bit: u32) -> bool {
        self.get(bit / 64) >> (bit % 64) & 1 != 0
    }

    /// Clears one bit.
    pub(super) fn clear_bit(&self, bit: u32) {
        self.set(bit / 64, self.get(bit / 64) & !(1 << (bit % 64)));
    }

    /// Sets a range of bits.
    pub(super) fn set_bits(&self, bits: Range<u32>) {
        for_each_word(bits, |index, mask| self.set(index, self.get(index) | mask));
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference to it outlives `self`.
        let _ = unsafe { munmap(self.start.cast(), self.len * size_of::<u64>()) };
    }
}

/// Calls `visit` with every word that a range of bits touches, and the bits of it.
pub(super) fn for_each_word(bits: Range<u32>, mut visit: impl FnMut(u32, u64)) {
    let mut bit = bits.start;
    while bit < bits.end {
        let (index, offset) = (bit / 64, bit % 64);
        let count = (64 - offset).min(bits.end - bit);
        visit(index, (u64::MAX >> (64 - count)) << offset);
        bit += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_words() {
        let mut seen = Vec::new();
        for_each_word(62..130, |index, mask| seen.push((index, mask)));
        assert_eq!(seen, [(0, 3 << 62), (1, u64::MAX), (2, 3)]);
        for_each_word(5..5, |_, _| panic!("an empty range touches nothing"));
    }
}
