//! A DNS server whose records a test changes: A and AAAA, over UDP (RFC 1035).

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::netns::Netns;

const HEADER: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
/// Where an answer's name is: in the question, right behind the header.
const NAME_OF_THE_QUESTION: u16 = 0xc000 | HEADER as u16;

/// What is said about a name. One the server does not know is NXDOMAIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The addresses of the family that was asked for, with a TTL in seconds.
    Addresses(u32, Vec<IpAddr>),
    /// SERVFAIL.
    Failure,
    /// No answer at all.
    Silence,
}

impl Reply {
    /// Addresses written as text.
    pub fn addresses(ttl: u32, addresses: &[&str]) -> Self {
        let parse = |text: &&str| text.parse().unwrap_or_else(|_| panic!("{text} is no address"));
        Self::Addresses(ttl, addresses.iter().map(parse).collect())
    }
}

#[derive(Debug, Default)]
struct Zone {
    replies: BTreeMap<String, Reply>,
    asked: BTreeMap<String, usize>,
}

/// A running server. It stops when dropped.
#[derive(Debug)]
pub struct DnsServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DnsServer {
    /// Starts one in a namespace. It knows no name.
    pub fn start(netns: &Netns) -> Self {
        Self::at(netns, (Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Starts one at an address of a namespace.
    pub fn at(netns: &Netns, address: SocketAddr) -> Self {
        let socket = netns.run(|| UdpSocket::bind(address).expect("listen for questions"));
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a read timeout");
        let address = socket.local_addr().expect("the server's address");
        let (zone, stop) = (Arc::<Mutex<Zone>>::default(), Arc::<AtomicBool>::default());
        let (known, stopped) = (Arc::clone(&zone), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                serve_one(&socket, &known);
            }
        });
        Self { address, zone, stop, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is said about a name from now on.
    pub fn set(&self, name: &str, reply: Reply) {
        lock(&self.zone).replies.insert(name.to_owned(), reply);
    }

    /// Forgets a name: NXDOMAIN.
    pub fn remove(&self, name: &str) {
        lock(&self.zone).replies.remove(name);
    }

    /// How many questions about a name there were.
    pub fn asked(&self, name: &str) -> usize {
        lock(&self.zone).asked.get(name).copied().unwrap_or_default()
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(zone: &Mutex<Zone>) -> MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve_one(socket: &UdpSocket, zone: &Mutex<Zone>) {
    let mut buffer = [0; 512];
    let (length, peer) = match socket.recv_from(&mut buffer) {
        Ok(received) => received,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
        Err(error) => panic!("cannot receive questions: {error}"),
    };
    if let Some(answer) = answer(&buffer[..length], &mut lock(zone)) {
        // Whoever asked may have gone.
        let _ = socket.send_to(&answer, peer);
    }
}

/// The answer to a query with one question; none to anything else, and where silence is
/// wanted.
fn answer(query: &[u8], zone: &mut Zone) -> Option<Vec<u8>> {
    let (name, end) = name(query)?;
    let question = query.get(HEADER..end + 4)?;
    let kind = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
    *zone.asked.entry(name.clone()).or_default() += 1;
    let (code, ttl, addresses) = match zone.replies.get(&name) {
        Some(Reply::Addresses(ttl, addresses)) => (0, *ttl, addresses.as_slice()),
        Some(Reply::Failure) => (2, 0, [].as_slice()),
        Some(Reply::Silence) => return None,
        None => (3, 0, [].as_slice()),
    };
    let records: Vec<Vec<u8>> = addresses
        .iter()
        .map(|address| match address {
            IpAddr::V4(v4) => (TYPE_A, v4.octets().to_vec()),
            IpAddr::V6(v6) => (TYPE_AAAA, v6.octets().to_vec()),
        })
        .filter(|(of, _)| *of == kind)
        .map(|(of, data)| record(of, ttl, &data))
        .collect();
    let mut answer = query.get(..2)?.to_vec();
    // A response that is recursive, as it was asked for: QR, RD and RA.
    answer.extend([0x81, 0x80 | code]);
    for count in [1, u16::try_from(records.len()).ok()?, 0, 0] {
        answer.extend(count.to_be_bytes());
    }
    answer.extend(question);
    answer.extend(records.concat());
    Some(answer)
}

fn record(kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    for field in [NAME_OF_THE_QUESTION, kind, CLASS_IN] {
        record.extend(field.to_be_bytes());
    }
    record.extend(ttl.to_be_bytes());
    record.extend((data.len() as u16).to_be_bytes());
    record.extend(data);
    record
}

/// The question's name in lower case without the last dot, and where it ends.
fn name(query: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join(".").to_ascii_lowercase(), at));
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).into_owned());
        at += length;
    }
}
