//! The checks that `cargo xtask vm` runs inside a virtual machine, with the release binary and
//! real drivers. `tests/vm/checks.txt` says which there are.
//!
//! Each check is a process of its own, so that one that hangs or leaves something behind does
//! not spoil the next. A report is a line of JSON on standard output.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "reports are its output")]

mod basics;
mod bond;
mod devices;
mod kernel_tests;
mod life;
mod machine;
mod mtu;
mod traffic;

use std::{
    fs::File,
    io::Write as _,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use machine::Machine;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::{Value, json};

/// How long a check may take: an emulated machine is slow, and the one beneath it may be busy.
const LIMIT: Duration = Duration::from_secs(600);

/// What a failed check said, at most.
const DETAIL: usize = 6000;

/// A check: it returns if what it is to show holds, and panics with the reason otherwise.
type Check = fn(&Machine);

const CHECKS: [&[(&str, Check)]; 6] = [
    basics::CHECKS,
    life::CHECKS,
    devices::CHECKS,
    bond::CHECKS,
    mtu::CHECKS,
    kernel_tests::CHECKS,
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", list] => run(list),
        ["one", name] => one(name),
        _ => {
            eprintln!("usage: dbfw-vm-checks run FILE | one CHECK");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Runs every check that a file names, one a line, each as a process.
fn run(list: &str) {
    let names = std::fs::read_to_string(list).expect("read the names of the checks");
    Machine::prepare();
    report(&json!({ "kernel": machine::kernel_version() }));
    for name in names.lines() {
        let began = Instant::now();
        let failure = attempt(name).err();
        report(&json!({
            "check": name,
            "seconds": began.elapsed().as_secs(),
            "failure": failure,
        }));
    }
    report(&json!({ "end": true }));
}

fn report(report: &Value) {
    println!("{report}");
    std::io::stdout().flush().expect("write a report");
}

/// Runs one check as a process; the error is what it said.
fn attempt(name: &str) -> Result<(), String> {
    const SAID: &str = "/tmp/check.log";
    let said = File::create(SAID).map_err(|error| error.to_string())?;
    let also = said.try_clone().map_err(|error| error.to_string())?;
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(this)
        .args(["one", name])
        .stdin(Stdio::null())
        .stdout(said)
        .stderr(also)
        .process_group(0)
        .spawn()
        .map_err(|error| error.to_string())?;
    let group = Pid::from_raw(i32::try_from(child.id()).map_err(|error| error.to_string())?);
    let deadline = Instant::now() + LIMIT;
    let ended: Option<ExitStatus> = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => break None,
            None => thread::sleep(Duration::from_millis(50)),
        }
    };
    // Also what it started and left behind.
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.wait();
    let text = std::fs::read(SAID).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let said = || last(&text, DETAIL).to_owned();
    match ended {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("{}{status}", said())),
        None => Err(format!("{}it did not end within {} s", said(), LIMIT.as_secs())),
    }
}

/// The end of a text.
fn last(text: &str, length: usize) -> &str {
    let from = text.len().saturating_sub(length);
    let from = (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[from..]
}

/// Runs a check in this process.
fn one(name: &str) {
    let check = CHECKS.iter().copied().flatten().find(|(known, _)| *known == name);
    let (_, check) = check.unwrap_or_else(|| panic!("there is no check {name} in this program"));
    let machine = Machine::new();
    machine.reset();
    check(&machine);
}
