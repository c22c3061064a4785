//! Measurements of dbfw on this machine, beside its peers: `cargo xtask bench [--quick]
//! [--agents N] [SCENARIO…]`. Ratios within one run mean something, absolute figures only on the machine
//! they were taken on.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

mod agent;
mod bpf;
mod change;
mod enforce;
mod fleet;
mod flood;
mod line;
mod load;
mod path;
mod pgbench;
mod providers;
mod report;
mod sets;
mod systems;
mod verdict;

use std::path::PathBuf;

/// The protected port.
const PORT: u16 = 5432;

/// How to measure.
struct Options {
    /// Fewer sizes, shorter floods.
    quick: bool,
    /// Simulated agents of a fleet.
    agents: usize,
    /// Where JSON and curves go.
    directory: PathBuf,
}

/// One theme of measurements.
struct Scenario {
    name: &'static str,
    about: &'static str,
    run: fn(&Options),
    /// Belongs to what `--quick` runs if no scenario is named.
    quick: bool,
}

const fn scenario(
    name: &'static str,
    about: &'static str,
    run: fn(&Options),
    quick: bool,
) -> Scenario {
    Scenario { name, about, run, quick }
}

const SCENARIOS: [Scenario; 10] = [
    scenario(
        "path",
        "ns a packet through the XDP program, beside an empty one",
        |_| path::run(),
        true,
    ),
    scenario(
        "verdict",
        "ns a packet with many prefixes, the source another for each",
        |_| verdict::run(),
        false,
    ),
    scenario("flood", "packets a second refused, beside other filters", flood::run, true),
    scenario("load", "a million prefixes, from a file until they are in force", load::run, true),
    scenario("change", "one prefix more beside a million, and memory", change::run, true),
    scenario("pgbench", "what those who are let in notice, also under a flood", pgbench::run, true),
    scenario(
        "enforce",
        "from a changed file to the first packet judged by it",
        |_| enforce::run(),
        false,
    ),
    scenario(
        "agent",
        "memory and idle CPU of the agent, with 10 and 10,000 prefixes",
        |_| agent::run(),
        false,
    ),
    scenario(
        "providers",
        "requests, time and CPU that the lists of a provider cost",
        |_| providers::run(),
        false,
    ),
    scenario(
        "fleet",
        "from an edit at the control plane until all hosts enforce it, and what that costs",
        fleet::run,
        false,
    ),
];

fn main() {
    let (mut quick, mut agents, mut wanted, mut unknown) = (false, fleet::AGENTS, Vec::new(), None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => quick = true,
            "--agents" => match words.next().and_then(|count| count.parse().ok()) {
                Some(count @ 1..=20_000) => agents = count,
                _ => unknown = Some("--agents without a number up to 20000".to_owned()),
            },
            name if SCENARIOS.iter().any(|known| known.name == name) => wanted.push(word),
            _ => unknown = Some(word),
        }
    }
    if let Some(unknown) = unknown {
        println!("there is no scenario or option {unknown}; there are:");
        println!(
            "  {:10} short floods, few sizes; without a name: the scenarios with *",
            "--quick"
        );
        println!("  {:10} simulated agents of the fleet, {}", "--agents N", fleet::AGENTS);
        for Scenario { name, about, quick, .. } in &SCENARIOS {
            println!("{} {name:10} {about}", if *quick { '*' } else { ' ' });
        }
        std::process::exit(2);
    }
    if std::env::var_os("DBFW_BIN").is_none() {
        println!("DBFW_BIN must name the dbfw binary: run this with `cargo xtask bench`");
        std::process::exit(2);
    }
    let directory = std::env::var_os("DBFW_BENCH_DIR").map_or("target/bench".into(), PathBuf::from);
    let options = Options { quick, agents, directory };
    report::machine::print();
    for scenario in &SCENARIOS {
        let chosen = if wanted.is_empty() {
            scenario.quick || !quick
        } else {
            wanted.iter().any(|wanted| wanted == scenario.name)
        };
        if chosen {
            println!("{}: {}", scenario.name, scenario.about);
            (scenario.run)(&options);
            println!();
        }
    }
}

/// The middle of some measurements, with the least and the most.
fn spread<T: Copy + Ord>(values: &mut [T]) -> (T, T, T) {
    values.sort_unstable();
    (values[values.len() / 2], values[0], values[values.len() - 1])
}
