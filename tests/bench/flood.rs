//! How many packets a second each system refuses, on the same traffic in the same run.

mod cells;
mod measure;

use dbfw_common::Family;
use serde_json::{Value, json};

use self::{
    cells::{Cell, groups},
    measure::Row,
};
use crate::{
    Options,
    report::{self, curves},
    sets::Set,
    systems::Kind,
};

pub(crate) fn run(options: &Options) {
    let mut results = Vec::new();
    for group in groups(options.quick) {
        let set = Set::new(group.family, group.kind, group.count);
        let cells: Vec<Cell> =
            group.sources.iter().map(|source| Cell::new(&set, *source)).collect();
        let rows = measure::run(&set, &cells, options.quick);
        for (cell, rows) in cells.into_iter().zip(rows) {
            print(&cell, &rows);
            results.push((cell, rows));
        }
    }
    let cells: Vec<Value> = results.iter().map(|(cell, rows)| as_json(cell, rows)).collect();
    report::json(&options.directory, "flood", &Value::Array(cells));
    draw(options, &results);
}

fn print(cell: &Cell, rows: &[Row]) {
    println!("\n  {}; {:.3} % of the packets are of the list", cell.title, 100.0 * cell.share);
    println!(
        "  {:24} {:>7} {:>7} {:>7} {:>8} {:>7} {:>7} {:>8}",
        "Mpps", "median", "min", "max", "of drop", "min", "max", "+ns"
    );
    for row in rows {
        match &row.outcome {
            Ok(figures) => println!(
                "  {:24} {:>7.2} {:>7.2} {:>7.2} {:>8.2} {:>7.2} {:>7.2} {:>8.0}{}",
                row.kind.name(),
                figures.rate.median,
                figures.rate.min,
                figures.rate.max,
                figures.ratio.median,
                figures.ratio.min,
                figures.ratio.max,
                figures.more_ns,
                figures.note(),
            ),
            Err(why) => println!("  {:24} no result: {why}", row.kind.name()),
        }
    }
}

fn as_json(cell: &Cell, rows: &[Row]) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| match &row.outcome {
            Ok(figures) => json!({ "system": row.kind.name(), "figures": figures }),
            Err(why) => json!({ "system": row.kind.name(), "no_result": why }),
        })
        .collect();
    json!({
        "title": cell.title,
        "family": cell.family.as_str(),
        "sources": cell.source.name(),
        "list": cell.list,
        "prefixes": cell.count,
        "share_of_list": cell.share,
        "systems": rows,
    })
}

/// A picture for each pattern that was measured with several sizes of one kind of list.
fn draw(options: &Options, results: &[(Cell, Vec<Row>)]) {
    for family in Family::ALL {
        for source in cells::Source::ALL {
            let mine: Vec<&(Cell, Vec<Row>)> = results
                .iter()
                .filter(|(cell, _)| {
                    cell.family == family && cell.source == source && cell.single_addresses
                })
                .collect();
            if mine.len() < 2 {
                continue;
            }
            let curves: Vec<curves::Curve> = crate::systems::ALL
                .into_iter()
                .map(|kind| (kind.name().to_owned(), points(&mine, kind)))
                .filter(|(_, points)| !points.is_empty())
                .collect();
            let title = format!("Flood from {}, {}", source.name(), family.as_str());
            let name = format!("flood-{}-{}.svg", source.short(), family.as_str());
            report::write(&options.directory, &name, &curves::svg(&title, "Mpps", &curves));
        }
    }
}

fn points(cells: &[&(Cell, Vec<Row>)], kind: Kind) -> Vec<(usize, f64)> {
    cells
        .iter()
        .filter_map(|(cell, rows)| {
            let row = rows.iter().find(|row| row.kind == kind)?;
            Some((cell.count, row.outcome.as_ref().ok()?.rate.median))
        })
        .collect()
}
