//! When a source's packets begin to pass: packets sent all the time, and a tap behind the
//! filter that waits for the first.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike as _, bind,
    recv, send, setsockopt, socket, sockopt,
};

use crate::{
    line::{INTERFACE, Line},
    sets::Pattern,
};

/// Between two packets.
const PERIOD: Duration = Duration::from_micros(250);
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the source is in a frame.
const SOURCE: std::ops::Range<usize> = 26..30;

/// Packets of one source that are not let in yet.
pub(super) struct Probe {
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<io::Result<()>>>,
    tap: Option<JoinHandle<Option<Instant>>>,
}

impl Probe {
    pub(super) fn start(line: &Line, source: &str) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot watch packets: {error}");
        let address: Ipv4Addr = source.parse().map_err(|error| format!("{source}: {error}"))?;
        let frame = line.frame(&Pattern::One(address.into()));
        let out = line.outside.run(|| packet_socket(line.ifindex())).map_err(failed)?;
        let interface = line.sut.ifindex(INTERFACE);
        let tap = line.sut.run(|| packet_socket(interface)).map_err(failed)?;
        let time = nix::sys::time::TimeVal::new(0, 50_000);
        setsockopt(&tap, sockopt::ReceiveTimeout, &time).map_err(|error| failed(error.into()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, ended) = (Arc::clone(&stop), Arc::clone(&stop));
        let sender = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                send(out.as_raw_fd(), &frame, MsgFlags::empty())?;
                thread::sleep(PERIOD);
            }
            Ok(())
        });
        let tap = thread::spawn(move || first(&tap, address, &ended));
        Ok(Self { stop, sender: Some(sender), tap: Some(tap) })
    }

    /// Time from `began` to the first packet that was let in.
    pub(super) fn let_in(mut self, began: Instant) -> Result<Duration, String> {
        let seen = self.tap.take().and_then(|tap| tap.join().ok()).flatten();
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(error)) = self.sender.take().and_then(|sender| sender.join().ok()) {
            return Err(format!("cannot send: {error}"));
        }
        let seen = seen.ok_or_else(|| format!("no packet was let in for {PATIENCE:?}"))?;
        // Before the change nothing may pass, or something else was measured.
        seen.checked_duration_since(began)
            .ok_or_else(|| "a packet was let in before the change".to_owned())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn first(tap: &OwnedFd, source: Ipv4Addr, ended: &AtomicBool) -> Option<Instant> {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 256];
    while Instant::now() < deadline && !ended.load(Ordering::Relaxed) {
        if let Ok(length) = recv(tap.as_raw_fd(), &mut buffer, MsgFlags::empty())
            && buffer[..length].get(SOURCE) == Some(&source.octets())
        {
            return Some(Instant::now());
        }
    }
    None
}

/// On an interface of the thread's namespace; it gets what the interface's filter lets in.
fn packet_socket(ifindex: u32) -> io::Result<OwnedFd> {
    let socket =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    // SAFETY: a structure of plain integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = ifindex as i32;
    // SAFETY: a whole address of the length given.
    let address = unsafe {
        LinkAddr::from_raw(
            (&raw const address).cast(),
            Some(size_of::<libc::sockaddr_ll>() as libc::socklen_t),
        )
    }
    .ok_or_else(|| io::Error::other("no packet address"))?;
    bind(socket.as_raw_fd(), &address)?;
    Ok(socket)
}
