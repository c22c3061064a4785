//! A tun device whose other end is the test: it writes the packets that arrive on the
//! device and reads what the host sends out of it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::OpenOptionsExt as _,
    },
    time::{Duration, Instant},
};

use etherparse::{PacketBuilder, PacketHeaders, TransportHeader};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::netns::Netns;

/// The device; it vanishes when dropped.
#[derive(Debug)]
pub struct Tun {
    device: File,
}

impl Tun {
    /// Makes device `name`, of IP packets without any header before them.
    pub fn new(netns: &Netns, name: &str) -> Self {
        // SAFETY: plain data, for which zero is a valid value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        assert!(name.len() < request.ifr_name.len(), "{name} is no interface's name");
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        let device = netns.run(|| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open("/dev/net/tun")
                .expect("open /dev/net/tun")
        });
        // SAFETY: the request is initialised and of the size the kernel reads and writes.
        let made = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        assert_eq!(made, 0, "cannot make {name}: {}", io::Error::last_os_error());
        Self { device }
    }

    /// Lets the device say that it is of the link type `kind` (ARPHRD_…).
    pub fn set_link_type(&self, kind: libc::c_ulong) {
        // SAFETY: TUNSETLINK takes its argument by value.
        let set = unsafe { libc::ioctl(self.device.as_raw_fd(), libc::TUNSETLINK, kind) };
        assert_eq!(set, 0, "cannot set the link type: {}", io::Error::last_os_error());
    }

    /// Lets a TCP SYN from `source` to `target` arrive on the device.
    pub fn syn(&mut self, source: SocketAddr, target: SocketAddr) {
        let builder = match (source.ip(), target.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                PacketBuilder::ipv4(from.octets(), to.octets(), 64)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                PacketBuilder::ipv6(from.octets(), to.octets(), 64)
            }
            _ => panic!("{source} and {target} are not of one family"),
        };
        let mut packet = Vec::new();
        builder
            .tcp(source.port(), target.port(), 1, 65_000)
            .syn()
            .write(&mut packet, &[])
            .expect("writing to memory");
        let written = self.device.write(&packet).expect("write a packet to the device");
        assert_eq!(written, packet.len(), "the device took a part of a packet");
    }

    /// The flags of the first TCP packet the host sends to `to` within `patience`.
    pub fn answer(&mut self, to: SocketAddr, patience: Duration) -> Option<TcpAnswer> {
        let deadline = Instant::now() + patience;
        let mut buffer = [0; 2048];
        loop {
            match self.device.read(&mut buffer) {
                Ok(count) => {
                    if let Some(answer) = tcp_to(to, &buffer[..count]) {
                        return Some(answer);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = deadline.checked_duration_since(Instant::now())?;
                    let timeout = PollTimeout::try_from(left).expect("a short wait");
                    let mut waiting = [PollFd::new(self.device.as_fd(), PollFlags::POLLIN)];
                    poll(&mut waiting, timeout).expect("wait for a packet");
                }
                Err(error) => panic!("cannot read from the device: {error}"),
            }
        }
    }
}

/// How a host answers a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpAnswer {
    /// SYN and ACK: somebody listens.
    SynAck,
    /// RST.
    Reset,
}

fn tcp_to(to: SocketAddr, packet: &[u8]) -> Option<TcpAnswer> {
    let headers = PacketHeaders::from_ip_slice(packet).ok()?;
    let (ipv4, ipv6) = (headers.net.as_ref()?.ipv4_ref(), headers.net.as_ref()?.ipv6_ref());
    let destination = match (ipv4, ipv6) {
        (Some((header, _)), _) => IpAddr::from(header.destination),
        (_, Some((header, _))) => IpAddr::from(header.destination),
        _ => return None,
    };
    match headers.transport? {
        TransportHeader::Tcp(tcp)
            if destination == to.ip() && tcp.destination_port == to.port() =>
        {
            match (tcp.syn, tcp.ack, tcp.rst) {
                (true, true, _) => Some(TcpAnswer::SynAck),
                (_, _, true) => Some(TcpAnswer::Reset),
                _ => None,
            }
        }
        _ => None,
    }
}
