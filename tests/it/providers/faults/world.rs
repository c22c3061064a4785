//! One host, one account and one kind of answer that goes wrong in every way, one after the
//! other.

use std::{
    collections::BTreeSet,
    fs,
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use dbfw_tests::{
    agent::Host,
    netns::Netns,
    pair::{FRIEND4, HOST4, PORT, Pair, interfaces},
    provider_server::{Certificate, FaultId, Limits, Options, Resource, Server},
    site::PATIENCE as ANSWER,
    traffic::{connect, round_trip},
};
use nix::sys::signal::Signal;

use super::{
    super::common::{self, Kernel, PATIENCE},
    CLIENT,
    estate::Estate,
    table::{Setting, Trouble},
    told::Told,
};

/// How long what is gone stays.
pub(super) const GONE_AFTER: Duration = Duration::from_secs(1);

/// So often the agent has to have met a trouble.
pub(super) const POLLS: usize = 3;

pub(super) struct World<'p> {
    pub(super) pair: &'p Pair,
    pub(super) setting: Setting,
    pub(super) server: Server,
    pub(super) elsewhere: Server,
    pub(super) estate: Estate,
    pub(super) all: BTreeSet<String>,
    pub(super) host: Host<'p>,
    pub(super) kernel: Kernel,
    pub(super) told: Told,
    /// An open connection of who is let in by the target.
    pub(super) client: TcpStream,
    /// And of who is let in anyway.
    pub(super) friend: TcpStream,
    /// What goes on, for panics.
    pub(super) case: String,
    pub(super) injected: Option<FaultId>,
    /// How often the trouble has to be met, and how long it may take to end.
    pub(super) polls: usize,
    pub(super) patience: Duration,
    /// How often the subject went since the agent started.
    pub(super) gone: usize,
    pub(super) asked: Instant,
    /// Rules that the other database got.
    pub(super) added: u8,
}

impl<'p> World<'p> {
    /// Everything runs, and what is trusted is trusted.
    pub(super) fn new(pair: &'p Pair, setting: Setting) -> Self {
        let server = common::server(&pair.db);
        // Without TLS: whoever went there would not be kept from it by a certificate.
        let elsewhere = Server::start(Options {
            address: SocketAddr::from(([127, 0, 0, 2], 0)),
            tls: false,
            netns: Some(&pair.db),
            ..Options::default()
        });
        server.account(|account| account.limits = Limits { hour: u32::MAX, minute: None });
        let estate = Estate::new(&server, setting);
        let mut host = Host::new(&pair.db);
        let agent = format!("{}\ngone_after = \"{}s\"", interfaces(), GONE_AFTER.as_secs());
        host.configure(&agent, &estate.config(&server));
        host.start();
        let kernel = Kernel::open(&host);
        kernel.wait_for(&host, "orders", &estate.all());
        let world = Self {
            pair,
            setting,
            told: Told::new(server.account(|account| account.token.clone())),
            all: estate.all(),
            client: open(&pair.clients, true),
            friend: open(&pair.clients, false),
            case: String::new(),
            injected: None,
            polls: POLLS,
            patience: PATIENCE,
            gone: 0,
            asked: Instant::now(),
            added: 0,
            server,
            elsewhere,
            estate,
            host,
            kernel,
        };
        world.asserts_its_requests();
        world
    }

    /// The last assertions: nothing got where it must not.
    pub(super) fn finish(self) {
        self.told.assert_no_token(&self.host);
        assert_eq!(self.elsewhere.requests().len(), 0, "nobody asked the other server");
        let status = fs::read_to_string(format!("/proc/{}/status", self.host.pid()));
        let status = status.expect("the agent runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let peak = peak.expect("the kernel tells the peak");
        assert!(peak < 400 << 10, "the agent took {peak} KiB");
    }

    pub(super) fn begin(&mut self, trouble: &Trouble) {
        let (fault, on) = match trouble {
            Trouble::Answer(fault) => (fault, self.estate.requests()),
            Trouble::SecondPage(fault) => (fault, self.estate.requests().query("page", "2")),
            Trouble::Certificate(certificate) => return self.server.show(*certificate),
            Trouble::Down => return self.server.down(),
        };
        self.injected = Some(self.server.inject(on, fault.clone()));
    }

    pub(super) fn end(&mut self, trouble: &Trouble) {
        match (trouble, self.injected.take()) {
            (Trouble::Certificate(_), _) => self.server.show(Certificate::Good),
            (Trouble::Down, _) => self.server.up(),
            (_, Some(fault)) => self.server.clear(fault),
            (_, None) => {}
        }
    }

    pub(super) fn hits(&self) -> usize {
        self.injected.map_or(usize::MAX, |fault| self.server.hits(fault))
    }

    /// Another agent, which has to ask for everything.
    pub(super) fn restart(&mut self) {
        self.host.stop(Signal::SIGTERM);
        self.host.start();
        self.kernel = Kernel::open(&self.host);
        self.gone = 0;
        self.recovers();
    }

    /// What is trusted now, which never is more than everything that is meant to be; who is
    /// let in by something else keeps getting answers.
    pub(super) fn look(&mut self) -> BTreeSet<String> {
        let trusted = self.kernel.trusted("orders");
        let beyond: Vec<&String> = trusted.difference(&self.all).collect();
        assert!(beyond.is_empty(), "{}: {beyond:?} is trusted\n{}", self.case, self.log());
        let answered = round_trip(&mut self.friend, ANSWER);
        assert!(answered.is_ok(), "{}: the friend gets no answer\n{}", self.case, self.log());
        trusted
    }

    /// Everything is trusted, and the client keeps getting answers.
    pub(super) fn look_for_whole(&mut self) {
        let trusted = self.look();
        let lost: Vec<&String> = self.all.difference(&trusted).collect();
        assert!(lost.is_empty(), "{}: {lost:?} went\n{}", self.case, self.log());
        let answered = round_trip(&mut self.client, ANSWER);
        assert!(answered.is_ok(), "{}: the client gets no answer\n{}", self.case, self.log());
    }

    #[track_caller]
    pub(super) fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + self.patience;
        while !holds(self) {
            assert!(
                Instant::now() < deadline,
                "{}: waited in vain for {what}: {}\n{:#?}\n{}",
                self.case,
                self.told.status(&self.host).orders(),
                self.told.sources(&self.host),
                self.log()
            );
            thread::sleep(self.patience / 1500);
        }
    }

    /// The world asks for its target, or its cases would say nothing.
    fn asserts_its_requests(&self) {
        let counts = self.server.counts();
        assert!(
            counts.contains_key(&self.setting.target),
            "{}: {counts:?}",
            self.setting.target.name()
        );
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.setting.target, Resource::Firewall | Resource::Vhost)
    }

    /// The end of the agent's log.
    pub(super) fn log(&self) -> String {
        let log = self.host.log();
        let lines: Vec<&str> =
            log.lines().filter(|line| !line.contains(" idle connection")).collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// A connection to the database, of the client or the friend.
pub(super) fn open(clients: &Netns, client: bool) -> TcpStream {
    let source = if client { CLIENT } else { FRIEND4 };
    connect(clients, source, SocketAddr::new(HOST4, PORT), ANSWER).expect("who is trusted connects")
}
