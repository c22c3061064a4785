//! Real agents in namespaces of their own, joined to the control plane's, with traffic.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use dbfw_tests::{
    agent::Host,
    control_plane::ControlPlane,
    netns::{Netns, veth},
};

use super::agents::DATABASE;

/// The port whose packets are judged, UDP: each packet shows a verdict.
const PORT: u16 = 5432;
/// Between two packets of the steady sources.
const STEADY: Duration = Duration::from_millis(20);
/// Between two packets of the source that is let in and cut off.
const CHANGING: Duration = Duration::from_millis(1);
/// Time for the packets that are on their way.
const SETTLED: Duration = Duration::from_millis(200);

/// Two namespaces, and the way from the host to the control plane.
pub(super) struct Place {
    number: u8,
    db: Netns,
    clients: Netns,
}

impl Place {
    pub(super) fn new(number: u8, control: &Netns) -> Self {
        let (db, clients) = (Netns::new("db"), Netns::new("clients"));
        veth((&db, "db0"), (&clients, "cl0"));
        veth((&db, "mg0"), (control, &format!("mg{number}")));
        let place = Self { number, db, clients };
        place.db.address("db0", &format!("{}/24", place.address(1)));
        for client in [TRUSTED, CHANGED, STRANGER] {
            place.clients.address("cl0", &format!("{}/24", place.address(client)));
        }
        place.db.address("mg0", &format!("10.90.{number}.2/24"));
        control.address(&format!("mg{number}"), &format!("{}/24", server_address(number)));
        place
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, last)
    }

    /// The value of a source that is trusted all the time.
    pub(super) fn trusted(&self) -> String {
        self.address(TRUSTED).to_string()
    }

    /// The value of the source that is let in and cut off.
    pub(super) fn changed(&self) -> String {
        self.address(CHANGED).to_string()
    }

    /// A host with this configuration of its database, which has not begun.
    pub(super) fn host(&self, tables: &str, provider: &str) -> Host<'_> {
        let host = Host::new(&self.db);
        let database = format!(
            "{tables}\n[[database]]\nname = \"{DATABASE}\"\nports = [\"udp/{PORT}\"]\n{provider}\n"
        );
        host.configure("interfaces = [\"db0\"]", &database);
        host
    }

    /// A host that joined, with its agent running.
    pub(super) fn joined(&self, server: &ControlPlane<'_>, join_token: &str) -> Host<'_> {
        let provider = format!("provider = {{ kind = \"server\", database = \"{DATABASE}\" }}");
        let mut host = self.host("", &provider);
        let file = host.path("join-token");
        fs::write(&file, join_token).expect("write the join token");
        let url = format!("https://{}:{}", server_address(self.number), server.port());
        let joined = host.dbfw(&["join", &url, "--token-file", &file.display().to_string()]);
        assert!(joined.status.success(), "{joined:?}");
        start(&mut host);
        host
    }

    /// Packets from all three sources, until the traffic is dropped.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic::start(self)
    }
}

/// Starts an agent, with the log that it has elsewhere, and waits until it is ready.
pub(super) fn start(host: &mut Host<'_>) {
    host.spawn_through(&["env", "DBFW_LOG=info"]);
    host.wait("the agent to be ready", |host| {
        host.json(&["status"]).is_some_and(|status| status["agent"]["ready"] == true)
    });
}

/// The address of the control plane towards a host.
pub(super) fn server_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 90, number, 1)
}

/// Last parts of the addresses of clients.
const TRUSTED: u8 = 2;
const CHANGED: u8 = 3;
const STRANGER: u8 = 9;

/// Datagrams with numbers, and those that got through.
pub(super) struct Traffic {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    sent: Arc<[AtomicU64; 2]>,
    let_in: Arc<[AtomicU64; 2]>,
    changing: Arc<Mutex<Changing>>,
}

/// The packets of the source that is let in and cut off.
#[derive(Default)]
struct Changing {
    /// The time of each packet.
    sent: Vec<Instant>,
    /// The numbers of packets that got through, and when.
    let_in: Vec<(u64, Instant)>,
}

impl Traffic {
    fn start(place: &Place) -> Self {
        let mut traffic = Self {
            stop: Arc::default(),
            threads: Vec::new(),
            sent: Arc::default(),
            let_in: Arc::default(),
            changing: Arc::default(),
        };
        let server = SocketAddr::new(place.address(1).into(), PORT);
        let socket = |netns: &Netns, address: IpAddr, port: u16| {
            netns.run(move || UdpSocket::bind((address, port)).expect("a socket"))
        };
        let receiver = socket(&place.db, Ipv4Addr::UNSPECIFIED.into(), PORT);
        receiver.set_read_timeout(Some(Duration::from_millis(50))).expect("a limit of time");
        let (stop, let_in) = (Arc::clone(&traffic.stop), Arc::clone(&traffic.let_in));
        let changing = Arc::clone(&traffic.changing);
        let own = [TRUSTED, STRANGER].map(|last| IpAddr::from(place.address(last)));
        traffic.threads.push(thread::spawn(move || {
            let mut datagram = [0; 8];
            while !stop.load(Ordering::Relaxed) {
                let Ok((8, from)) = receiver.recv_from(&mut datagram) else { continue };
                let now = Instant::now();
                match own.iter().position(|address| *address == from.ip()) {
                    Some(at) => {
                        let_in[at].fetch_add(1, Ordering::Relaxed);
                    }
                    None => lock(&changing).let_in.push((u64::from_be_bytes(datagram), now)),
                }
            }
        }));
        for (at, last) in [TRUSTED, STRANGER].into_iter().enumerate() {
            let sender = socket(&place.clients, place.address(last).into(), 0);
            let (stop, sent) = (Arc::clone(&traffic.stop), Arc::clone(&traffic.sent));
            traffic.threads.push(thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // Counted before: one that arrives was sent.
                    let number = sent[at].fetch_add(1, Ordering::Relaxed);
                    sender.send_to(&number.to_be_bytes(), server).expect("send");
                    sleep(STEADY);
                }
            }));
        }
        let sender = socket(&place.clients, place.address(CHANGED).into(), 0);
        let (stop, changing) = (Arc::clone(&traffic.stop), Arc::clone(&traffic.changing));
        traffic.threads.push(thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let number = {
                    let mut changing = lock(&changing);
                    changing.sent.push(Instant::now());
                    changing.sent.len() as u64 - 1
                };
                sender.send_to(&number.to_be_bytes(), server).expect("send");
                sleep(CHANGING);
            }
        }));
        traffic
    }

    /// Time from `began` to the first packet that got through after it; `None`: none did.
    pub(super) fn first_let_in(&self, began: Instant, patience: Duration) -> Option<Duration> {
        let deadline = Instant::now() + patience;
        loop {
            let first = lock(&self.changing).let_in.iter().find(|(_, at)| *at >= began).copied();
            match first {
                Some((_, at)) => return Some(at - began),
                None if Instant::now() > deadline => return None,
                None => sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Time from `began` to the first packet after which none gets through; `None`: some still do.
    pub(super) fn first_dropped(&self, began: Instant) -> Option<Duration> {
        sleep(SETTLED);
        let changing = lock(&self.changing);
        let last = changing.let_in.iter().map(|(number, _)| *number).max();
        let first = last.map_or(0, |last| last as usize + 1);
        // Of the last packets none may have got through, or it is not cut off.
        let at = changing.sent.get(first)?;
        (changing.sent.len() > first + 50).then(|| at.saturating_duration_since(began))
    }

    /// Packets of the trusted source that were lost, and of the stranger that got through, with
    /// how many each sent.
    pub(super) fn steady(&self) -> [(u64, u64); 2] {
        let load = |counts: &[AtomicU64; 2], at: usize| counts[at].load(Ordering::Relaxed);
        let sent = load(&self.sent, 0);
        sleep(SETTLED);
        let lost = sent.saturating_sub(load(&self.let_in, 0));
        [(lost, sent), (load(&self.let_in, 1), load(&self.sent, 1))]
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn lock(changing: &Mutex<Changing>) -> std::sync::MutexGuard<'_, Changing> {
    changing.lock().unwrap_or_else(PoisonError::into_inner)
}
