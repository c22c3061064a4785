//! Settings of the C library's allocator: for a process that lives for months, works a
//! few milliseconds an hour, and shares its host with a database.

/// Blocks from this many bytes on go back to the kernel when they are freed. Unless it is set,
/// glibc raises it to the largest block that was ever freed, and keeps what a long list once
/// took (mallopt(3), M_MMAP_THRESHOLD).
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 256 << 10;

/// Arenas: one for the loop, one for the other threads.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;

/// Has freed blocks that are large given back from now on.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    for (option, value) in [(libc::M_MMAP_THRESHOLD, LARGE), (libc::M_ARENA_MAX, ARENAS)] {
        // SAFETY: sets a number in the allocator, which takes its own lock.
        if unsafe { libc::mallopt(option, value) } == 0 {
            tracing::debug!(option, value, "mallopt refused a value");
        }
    }
}

/// Gives back what is free now: after work that took many small blocks.
pub(super) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes the allocator's own locks and frees nothing that is in use.
    let _ = unsafe { libc::malloc_trim(0) };
}
