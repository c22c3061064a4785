//! Real connections between namespaces.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};

use crate::netns::Netns;

/// How long an untrusted client waits before its silence counts as refused: less than the
/// one second after which it would send its first packet again.
pub const SILENCE: Duration = Duration::from_millis(700);

/// A TCP server that answers every byte with the same byte. It ends when dropped.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Echo {
    /// Listens on every address (IPv4 and IPv6) of the namespace.
    pub fn start(netns: &Netns, port: u16) -> Self {
        let listener = netns.run(move || {
            TcpListener::bind(SocketAddr::new(IpAddr::from([0u16; 8]), port))
                .expect("listen in the namespace")
        });
        listener.set_nonblocking(true).expect("a listener that does not block");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let acceptor = thread::spawn(move || {
            let mut connections = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let stopped = Arc::clone(&stopped);
                        connections.push(thread::spawn(move || echo(stream, &stopped)));
                    }
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
            for connection in connections {
                connection.join().expect("an echo thread");
            }
        });
        Self { stop, acceptor: Some(acceptor) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// A UDP server that sends every datagram back to where it came from. It ends when dropped.
#[derive(Debug)]
pub struct UdpEcho {
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl UdpEcho {
    /// Listens on every address (IPv4 and IPv6) of the namespace.
    pub fn start(netns: &Netns, port: u16) -> Self {
        let socket = netns.run(move || {
            UdpSocket::bind(SocketAddr::new(IpAddr::from([0u16; 8]), port))
                .expect("listen in the namespace")
        });
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a read timeout");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let server = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((length, client)) = socket.recv_from(&mut buffer) {
                    // A client that is gone is not this server's trouble.
                    let _ = socket.send_to(&buffer[..length], client);
                }
            }
        });
        Self { stop, server: Some(server) }
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// Sends a datagram of `length` bytes from `source`, an address of the namespace, and waits for
/// it to come back. It is sent again every second.
///
/// # Errors
///
/// `TimedOut` if nothing came back within `timeout`, `ConnectionRefused` if the host said that
/// nobody listens, and what sending said.
pub fn datagram(
    netns: &Netns,
    source: IpAddr,
    target: SocketAddr,
    length: usize,
    timeout: Duration,
) -> io::Result<()> {
    let socket = netns.run(move || UdpSocket::bind(SocketAddr::new(source, 0)))?;
    socket.connect(target)?;
    let sent: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
    let mut received = vec![0; length + 1];
    let deadline = Instant::now() + timeout;
    loop {
        socket.send(&sent)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let again = left.min(Duration::from_secs(1)).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(again))?;
        match socket.recv(&mut received) {
            Ok(count) if received[..count] == sent => return Ok(()),
            Ok(count) => {
                return Err(io::Error::other(format!("{length} bytes came back as {count}")));
            }
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                if left.is_zero() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
}

fn echo(mut stream: TcpStream, stopped: &AtomicBool) {
    stream.set_nonblocking(false).expect("a stream that blocks");
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a read timeout");
    let mut buffer = [0; 4096];
    while !stopped.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                if stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

/// Connects from `source`, an address of the namespace, within `timeout`.
pub fn connect(
    netns: &Netns,
    source: IpAddr,
    target: SocketAddr,
    timeout: Duration,
) -> io::Result<TcpStream> {
    netns.run(move || {
        let family = if source.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        // The port is chosen at connect: binding first would use up ports for all targets.
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
        let stream = TcpStream::from(socket);
        connect_within(stream, target, timeout)
    })
}

fn connect_within(
    stream: TcpStream,
    target: SocketAddr,
    timeout: Duration,
) -> io::Result<TcpStream> {
    use nix::{
        errno::Errno,
        poll::{PollFd, PollFlags, PollTimeout, poll},
        sys::socket::connect,
    };
    use std::os::fd::AsFd as _;

    stream.set_nonblocking(true)?;
    match connect(stream.as_raw_fd(), &SockaddrStorage::from(target)) {
        Ok(()) => {}
        Err(Errno::EINPROGRESS) => {
            let timeout = PollTimeout::try_from(timeout).map_err(io::Error::other)?;
            let mut waiting = [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)];
            if poll(&mut waiting, timeout)? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
        }
        Err(errno) => return Err(errno.into()),
    }
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Whether a byte sent over a new connection comes back: the server was reached.
pub fn reaches(netns: &Netns, source: IpAddr, target: SocketAddr) -> bool {
    connect(netns, source, target, SILENCE)
        .is_ok_and(|mut stream| round_trip(&mut stream, SILENCE).is_ok())
}

/// Sends a byte and waits for it to come back.
pub fn round_trip(stream: &mut TcpStream, timeout: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(b"x")?;
    let mut byte = [0];
    stream.read_exact(&mut byte)
}
