//! Output of `dbfw drops`, for people and as plain fields.

use dbfw_wire::control::{DropEvent, DropSource, Drops, Reason};
use jiff::Timestamp;

use super::{
    render::Render,
    table::{Cell, Column, Table, left, right, stream_header, stream_row, wide},
    words::{ago, count, fields, maybe, moment, number_of},
};

/// Values of a cell that are shown one by one.
const MAX_VALUES: usize = 3;

fn port_text(port: u16) -> String {
    match port {
        0 => "unread".to_owned(),
        port => port.to_string(),
    }
}

/// The first values of a cell, and how many more there are.
fn listed<T>(source: &DropSource, values: &[T], text: impl Fn(&T) -> String) -> Cell {
    let mut cell: Vec<String> = values.iter().take(MAX_VALUES).map(text).collect();
    let more = values.len() - cell.len();
    if more > 0 {
        let or_more = if source.has_more { " or more" } else { "" };
        cell.push(format!("+{more}{or_more}"));
    }
    cell.join(",").into()
}

fn ports(source: &DropSource) -> Cell {
    listed(source, &source.ports, |port| port_text(*port))
}

fn reasons(source: &DropSource) -> Cell {
    listed(source, &source.reasons, |reason| reason.as_str().to_owned())
}

fn interfaces(source: &DropSource) -> Cell {
    listed(source, &source.interfaces, Clone::clone)
}

fn packets(source: &DropSource) -> String {
    format!("~{}", count(source.estimated_packets))
}

const REFUSED: [Column<DropSource>; 9] = [
    left("SOURCE", |source, _| source.source.to_string().into()),
    left("DATABASE", |source, _| (&source.database).into()),
    left("PORT", |source, _| ports(source)),
    left("VERDICT", |source, _| source.verdict.as_str().into()),
    left("REASON", |source, _| reasons(source)),
    left("INTERFACE", |source, _| interfaces(source)),
    right("PACKETS", |source, _| packets(source).into()),
    left("FIRST SEEN", |source, now| ago(Some(source.first_seen), now).into()),
    left("LAST SEEN", |source, now| ago(Some(source.last_seen), now).into()),
];

const TRUSTED: [Column<DropSource>; 9] = [
    left("SOURCE", |source, _| source.source.to_string().into()),
    left("DATABASE", |source, _| (&source.database).into()),
    left("PORT", |source, _| ports(source)),
    left("VERDICT", |source, _| source.verdict.as_str().into()),
    left("REASON", |source, _| reasons(source)),
    left("INTERFACE", |source, _| interfaces(source)),
    right("PACKETS", |source, _| packets(source).into()),
    left("LAST SEEN", |source, now| ago(Some(source.last_seen), now).into()),
    left("TRUSTED BY", |source, _| Cell::foreign(source.trusted_by.as_deref())),
];

/// Whether a source was refused because it was not trusted, and is trusted now.
pub(in super::super) fn is_let_in(source: &DropSource) -> bool {
    source.trusted_now
        && matches!(
            source.reason,
            Reason::Untrusted | Reason::Backstop | Reason::PortHidden | Reason::Fragment
        )
}

/// The sources that are not shown, and how to see them.
pub(in super::super) fn left_out(drops: &Drops) -> Option<String> {
    let all = drops.left_out + drops.sources.len();
    let left_out = number_of(drops.left_out as u64, "more source is", "more sources are");
    (drops.left_out > 0).then(|| format!("{left_out} not shown: --limit {all}"))
}

/// The sources that the agent forgot, in words.
pub(in super::super) fn forgotten(drops: &Drops) -> Option<String> {
    let times = number_of(drops.forgotten, "time", "times");
    (drops.forgotten > 0).then(|| {
        format!(
            "{times} the agent forgot the source with the fewest packets to make room for another"
        )
    })
}

/// The words in place of sources, where none was found.
fn none(drops: &Drops) -> String {
    let since = format!("since {:.0}", drops.since);
    match drops.remembered {
        0 => format!("No refusal is known {since}.\n"),
        1 => format!("One refused source is known {since}, and it does not match.\n"),
        others => format!("{others} refused sources are known {since}, and none matches.\n"),
    }
}

impl Render for Drops {
    fn table(&self, now: Timestamp) -> String {
        let (trusted, refused): (Vec<_>, Vec<_>) =
            self.sources.iter().cloned().partition(is_let_in);
        let mut text = String::new();
        if self.sources.is_empty() && self.left_out == 0 {
            text.push_str(&none(self));
        }
        if !refused.is_empty() {
            text.push_str(&Table::of(&REFUSED, &refused, now).render());
        }
        if !trusted.is_empty() {
            text.push_str(if refused.is_empty() { "" } else { "\n" });
            text.push_str("Not trusted before, trusted now:\n");
            text.push_str(&Table::of(&TRUSTED, &trusted, now).render());
        }
        let more: Vec<String> = [left_out(self), forgotten(self)].into_iter().flatten().collect();
        if !more.is_empty() {
            text.push_str(&format!("\n{}\n", more.join("\n")));
        }
        text
    }

    fn plain(&self) -> String {
        let record = |source: &DropSource| {
            let ports = source.ports.iter().map(ToString::to_string).collect::<Vec<_>>();
            let reasons = source.reasons.iter().map(|reason| reason.as_str()).collect::<Vec<_>>();
            fields([
                &source.source.to_string(),
                &source.database,
                &source.port.to_string(),
                source.verdict.as_str(),
                source.reason.as_str(),
                &source.estimated_packets.to_string(),
                &moment(Some(source.first_seen)),
                &moment(Some(source.last_seen)),
                &ports.join(","),
                &reasons.join(","),
                &source.interfaces.join(","),
                if source.trusted_now { "yes" } else { "no" },
                &maybe(source.trusted_by.as_ref()),
            ])
        };
        self.sources.iter().map(record).collect()
    }
}

const EVENTS: [Column<DropEvent>; 8] = [
    wide(20, left("TIME", |event, _| moment(Some(event.time)).into())),
    left("VERDICT", |event, _| event.verdict.as_str().into()),
    wide(11, left("REASON", |event, _| event.reason.as_str().into())),
    wide(12, left("DATABASE", |event, _| (&event.database).into())),
    wide(
        9,
        left("PORT", |event, _| format!("{}/{}", event.protocol, port_text(event.port)).into()),
    ),
    left("INTERFACE", |event, _| (&event.interface).into()),
    right("PACKETS", |event, _| format!("~{}", count(event.weight)).into()),
    left("SOURCE", |event, _| event.source.to_string().into()),
];

impl Render for DropEvent {
    fn header() -> String {
        stream_header(&EVENTS)
    }

    fn table(&self, now: Timestamp) -> String {
        stream_row(&EVENTS, self, now)
    }

    fn plain(&self) -> String {
        fields([
            &self.time.to_string(),
            &self.source.to_string(),
            &self.database,
            &self.port.to_string(),
            &self.protocol,
            &self.interface,
            self.reason.as_str(),
            self.verdict.as_str(),
            &self.weight.to_string(),
            &self.missed.to_string(),
        ])
    }
}
