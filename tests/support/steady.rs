//! Clients that never rest: every datagram and connection of a trusted one must be
//! answered, none of an untrusted one may be.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, recv,
    setsockopt, socket, sockopt,
};

use crate::{netns::Netns, packets::hex, traffic};

/// Between two datagrams of a client.
const DATAGRAM_PERIOD: Duration = Duration::from_millis(4);
/// Between two connections of a client.
const CONNECTION_PERIOD: Duration = Duration::from_millis(20);
/// How long an untrusted connection is left open for an answer.
const GLIMPSE: Duration = Duration::from_millis(40);
/// How long a trusted client waits for an answer before it counts as lost: long enough for
/// any machine, as the test does not measure time.
const PATIENCE: Duration = Duration::from_secs(15);
/// Room for minutes of datagrams: what is not answered was dropped on the way.
const BUFFER: usize = 16 << 20;

/// What became of the traffic so far.
#[derive(Debug, Default)]
pub struct Seen {
    stop: AtomicBool,
    /// Datagrams of trusted clients that were answered.
    pub answered: AtomicU64,
    /// Connections of trusted clients that were answered at the first packet.
    pub connected: AtomicU64,
    /// Datagrams and connection attempts of untrusted clients.
    pub refused: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

impl Seen {
    /// Ends every client at its next packet.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// What should not have happened, in words; the first few.
    pub fn wrong(&self) -> Vec<String> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn note(&self, what: String) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() < 20 {
            wrong.push(what);
        }
    }
}

/// Calls `work` at a fixed rate until the traffic stops.
fn paced(seen: &Seen, period: Duration, mut work: impl FnMut()) {
    let mut next = Instant::now();
    while !seen.stopped() {
        work();
        // After a stall the rate stays: a burst could overrun the device's queue.
        next = (next + period).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn udp(netns: &Netns, address: SocketAddr) -> UdpSocket {
    netns.run(|| {
        let socket = UdpSocket::bind(address)
            .unwrap_or_else(|error| panic!("cannot bind UDP socket to {address}: {error}"));
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).expect("a large receive buffer");
        socket.set_nonblocking(true).expect("a socket that does not block");
        socket
    })
}

/// The socket of a [`udp_server`], on every address. It must be there before a client sends.
pub fn udp_listener(netns: &Netns, port: u16) -> UdpSocket {
    udp(netns, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port))
}

/// Answers every datagram until the traffic stops and everything was answered. `strangers`
/// must never be seen.
pub fn udp_server(socket: &UdpSocket, strangers: &[IpAddr], seen: &Seen) {
    let mut buffer = [0; 64];
    let mut quiet = Instant::now();
    // Clients wait for their last answers after the stop.
    while !seen.stopped() || quiet.elapsed() < PATIENCE / 5 {
        match socket.recv_from(&mut buffer) {
            Ok((len, from)) => {
                quiet = Instant::now();
                if strangers.contains(&from.ip().to_canonical()) {
                    seen.note(format!("a datagram of {from} reached the server"));
                    continue;
                }
                if let Err(error) = socket.send_to(&buffer[..len], from) {
                    seen.note(format!("the server could not answer {from}: {error}"));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => seen.note(format!("the server could not receive: {error}")),
        }
    }
}

/// A trusted client that numbers its datagrams and misses every one that is not answered.
pub fn trusted_udp(netns: &Netns, source: IpAddr, target: SocketAddr, seen: &Seen) {
    let socket = udp(netns, SocketAddr::new(source, 0));
    let mut waiting = BTreeSet::new();
    let mut number = 0u64;
    paced(seen, DATAGRAM_PERIOD, || {
        match socket.send_to(&number.to_be_bytes(), target) {
            Ok(_) => _ = waiting.insert(number),
            Err(error) => seen.note(format!("{source} could not send a datagram: {error}")),
        }
        number += 1;
        take_answers(&socket, &mut waiting, seen);
    });
    let deadline = Instant::now() + PATIENCE;
    while !waiting.is_empty() && Instant::now() < deadline {
        take_answers(&socket, &mut waiting, seen);
        thread::sleep(Duration::from_millis(1));
    }
    if let Some(first) = waiting.first() {
        seen.note(format!(
            "{} of {number} datagrams of {source} were never answered, first number {first}",
            waiting.len()
        ));
    }
}

fn take_answers(socket: &UdpSocket, waiting: &mut BTreeSet<u64>, seen: &Seen) {
    let mut buffer = [0; 8];
    while let Ok((8, _)) = socket.recv_from(&mut buffer) {
        if waiting.remove(&u64::from_be_bytes(buffer)) {
            seen.answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// An untrusted client of the UDP port.
pub fn untrusted_udp(netns: &Netns, source: IpAddr, target: SocketAddr, seen: &Seen) {
    let socket = udp(netns, SocketAddr::new(source, 0));
    paced(seen, DATAGRAM_PERIOD, || {
        match socket.send_to(b"let me in", target) {
            Ok(_) => _ = seen.refused.fetch_add(1, Ordering::Relaxed),
            Err(error) => seen.note(format!("{source} could not send a datagram: {error}")),
        }
        if let Ok((_, from)) = socket.recv_from(&mut [0; 64]) {
            seen.note(format!("{from} answered a datagram of {source}"));
        }
    });
}

/// A trusted client that connects again and again, and keeps one connection throughout.
pub fn trusted_tcp(netns: &Netns, source: IpAddr, target: SocketAddr, seen: &Seen) {
    let mut kept = match traffic::connect(netns, source, target, PATIENCE) {
        Ok(stream) => stream,
        Err(error) => return seen.note(format!("{source} could not connect at all: {error}")),
    };
    paced(seen, CONNECTION_PERIOD, || {
        if let Err(error) = traffic::round_trip(&mut kept, PATIENCE) {
            seen.note(format!("the open connection of {source} was disturbed: {error}"));
        }
        match connect_once(netns, source, target) {
            Ok(0) => _ = seen.connected.fetch_add(1, Ordering::Relaxed),
            Ok(lost) => seen.note(format!("a connection of {source} took {lost} packets more")),
            Err(error) => seen.note(format!("a connection of {source} failed: {error}")),
        }
    });
}

/// Connects and closes; the number of packets that had to be sent again until connected.
fn connect_once(netns: &Netns, source: IpAddr, target: SocketAddr) -> io::Result<u32> {
    let mut stream = traffic::connect(netns, source, target, PATIENCE)?;
    let sent_again = retransmissions(&stream)?;
    traffic::round_trip(&mut stream, PATIENCE)?;
    // Closed by a reset: thousands of connections in TIME_WAIT would use up the ports.
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&stream, sockopt::Linger, &linger)?;
    Ok(sent_again)
}

fn retransmissions(stream: &TcpStream) -> io::Result<u32> {
    // SAFETY: a structure of plain integers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `info`, which lives on.
    let result = unsafe {
        libc::getsockopt(
            stream.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(info.tcpi_total_retrans) }
}

/// An untrusted client of the TCP port. Whatever TCP packet comes back to it, a refusal too,
/// counts as an answer.
pub fn untrusted_tcp(netns: &Netns, source: IpAddr, target: SocketAddr, seen: &Seen) {
    let answers = tcp_packets_to(netns, source);
    paced(seen, CONNECTION_PERIOD, || {
        seen.refused.fetch_add(1, Ordering::Relaxed);
        match traffic::connect(netns, source, target, GLIMPSE) {
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            Err(error) => seen.note(format!("a connection of {source} was answered: {error}")),
            Ok(_) => seen.note(format!("{source} was let in")),
        }
        if let Some(packet) = answer_to(&answers, source) {
            seen.note(format!("a TCP packet was sent back to {source}: {}", hex(&packet)));
        }
    });
}

/// The next packet to `address` that a raw socket has, if it has one.
fn answer_to(raw: &OwnedFd, address: IpAddr) -> Option<Vec<u8>> {
    const DESTINATION: std::ops::Range<usize> = 16..20;
    let IpAddr::V4(address) = address else { panic!("{address} is not an IPv4 address") };
    let mut buffer = [0; 64];
    while let Ok(len) = recv(raw.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
        // Until it is bound, the socket gets what is sent to other addresses as well.
        if buffer[..len].get(DESTINATION) == Some(&address.octets()) {
            return Some(buffer[..len].to_vec());
        }
    }
    None
}

/// A raw socket that gets a copy of every TCP packet to an IPv4 address of the namespace.
fn tcp_packets_to(netns: &Netns, address: IpAddr) -> OwnedFd {
    netns.run(|| {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Inet, SockType::Raw, flags, SockProtocol::Tcp)
            .expect("a raw socket");
        let address = SockaddrStorage::from(SocketAddr::new(address, 0));
        bind(socket.as_raw_fd(), &address).expect("bind the raw socket");
        socket
    })
}
