//! Measurements of dbfw on this machine: `cargo xtask bench [SCENARIO…]`. Ratios within one
//! run mean something, absolute figures only on the machine they were taken on.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

mod agent;
mod enforce;
mod path;
mod providers;
mod verdict;

/// Scenarios by name, and what each shows.
const SCENARIOS: [(&str, &str, fn()); 5] = [
    ("path", "ns a packet through the XDP program, beside an empty one", path::run),
    ("verdict", "ns a packet with many prefixes, the source another for each", verdict::run),
    ("enforce", "from a changed file to the first packet judged by it", enforce::run),
    ("agent", "memory and idle CPU of the agent, with 10 and 10,000 prefixes", agent::run),
    ("providers", "requests, time and CPU that the lists of a provider cost", providers::run),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) =
        wanted.iter().find(|name| !SCENARIOS.iter().any(|(known, ..)| known == name))
    {
        println!("there is no scenario {unknown}; there are:");
        for (name, about, _) in SCENARIOS {
            println!("  {name:10} {about}");
        }
        std::process::exit(2);
    }
    for (name, about, run) in SCENARIOS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            println!("{name}: {about}");
            run();
            println!();
        }
    }
}

/// The middle of some measurements, with the least and the most.
fn spread<T: Copy + Ord>(values: &mut [T]) -> (T, T, T) {
    values.sort_unstable();
    (values[values.len() / 2], values[0], values[values.len() - 1])
}
