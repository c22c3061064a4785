//! What protection costs those who are let in: a real PostgreSQL with pgbench, in peace and
//! under a flood; and new connections with and without the backstop.

mod connections;
mod flooded;

use std::os::fd::OwnedFd;

use dbfw_common::Family;
use dbfw_tests::{netns::Netns, postgres};
use serde_json::{Value, json};

use crate::{
    Options, PORT,
    bpf::{Xdp, programs},
    line::{INTERFACE, Line},
    report::{self, Spread},
    sets::{Kind, Set},
    systems::{Dbfw, Nft, NftHook, System, Trust},
};

/// Measurements of each filter, and with --quick.
const ROUNDS: [usize; 2] = [5, 3];
/// Prefixes in force.
const PREFIXES: usize = 10_000;

/// What filters the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    None,
    /// A program that passes everything: native XDP itself changes what a veth does.
    EmptyXdp,
    Dbfw {
        backstop: bool,
    },
    Nft(NftHook),
}

impl Filter {
    fn name(self) -> &'static str {
        match self {
            Self::None => "no filter",
            Self::EmptyXdp => "an empty XDP program",
            Self::Dbfw { backstop: true } => "dbfw",
            Self::Dbfw { backstop: false } => "dbfw without backstop",
            Self::Nft(NftHook::Netdev) => "nft netdev, hash",
            Self::Nft(NftHook::Raw) => "nft raw, hash",
        }
    }

    /// Lets in the list and the line's client.
    fn start<'a>(self, line: &'a Line, set: &Set) -> Result<Standing<'a>, String> {
        Ok(match self {
            Self::None => Standing::Nothing,
            Self::EmptyXdp => {
                let program = programs::constant(false).map_err(|error| error.to_string())?;
                let ifindex = line.sut.ifindex(INTERFACE);
                let link = line.sut.run(|| program.attach(ifindex));
                Standing::Empty { _held: (program, link.map_err(|error| error.to_string())?) }
            }
            Self::Dbfw { backstop } => {
                let trust =
                    Trust { also: Some(line.client()), no_backstop: !backstop, ..Trust::default() };
                let mut agent = Dbfw::configured(line, set, trust)?;
                agent.spawn()?;
                Standing::System(Box::new(agent))
            }
            Self::Nft(hook) => {
                let tables = Nft::empty(line, set, hook, false)?;
                tables.fill(set)?;
                tables.add(line.client())?;
                Standing::System(Box::new(tables))
            }
        })
    }
}

/// A filter that stands.
enum Standing<'a> {
    Nothing,
    Empty { _held: (Xdp, OwnedFd) },
    System(Box<dyn System + 'a>),
}

impl Standing<'_> {
    /// What lets in too few packets did not see the clients.
    fn accepted(&self) -> Result<Option<u64>, String> {
        match self {
            Self::Nothing | Self::Empty { .. } => Ok(None),
            Self::System(system) => system.counts().map(|counts| Some(counts.accepted)),
        }
    }
}

pub(crate) fn run(options: &Options) {
    let set = Set::new(Family::V4, Kind::Hosts, PREFIXES);
    let mut results = Vec::new();
    println!(
        "  pgbench -S, 4 clients, {} hosts in force; client and server on one machine",
        report::grouped(PREFIXES)
    );
    let filters = [Filter::None, Filter::EmptyXdp, Filter::Dbfw { backstop: true }];
    let seconds = if options.quick { 1 } else { 4 };
    let outcome = rounds(&filters, &set, options.quick, |line, filter, standing| {
        counted(line, standing, || transactions(line, seconds, filter))
    });
    results.push(table("transactions a second", &filters, Filter::EmptyXdp, outcome));

    let filters = [
        Filter::None,
        Filter::EmptyXdp,
        Filter::Dbfw { backstop: false },
        Filter::Dbfw { backstop: true },
    ];
    let seconds = if options.quick { 0.5 } else { 2.0 };
    let outcome = connections::run(&filters, &set, seconds, options.quick);
    let base = Filter::Dbfw { backstop: false };
    results.push(table("new TCP connections a second", &filters, base, outcome));

    results.extend(flooded::run(&set, options));
    report::json(&options.directory, "pgbench", &Value::Array(results));
}

/// Figures of each filter, round by round.
type Outcome = Result<Vec<Vec<f64>>, String>;

/// Sets every filter up on a server of its own, and measures them in turn.
fn rounds(
    filters: &[Filter],
    set: &Set,
    quick: bool,
    measure: impl Fn(&Line, Filter, &Standing<'_>) -> Result<f64, String>,
) -> Outcome {
    let lines = filters.iter().map(|_| Line::new(Family::V4)).collect::<Result<Vec<_>, _>>()?;
    let servers: Vec<_> = lines
        .iter()
        .map(|line| {
            let server = postgres::Postgres::start(&line.sut, PORT);
            postgres::pgbench(&line.sut, "127.0.0.1", PORT, &["--initialize", "--quiet"]);
            server
        })
        .collect();
    let standing = lines
        .iter()
        .zip(filters)
        .map(|(line, filter)| filter.start(line, set))
        .collect::<Result<Vec<_>, _>>()?;
    let mut figures = vec![Vec::new(); filters.len()];
    for round in 0..ROUNDS[usize::from(quick)] {
        for turn in 0..filters.len() {
            let at = (turn + round) % filters.len();
            figures[at].push(measure(&lines[at], filters[at], &standing[at])?);
        }
    }
    drop(servers);
    Ok(figures)
}

/// Measures, and fails if the filter did not count packets let in meanwhile.
fn counted(
    line: &Line,
    standing: &Standing<'_>,
    measure: impl FnOnce() -> Result<f64, String>,
) -> Result<f64, String> {
    let before = standing.accepted()?;
    let figure = measure()?;
    if before.is_some() && standing.accepted()? == before {
        return Err(format!("the filter of {} let in nothing", line.sut.name()));
    }
    Ok(figure)
}

/// pgbench from outside; transactions a second without the time to connect.
fn transactions(line: &Line, seconds: u32, filter: Filter) -> Result<f64, String> {
    let time = seconds.to_string();
    let output = pgbench(&line.outside, line.server(), &time);
    let tps = output.lines().find_map(|line| line.strip_prefix("tps = "));
    tps.and_then(|rest| rest.split(' ').next()?.parse().ok())
        .ok_or_else(|| format!("pgbench through {} says: {output}", filter.name()))
}

fn pgbench(client: &Netns, server: &str, seconds: &str) -> String {
    let options =
        ["--select-only", "--no-vacuum", "--client", "4", "--jobs", "1", "--time", seconds];
    postgres::pgbench(client, server, PORT, &options)
}

/// Prints and returns figures beside those of `base`, round by round.
fn table(what: &str, filters: &[Filter], base: Filter, outcome: Outcome) -> Value {
    let ratio_of = format!("of {}", base.name());
    println!("\n  {what:30} {:>9} {:>9} {:>9}   {ratio_of}", "median", "min", "max");
    let figures = match outcome {
        Ok(figures) => figures,
        Err(why) => {
            println!("  no result: {why}");
            return json!({ "what": what, "no_result": why });
        }
    };
    let bases = filters.iter().position(|filter| *filter == base).map(|at| &figures[at]);
    let rows: Vec<Value> = filters
        .iter()
        .zip(&figures)
        .filter_map(|(filter, values)| {
            let spread = Spread::of(values)?;
            let ratios: Vec<f64> =
                values.iter().zip(bases?).map(|(one, base)| one / base).collect();
            let ratio = Spread::of(&ratios)?;
            println!(
                "  {:30} {:>9.0} {:>9.0} {:>9.0}   {:.3} ({:.3} to {:.3})",
                filter.name(),
                spread.median,
                spread.min,
                spread.max,
                ratio.median,
                ratio.min,
                ratio.max,
            );
            Some(json!({ "system": filter.name(), "figures": spread, "ratio": ratio }))
        })
        .collect();
    json!({ "what": what, "ratio_of": base.name(), "systems": rows })
}
