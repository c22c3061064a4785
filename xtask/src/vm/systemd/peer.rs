//! The other end of a machine's network: sends SYNs from trusted addresses and from strangers
//! without a pause, and keeps a record of the answers to each.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, NetSlice, PacketBuilder, PacketBuilderStep,
    SlicedPacket, TcpHeader, TcpSlice, TransportSlice, icmpv6,
};

use super::traffic::{CONTROL_PORT, Client, DATABASE_PORT, Expected, Ledger, Reply};

/// The MAC address of the machine's NIC.
pub(super) const HOST_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

/// The machine's addresses.
pub(super) const HOST: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1));

const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];

/// Between two clients. Each of the four has its turn every 32 ms, as well as timers go.
const TICK: Duration = Duration::from_millis(8);

/// Timeout of a read or a write of the socket.
const WAIT: Duration = Duration::from_millis(1);

/// Attempts of each address that a phase needs at least, so that it shows something.
const ENOUGH: usize = 20;

/// The beginning of a phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase(usize);

/// The other end of the network. It ends when dropped.
#[derive(Debug)]
pub(super) struct Peer {
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// Receives frames at one socket, and sends them to the machine's.
    pub(super) fn start(own: &Path, machine: &Path) -> Result<Self> {
        let socket = UnixDatagram::bind(own)
            .with_context(|| format!("cannot make the socket {}", own.display()))?;
        socket.set_read_timeout(Some(WAIT)).context("cannot limit how long a read takes")?;
        socket.set_write_timeout(Some(WAIT)).context("cannot limit how long a write takes")?;
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let wire = Wire { socket, machine: machine.to_owned(), ledger: Arc::clone(&ledger) };
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || wire.run(&stopped));
        Ok(Self { ledger, stop, thread: Some(thread) })
    }

    /// Begins a phase.
    pub(super) fn begin(&self) -> Phase {
        Phase(lock(&self.ledger).len())
    }

    /// Ends a phase: what happens in it has happened, and is watched for some time more. An error
    /// says what was against expectation, else the text says what was seen.
    pub(super) fn end(
        &self,
        phase: Phase,
        expected: Expected,
        patience: Duration,
    ) -> Result<String> {
        // Not from the phase's begin: a machine that boots may have no network yet.
        self.wait_answered(self.begin().0, ENOUGH, patience)?;
        let end = self.begin();
        // The machine takes frames in order: these are answered after all of the phase.
        self.wait_answered(end.0, 1, patience)?;
        let ledger = lock(&self.ledger);
        let seen = ledger.seen(phase.0..end.0);
        let mut faults = seen.faults(expected);
        // Of those that came after, some are still to be answered.
        faults.extend(ledger.seen(end.0..).faults(expected.only_out()));
        drop(ledger);
        if !faults.is_empty() {
            bail!("{}\n{seen}", faults.join("\n"));
        }
        Ok(seen.to_string())
    }

    /// Waits until so many attempts of each address since `start` were answered on the port
    /// that is not protected.
    fn wait_answered(&self, start: usize, count: usize, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                bail!("the peer ended");
            }
            let seen = lock(&self.ledger).seen(start..);
            let Some(lacking) = seen.lacks(count) else { return Ok(()) };
            if Instant::now() > deadline {
                bail!(
                    "{lacking} is answered by nothing on port {CONTROL_PORT}, which nobody protects"
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that sends and receives.
struct Wire {
    socket: UnixDatagram,
    machine: PathBuf,
    ledger: Arc<Mutex<Ledger>>,
}

impl Wire {
    fn run(&self, stop: &AtomicBool) {
        let mut waiting = Client::ALL.iter();
        let mut round = 0u16;
        let mut next = Instant::now();
        let mut frame = [0; 2048];
        while !stop.load(Ordering::Relaxed) {
            match self.socket.recv(&mut frame) {
                Ok(length) => self.receive(&frame[..length]),
                Err(error) if is_timeout(&error) => {}
                Err(_) => return,
            }
            let now = Instant::now();
            if now < next {
                continue;
            }
            let Some(client) = waiting.next() else {
                waiting = Client::ALL.iter();
                round = round.wrapping_add(1);
                continue;
            };
            next = (next + TICK).max(now);
            let port = 1024 + round % 60_000;
            for address in client.addresses() {
                // Without the first, the second would show nothing.
                if self.send(&syn(address, port, DATABASE_PORT)) {
                    lock(&self.ledger).add(address, port);
                    self.send(&syn(address, port, CONTROL_PORT));
                }
            }
        }
    }

    /// Sends a frame, unless no machine listens or it takes none: then the frame is lost, as on
    /// a wire.
    fn send(&self, frame: &[u8]) -> bool {
        self.socket.send_to(frame, &self.machine).is_ok()
    }

    fn receive(&self, frame: &[u8]) {
        let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return };
        match (&packet.net, &packet.transport) {
            (Some(NetSlice::Arp(arp)), _) => {
                if let Some(answer) = arp_reply(&arp.to_packet()) {
                    self.send(&answer);
                }
            }
            (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) => {
                let asks = icmp.type_u8() == icmpv6::TYPE_NEIGHBOR_SOLICITATION;
                let target = icmp.payload().first_chunk::<16>().filter(|_| asks);
                if let Some(target) = target {
                    let source = ip.header().source_addr();
                    if let Some(answer) = neighbor_advertisement(source, Ipv6Addr::from(*target)) {
                        self.send(&answer);
                    }
                }
            }
            (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) => {
                self.answered(ip.header().destination_addr().into(), tcp);
            }
            (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Tcp(tcp))) => {
                self.answered(ip.header().destination_addr().into(), tcp);
            }
            _ => {}
        }
    }

    fn answered(&self, address: IpAddr, tcp: &TcpSlice<'_>) {
        let (port, from) = (tcp.destination_port(), tcp.source_port());
        let reply = match (tcp.syn(), tcp.rst()) {
            (true, false) if tcp.ack() => Reply::SynAck,
            (false, true) => Reply::Reset,
            _ => return,
        };
        lock(&self.ledger).answer(address, port, from, reply);
        if reply == Reply::SynAck {
            // The machine forgets the connection, and has room for the next.
            let number = tcp.acknowledgment_number();
            self.send(&finish(to_host(address).tcp(port, from, number, 0).rst()));
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn to_host(source: IpAddr) -> PacketBuilderStep<etherparse::IpHeaders> {
    let ethernet = PacketBuilder::ethernet2(MAC, HOST_MAC);
    match source {
        IpAddr::V4(source) => ethernet.ipv4(source.octets(), HOST.0.octets(), 64),
        IpAddr::V6(source) => ethernet.ipv6(source.octets(), HOST.1.octets(), 64),
    }
}

fn syn(source: IpAddr, port: u16, to: u16) -> Vec<u8> {
    let number = u32::from(port) << 12;
    finish(to_host(source).tcp(port, to, number, 64_240).syn())
}

fn finish(packet: PacketBuilderStep<TcpHeader>) -> Vec<u8> {
    let mut frame = Vec::with_capacity(packet.size(0));
    packet.write(&mut frame, &[]).expect("the packet is small, and a vector takes everything");
    frame
}

/// The answer to who has the address of a client.
fn arp_reply(request: &ArpPacket) -> Option<Vec<u8>> {
    let request = request.try_eth_ipv4().ok()?;
    let target = Ipv4Addr::from(request.target_ipv4);
    if request.operation != ArpOperation::REQUEST || Client::of(target.into()).is_none() {
        return None;
    }
    let reply = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REPLY,
        &MAC,
        &request.target_ipv4,
        &request.sender_mac,
        &request.sender_ipv4,
    )
    .ok()?;
    let packet = PacketBuilder::ethernet2(MAC, HOST_MAC).arp(reply);
    let mut frame = Vec::with_capacity(packet.size());
    packet.write(&mut frame).ok()?;
    Some(frame)
}

/// The same for IPv6.
fn neighbor_advertisement(asks: Ipv6Addr, target: Ipv6Addr) -> Option<Vec<u8>> {
    Client::of(target.into())?;
    // Solicited, and replaces what the machine knows.
    const FLAGS: [u8; 4] = [0x60, 0, 0, 0];
    const TARGET_LINK_LAYER_ADDRESS: [u8; 2] = [2, 1];
    let payload = [&target.octets()[..], &TARGET_LINK_LAYER_ADDRESS, &MAC].concat();
    let packet = PacketBuilder::ethernet2(MAC, HOST_MAC)
        .ipv6(target.octets(), asks.octets(), 255)
        .icmpv6_raw(icmpv6::TYPE_NEIGHBOR_ADVERTISEMENT, 0, FLAGS);
    let mut frame = Vec::with_capacity(packet.size(payload.len()));
    packet.write(&mut frame, &payload).ok()?;
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_what_they_say() {
        for client in Client::ALL {
            for address in client.addresses() {
                assert_eq!(Client::of(address), Some(client));
                let frame = syn(address, 1024, DATABASE_PORT);
                let packet = SlicedPacket::from_ethernet(&frame).expect("a frame");
                let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP") };
                assert!(tcp.syn() && !tcp.ack());
                assert_eq!((tcp.source_port(), tcp.destination_port()), (1024, DATABASE_PORT));
            }
        }
        assert_eq!(neighbor_advertisement(HOST.1, HOST.1), None, "the machine's own address");
    }
}
