//! Measurements of dbfw on this machine, beside its peers: `cargo xtask bench [--quick]
//! [SCENARIO…]`. Ratios within one run mean something, absolute figures only on the machine
//! they were taken on.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

mod agent;
mod bpf;
mod change;
mod enforce;
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

const SCENARIOS: [Scenario; 9] = [
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
];

fn main() {
    let (flags, wanted): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word.starts_with('-'));
    let quick = flags.iter().any(|flag| flag == "--quick");
    let unknown = wanted
        .iter()
        .find(|name| !SCENARIOS.iter().any(|known| known.name == **name))
        .or_else(|| flags.iter().find(|flag| *flag != "--quick"));
    if let Some(unknown) = unknown {
        println!("there is no scenario or option {unknown}; there are:");
        println!(
            "  {:10} short floods, few sizes; without a name: the scenarios with *",
            "--quick"
        );
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
    let options = Options { quick, directory };
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
