//! The command line: every verb of the real program against a real agent.

mod changes;
mod facts;
mod forms;
pub(crate) mod group;
mod offline;
mod readers;
mod scripts;
mod setup;

use std::{
    fs,
    net::{IpAddr, UdpSocket},
    process::Output,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use dbfw_tests::{
    agent::Host,
    netns::{Netns, veth},
};

/// Trusted by every database.
const OFFICE: &str = "10.77.0.2";
/// Trusted by `orders` through a prefix, and by no other.
const NEIGHBOR: &str = "10.77.0.3";
/// Trusted by nobody.
const STRANGER: &str = "10.77.0.9";
const OFFICE6: &str = "fd77::2";
const STRANGER6: &str = "fd77::9";
/// The port of `metering`: datagrams are counted one by one.
const METERING: u16 = 9999;

const DATABASES: &str = r#"
[[database]]
name = "orders"
ports = [5432, 6432]
trusted_sources = [
  "ip_addr:10.77.0.0/30",
  { type = "ip_addr", value = "10.77.0.2", description = "CI runner", expires_at = "2099-12-01T00:00:00Z" },
  "ip_addr:fd77::2",
]
provider = { kind = "file", path = "LIST" }

[[database]]
name = "metering"
ports = ["udp/9999"]
trusted_sources = ["ip_addr:10.77.0.2", "ip_addr:fd77::2"]

[[database]]
name = "reports"
ports = [5433]
mode = "observe"
trusted_sources = ["ip_addr:10.77.0.2"]
"#;

/// The two namespaces of a test.
struct Net {
    database: Netns,
    client: Netns,
}

impl Net {
    fn new() -> Self {
        let net = Self { database: Netns::new("cli-db"), client: Netns::new("cli-client") };
        veth((&net.database, "db0"), (&net.client, "cl0"));
        net.database.address("db0", "10.77.0.1/24");
        net.database.address("db0", "fd77::1/64");
        for address in [OFFICE, NEIGHBOR, STRANGER] {
            net.client.address("cl0", &format!("{address}/24"));
        }
        for address in [OFFICE6, STRANGER6] {
            net.client.address("cl0", &format!("{address}/64"));
        }
        net
    }

    /// A host with the policy of these tests; its agent is not started yet.
    fn host(&self) -> Host<'_> {
        let host = Host::new(&self.database);
        host.replace("orders.list", "10.77.0.2 # office\n192.0.2.0/24\n");
        configure(&host, DATABASES);
        host
    }

    /// A host with the policy of these tests, its agent ready and its rates measured.
    fn started(&self) -> Host<'_> {
        let mut host = self.host();
        host.start();
        host.wait("the first rate", |host| {
            host.json(&["status"])
                .is_some_and(|status| status["databases"][0]["drops_per_second"].is_number())
        });
        host
    }

    /// Sends `count` datagrams to `metering`.
    fn datagrams(&self, source: &str, count: usize) {
        let source: IpAddr = source.parse().expect("an address");
        let target = if source.is_ipv4() { "10.77.0.1" } else { "fd77::1" };
        self.client.run(|| {
            let socket = UdpSocket::bind((source, 0)).expect("an address of the client");
            for _ in 0..count {
                // A port nobody listens on may be reported back by ICMP.
                let _ = socket.send_to(b"meter", (target, METERING));
            }
        });
    }

    /// Does `work` while a stranger's datagrams are refused.
    fn while_a_stranger_knocks<T>(&self, work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    self.datagrams(STRANGER, 1);
                    thread::sleep(Duration::from_millis(50));
                }
            });
            let result = work();
            done.store(true, Ordering::Relaxed);
            result
        })
    }

    /// Sends what the transcripts count, and waits until it is counted.
    fn fixed_traffic(&self, host: &Host<'_>) {
        self.datagrams(OFFICE, 3);
        self.datagrams(OFFICE6, 2);
        self.datagrams(STRANGER, 4);
        // Events of one tick have the same time, and their order is shown.
        thread::sleep(Duration::from_millis(50));
        self.datagrams(STRANGER6, 1);
        host.wait("every datagram to be counted", |host| {
            host.json(&["status"]).is_some_and(|status| {
                let metering = &status["databases"][1];
                metering["allowed_packets"] == 5 && metering["dropped_packets"] == 5
            })
        });
        host.wait("every refused source to be listed", |host| {
            host.json(&["drops"])
                .and_then(|drops| {
                    let sources = drops["sources"].as_array()?.clone();
                    Some(sources.iter().filter_map(|s| s["estimated_packets"].as_u64()).sum())
                })
                .is_some_and(|packets: u64| packets == 5)
        });
    }
}

fn configure(host: &Host<'_>, databases: &str) {
    let list = host.path("orders.list").display().to_string();
    host.configure("interfaces = [\"db0\"]", &databases.replace("LIST", &list));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("dbfw writes UTF-8")
}

#[track_caller]
fn assert_exit(output: &Output, expected: i32, what: &str) {
    assert_eq!(
        output.status.code(),
        Some(expected),
        "exit code of {what}\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// Runs commands one after the other: what each wrote, and its exit code.
fn transcript(host: &Host<'_>, commands: &[&str]) -> String {
    let runs = commands.iter().map(|line| {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        record(host, line, &host.dbfw(&arguments))
    });
    runs.collect::<Vec<_>>().join("\n")
}

/// The same command in every form of output.
fn in_every_form(host: &Host<'_>, line: &str) -> String {
    let forms = ["table", "plain", "json"].map(|form| format!("{line} --output {form}"));
    transcript(host, &forms.each_ref().map(String::as_str))
}

/// What a run wrote, without what differs from run to run and machine to machine.
fn record(host: &Host<'_>, line: &str, output: &Output) -> String {
    let stdout = text(&output.stdout);
    let stdout = match serde_json::from_str::<serde_json::Value>(&stdout) {
        Ok(_) => stdout,
        // Cells of changing width move those behind them.
        Err(_) => narrow(&stdout),
    };
    let stderr: String = text(&output.stderr).lines().map(|line| format!("2> {line}\n")).collect();
    let code = output.status.code().expect("no signal ended it");
    let record = format!("$ dbfw {line}\n{stdout}{stderr}exit {code}\n");
    let dir = fs::canonicalize(host.path("")).expect("the directory of the host");
    let pin_dir = host.pins().parent().expect("the pin directory").display().to_string();
    record
        .replace(&dir.display().to_string(), "[dir]")
        .replace(&pin_dir, "[pins]")
        .replace(&version(host), "[version]")
        .replace('\t', "→")
}

/// Columns two spaces apart, and a problem in one line: where it is wrapped depends on the
/// length of the paths in it.
fn narrow(text: &str) -> String {
    let line = |line: &str| {
        if line.contains('\t') {
            return format!("{line}\n");
        }
        let indent = line.len() - line.trim_start().len();
        let cells: Vec<&str> =
            line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        format!("{}{}\n", " ".repeat(indent), cells.join("  "))
    };
    let mut narrowed: String = text.lines().map(line).collect();
    while let Some(at) = wrapped(&narrowed) {
        narrowed.replace_range(at..at + 3, " ");
    }
    narrowed
}

/// Where a line that goes on with a problem begins, from the line break before it.
fn wrapped(text: &str) -> Option<usize> {
    let follows = |(at, _): &(usize, &str)| {
        let problem = text[..*at].rsplit('\n').next().is_some_and(|line| line.starts_with("! "));
        problem && !text[*at..].starts_with("\n  and ")
    };
    text.match_indices("\n  ").find(follows).map(|(at, _)| at)
}

fn version(host: &Host<'_>) -> String {
    let said = text(&host.dbfw(&["--version"]).stdout);
    said.trim().trim_start_matches("dbfw ").to_owned()
}

/// Compares with the file of that name in `snapshots`.
#[track_caller]
fn assert_snapshot(name: &str, transcript: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]");
    settings.add_filter(r"\b(\d+[smhd]\d*[smhd]?) ago", "[age] ago");
    settings.add_filter(r"\bin \d+[smhd]\d*[smhd]?\b", "in [age]");
    settings.add_filter(r"agent pid \d+, up \w+", "agent pid [pid], up [age]");
    settings.add_filter(r"agent→\d+→", "agent→[pid]→");
    settings.add_filter(r#""pid": \d+"#, r#""pid": "[pid]""#);
    settings.add_filter(r"\(pid \d+\)", "(pid [pid])");
    settings.add_filter(r#""sha256": "[0-9a-f]{64}""#, r#""sha256": "[sha256]""#);
    settings.add_filter(r#""programs": \[[\d,\s]*\]"#, r#""programs": "[ids]""#);
    settings.add_filter(r"\b(ok|stale|refused) \d+[smhd]\d*[smhd]?\b", "$1 [age]");
    settings.add_filter(r"→(ok|stale|refused)→\d+→", "→$1→[age]→");
    settings.add_filter(r#""age_seconds": \d+"#, r#""age_seconds": "[age]""#);
    settings.add_filter(r"\b\d+(\.\d)?/s", "[rate]");
    settings.add_filter(r"→\d+\.\d→", "→[rate]→");
    settings.add_filter(r#""drops_per_second": [\d.e-]+"#, r#""drops_per_second": "[rate]""#);
    settings.bind(|| insta::assert_snapshot!(format!("cli_{name}"), transcript));
}
