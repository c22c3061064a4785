//! Calls of the system that fail with a negative number.

use std::{io, mem::size_of, os::fd::RawFd};

use libc::{c_int, c_void, socklen_t};

/// Sets an option of a socket.
///
/// # Errors
/// The system's reason.
pub(super) fn set<T>(socket: RawFd, option: c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as socklen_t;
    let value = (&raw const *value).cast::<c_void>();
    // SAFETY: the value is as long as is said, and what it points to lives during the call.
    check(unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, value, length) }).map(drop)
}

/// The result of a call.
///
/// # Errors
/// The system's reason.
pub(super) fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
