//! [`PacketSocket`]: the packets that come in for some ports, seen and left alone.

use std::{
    io,
    mem::{size_of, zeroed},
    os::fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd},
};

use libc::{c_int, c_void, sockaddr_ll, socklen_t};
use tokio::io::unix::AsyncFd;

use super::{
    filter::{attach, filter},
    sys::{check, set},
};

/// Bytes that the kernel keeps for one that reads too slowly.
const BUFFER: c_int = 8 << 20;

/// A socket that gets what comes in for some ports, behind the filters that may drop it.
#[derive(Debug)]
pub(super) struct PacketSocket(AsyncFd<OwnedFd>);

impl PacketSocket {
    /// Opens a socket for a kind of packet: [`libc::ETH_P_IP`] or [`libc::ETH_P_IPV6`].
    ///
    /// # Errors
    /// The system refuses it.
    pub(super) fn open(kind: c_int, ports: &[(u16, u16)], most: u32) -> io::Result<Self> {
        let flags = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: the call takes numbers alone. With protocol 0 nothing arrives before it is bound.
        let raw = check(unsafe { libc::socket(libc::AF_PACKET, flags, 0) })?;
        // SAFETY: it was opened just now, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(raw) };
        attach(raw, &filter(ports, most))?;
        // Without the capability the usual size has to do.
        let _ = set(raw, libc::SO_RCVBUFFORCE, &BUFFER);
        // SAFETY: zeros are a valid address: any interface.
        let mut address: sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (kind as u16).to_be();
        let length = size_of::<sockaddr_ll>() as socklen_t;
        // SAFETY: the address is as long as is said.
        check(unsafe { libc::bind(raw, (&raw const address).cast(), length) })?;
        // SAFETY: an OwnedFd has its descriptor to itself until it is dropped.
        Ok(Self(unsafe { AsyncFd::register(socket)? }))
    }

    /// Waits for a packet to this host by another interface than the loopback one: its length in
    /// `packet`, from the IP header on. Can be cancelled at any time.
    ///
    /// # Errors
    /// The system's reason.
    pub(super) async fn receive(&self, packet: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            let got = ready.try_io(|socket| receive(socket.as_raw_fd(), packet));
            match got {
                Ok(Ok(Some(length))) => return Ok(length),
                // One that is not wanted, or an interface that went down.
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }

    /// The number of packets that came too fast to be read.
    pub(super) fn lost(&self) -> u32 {
        let mut counted = [0_u32; 2];
        let mut length = size_of::<[u32; 2]>() as socklen_t;
        let at = counted.as_mut_ptr().cast::<c_void>();
        // SAFETY: the kernel writes at most `length` bytes: two counters.
        let read = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                at,
                &raw mut length,
            )
        };
        if read == 0 { counted[1] } else { 0 }
    }
}

/// Reads a packet; `None`: it is not wanted.
fn receive(socket: RawFd, packet: &mut [u8]) -> io::Result<Option<usize>> {
    // SAFETY: zeros are a valid address.
    let mut address: sockaddr_ll = unsafe { zeroed() };
    let mut length = size_of::<sockaddr_ll>() as socklen_t;
    // SAFETY: the kernel writes no more than the lengths that it is given.
    let read = unsafe {
        libc::recvfrom(
            socket,
            packet.as_mut_ptr().cast(),
            packet.len(),
            0,
            (&raw mut address).cast(),
            &raw mut length,
        )
    };
    let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    let is_for_this_host = address.sll_pkttype == libc::PACKET_HOST;
    let is_loopback = address.sll_hatype == libc::ARPHRD_LOOPBACK;
    Ok((is_for_this_host && !is_loopback).then_some(read))
}
