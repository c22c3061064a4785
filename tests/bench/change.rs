//! One prefix more, with a million in force; and what a million takes in memory.

mod memory;
mod probe;

use std::{
    fs,
    time::{Duration, Instant},
};

use dbfw_common::Family;
use serde_json::{Value, json};

use self::probe::Probe;
use crate::{
    Options,
    line::Line,
    report::{self, Spread, grouped},
    sets::{Kind, Set},
    systems::{Dbfw, Ipset, IpsetKind, Nft, NftHook, Trust},
};

/// Changes of each kind, and with --quick.
const ROUNDS: [u8; 2] = [7, 3];

pub(crate) fn run(options: &Options) {
    let rounds = ROUNDS[usize::from(options.quick)];
    let mut results = Vec::new();
    println!("  {:45} {:>9} {:>9} {:>9}", "one prefix more, milliseconds", "median", "min", "max");
    for count in [10, 10_000, 1_000_000] {
        let set = Set::new(Family::V4, Kind::Hosts, count);
        let outcome =
            Line::new(Family::V4).and_then(|line| agent(&line, &set, rounds, &mut results));
        if let Err(why) = outcome {
            println!("  dbfw, {} others: no result: {why}", grouped(count));
            results.push(json!({ "system": "dbfw", "others": count, "no_result": why }));
        }
    }
    let set = Set::new(Family::V4, Kind::Hosts, 1_000_000);
    let peers: [(&str, Peer, bool); 4] = [
        (
            "ipset add, hash:ip",
            |line, set, rounds| ipset(line, set, IpsetKind::HashIp, rounds),
            false,
        ),
        (
            "ipset add, hash:net",
            |line, set, rounds| ipset(line, set, IpsetKind::HashNet, rounds),
            false,
        ),
        ("nft add element, hash", |line, set, rounds| nft(line, set, false, rounds), false),
        ("nft add element, interval", |line, set, rounds| nft(line, set, true, rounds), true),
    ];
    for (name, peer, slow) in peers {
        let outcome = if slow && options.quick {
            Err("minutes a change: not in --quick".to_owned())
        } else {
            Line::new(Family::V4).and_then(|line| peer(&line, &set, rounds))
        };
        let times = outcome.map(|(times, memory)| {
            if let Some(bytes) = memory {
                println!("  {name}: the set takes {} MiB", bytes >> 20);
                results.push(json!({ "system": name, "others": 1_000_000, "set_bytes": bytes }));
            }
            times
        });
        show(name, 1_000_000, times, &mut results);
    }
    report::json(&options.directory, "change", &Value::Array(results));
}

type Peer = fn(&Line, &Set, u8) -> Result<(Vec<Duration>, Option<u64>), String>;

fn show(name: &str, others: usize, times: Result<Vec<Duration>, String>, results: &mut Vec<Value>) {
    let times = times.map(|times| {
        let ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        Spread::of(&ms)
    });
    let what = format!("{name}, {} others", grouped(others));
    match times {
        Ok(Some(spread)) => {
            println!("  {what:45} {:>9.1} {:>9.1} {:>9.1}", spread.median, spread.min, spread.max);
            results.push(json!({ "system": name, "others": others, "milliseconds": spread }));
        }
        Ok(None) => {}
        Err(why) => {
            println!("  {what:45} no result: {why}");
            results.push(json!({ "system": name, "others": others, "no_result": why }));
        }
    }
}

/// By hand and by the list, each from the command or the rename to the first packet that is
/// let in; and the memory.
fn agent(line: &Line, set: &Set, rounds: u8, results: &mut Vec<Value>) -> Result<(), String> {
    let mut agent = Dbfw::configured(line, set, Trust::default())?;
    agent.spawn()?;
    results.push(memory::report(&agent, set.prefixes.len())?);
    let others = set.prefixes.len();
    let (mut overhead, mut by_hand, mut by_list) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let began = Instant::now();
        let listed = agent.host.dbfw(&["trust", "list"]);
        overhead.push(began.elapsed());
        succeeded(&listed)?;

        let source = format!("192.0.2.{}", 10 + round);
        let probe = Probe::start(line, &source)?;
        let began = Instant::now();
        let added = agent.host.dbfw(&[
            "trust",
            "add",
            &format!("ip_addr:{source}"),
            "--database",
            "orders",
        ]);
        by_hand.push(probe.let_in(began)?);
        succeeded(&added)?;
    }
    let list = fs::read_to_string(agent.host.path("orders.list")).map_err(|e| e.to_string())?;
    for round in 0..rounds {
        let source = format!("192.0.2.{}", 100 + round);
        let fresh = agent.host.path("orders.list.new");
        fs::write(&fresh, format!("{list}{source}\n")).map_err(|error| error.to_string())?;
        let probe = Probe::start(line, &source)?;
        let began = Instant::now();
        fs::rename(&fresh, agent.host.path("orders.list")).map_err(|error| error.to_string())?;
        by_list.push(probe.let_in(began)?);
    }
    show("dbfw trust list (a command that changes nothing)", others, Ok(overhead), results);
    show("dbfw trust add", others, Ok(by_hand), results);
    show("dbfw, list replaced", others, Ok(by_list), results);
    Ok(())
}

fn succeeded(output: &std::process::Output) -> Result<(), String> {
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// The commands return when the kernel has the element.
fn ipset(
    line: &Line,
    set: &Set,
    kind: IpsetKind,
    rounds: u8,
) -> Result<(Vec<Duration>, Option<u64>), String> {
    let ipset = Ipset::empty(line, set, kind)?;
    ipset.fill(set)?;
    let memory = ipset.memory()?;
    Ok((timed(|address| ipset.add(address), rounds)?, Some(memory)))
}

fn nft(
    line: &Line,
    set: &Set,
    interval: bool,
    rounds: u8,
) -> Result<(Vec<Duration>, Option<u64>), String> {
    let tables = Nft::empty(line, set, NftHook::Netdev, interval)?;
    tables.fill(set)?;
    // With intervals nft reads the whole set first, more than a minute each time.
    let rounds = if interval { 2 } else { rounds };
    Ok((timed(|address| tables.add(address), rounds)?, None))
}

fn timed(add: impl Fn(&str) -> Result<(), String>, rounds: u8) -> Result<Vec<Duration>, String> {
    (0..rounds)
        .map(|round| {
            let began = Instant::now();
            add(&format!("192.0.2.{}", 10 + round))?;
            Ok(began.elapsed())
        })
        .collect()
}
