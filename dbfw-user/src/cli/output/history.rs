//! Output of `dbfw history`, for people and as plain fields.

use dbfw_wire::control::{HistoryEntry, HistoryList};
use jiff::Timestamp;

use super::{
    render::Render,
    table::{Column, Table, left, right},
    words::{DASH, clean, fields, maybe, moment},
};

const ENTRIES: [Column<HistoryEntry>; 8] = [
    left("TIME", |entry, _| moment(Some(entry.time)).into()),
    left("WHAT", |entry, _| entry.kind.as_str().into()),
    left("DATABASE", |entry, _| entry.database.as_deref().unwrap_or(DASH).into()),
    left("SOURCE", |entry, _| entry.source.as_deref().unwrap_or(DASH).into()),
    right("IN", |entry, _| number(entry.prefixes_in).into()),
    right("OUT", |entry, _| number(entry.prefixes_out).into()),
    left("BY", |entry, _| entry.by.as_deref().unwrap_or("dbfw").into()),
    left("WHY", |entry, _| reason(entry).into()),
];

impl Render for HistoryList {
    fn table(&self, now: Timestamp) -> String {
        if self.entries.is_empty() {
            return "Nothing was recorded.\n".to_owned();
        }
        Table::of(&ENTRIES, &self.entries, now).render()
    }

    fn plain(&self) -> String {
        let record = |entry: &HistoryEntry| {
            fields([
                &entry.time.to_string(),
                entry.kind.as_str(),
                &entry.generation.to_string(),
                &maybe(entry.database.as_ref()),
                &maybe(entry.source.as_ref()),
                &maybe(entry.origin.as_ref()),
                &maybe(entry.by.as_ref()),
                &entry.prefixes_in.to_string(),
                &entry.prefixes_out.to_string(),
                &entry.added.join(","),
                &entry.removed.join(","),
                &maybe(entry.guard.as_ref()),
                &maybe(entry.plan.as_ref()),
                &maybe(entry.why.as_ref()),
                &maybe(entry.message.as_ref()),
            ])
        };
        self.entries.iter().map(record).collect()
    }
}

fn number(n: usize) -> String {
    if n == 0 { DASH.to_owned() } else { n.to_string() }
}

/// The words of who asked for it, and what else there is to say.
fn reason(entry: &HistoryEntry) -> String {
    let plan = match (&entry.guard, &entry.plan) {
        (Some(guard), Some(plan)) => Some(format!("{guard}, plan {plan}")),
        (Some(guard), None) => Some(guard.to_string()),
        (None, plan) => plan.clone(),
    };
    let said: Vec<String> = [plan.as_ref(), entry.why.as_ref(), entry.message.as_ref()]
        .into_iter()
        .flatten()
        .filter(|text| !text.is_empty())
        .map(|text| clean(text))
        .collect();
    if said.is_empty() { DASH.to_owned() } else { said.join(": ") }
}
