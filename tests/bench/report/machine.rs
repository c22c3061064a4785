//! The machine, as a reader of the figures needs to know it.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::line::{cpus, flood_cpu};

/// Says what the figures are of.
pub(crate) fn print() {
    let facts = facts();
    println!(
        "machine: {}, {} CPUs, {} GiB, load {}; Linux {}",
        text(&facts["cpu"]),
        facts["cpus"],
        facts["memory_gib"],
        text(&facts["load"]),
        text(&facts["kernel"]),
    );
    println!(
        "floods: sent by the kernel (live frames of BPF_PROG_TEST_RUN) on CPU {} and received \
         there, in the same call; rates include the sending; veth, no network card\n",
        facts["flood_cpu"]
    );
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// The same for JSON.
pub(crate) fn facts() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        text.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let kib: u64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
    json!({
        "cpu": field(&read("/proc/cpuinfo"), "model name"),
        "cpus": cpus(),
        "flood_cpu": flood_cpu(),
        "memory_gib": kib >> 20,
        "load": read("/proc/loadavg").split(' ').next(),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "peers": [version("nft", "--version"), version("ipset", "--version"),
            version("iptables-legacy", "--version"), packaged("xdp-tools")],
    })
}

fn version(program: &str, flag: &str) -> String {
    let output = Command::new(program).arg(flag).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.lines().next().map_or(format!("{program}: absent"), str::to_owned)
}

/// xdp-filter does not tell its version.
fn packaged(package: &str) -> String {
    let output = Command::new("dpkg-query").args(["-W", package]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or(format!("{package}: version unknown"))
}
