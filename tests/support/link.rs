//! Frames that leave by an interface as they are.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use crate::netns::Netns;

/// A socket that sends frames out of one interface.
#[derive(Debug)]
pub struct FrameSocket {
    socket: OwnedFd,
    to: libc::sockaddr_ll,
}

impl FrameSocket {
    /// Opens it for an interface of a namespace.
    pub fn open(netns: &Netns, interface: &str) -> Self {
        let index = netns.ifindex(interface);
        let socket = netns.run(|| {
            // SAFETY: the call takes no memory.
            let fd =
                unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
            assert!(fd >= 0, "cannot open a packet socket: {}", io::Error::last_os_error());
            // SAFETY: the descriptor is new, and nobody else's.
            unsafe { OwnedFd::from_raw_fd(fd) }
        });
        // SAFETY: plain data, for which zero is a valid value.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = i32::try_from(index).expect("an index");
        Self { socket, to }
    }

    /// Sends a frame.
    ///
    /// # Errors
    ///
    /// The kernel does not take it: it is shorter than a header, or longer than the MTU.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: both addresses are of memory of the length that is given, which outlives the call.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const self.to).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
