//! One host, one account and one kind of answer that goes wrong in every way, one after the
//! other.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use dbfw_tests::{
    agent::Host,
    netns::Netns,
    pair::{FRIEND4, HOST4, PORT, Pair, STRANGER4, interfaces},
    provider_server::{Certificate, Fault, FaultId, Limits, On, Options, Resource, Server},
    site::PATIENCE as ANSWER,
    traffic::{SILENCE, connect, round_trip},
};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    super::common::{self, Kernel, PATIENCE},
    CLIENT,
    estate::Estate,
    table::{Effect, Trouble, effect},
    told::{Counters, Told},
};

/// How long what is gone stays.
const GONE_AFTER: Duration = Duration::from_secs(1);

/// So often the agent has to have met a trouble.
const POLLS: usize = 3;

/// A server that says 429 and not until when is left alone for a minute.
const UNSAID: Duration = Duration::from_secs(60);

/// What is held a flapping source: it vanished and came back so often.
const RETURNS: usize = 2;

/// What is asked for by a target, where an error names it.
fn request(target: Resource) -> &'static str {
    match target {
        Resource::Firewall => "/firewall",
        Resource::Vhost => "/vhosts/123",
        Resource::Feed => "/feed/office",
        Resource::Droplet => "/v2/droplets/",
        Resource::Droplets => "/v2/droplets",
        Resource::TaggedDroplets => "tag_name=backend",
        Resource::GpuDroplets => "type=gpus",
        Resource::Cluster => "/v2/kubernetes/clusters/",
        Resource::Clusters => "/v2/kubernetes/clusters",
        Resource::App => "/v2/apps/",
        Resource::Apps => "/v2/apps",
        Resource::Vpc => "/v2/vpcs/",
        Resource::Vpcs => "/v2/vpcs",
        other => panic!("the agent does not ask for {}", other.name()),
    }
}

pub(super) struct World<'p> {
    pair: &'p Pair,
    target: Resource,
    on_empty: &'static str,
    server: Server,
    elsewhere: Server,
    estate: Estate,
    all: BTreeSet<String>,
    host: Host<'p>,
    kernel: Kernel,
    told: Told,
    /// An open connection of who is let in by the target.
    client: TcpStream,
    /// And of who is let in anyway.
    friend: TcpStream,
    /// What goes on, for panics.
    case: String,
    injected: Option<FaultId>,
    /// How often the trouble has to be met, and how long it may take to end.
    polls: usize,
    patience: Duration,
    /// How often the subject went since the agent started.
    gone: usize,
    /// Rules that the other database got.
    added: u8,
}

impl<'p> World<'p> {
    /// Everything runs, and what is trusted is trusted.
    pub(super) fn new(pair: &'p Pair, target: Resource, on_empty: &'static str) -> Self {
        let server = common::server(&pair.db);
        // Without TLS: whoever went there would not be kept from it by a certificate.
        let elsewhere = Server::start(Options {
            address: SocketAddr::from(([127, 0, 0, 2], 0)),
            tls: false,
            netns: Some(&pair.db),
            ..Options::default()
        });
        server.account(|account| account.limits = Limits { hour: u32::MAX, minute: None });
        let estate = Estate::new(&server, target);
        let mut host = Host::new(&pair.db);
        let agent = format!("{}\ngone_after = \"{}s\"", interfaces(), GONE_AFTER.as_secs());
        host.configure(&agent, &estate.config(&server, on_empty));
        host.start();
        let kernel = Kernel::open(&host);
        kernel.wait_for(&host, "orders", &estate.all());
        let world = Self {
            pair,
            target,
            on_empty,
            told: Told::new(server.account(|account| account.token.clone())),
            all: estate.all(),
            client: open(&pair.clients, true),
            friend: open(&pair.clients, false),
            case: String::new(),
            injected: None,
            polls: POLLS,
            patience: PATIENCE,
            gone: 0,
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

    /// One case of the matrix.
    pub(super) fn suffer(&mut self, mut trouble: Trouble) {
        if let Trouble::Answer(Fault::RedirectTo(url) | Fault::NextTo(url)) = &mut trouble {
            *url = self.elsewhere.url();
        }
        let trouble = &trouble;
        let is_long = *trouble == Trouble::Answer(Fault::RateLimited(None));
        (self.polls, self.patience) =
            if is_long { (1, UNSAID + PATIENCE) } else { (POLLS, PATIENCE) };
        self.case = format!("{} x {trouble}", self.target.name());
        match effect(self.target, trouble, self.on_empty) {
            Effect::Kept(causes) => self.keeps(trouble, causes),
            Effect::Goes => self.goes(trouble),
            Effect::Guarded => self.is_guarded(trouble),
            Effect::Harmless => self.is_unharmed(trouble),
        }
        assert!(!self.kernel.admits("orders", STRANGER4), "{}: the stranger is in", self.case);
    }

    /// The last assertions: nothing got where it must not.
    pub(super) fn finish(self) {
        self.told.assert_no_token(&self.host);
        assert_eq!(self.elsewhere.requests().len(), 0, "nobody asked the other server");
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.host.pid()));
        let status = status.expect("the agent runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let peak = peak.expect("the kernel tells the peak");
        assert!(peak < 400 << 10, "the agent took {peak} KiB");
    }

    fn keeps(&mut self, trouble: &Trouble, causes: &[&str]) {
        let before = self.told.counters(&self.host);
        self.begin(trouble);
        self.until("the cause to be told", |world| {
            world.look_for_whole();
            world.is_met(&before, causes) && world.tells(trouble)
        });
        if trouble.spares_others() {
            self.others_go_on();
        }
        self.look_for_whole();
        self.end(trouble);
        self.recovers();
    }

    fn goes(&mut self, trouble: &Trouble) {
        if self.gone == RETURNS {
            self.restart();
        }
        self.gone += 1;
        let rest = self.estate.rest().clone();
        let begun = Instant::now();
        self.begin(trouble);
        self.until("the gone to be believed", |world| {
            let trusted = world.look();
            let after = begun.elapsed();
            let lost: Vec<&String> = rest.difference(&trusted).collect();
            assert!(lost.is_empty(), "{}: {lost:?} went too\n{}", world.case, world.log());
            let fewer = trusted != world.all;
            assert!(
                !fewer || after >= GONE_AFTER,
                "{}: only {trusted:?} after {after:?}, of {:?}\n{}",
                world.case,
                world.all,
                world.log()
            );
            if !fewer {
                let answered = round_trip(&mut world.client, SILENCE);
                let trusted = world.kernel.trusted("orders");
                assert!(answered.is_ok() || trusted != world.all, "{}: no answer", world.case);
            }
            trusted == rest
        });
        assert!(round_trip(&mut self.client, SILENCE).is_err(), "{}: not cut", self.case);
        assert!(!self.pair.reaches(CLIENT), "{}: let in", self.case);
        self.until("it to be told that it is gone", |world| {
            assert_eq!(world.look(), rest, "{}", world.case);
            world.tells_gone(trouble)
        });
        self.others_go_on();
        self.end(trouble);
        let all = self.all.clone();
        self.until("it to be back", |world| world.look() == all);
        self.client = open(&self.pair.clients, true);
        self.recovers();
    }

    fn is_guarded(&mut self, trouble: &Trouble) {
        self.begin(trouble);
        self.until("the guard to say so", |world| {
            world.look_for_whole();
            let counters = world.told.counters(&world.host);
            let database = world.told.database(&world.host, "orders");
            let error = database["provider"]["error"].as_str().unwrap_or_default();
            counters.gauge("dbfw_refused_plans", "orders") == Some(1.0)
                && database["provider"]["state"] == "refused"
                && database["refused"]["guard"] == "on_empty"
                && !error.is_empty()
                && trouble.is_named_in(error)
                && database["refused"]["lost_total"] == world.subject().len()
        });
        self.others_go_on();
        let until = Instant::now() + GONE_AFTER / 2;
        while Instant::now() < until {
            self.look_for_whole();
        }
        self.end(trouble);
        self.recovers();
    }

    fn is_unharmed(&mut self, trouble: &Trouble) {
        self.begin(trouble);
        self.until("it to be met", |world| {
            world.look_for_whole();
            world.hits() >= world.polls
        });
        self.others_go_on();
        assert!(self.is_fine(), "{}: {}", self.case, self.told.problems(&self.host));
        self.end(trouble);
        self.recovers();
    }

    fn begin(&mut self, trouble: &Trouble) {
        match trouble {
            Trouble::Answer(fault) => {
                let on = On::resource(self.target);
                let on = match self.target {
                    Resource::Firewall => {
                        let uuid = |a: &mut dbfw_tests::provider_server::Account| {
                            a.databases
                                .iter()
                                .find(|(_, d)| d.name == "orders")
                                .map(|d| d.0.clone())
                        };
                        let uuid = self.server.account(uuid).expect("a database");
                        on.below(&format!("/v2/databases/{uuid}/"))
                    }
                    Resource::TaggedDroplets => on.query("tag_name", "backend"),
                    _ => on,
                };
                self.injected = Some(self.server.inject(on, fault.clone()));
            }
            Trouble::Certificate(certificate) => self.server.show(*certificate),
            Trouble::Down => self.server.down(),
        }
    }

    fn end(&mut self, trouble: &Trouble) {
        match trouble {
            Trouble::Answer(_) => {
                self.injected.take().into_iter().for_each(|f| self.server.clear(f))
            }
            Trouble::Certificate(_) => self.server.show(Certificate::Good),
            Trouble::Down => self.server.up(),
        }
    }

    fn hits(&self) -> usize {
        self.injected.map_or(usize::MAX, |fault| self.server.hits(fault))
    }

    /// Whether the agent met the trouble in several polls, by its metrics.
    fn is_met(&self, before: &Counters, causes: &[&str]) -> bool {
        let now = self.told.counters(&self.host);
        let provider = match self.target {
            Resource::Vhost => "aptible",
            Resource::Feed => "feeds",
            _ => "digitalocean",
        };
        let requests = now.requests(provider, causes) - before.requests(provider, causes);
        let syncs = now.syncs("orders", causes) - before.syncs("orders", causes);
        let stale = now.gauge("dbfw_stale_sources", "orders").unwrap_or_default();
        self.hits() >= self.polls
            && requests >= self.polls as f64
            && syncs >= 1.0
            && (self.is_list() || stale >= self.estate.subject().len() as f64)
    }

    /// Whether status or sources name the trouble.
    fn tells(&self, trouble: &Trouble) -> bool {
        let names = |text: &str| {
            let is_everybodys = matches!(trouble, Trouble::Certificate(_) | Trouble::Down)
                || !trouble.spares_others();
            trouble.is_named_in(text) && (is_everybodys || text.contains(request(self.target)))
        };
        if !self.told.problems(&self.host).contains("orders: ") {
            return false;
        }
        if self.is_list() {
            let provider = self.told.database(&self.host, "orders")["provider"].take();
            let error = provider["error"].as_str().unwrap_or_default();
            return provider["state"] == "stale" && !error.is_empty() && names(error);
        }
        self.estate.subject().keys().all(|source| {
            let row = self.told.source(&self.host, source);
            row["state"] == "stale" && names(&why(&row))
        })
    }

    fn tells_gone(&self, trouble: &Trouble) -> bool {
        if self.is_list() {
            let provider = self.told.database(&self.host, "orders")["provider"].take();
            return provider["error"].as_str().is_some_and(|text| trouble.is_named_in(text));
        }
        let unresolved = self.told.counters(&self.host).gauge("dbfw_unresolved_sources", "orders");
        let subjects = self.estate.subject();
        unresolved == Some(subjects.len() as f64)
            && subjects.keys().all(|source| {
                let row = self.told.source(&self.host, source);
                let why = why(&row);
                row["state"] == "unresolvable" && !why.is_empty() && trouble.is_named_in(&why)
            })
    }

    /// The list of the other database changes, and the kernel follows.
    fn others_go_on(&mut self) {
        self.added += 1;
        let address = format!("192.0.2.{}", self.added);
        self.server.account(|account| account.add_rule("ledger", "ip_addr", &address));
        let prefix = format!("{address}/32");
        self.until("the other database to follow its list", |world| {
            world.look();
            world.kernel.trusted("ledger").contains(&prefix)
        });
    }

    fn recovers(&mut self) {
        self.until("everything to be well again", |world| {
            world.look_for_whole();
            world.is_fine()
        });
    }

    fn is_fine(&self) -> bool {
        let database = self.told.database(&self.host, "orders");
        database["provider"]["state"] == "ok"
            && database["provider"]["error"].is_null()
            && database["refused"].is_null()
            && database["stale_sources"] == 0
            && database["unresolved_sources"] == 0
            && (self.is_list()
                || self.estate.subject().keys().all(|source| {
                    let row = self.told.source(&self.host, source);
                    row["state"] == "ok" && why(&row).is_empty()
                }))
    }

    /// What flapped is forgotten with the agent that saw it.
    fn restart(&mut self) {
        self.host.stop(Signal::SIGTERM);
        self.host.start();
        self.kernel = Kernel::open(&self.host);
        self.gone = 0;
        self.recovers();
    }

    /// What is trusted now, which never is more than everything that is meant to be; who is
    /// let in by something else keeps getting answers.
    fn look(&mut self) -> BTreeSet<String> {
        let trusted = self.kernel.trusted("orders");
        let beyond: Vec<&String> = trusted.difference(&self.all).collect();
        assert!(beyond.is_empty(), "{}: {beyond:?} is trusted\n{}", self.case, self.log());
        let answered = round_trip(&mut self.friend, ANSWER);
        assert!(answered.is_ok(), "{}: the friend gets no answer\n{}", self.case, self.log());
        trusted
    }

    /// Everything is trusted, and the client keeps getting answers.
    fn look_for_whole(&mut self) {
        let trusted = self.look();
        let lost: Vec<&String> = self.all.difference(&trusted).collect();
        assert!(lost.is_empty(), "{}: {lost:?} went\n{}", self.case, self.log());
        let answered = round_trip(&mut self.client, ANSWER);
        assert!(answered.is_ok(), "{}: the client gets no answer\n{}", self.case, self.log());
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + self.patience;
        while !holds(self) {
            assert!(
                Instant::now() < deadline,
                "{}: waited in vain for {what}: {}\n{}\n{}",
                self.case,
                self.told.database(&self.host, "orders"),
                self.estate
                    .subject()
                    .keys()
                    .map(|source| format!("{:#}", self.told.source(&self.host, source)))
                    .collect::<Vec<_>>()
                    .join("\n"),
                self.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The world asks for its target, or its cases would say nothing.
    fn asserts_its_requests(&self) {
        let counts = self.server.counts();
        assert!(counts.contains_key(&self.target), "{}: {counts:?}", self.target.name());
    }

    fn is_list(&self) -> bool {
        matches!(self.target, Resource::Firewall | Resource::Vhost)
    }

    fn subject(&self) -> BTreeSet<&String> {
        self.estate.subject().values().flatten().collect()
    }

    /// The end of the agent's log.
    fn log(&self) -> String {
        let log = self.host.log();
        let lines: Vec<&str> =
            log.lines().filter(|line| !line.contains(" idle connection")).collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// A connection to the database, of the client or the friend.
fn open(clients: &Netns, client: bool) -> TcpStream {
    let source = if client { CLIENT } else { FRIEND4 };
    connect(clients, source, SocketAddr::new(HOST4, PORT), ANSWER).expect("who is trusted connects")
}

/// Why a source is not what it should be.
fn why(row: &Value) -> String {
    let unresolved = row["unresolved"].as_array().into_iter().flatten();
    let parts = unresolved.filter_map(|part| part["why"].as_str());
    row["error"].as_str().into_iter().chain(parts).collect::<Vec<_>>().join("; ")
}
