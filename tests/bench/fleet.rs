//! The control plane with a fleet: how long an edit takes until it is in force everywhere, and what
//! the server costs. Beside a poll every 15 seconds in the same run.

mod agents;
mod client;
mod hosts;
mod races;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread::sleep,
    time::{Duration, Instant},
};

use dbfw_tests::{control_plane::ControlPlane, netns::Netns};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::{
    agents::{Agents, DATABASE, Way},
    client::{Api, Client},
    hosts::{Place, Traffic, server_address},
};
use crate::{
    Options,
    agent::status,
    providers::cpu,
    report::{self, grouped},
};

/// Simulated agents, unless `--agents` says otherwise.
pub(crate) const AGENTS: usize = 1000;
/// Those that judge and compute.
const FULL: usize = 50;
/// Real hosts.
const HOSTS: u8 = 3;
/// Rules of the list.
const RULES: usize = 200;
/// Rules of the long list.
const LONG: usize = 5000;
/// Edits, and with `--quick`.
const EDITS: [usize; 2] = [100, 20];
/// Edits of the long list.
const LONG_EDITS: usize = 10;
/// Edits that the polling agent is watched for.
const POLLED: usize = 4;
/// Time in which nothing happens.
const IDLE: Duration = Duration::from_secs(20);
/// Longest wait for the fleet.
const PATIENCE: Duration = Duration::from_secs(60);
/// The id of the database whose list is polled.
const CLUSTER: &str = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";
/// The address of the server's metrics.
const METRICS: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9788);

pub(crate) fn run(options: &Options) {
    let control = Netns::new("control");
    let places: Vec<Place> = (0..HOSTS + 2).map(|number| Place::new(number, &control)).collect();
    let mut server = set_up(&control);
    control.run(|| measure(options, &control, &places, &mut server));
}

/// A server that listens towards every host.
fn set_up(control: &Netns) -> ControlPlane<'_> {
    let mut server = ControlPlane::set_up(Some(control), 7443);
    let addresses: Vec<String> =
        (0..HOSTS + 2).map(|number| format!(", \"{}:7443\"", server_address(number))).collect();
    let config = fs::read_to_string(server.config()).expect("read the configuration");
    let config = config
        .replace("\"127.0.0.1:7443\"", &format!("\"127.0.0.1:7443\"{}", addresses.concat()))
        .replace("metrics_listen = \"off\"", "metrics_listen = \"127.0.0.1:9788\"");
    // All simulated agents come from one address, which has a quarter of the connections.
    let more = "max_connections = 16384\nmax_sources = 5000\nrequests_per_minute = 100000\n";
    fs::write(server.config(), format!("{config}{more}")).expect("write the configuration");
    server.spawn();
    server
}

/// What a scenario says of a goal.
struct Table(Vec<Value>);

impl Table {
    fn row(&mut self, what: &str, goal: &str, seen: &str) {
        println!("  {what:58} {goal:34} {seen}");
        self.0.push(json!({ "what": what, "goal": goal, "seen": seen }));
    }
}

fn measure(options: &Options, control: &Netns, places: &[Place], server: &mut ControlPlane<'_>) {
    let began = Instant::now();
    let edits = EDITS[usize::from(options.quick)];
    // The answer to an edit is the time until all have it.
    server.done(&["database", "add", DATABASE, "--wait", "30s"]);
    server.done(&["database", "add", "alone", "--id", CLUSTER, "--wait", "0s"]);
    server.done(&["database", "add", "appends", "--wait", "0s"]);
    let token = fs::read_to_string(server.token_file()).expect("read the token");
    let api = Api::new(SocketAddr::from(([127, 0, 0, 1], 7443)), &server.ca_file(), token.trim());
    let mut editor = api.connect();
    let mut table = Table(Vec::new());
    println!("  {:58} {:34} seen", "", "goal");

    races::run(&api, &mut table);

    let files = TempDir::with_prefix("dbfw-bench-").expect("a directory");
    let tokens = files.path().join("tokens");
    fs::create_dir(&tokens).expect("a directory");
    let list = rules(places, RULES);
    for name in [DATABASE, "alone"] {
        editor.put(name, &list, "").expect(204);
    }
    let join = |uses: usize| {
        let uses = uses.to_string();
        let printed = server.done(&["join-token", "--database", DATABASE, "--uses", &uses]);
        let token = printed.split_whitespace().find(|word| word.starts_with("dbfwj_"));
        token.expect("a join token").to_owned()
    };
    let real: Vec<_> =
        places.iter().take(HOSTS.into()).map(|place| place.joined(server, &join(1))).collect();
    let mut polling = poller(&places[usize::from(HOSTS)], server);
    hosts::start(&mut polling);
    let file = files.path().join("orders.list");
    fs::write(&file, list.join("\n") + "\n").expect("write the list");
    let provider = format!("provider = {{ kind = \"file\", path = {file:?} }}");
    let mut without = places[usize::from(HOSTS) + 1].host("", &provider);
    hosts::start(&mut without);
    let traffic =
        || -> Vec<Traffic> { places.iter().take(HOSTS.into()).map(Place::traffic).collect() };
    let during_edits = traffic();
    let polled = places[usize::from(HOSTS)].traffic();
    wait("the real hosts", || metric("dbfw_server_hosts", "state=\"applied\"") >= f64::from(HOSTS));

    alone(&mut editor, &list, &places[0], &during_edits[0], edits, &mut table);
    poll(&mut editor, &list, &places[usize::from(HOSTS)], &polled, &mut table);
    drop(polled);

    let (before, empty) = (rss(server.pid()), f64::from(HOSTS));
    let way = Way {
        netns: control,
        url: "https://localhost:7443".parse().expect("an address"),
        ca: server.ca_file(),
        tokens,
    };
    let count = options.agents;
    let joining = Instant::now();
    let fleet = Agents::start(&way, &join(count), count, FULL.min(count / 2));
    println!(
        "  {} simulated hosts joined in {:.1} s",
        grouped(count),
        joining.elapsed().as_secs_f64()
    );
    let all = count as f64 + empty;
    let connecting = Instant::now();
    wait("all agents", || metric("dbfw_server_hosts", "state=\"applied\"") >= all);
    println!("  all in force {:.1} s later", connecting.elapsed().as_secs_f64());

    let mut at = count;
    loop {
        let host = (&places[0], &during_edits[0]);
        let times = propagate(&mut editor, &list, host, edits, server.pid());
        times.show(at, &mut table);
        if times.holds() || at <= 100 {
            break;
        }
        at /= 2;
        fleet.keep(at);
        let left = at as f64 + empty;
        wait("the others to go", || metric("dbfw_server_streams", "") <= left);
    }
    let all = at as f64 + empty;
    show_steady(during_edits, "edits", &mut table);

    idle(server.pid(), [real[0].pid(), without.pid()], at, &mut table);
    let memory = (rss(server.pid()) - before) / at as f64;
    table.row("server memory an agent", "<= 60 kB", &format!("{memory:.0} kB"));

    let during_restart = traffic();
    restart(server, all, &mut table);
    let mut editor = api.connect();
    long(&mut editor, places, at, &mut table);
    show_steady(during_restart, "restart, long list", &mut table);
    drop(fleet);
    println!("  the whole took {:.0} s", began.elapsed().as_secs_f64());
    report::json(&options.directory, "fleet", &Value::Array(table.0));
}

/// What became of the packets of those who are trusted all the time, and of strangers.
fn show_steady(traffic: Vec<Traffic>, when: &str, table: &mut Table) {
    let (mut lost, mut let_in) = ((0, 0), (0, 0));
    for [trusted, stranger] in traffic.iter().map(Traffic::steady) {
        lost = (lost.0 + trusted.0, lost.1 + trusted.1);
        let_in = (let_in.0 + stranger.0, let_in.1 + stranger.1);
    }
    table.row(
        &format!("{when}: trusted packets lost, strangers' let in"),
        "0, 0",
        &format!("{} of {}, {} of {}", lost.0, lost.1, let_in.0, let_in.1),
    );
}

/// A list of so many addresses; those of the hosts' steady clients are the first.
fn rules(places: &[Place], count: usize) -> Vec<String> {
    let others = (0..count).map(|n| format!("198.18.{}.{}", n >> 8, n & 0xff));
    places.iter().map(Place::trusted).chain(others).take(count).collect()
}

/// An agent that polls the list every 15 seconds, as DigitalOcean's.
fn poller<'p>(place: &'p Place, server: &ControlPlane<'_>) -> dbfw_tests::agent::Host<'p> {
    let account = format!(
        "[digitalocean]\napi_url = \"https://{}:7443\"\ntoken_file = {:?}\nca_file = {:?}\n\
         poll = \"15s\"\n",
        server_address(HOSTS),
        server.token_file(),
        server.ca_file(),
    );
    let provider = format!("provider = {{ kind = \"digitalocean\", cluster = \"{CLUSTER}\" }}");
    place.host(&account, &provider)
}

/// One host, one edit: from the request to the first packet that is judged otherwise.
fn alone(
    editor: &mut Client,
    list: &[String],
    place: &Place,
    traffic: &Traffic,
    edits: usize,
    table: &mut Table,
) {
    let with = [&[place.changed()][..], list].concat();
    let (mut let_in, mut dropped) = (Vec::new(), Vec::new());
    for edit in 0..edits {
        let began = Instant::now();
        if edit % 2 == 0 {
            editor.put(DATABASE, &with, "").expect(204);
            let_in.extend(traffic.first_let_in(began, PATIENCE));
        } else {
            editor.put(DATABASE, list, "").expect(204);
            dropped.extend(traffic.first_dropped(began));
        }
    }
    assert_eq!(let_in.len() + dropped.len(), edits, "a packet was judged by neither list");
    for (what, times) in [("let in", let_in), ("dropped", dropped)] {
        let times = Times::new(times);
        table.row(
            &format!("{HOSTS} hosts, one edit: PUT to the first packet {what}"),
            "p50 < 50 ms, p99 < 200 ms",
            &times.to_string(),
        );
    }
}

/// The same with an agent that polls.
fn poll(editor: &mut Client, list: &[String], place: &Place, traffic: &Traffic, table: &mut Table) {
    let with = [&[place.changed()][..], list].concat();
    let mut times = Vec::new();
    for edit in 0..POLLED {
        let began = Instant::now();
        if edit % 2 == 0 {
            editor.put("alone", &with, "").expect(204);
            times.extend(traffic.first_let_in(began, PATIENCE));
        } else {
            editor.put("alone", list, "").expect(204);
            sleep(Duration::from_secs(16));
            times.extend(traffic.first_dropped(began));
        }
    }
    let seen = Times::new(times).to_string();
    table.row("the same by a poll every 15 s", "for comparison", &seen);
}

/// Sorted times.
struct Times(Vec<Duration>);

impl Times {
    fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time within which this part was done, in percent, in milliseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let at = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [half, most, all] = [50, 99, 100].map(|percent| self.percentile(percent));
        write!(f, "p50 {half:.0} ms, p99 {most:.0} ms, max {all:.0} ms ({})", self.0.len())
    }
}

/// The edits of a list that all agents follow.
struct Propagation {
    times: Times,
    /// From the request to the first packet at a real host that is judged otherwise.
    packets: Times,
    /// Edits that not all had within the time that the answer waits.
    unfinished: usize,
    /// CPU time of an edit: the server's and the simulator's.
    cpu: [Duration; 2],
}

impl Propagation {
    fn holds(&self) -> bool {
        self.unfinished == 0
            && self.times.percentile(99) < 1000.0
            && self.times.percentile(100) < 2000.0
    }

    fn show(&self, agents: usize, table: &mut Table) {
        let Self { times, packets, unfinished, cpu: [server, simulator] } = self;
        let mut seen = times.to_string();
        if *unfinished > 0 {
            seen += &format!(", {unfinished} not within 30 s");
        }
        let what = format!("{} agents and {HOSTS} hosts: PUT to all applied", grouped(agents));
        table.row(&what, "p99 < 1 s, max < 2 s", &seen);
        let goal = "within that time";
        table.row("  to the first packet at a real host judged by it", goal, &packets.to_string());
        table.row(
            "  CPU of an edit: server, simulator",
            "",
            &format!("{:.0} ms, {:.0} ms", ms(*server), ms(*simulator)),
        );
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Edits the list that all agents follow.
fn propagate(
    editor: &mut Client,
    list: &[String],
    (place, traffic): (&Place, &Traffic),
    edits: usize,
    server: u32,
) -> Propagation {
    let with = [&[place.changed()][..], list].concat();
    let (mut times, mut packets, mut unfinished) = (Vec::new(), Vec::new(), 0);
    let processes = [server, std::process::id()];
    let before = processes.map(cpu);
    for edit in 0..edits {
        let is_added = edit % 2 == 0;
        let began = Instant::now();
        let answer = editor.put(DATABASE, if is_added { &with } else { list }, "").expect(204);
        times.push(began.elapsed());
        packets.extend(match is_added {
            true => traffic.first_let_in(began, PATIENCE),
            false => traffic.first_dropped(began),
        });
        unfinished += usize::from(answer.header("x-dbfw-state") != Some("active"));
    }
    let after = processes.map(cpu);
    let of = |at: usize| (after[at] - before[at]) / u32::try_from(edits).unwrap_or(1);
    assert_eq!(packets.len(), edits, "a packet was judged by neither list");
    let (times, packets) = (Times::new(times), Times::new(packets));
    Propagation { times, packets, unfinished, cpu: [of(0), of(1)] }
}

/// What server and agents cost while nothing happens.
fn idle(server: u32, agents: [u32; 2], count: usize, table: &mut Table) {
    // What the edits left to do is done.
    sleep(Duration::from_secs(12));
    let processes = [server, agents[0], agents[1]];
    let (before, began) = (processes.map(cpu), Instant::now());
    sleep(IDLE);
    let after = processes.map(cpu);
    let share =
        |at: usize| 100.0 * (after[at] - before[at]).as_secs_f64() / began.elapsed().as_secs_f64();
    let what = format!("server CPU with {} idle agents", grouped(count));
    table.row(&what, "<= 1 % of a core", &format!("{:.2} %", share(0)));
    let seen = format!("{:.2} % beside {:.2} %", share(1), share(2));
    table.row("agent's idle CPU, with a server beside without", "within 10 %", &seen);
    let seen = format!("{:.0} kB beside {:.0} kB", rss(agents[0]), rss(agents[1]));
    table.row("agent's RSS, with a server beside without", "within 10 %", &seen);
}

/// The server is killed, and all come back.
fn restart(server: &mut ControlPlane<'_>, all: f64, table: &mut Table) {
    let began = Instant::now();
    server.kill();
    server.spawn();
    wait("all to come back", || metric("dbfw_server_hosts", "state=\"applied\"") >= all);
    let took = began.elapsed();
    let seen =
        format!("{:.1} s, server CPU {:.1} s", took.as_secs_f64(), cpu(server.pid()).as_secs_f64());
    table.row("all back after SIGKILL of the server", "< 15 s", &seen);
    let sent = metric("dbfw_server_sent_bytes_total", "") / all;
    let seen = format!("{sent:.0} bytes (a list has {} rules)", RULES);
    table.row("  sent to each: no list that it has", "a greeting, no list", &seen);
}

/// A list of 5,000 addresses: sets of a tag wait for resolution at the server.
fn long(editor: &mut Client, places: &[Place], agents: usize, table: &mut Table) {
    let list = rules(places, LONG - 1);
    let began = Instant::now();
    let answer = editor.put(DATABASE, &list, "").expect(204);
    let state = answer.header("x-dbfw-state").unwrap_or("none").to_owned();
    let seen = format!("{:.1} s ({state})", began.elapsed().as_secs_f64());
    let what = format!("{} agents: the whole list of {} rules", grouped(agents), grouped(LONG));
    table.row(&what, "for comparison", &seen);
    let with = [&[places[0].changed()][..], &list].concat();
    let mut times = Vec::new();
    for edit in 0..LONG_EDITS {
        let began = Instant::now();
        editor.put(DATABASE, if edit % 2 == 0 { &with } else { &list }, "").expect(204);
        times.push(began.elapsed());
    }
    let what = format!("{} agents: one edit of {} rules", grouped(agents), grouped(LONG));
    table.row(&what, "for comparison", &Times::new(times).to_string());
}

/// Resident memory in kB.
fn rss(pid: u32) -> f64 {
    status(pid, "VmRSS").parse().expect("a number")
}

/// The sum of a metric's series whose labels have a text; 0 while the server does not answer.
fn metric(name: &str, label: &str) -> f64 {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(METRICS)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = ask().unwrap_or_default();
    let values = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (known, labels) = series.split_once('{').unwrap_or((series, ""));
        (known == name && labels.contains(label)).then(|| value.parse::<f64>().ok())?
    });
    values.sum()
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(Duration::from_millis(50));
    }
}
