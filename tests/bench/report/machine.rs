//! The machine, as a reader of the figures needs to know it.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::line::{cpus, flood_cpu};

/// Says what the figures are of.
pub(crate) fn print() {
    let facts = facts();
    println!(
        "machine: {}, {} CPUs, caches {}, {} GiB, load {}; Linux {}",
        text(&facts["cpu"]),
        facts["cpus"],
        text(&facts["caches"]),
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
        "caches": caches(flood_cpu()),
        "flood_cpu": flood_cpu(),
        "memory_gib": kib >> 20,
        "load": read("/proc/loadavg").split(' ').next(),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "peers": [version("nft", "--version"), version("ipset", "--version"),
            version("iptables-legacy", "--version"), packaged("xdp-tools")],
    })
}

/// The caches that a CPU has, as `L1d 48K, L1i 32K, L2 1024K, L3 32768K of 2 CPUs`.
fn caches(cpu: usize) -> String {
    let caches = (0..).map_while(|index| {
        let read = |name: &str| {
            let path = format!("/sys/devices/system/cpu/cpu{cpu}/cache/index{index}/{name}");
            fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
        };
        let kind = match read("type")?.as_str() {
            "Data" => "d",
            "Instruction" => "i",
            _ => "",
        };
        let sharing = match cpus_of(&read("shared_cpu_list")?) {
            1 => String::new(),
            cpus => format!(" of {cpus} CPUs"),
        };
        Some(format!("L{}{kind} {}{sharing}", read("level")?, read("size")?))
    });
    caches.collect::<Vec<_>>().join(", ")
}

/// CPUs in a list such as `0-3,8`.
fn cpus_of(list: &str) -> usize {
    let ranges = list.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.parse::<usize>().ok()?.saturating_sub(first.parse().ok()?) + 1)
    });
    ranges.sum()
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
