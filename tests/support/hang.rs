//! A file that hangs whoever opens it, as one on a dead network file system does.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// Nobody gets past `open` of the file, until it is dropped: the kernel asks this for permission,
/// and it does not answer.
#[derive(Debug)]
pub struct Hang(OwnedFd);

impl Hang {
    /// Begins for a file that is there.
    pub fn on(path: &Path) -> Self {
        let path = CString::new(path.as_os_str().as_bytes()).expect("a path");
        let flags = libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC;
        // SAFETY: takes no pointer; a descriptor that is returned is nobody else's.
        let descriptor = unsafe { libc::fanotify_init(flags, libc::O_RDONLY as u32) };
        assert!(descriptor >= 0, "fanotify: {}", io::Error::last_os_error());
        // SAFETY: as above.
        let group = unsafe { OwnedFd::from_raw_fd(descriptor) };
        // SAFETY: `path` ends with a NUL and outlives the call.
        let marked = unsafe {
            libc::fanotify_mark(
                group.as_raw_fd(),
                libc::FAN_MARK_ADD,
                libc::FAN_OPEN_PERM,
                libc::AT_FDCWD,
                path.as_ptr(),
            )
        };
        assert_eq!(marked, 0, "fanotify: {}", io::Error::last_os_error());
        Self(group)
    }

    /// Whether somebody hangs.
    pub fn hangs_somebody(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which outlives the call.
        unsafe { libc::poll(&raw mut poll, 1, 0) > 0 }
    }
}
