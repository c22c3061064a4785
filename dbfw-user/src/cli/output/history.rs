//! `dbfw history`.

use dbfw_wire::control::{HistoryEntry, HistoryList};
use jiff::Timestamp;

use super::{
    render::Render,
    table::{Cell, Table, left, right},
    words::{clean, dash, fields, maybe, moment},
};

impl Render for HistoryList {
    fn table(&self, _now: Timestamp) -> String {
        if self.entries.is_empty() {
            return "Nothing was recorded.\n".to_owned();
        }
        let mut table = Table::new([
            left("TIME"),
            left("WHAT"),
            left("DATABASE"),
            left("SOURCE"),
            right("IN"),
            right("OUT"),
            left("BY"),
            left("WHY"),
        ]);
        for entry in &self.entries {
            let text = |text: &Option<String>| text.clone().unwrap_or_else(dash);
            table.row([
                moment(Some(entry.time)).into(),
                entry.kind.as_str().into(),
                text(&entry.database).into(),
                text(&entry.source).into(),
                number(entry.prefixes_in),
                number(entry.prefixes_out),
                entry.by.as_deref().unwrap_or("dbfw").into(),
                reason(entry).into(),
            ]);
        }
        table.render()
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

fn number(n: usize) -> Cell {
    if n == 0 { dash().into() } else { n.to_string().into() }
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
    if said.is_empty() { dash() } else { said.join(": ") }
}
