//! One list in force in every system, and floods against all of them in turn.

use std::{thread::sleep, time::Duration};

use super::cells::Cell;

use crate::{
    line::{Generator, Line},
    report::Spread,
    sets::Set,
    systems::{ALL, Counts, Kind, System},
};

/// Floods of each system, and with --quick.
const ROUNDS: [usize; 2] = [5, 3];

/// The share of packets that may be missing from a system's counters.
const LOSS: f64 = 0.02;

/// What came of a system.
pub(super) struct Row {
    pub(super) kind: Kind,
    pub(super) outcome: Result<Figures, String>,
}

/// Figures of a system, over the rounds.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct Figures {
    /// Million packets a second, by the system's own counters.
    pub(super) rate: Spread,
    /// Of the rate of dropping everything, in the same round.
    pub(super) ratio: Spread,
    /// Nanoseconds a packet takes longer than where everything is dropped.
    pub(super) more_ns: f64,
    /// The share of the packets that it let in.
    accepted: f64,
    /// The share of the packets that its counters lack.
    lost: f64,
}

impl Figures {
    /// What a reader must know beside the figures.
    pub(super) fn note(&self) -> String {
        let mut note = String::new();
        if self.accepted > 0.0 {
            note.push_str(&format!("  let in {:.3} %", 100.0 * self.accepted));
        }
        if self.lost > 0.001 {
            note.push_str(&format!("  lost {:.1} %", 100.0 * self.lost));
        }
        note
    }
}

/// A system that stands, or why it does not.
struct Standing<'a> {
    kind: Kind,
    system: Result<(&'a Line, Box<dyn System + 'a>), String>,
}

/// What one flood showed.
struct Sample {
    rate: f64,
    accepted: f64,
    lost: f64,
}

/// Sets everything up and floods it: for each cell a row for each system.
pub(super) fn run(set: &Set, cells: &[Cell], quick: bool) -> Vec<Vec<Row>> {
    let lines: Vec<(Kind, Result<Line, String>)> = ALL
        .into_iter()
        // A reference that would be the other one needs no row.
        .filter(|kind| *kind != Kind::PassShare || kind.cannot(set).is_none())
        .map(|kind| match left_out(kind, set, quick) {
            Some(why) => (kind, Err(why.to_owned())),
            None => (kind, Line::new(set.family)),
        })
        .collect();
    let standing: Vec<Standing<'_>> = lines
        .iter()
        .map(|(kind, line)| {
            let line = line.as_ref().map_err(Clone::clone);
            let system = line.and_then(|line| Ok((line, kind.start(line, set)?)));
            Standing { kind: *kind, system }
        })
        .collect();
    cells.iter().map(|cell| floods(&standing, cell, quick)).collect()
}

fn left_out(kind: Kind, set: &Set, quick: bool) -> Option<&'static str> {
    let slow = matches!(kind, Kind::Nft { interval: true, .. }) && set.prefixes.len() > 100_000;
    kind.cannot(set).or((quick && slow).then_some("takes a minute to load: not in --quick"))
}

fn floods(standing: &[Standing<'_>], cell: &Cell, quick: bool) -> Vec<Row> {
    let time = Duration::from_millis(if quick { 100 } else { 500 });
    let mut samples: Vec<Result<Vec<Sample>, String>> =
        standing.iter().map(|_| Ok(Vec::new())).collect();
    let generators: Vec<Result<Generator, String>> = standing
        .iter()
        .map(|standing| {
            let (line, _) = standing.system.as_ref().map_err(Clone::clone)?;
            line.generator(&cell.pattern).map_err(|error| format!("no generator: {error}"))
        })
        .collect();
    let rounds = ROUNDS[usize::from(quick)];
    for round in 0..rounds {
        // Each begins a round once, as far as there are rounds.
        for turn in 0..standing.len() {
            let at = (turn + round * standing.len() / rounds) % standing.len();
            let sample = generators[at].as_ref().map_err(Clone::clone).and_then(|generator| {
                let (line, system) = standing[at].system.as_ref().map_err(Clone::clone)?;
                flood(line, system.as_ref(), generator, cell, standing[at].kind, time)
            });
            match (sample, &mut samples[at]) {
                (Ok(sample), Ok(all)) => all.push(sample),
                (Err(why), all) => *all = Err(why),
                (Ok(_), Err(_)) => {}
            }
        }
    }
    let base: Vec<f64> = standing
        .iter()
        .zip(&samples)
        .filter(|(standing, _)| standing.kind == Kind::DropAll)
        .flat_map(|(_, samples)| samples.iter().flatten().map(|sample| sample.rate))
        .collect();
    standing
        .iter()
        .zip(samples)
        .map(|(standing, samples)| Row {
            kind: standing.kind,
            outcome: samples.and_then(|samples| figures(&samples, &base)),
        })
        .collect()
}

fn figures(samples: &[Sample], base: &[f64]) -> Result<Figures, String> {
    let rates: Vec<f64> = samples.iter().map(|sample| sample.rate).collect();
    let ratios: Vec<f64> = rates.iter().zip(base).map(|(rate, base)| rate / base).collect();
    let mean =
        |value: fn(&Sample) -> f64| samples.iter().map(value).sum::<f64>() / samples.len() as f64;
    let (Some(rate), Some(ratio), Some(base)) =
        (Spread::of(&rates), Spread::of(&ratios), Spread::of(base))
    else {
        return Err("there is nothing to compare it with".to_owned());
    };
    Ok(Figures {
        rate,
        ratio,
        more_ns: 1e3 / rate.median - 1e3 / base.median,
        accepted: mean(|sample| sample.accepted),
        lost: mean(|sample| sample.lost),
    })
}

/// One flood. What the system's counters do not confirm is no result.
fn flood(
    line: &Line,
    system: &dyn System,
    generator: &Generator,
    cell: &Cell,
    kind: Kind,
    time: Duration,
) -> Result<Sample, String> {
    let before = system.counts()?;
    let sent = line.flood(generator, time).map_err(|error| format!("cannot flood: {error}"))?;
    let seen = settled(system, before, sent.packets)?;
    let (packets, total) = (sent.packets as f64, (seen.dropped + seen.accepted) as f64);
    let lost = 1.0 - total / packets;
    if lost > LOSS {
        return Err(format!("its counters show {total} of {packets} packets"));
    }
    let accepted = seen.accepted as f64 / packets;
    let expected = if kind == Kind::DropAll { 0.0 } else { cell.share };
    // Four standard deviations of chance, and some packets of the line's own.
    let chance = 4.0 * (expected / packets).sqrt() + 1e-4;
    if (accepted - expected).abs() > 0.02 * expected + chance {
        return Err(format!(
            "let in {:.3} % of the packets, {:.3} % are of the list",
            100.0 * accepted,
            100.0 * expected
        ));
    }
    Ok(Sample { rate: total / sent.took.as_secs_f64() / 1e6, accepted, lost })
}

/// The counters' growth, once they have all packets, or after a tenth of a second.
fn settled(system: &dyn System, before: Counts, sent: u64) -> Result<Counts, String> {
    let mut seen = Counts::default();
    for _ in 0..10 {
        let now = system.counts()?;
        seen = Counts {
            dropped: now.dropped.saturating_sub(before.dropped),
            accepted: now.accepted.saturating_sub(before.accepted),
        };
        if seen.dropped + seen.accepted >= sent {
            break;
        }
        sleep(Duration::from_millis(10));
    }
    Ok(seen)
}
