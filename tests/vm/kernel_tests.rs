//! The tests of `tests/it` that are about the kernel, inside the machine.

use std::process::Command;

use crate::Check;

pub(crate) const CHECKS: &[(&str, Check)] = &[
    ("it-layout", |_| module("layout")),
    ("it-corpus", |_| module("corpus")),
    ("it-truncation", |_| module("truncation")),
    ("it-policy", |_| module("policy")),
    ("it-events", |_| module("events")),
    ("it-backstop", |_| module("backstop")),
    ("it-paths", |_| module("paths")),
    ("it-interfaces", |_| module("interfaces")),
    ("it-repair", |_| module("repair")),
];

fn module(name: &str) {
    let output = Command::new("/opt/dbfw/it")
        .args(["--test-threads=2", &format!("{name}::")])
        .env("CARGO_MANIFEST_DIR", "/opt/dbfw")
        .output()
        .expect("run the tests");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let passed = text
        .lines()
        .find_map(|line| line.strip_prefix("test result: ok. ")?.split_once(" passed"))
        .and_then(|(count, _)| count.parse::<u32>().ok());
    assert!(passed > Some(0), "no test of {name} was run: {text}");
}
