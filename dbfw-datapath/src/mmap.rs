//! Maps of 64-bit words as memory: PORTS, FRONT4, FRONT6, OWN and the tables of hosts.
//!
//! For the writer alone: the kernel does not map a map that was opened read-only.

use std::{
    io,
    num::NonZeroUsize,
    os::fd::BorrowedFd,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The words of a map as memory, in the order of their keys.
#[derive(Debug)]
pub(crate) struct Words {
    start: NonNull<AtomicU64>,
    len: usize,
}

// SAFETY: the memory is shared with the kernel anyway; every access is atomic.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Maps the `len` words of `map`.
    ///
    /// # Errors
    /// The system does not map it.
    pub(crate) fn map(map: BorrowedFd<'_>, len: u32) -> io::Result<Self> {
        let len = len as usize;
        let bytes = NonZeroUsize::new(len * size_of::<u64>())
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address the kernel chooses, unmapped when dropped.
        let start = unsafe { mmap(None, bytes, protection, MapFlags::MAP_SHARED, map, 0) }?;
        Ok(Self { start: start.cast(), len })
    }

    /// Words of this process alone, all zero: what a table is tested on.
    #[cfg(test)]
    pub(crate) fn private(len: u32) -> Self {
        let bytes = NonZeroUsize::new(len as usize * size_of::<u64>()).unwrap();
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: as in `map`.
        let start = unsafe {
            nix::sys::mman::mmap_anonymous(None, bytes, protection, MapFlags::MAP_SHARED)
        };
        Self { start: start.unwrap().cast(), len: len as usize }
    }

    fn word(&self, index: usize) -> Option<&AtomicU64> {
        // SAFETY: in bounds, and page alignment is more than a word needs.
        (index < self.len).then(|| unsafe { self.start.add(index).as_ref() })
    }

    /// The word at `index`; 0 beyond the end.
    pub(crate) fn get(&self, index: u32) -> u64 {
        self.word(index as usize).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Writes the word at `index`.
    pub(crate) fn set(&self, index: u32, value: u64) {
        if let Some(word) = self.word(index as usize)
            && word.load(Ordering::Relaxed) != value
        {
            // Release: a program that sees the bit cleared finds the entry already gone.
            word.store(value, Ordering::Release);
        }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference to it outlives `self`.
        let _ = unsafe { munmap(self.start.cast(), self.len * size_of::<u64>()) };
    }
}
