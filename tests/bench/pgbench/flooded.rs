//! pgbench while a flood hits its port. The server's processes share the CPU that takes the
//! flood, as on a machine whose every CPU takes its part; pgbench has the others.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use dbfw_common::Family;
use dbfw_tests::postgres;
use serde_json::{Value, json};

use super::{Filter, ROUNDS, Standing, pgbench, table};
use crate::{
    Options, PORT,
    line::{Generator, Line, cpus, flood_cpu, pin, pin_process},
    report::Spread,
    sets::{Pattern, Set},
    systems::NftHook,
};

/// Packets a second that arrive, as far as the system takes them.
const OFFERED: f64 = 1_200_000.0;
/// Packets of one call into the kernel: half a second's, because a call takes 20 ms to prepare,
/// most of it asleep.
const BURST: u32 = 600_000;

const FILTERS: [Filter; 3] =
    [Filter::Dbfw { backstop: true }, Filter::Nft(NftHook::Netdev), Filter::Nft(NftHook::Raw)];

/// How the flood and the server's processes come to the CPU.
#[derive(Clone, Copy, PartialEq)]
enum Share {
    /// The flood first, as in an interrupt: as much of it as was sent is taken.
    First,
    /// As processes of the same priority, as the kernel arranges it once a flood lasts
    /// (ksoftirqd): what is not taken in time is lost before the filter.
    Equal,
}

impl Share {
    const ALL: [Self; 2] = [Self::First, Self::Equal];

    fn name(self) -> &'static str {
        match self {
            Self::First => "flood first",
            Self::Equal => "flood shares the CPU",
        }
    }

    /// Gives the calling thread, which sends and receives the flood, its priority.
    fn apply(self) -> io::Result<()> {
        if self == Self::Equal {
            return Ok(());
        }
        let parameter = libc::sched_param { sched_priority: 1 };
        // SAFETY: changes the calling thread's own class; the parameter outlives the call.
        match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

struct Flooded {
    tps: f64,
    mpps: f64,
}

pub(super) fn run(set: &Set, options: &Options) -> Vec<Value> {
    let shares = if options.quick { &Share::ALL[..1] } else { &Share::ALL[..] };
    shares.iter().map(|share| one(set, *share, options.quick)).collect()
}

fn one(set: &Set, share: Share, quick: bool) -> Value {
    let rates = measure(set, share, quick);
    let what = format!("tps, {}", share.name());
    let (tps, mpps) = match rates {
        Ok(all) => {
            let figures = |value: fn(&Flooded) -> f64| {
                all.iter().map(|of| of.iter().map(value).collect()).collect::<Vec<Vec<f64>>>()
            };
            (Ok(figures(|it| it.tps)), figures(|it| it.mpps))
        }
        Err(why) => (Err(why), Vec::new()),
    };
    let tps = table(&what, &FILTERS, FILTERS[0], tps);
    let mut taken = Vec::new();
    for (filter, rates) in FILTERS.iter().zip(&mpps) {
        if let Some(spread) = Spread::of(rates) {
            println!(
                "  {:30} {:>9.2} Mpps of the flood dropped meanwhile ({:.2} offered)",
                filter.name(),
                spread.median,
                OFFERED / 1e6
            );
            taken.push(json!({ "system": filter.name(), "mpps": spread }));
        }
    }
    json!({ "tps": tps, "flood": taken, "offered_mpps": OFFERED / 1e6 })
}

fn measure(set: &Set, share: Share, quick: bool) -> Result<Vec<Vec<Flooded>>, String> {
    let lines = FILTERS.iter().map(|_| Line::new(Family::V4)).collect::<Result<Vec<_>, _>>()?;
    let servers: Vec<_> = lines
        .iter()
        .map(|line| {
            let server = postgres::Postgres::start(&line.sut, PORT);
            postgres::pgbench(&line.sut, "127.0.0.1", PORT, &["--initialize", "--quiet"]);
            // Processes of later connections inherit it.
            pin_process(server.pid() as i32, flood_cpu()).map(|()| server)
        })
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| format!("cannot pin the server: {error}"))?;
    let standing = lines
        .iter()
        .zip(FILTERS)
        .map(|(line, filter)| filter.start(line, set))
        .collect::<Result<Vec<_>, _>>()?;
    let seconds = if quick { 1 } else { 4 };
    let mut all: Vec<Vec<Flooded>> = FILTERS.iter().map(|_| Vec::new()).collect();
    for round in 0..ROUNDS[usize::from(quick)] {
        for turn in 0..FILTERS.len() {
            let at = (turn + round) % FILTERS.len();
            all[at].push(flooded(&lines[at], &standing[at], share, seconds)?);
        }
    }
    drop(servers);
    Ok(all)
}

fn flooded(
    line: &Line,
    standing: &Standing<'_>,
    share: Share,
    seconds: u64,
) -> Result<Flooded, String> {
    let Standing::System(system) = standing else {
        return Err("only systems that drop are flooded".to_owned());
    };
    let generator = line.generator(&Pattern::Uniform).map_err(|error| error.to_string())?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = scope.spawn(|| paced(line, &generator, share, &stop));
        let (before, began) = (system.counts()?, Instant::now());
        let output = line.outside.run(|| {
            pin((flood_cpu() + 1) % cpus())
                .map(|()| pgbench(&line.outside, line.server(), &seconds.to_string()))
        });
        let (after, took) = (system.counts()?, began.elapsed());
        stop.store(true, Ordering::Relaxed);
        flood
            .join()
            .map_err(|_| "the flood failed".to_owned())?
            .map_err(|error| format!("cannot flood: {error}"))?;
        let output = output.map_err(|error| format!("cannot pin pgbench: {error}"))?;
        let tps = output.lines().find_map(|line| line.strip_prefix("tps = "));
        let tps = tps.and_then(|rest| rest.split(' ').next()?.parse().ok());
        let dropped = (after.dropped - before.dropped) as f64;
        Ok(Flooded {
            tps: tps.ok_or_else(|| format!("pgbench says: {output}"))?,
            mpps: dropped / took.as_secs_f64() / 1e6,
        })
    })
}

/// Bursts at a fixed rate until told to stop; what the system cannot take in time is not
/// made up for.
fn paced(line: &Line, generator: &Generator, share: Share, stop: &AtomicBool) -> io::Result<()> {
    let period = Duration::from_secs_f64(f64::from(BURST) / OFFERED);
    line.outside.run(|| {
        pin(flood_cpu())?;
        share.apply()?;
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            line.send(generator, BURST)?;
            next = (next + period).max(Instant::now());
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(())
    })
}
