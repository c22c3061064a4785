//! A thousand callers at once: nothing that any command says is false, and the agent goes on.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use dbfw_tests::{
    agent::Host,
    pair::{Pair, interfaces, listed},
};
use serde_json::Value;

/// Processes that are started at once.
const CALLERS: usize = 1000;
/// Threads that hold connections open and say nothing meanwhile.
const HOLDERS: usize = 16;
const VERBS: [&[&str]; 4] =
    [&["status"], &["trust", "list"], &["sources"], &["map", "lookup", "10.77.0.2"]];

#[test]
fn a_thousand_callers_at_once_are_told_nothing_false() {
    let pair = Pair::new();
    let mut host = Host::new(&pair.db);
    host.replace("orders.list", "10.77.0.2\n");
    host.configure(&interfaces(), &listed(&host, ""));
    host.start_through(&["prlimit", "--nofile=64:4096"]);
    println!("{}", crowd(&host));
}

/// Has everybody ask while a list changes, and compares each answer with what is so. Returns how
/// many had which answer.
fn crowd(host: &Host<'_>) -> String {
    let (fresh, next) = ("10.78.0.7", "10.79.0.7");
    let socket = host.path("run/dbfw.sock");
    let done = AtomicBool::new(false);
    let held = AtomicUsize::new(0);
    let outputs = tempfile::tempdir().expect("a directory for the answers");
    let told = thread::scope(|scope| {
        for _ in 0..HOLDERS {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if hold(&socket, &done) {
                        held.fetch_add(1, Ordering::Relaxed);
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
        let callers: Vec<Caller> =
            (0..CALLERS).map(|number| Caller::start(host, outputs.path().into(), number)).collect();
        host.replace("orders.list", &format!("10.77.0.2\n{fresh}\n"));
        let answers: Vec<Answer> = callers.into_iter().map(Caller::end).collect();
        // While connections are held still.
        host.wait("the list to be in force", |host| is_trusted(host, fresh));
        done.store(true, Ordering::Relaxed);
        answers.iter().for_each(Answer::assert_true);
        report(&answers)
    });
    assert!(held.load(Ordering::Relaxed) > 0, "no connection was held");
    host.wait("the agent to answer again", |host| {
        host.json(&["status"]).is_some_and(|status| status["agent"]["ready"] == true)
    });
    host.replace("orders.list", &format!("10.77.0.2\n{fresh}\n{next}\n"));
    host.wait("the next list to be in force", |host| is_trusted(host, next));
    assert!(host.dbfw(&["trust", "add", "ip_addr:10.80.0.7", "-d", "orders"]).status.success());
    told
}

fn is_trusted(host: &Host<'_>, address: &str) -> bool {
    host.json(&["map", "lookup", address]).is_some_and(|found| found["entry"].is_object())
}

/// Opens a connection and keeps it for a moment; whether there was room for it.
fn hold(socket: &PathBuf, done: &AtomicBool) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    if stream.write_all(b"{\"verb\":\"drops\",\"follow\":true,\"limit\":0}\n").is_err() {
        return false;
    }
    let _ = stream.set_read_timeout(Some(Duration::from_millis(300)));
    let mut reply = [0; 512];
    let read = stream.read(&mut reply).unwrap_or(0);
    if !done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(200));
    }
    String::from_utf8_lossy(&reply[..read]).contains("\"data\"")
}

/// A process that asks.
struct Caller {
    child: Child,
    verb: String,
    outputs: [PathBuf; 2],
}

impl Caller {
    fn start(host: &Host<'_>, outputs: PathBuf, number: usize) -> Self {
        let verb = VERBS[number % VERBS.len()];
        let outputs = ["out", "err"].map(|name| outputs.join(format!("{number}.{name}")));
        let [stdout, stderr] = outputs.each_ref().map(|path| File::create(path).expect("a file"));
        let child = host
            .command(&[verb, &["-o", "json"]].concat())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("start dbfw");
        Self { child, verb: verb.join(" "), outputs }
    }

    fn end(mut self) -> Answer {
        let exit = self.child.wait().expect("wait for dbfw").code();
        let [stdout, stderr] =
            self.outputs.each_ref().map(|path| fs::read_to_string(path).expect("its output"));
        Answer { verb: self.verb, exit: exit.expect("no signal ended it"), stdout, stderr }
    }
}

/// The answer to a caller.
#[derive(Debug)]
struct Answer {
    verb: String,
    exit: i32,
    stdout: String,
    stderr: String,
}

impl Answer {
    fn assert_true(&self) {
        let all = format!("{self:#?}");
        // An agent without a descriptor to open a map with says so.
        let is_short = self.exit == 1 && self.stdout.contains("Too many open files");
        assert!(is_short || matches!(self.exit, 0 | 69), "{all}");
        let found: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{all}"));
        for lie in ["no agent answers", "NOT PROTECTED", "nothing is pinned", "broke off"] {
            assert!(!self.stdout.contains(lie) && !self.stderr.contains(lie), "{lie}: {all}");
        }
        if is_short {
            assert_eq!(found["error"]["kind"], "failed", "{all}");
            return;
        }
        if self.exit == 69 {
            let kind = found["error"]["kind"].as_str();
            assert!(matches!(kind, Some("busy" | "silent")), "{all}");
            return;
        }
        match self.verb.as_str() {
            "status" => {
                assert_eq!(found["protection"], "yes", "{all}");
                assert_eq!(found["protected"], true, "{all}");
                assert_eq!(found["databases"][0]["name"], "orders", "{all}");
                let is_online = found["agent"].is_object();
                // Not ready is true as well: an agent this busy may read back late.
                assert!(!is_online || found["agent"]["ready"].is_boolean(), "{all}");
                assert!(
                    is_online || self.stderr.contains("note: "),
                    "why not from the agent: {all}"
                );
            }
            "trust list" => assert_eq!(found["sources"], Value::Array(Vec::new()), "{all}"),
            "sources" => assert_eq!(found["sources"][0]["database"], "orders", "{all}"),
            _ => assert_eq!(found["entry"]["prefix"], "10.77.0.2/32", "{all}"),
        }
    }
}

/// The number of callers by their answer, a line for each verb.
fn report(answers: &[Answer]) -> String {
    let line = |verb: String| {
        let of = |wanted: fn(&Answer) -> bool| {
            answers.iter().filter(|answer| answer.verb == verb && wanted(answer)).count()
        };
        format!(
            "{verb:<22} {:>4} answered, {:>4} of them from the pins, {:>4} with 69",
            of(|answer| answer.exit == 0),
            of(|answer| answer.exit == 0 && answer.stderr.contains("note: ")),
            of(|answer| answer.exit == 69)
        )
    };
    VERBS.map(|verb| line(verb.join(" "))).join("\n")
}
