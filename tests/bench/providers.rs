//! What the lists of a provider cost: requests, time, CPU. Against the tests' server, which
//! takes its share of every time over the network, and the real agent.

mod account;
mod change;
mod list;
mod requests;
mod sync;
mod transfer;

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use dbfw_tests::{
    agent::Host,
    netns::{Netns, veth},
    provider_server::{Limits, Options, Resource, Server},
};
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// As many requests as anybody likes.
const UNLIMITED: Limits = Limits { hour: 1_000_000, minute: None };

/// How long a scenario waits for what must happen: the server and a busy machine are slow.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn run() {
    let place = Place::new();
    requests::run(&place);
    change::run(&place);
    sync::run(&place);
    list::run(&place);
}

/// The database host, and the line it is protected on.
struct Place {
    db: Netns,
    _client: Netns,
}

impl Place {
    fn new() -> Self {
        let db = Netns::new("db");
        let client = Netns::new("client");
        veth((&db, "db0"), (&client, "cl0"));
        Self { db, _client: client }
    }

    /// A provider on the database host itself: nothing but the loopback device between them.
    fn server(&self, limits: Limits) -> Server {
        let server = Server::start(Options { netns: Some(&self.db), ..Options::default() });
        server.account(|account| account.limits = limits);
        server
    }

    /// An agent that asks `server` for the list of `cluster`, once it is ready.
    fn agent(&self, server: &Server, cluster: &str, poll: &str) -> Host<'_> {
        let mut host = Host::new(&self.db);
        configure(&host, server, cluster, poll);
        // The level it runs with elsewhere: debug records of every request take CPU.
        host.spawn_through(&["env", "DBFW_LOG=info"]);
        wait("the agent to be ready", || {
            host.json(&["status"]).is_some_and(|status| status["agent"]["ready"] == true)
        });
        host
    }
}

/// Writes the configuration, with the limits the server has.
fn configure(host: &Host<'_>, server: &Server, cluster: &str, poll: &str) {
    let limits = server.account(|account| account.limits);
    let digitalocean = format!(
        "[digitalocean]\napi_url = \"{}\"\nca_file = \"{}\"\ntoken_file = \"{}\"\npoll = \"{poll}\"\n\
         requests_per_hour = {}\nrequests_per_minute = {}\n",
        server.url(),
        server.ca_file().display(),
        server.token_file().display(),
        limits.hour,
        limits.minute.unwrap_or(if limits == UNLIMITED { 100_000 } else { 250 }),
    );
    let database = format!(
        "[[database]]\nname = \"orders\"\nports = [5432]\n\
         provider = {{ kind = \"digitalocean\", cluster = \"{cluster}\" }}"
    );
    host.configure("interfaces = [\"db0\"]", &format!("{digitalocean}\n{database}"));
}

/// User and system time of a process so far, of threads that ended too.
pub(crate) fn cpu(pid: u32) -> Duration {
    let pid = Pid::from_raw(i32::try_from(pid).expect("process ids fit"));
    let clock = clock_getcpuclockid(pid).expect("the agent runs");
    clock_gettime(clock).expect("read the clock of its CPU time").into()
}

/// What rounds cost in which nothing changes.
struct Quiet {
    rounds: usize,
    /// A round's, without what the agent takes in that time anyway.
    cpu: Duration,
    /// In a round.
    requests: f64,
    /// Whether the policy stayed what it was: nothing was written to a map.
    same: bool,
}

/// Watches `rounds` of an agent that polls often.
fn quiet(host: &Host<'_>, server: &Server, cluster: &str, rounds: usize) -> Quiet {
    configure(host, server, cluster, "1h");
    reload(host);
    silence(server);
    let idle = cpu_over(host, || sleep(Duration::from_secs(5)));
    configure(host, server, cluster, "250ms");
    reload(host);
    begin_round(server);
    let before = generation(host);
    begin_round(server);
    server.forget_requests();
    let busy = cpu_over(host, || {
        for _ in 0..rounds {
            begin_round(server);
        }
    });
    let requests = server.requests().len();
    let share = idle.0.as_secs_f64() / idle.1.as_secs_f64();
    let own = busy.0.as_secs_f64() - share * busy.1.as_secs_f64();
    Quiet {
        rounds,
        cpu: Duration::from_secs_f64(own.max(0.0) / rounds as f64),
        requests: requests as f64 / rounds as f64,
        same: generation(host) == before,
    }
}

/// The agent's CPU time while `work` is done, and how long that took.
fn cpu_over(host: &Host<'_>, work: impl FnOnce()) -> (Duration, Duration) {
    let (before, began) = (cpu(host.pid()), Instant::now());
    work();
    (cpu(host.pid()) - before, began.elapsed())
}

/// Waits for the next round to begin, which it does with the list.
fn begin_round(server: &Server) {
    let before = server.count(Resource::Firewall);
    wait("a round to begin", || server.count(Resource::Firewall) > before);
}

/// Waits until a round is certainly over.
fn silence(server: &Server) {
    let mut seen = server.requests().len();
    let mut last = Instant::now();
    wait("the last round to end", || {
        let now = server.requests().len();
        if now != seen {
            (seen, last) = (now, Instant::now());
        }
        seen > 0 && last.elapsed() > Duration::from_secs(2)
    });
}

fn generation(host: &Host<'_>) -> u64 {
    let status = host.json(&["status"]).expect("the status");
    status["agent"]["generation"].as_u64().expect("its generation")
}

/// Has the agent read its configuration and ask at once.
fn reload(host: &Host<'_>) {
    let output = host.dbfw(&["reload"]);
    assert!(output.status.success(), "{output:?}\n{}", host.log());
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(Duration::from_millis(1));
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
