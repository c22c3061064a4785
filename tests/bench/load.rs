//! A million prefixes, from a file until they are in force.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use dbfw_common::Family;
use serde_json::{Value, json};

use crate::{
    Options,
    line::Line,
    report::{self, Spread},
    sets::{Kind, Pattern, Set},
    systems::{Dbfw, Ipset, IpsetKind, Nft, NftHook, System, Trust},
};

const COUNT: usize = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(120);
/// Packets that show that a prefix is in force.
const PROBES: u32 = 256;

/// One way to load.
struct Way {
    name: &'static str,
    load: fn(&Line, &Set) -> Result<Duration, String>,
    /// Not in `--quick`.
    slow: bool,
    /// Holds single addresses only.
    exact: bool,
}

const WAYS: [Way; 6] = [
    Way { name: "dbfw, agent started", load: start, slow: false, exact: false },
    Way { name: "dbfw, list replaced", load: replace, slow: false, exact: false },
    Way { name: "ipset restore, hash:ip", load: hash_ip, slow: false, exact: true },
    Way { name: "ipset restore, hash:net", load: hash_net, slow: false, exact: false },
    Way { name: "nft -f, hash", load: nft_hash, slow: false, exact: true },
    Way { name: "nft -f, interval", load: nft_interval, slow: true, exact: false },
];

pub(crate) fn run(options: &Options) {
    let kinds: &[Kind] = if options.quick { &[Kind::Hosts] } else { &[Kind::Hosts, Kind::Mixed] };
    let mut results = Vec::new();
    for kind in kinds {
        let set = Set::new(Family::V4, *kind, COUNT);
        let list = if *kind == Kind::Hosts { "hosts" } else { "prefixes /16 to /32" };
        let rounds = if options.quick { 1 } else { 5 };
        println!("\n  ipv4, {} {list}, {rounds} rounds", report::grouped(COUNT));
        println!("  {:24} {:>7} {:>7} {:>7}", "seconds", "median", "min", "max");
        let mut times: Vec<Result<Vec<f64>, String>> = WAYS.iter().map(|_| Ok(vec![])).collect();
        for round in 0..rounds {
            for turn in 0..WAYS.len() {
                let at = (turn + round) % WAYS.len();
                let way = &WAYS[at];
                if let Ok(all) = &mut times[at] {
                    match once(way, &set, options.quick) {
                        Ok(took) => all.push(took.as_secs_f64()),
                        Err(why) => times[at] = Err(why),
                    }
                }
            }
        }
        for (way, times) in WAYS.iter().zip(times) {
            results.push(show(way.name, list, times));
        }
    }
    report::json(&options.directory, "load", &Value::Array(results));
}

fn show(name: &str, list: &str, times: Result<Vec<f64>, String>) -> Value {
    match times.map(|times| Spread::of(&times)) {
        Ok(Some(spread)) => {
            let Spread { median, min, max } = spread;
            println!("  {name:24} {median:>7.2} {min:>7.2} {max:>7.2}");
            json!({ "system": name, "list": list, "seconds": spread })
        }
        Ok(None) => json!({ "system": name, "list": list, "no_result": "no rounds" }),
        Err(why) => {
            println!("  {name:24} no result: {why}");
            json!({ "system": name, "list": list, "no_result": why })
        }
    }
}

fn once(way: &Way, set: &Set, quick: bool) -> Result<Duration, String> {
    if way.exact && !set.is_hosts() {
        return Err("holds single addresses only".to_owned());
    }
    if way.slow && quick {
        return Err("takes half a minute: not in --quick".to_owned());
    }
    let line = Line::new(set.family)?;
    (way.load)(&line, set)
}

/// A list counts as loaded only if packets of its first, middle and last prefix pass.
fn verify(line: &Line, set: &Set, system: &dyn System) -> Result<(), String> {
    let all = &set.prefixes;
    for prefix in [all.first(), all.get(all.len() / 2), all.last()].into_iter().flatten() {
        let failed = |error: std::io::Error| format!("cannot send: {error}");
        let generator = line.generator(&Pattern::One(prefix.addr())).map_err(failed)?;
        let before = system.counts()?;
        line.outside.run(|| line.send(&generator, PROBES)).map_err(failed)?;
        let accepted = || Ok::<u64, String>(system.counts()?.accepted - before.accepted);
        let deadline = Instant::now() + Duration::from_secs(1);
        while accepted()? < u64::from(PROBES) {
            if Instant::now() > deadline {
                return Err(format!("{prefix} is not let in"));
            }
            sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

fn start(line: &Line, set: &Set) -> Result<Duration, String> {
    let mut agent = Dbfw::configured(line, set, Trust::default())?;
    let began = Instant::now();
    agent.spawn()?;
    let took = began.elapsed();
    verify(line, set, &agent)?;
    Ok(took)
}

fn replace(line: &Line, set: &Set) -> Result<Duration, String> {
    let mut agent = Dbfw::configured(line, set, Trust { empty: true, ..Trust::default() })?;
    agent.spawn()?;
    let began = agent.replace(set)?;
    while agent.prefixes() < set.prefixes.len() as u64 {
        if began.elapsed() > PATIENCE {
            return Err(format!("{} prefixes after {PATIENCE:?}", agent.prefixes()));
        }
        sleep(Duration::from_millis(10));
    }
    let took = began.elapsed();
    verify(line, set, &agent)?;
    Ok(took)
}

fn ipset(line: &Line, set: &Set, kind: IpsetKind) -> Result<Duration, String> {
    let ipset = Ipset::empty(line, set, kind)?;
    ipset.prepare(set)?;
    let began = Instant::now();
    ipset.fill(set)?;
    let took = began.elapsed();
    verify(line, set, &ipset)?;
    Ok(took)
}

fn nft(line: &Line, set: &Set, interval: bool) -> Result<Duration, String> {
    let tables = Nft::empty(line, set, NftHook::Netdev, interval)?;
    tables.prepare(set)?;
    let began = Instant::now();
    tables.fill(set)?;
    let took = began.elapsed();
    verify(line, set, &tables)?;
    Ok(took)
}

fn hash_ip(line: &Line, set: &Set) -> Result<Duration, String> {
    ipset(line, set, IpsetKind::HashIp)
}

fn hash_net(line: &Line, set: &Set) -> Result<Duration, String> {
    ipset(line, set, IpsetKind::HashNet)
}

fn nft_hash(line: &Line, set: &Set) -> Result<Duration, String> {
    nft(line, set, false)
}

fn nft_interval(line: &Line, set: &Set) -> Result<Duration, String> {
    nft(line, set, true)
}
