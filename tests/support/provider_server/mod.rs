//! A server that speaks DigitalOcean's API, on HTTPS or HTTP, with an account that tests
//! change and faults they inject. Beside it: Aptible's database endpoints (`/vhosts/{id}`) and
//! lists on the web (`/feed/{name}`).
//!
//! The wire types are the client's own; what the client does not read comes from the
//! published examples. The server holds no policy: it says what a test put into the account.

mod account;
mod answer;
mod api;
mod certificates;
pub mod control;
mod delivery;
mod exchange;
mod fault;
mod initial;
mod listen;
mod pydo;
mod rate;
mod request;

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub use account::{Account, Database, Feed};
pub use certificates::Certificate;
pub use fault::{Fault, FaultId, On};
pub use initial::Initial;
pub use rate::Limits;
pub use request::{Authorization, Resource, Seen};

use self::{certificates::Certificates, exchange::Shared, listen::Order};
use crate::netns::Netns;

/// How long the server may take to start, to stop, and to carry out an order.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where and how a server listens. Without changes: HTTPS at a free port of 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The address; port 0 is a free one.
    pub address: SocketAddr,
    /// Whether to speak TLS.
    pub tls: bool,
    /// Names the certificate is for, besides the address, 127.0.0.1, ::1 and localhost.
    pub names: &'a [&'a str],
    /// The network namespace to listen in.
    pub netns: Option<&'a Netns>,
    /// The account's token; one that was made up if there is none.
    pub token: Option<&'a str>,
    /// Where the authority's certificate and the token are written; a temporary directory if
    /// there is none.
    pub directory: Option<&'a Path>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            tls: true,
            names: &[],
            netns: None,
            token: None,
            directory: None,
        }
    }
}

/// A running server. It stops when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    tls: bool,
    directory: PathBuf,
    shared: Arc<Shared>,
    certificates: Arc<Certificates>,
    /// None once the thread is to end.
    orders: Option<UnboundedSender<listen::Ordered>>,
    ended: Receiver<()>,
    _temporary: Option<TempDir>,
}

impl Server {
    /// Starts a server with an account that has a token and a default VPC.
    pub fn start(options: Options<'_>) -> Self {
        let (directory, temporary) = match options.directory {
            Some(directory) => {
                fs::create_dir_all(directory).expect("make the server's directory");
                (directory.to_owned(), None)
            }
            None => {
                let temporary =
                    TempDir::with_prefix("dbfw-provider-").expect("a directory for the server");
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let more: Vec<String> = options.names.iter().map(|name| (*name).to_owned()).collect();
        let names = certificates::names(options.address.ip(), &more);
        let certificates = Arc::new(Certificates::new(&names));
        fs::write(directory.join("ca.pem"), certificates.ca()).expect("write the authority");
        let shared = Arc::new(Shared::new(Account::new(options.token, Timestamp::now())));

        let (orders, received) = unbounded_channel();
        let (ready, address) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let listening = listen::Listening {
            address: options.address,
            netns: options.netns.map(Netns::open),
            tls: options.tls.then(|| certificates.server_config()),
            shared: Arc::clone(&shared),
        };
        thread::Builder::new()
            .name("provider-server".to_owned())
            .spawn(move || {
                // Dropped, whatever way the thread ends.
                let _end: mpsc::Sender<()> = end;
                listen::run(listening, received, &ready);
            })
            .expect("start the server's thread");
        let address = address
            .recv_timeout(PATIENCE)
            .expect("the server's thread says where it listens")
            .unwrap_or_else(|error| panic!("cannot listen at {}: {error}", options.address));
        let server = Self {
            address,
            tls: options.tls,
            directory,
            shared,
            certificates,
            orders: Some(orders),
            ended,
            _temporary: temporary,
        };
        server.write_token(&server.account(|account| account.token.clone()));
        server
    }

    /// "https://127.0.0.1:41234", as `api_url` takes it.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate of its authority, PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// A file with the token, mode 0600. It holds the account's, until a test writes another.
    pub fn token_file(&self) -> PathBuf {
        self.directory.join("token")
    }

    /// Replaces the token file as a careful administrator does. What the account takes is
    /// [`Account::token`].
    pub fn write_token(&self, token: &str) {
        let fresh = self.directory.join("token.new");
        let written = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut file| writeln!(file, "{token}"))
            .and_then(|()| fs::rename(&fresh, self.token_file()));
        written.expect("write the token file");
    }

    /// Looks at the account, or changes it. Requests wait meanwhile, and so would another call
    /// of the server's from within `work`, for ever.
    pub fn account<T>(&self, work: impl FnOnce(&mut Account) -> T) -> T {
        work(&mut self.shared.lock().account)
    }

    /// Makes requests go wrong. The first fault that fits a request has it.
    pub fn inject(&self, on: On, fault: Fault) -> FaultId {
        self.shared.lock().faults.inject(on, fault)
    }

    /// How many answers a fault has spoiled.
    pub fn hits(&self, fault: FaultId) -> usize {
        self.shared.lock().faults.hits(fault)
    }

    /// Ends a fault.
    pub fn clear(&self, fault: FaultId) {
        self.shared.lock().faults.clear(fault);
    }

    /// Ends every fault.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear_all();
    }

    /// Every request since the start, or since they were forgotten.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// How many requests there were for each kind of thing.
    pub fn counts(&self) -> BTreeMap<Resource, usize> {
        let mut counts = BTreeMap::new();
        for seen in &self.shared.lock().seen {
            *counts.entry(seen.resource).or_default() += 1;
        }
        counts
    }

    /// How many requests there were for one kind of thing.
    pub fn count(&self, resource: Resource) -> usize {
        self.counts().remove(&resource).unwrap_or_default()
    }

    /// Forgets the requests so far. They go on counting for the limits.
    pub fn forget_requests(&self) {
        self.shared.lock().seen.clear();
    }

    /// Waits until something holds of the requests, for at most ten seconds.
    pub fn wait(&self, what: &str, holds: impl Fn(&[Seen]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.shared.lock().seen) {
            let seen = self.requests();
            assert!(Instant::now() < deadline, "waited in vain for {what}: {seen:#?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Moves the server's clock forward: hours of the limits end, nodes get their droplets.
    pub fn advance(&self, by: Duration) {
        let by = SignedDuration::try_from(by).expect("a time that can pass");
        self.shared.lock().advance(by);
    }

    /// Shows this certificate from now on, and ends the connections that saw another.
    pub fn show(&self, certificate: Certificate) {
        self.certificates.show(certificate);
        self.order(Order::Retire);
    }

    /// Stops listening and cuts every connection: the API is down.
    pub fn down(&self) {
        self.order(Order::Down);
    }

    /// Listens again, at the same address.
    pub fn up(&self) {
        self.order(Order::Up);
    }

    fn order(&self, order: Order) {
        let (done, result) = mpsc::channel();
        let sent = self.orders.as_ref().is_some_and(|orders| orders.send((order, done)).is_ok());
        assert!(sent, "the server's thread has ended");
        result
            .recv_timeout(PATIENCE)
            .expect("the server carries out an order")
            .expect("the server listens again");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.orders = None;
        // Ends with an error: nothing is ever sent, the sender goes with the thread.
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}
