//! Documents that are lists.

use anstyle::Style;
use jiff::Timestamp;

use super::{
    Item, Render,
    table::{Cell, Stream, Table, left, right},
    words::{ago, count, dash, ending, fields, maybe, moment, number_of},
};
use crate::control::wire::{DropEvent, DropSource, Drops, MapEntry, Sources, TrustList};

fn or_dash(text: Option<&String>) -> Cell {
    text.map_or_else(|| dash().into(), Cell::from)
}

fn port_text(port: u16) -> String {
    match port {
        0 => "unread".to_owned(),
        port => port.to_string(),
    }
}

impl Render for Sources {
    fn table(&self, now: Timestamp) -> String {
        if self.sources.is_empty() {
            return "No source is trusted.\n".to_owned();
        }
        let mut table = Table::new([
            left("DATABASE"),
            left("SOURCE"),
            left("ORIGIN"),
            left("PREFIXES"),
            right("PACKETS"),
            left("LAST USED"),
            left("EXPIRES"),
            left("DESCRIPTION"),
        ]);
        for source in &self.sources {
            let prefixes = match source.prefixes.as_slice() {
                [] => "none".to_owned(),
                [one] => one.clone(),
                many => number_of(many.len() as u64, "prefix", "prefixes"),
            };
            table.row([
                (&source.database).into(),
                (&source.source).into(),
                (&source.origin).into(),
                prefixes.into(),
                count(source.packets).into(),
                ago(source.last_hit, now).into(),
                ending(source.expires_at, now).into(),
                or_dash(source.description.as_ref()),
            ]);
        }
        table.render()
    }

    fn plain(&self) -> String {
        let record = |source: &crate::control::wire::SourceStatus| {
            fields([
                &source.database,
                &source.source,
                &source.origin,
                &source.prefixes.join(","),
                &source.packets.to_string(),
                &moment(source.last_hit),
                &moment(source.expires_at),
                &maybe(source.description.as_ref()),
            ])
        };
        self.sources.iter().map(record).collect()
    }
}

impl Render for Drops {
    fn table(&self, now: Timestamp) -> String {
        if self.sources.is_empty() {
            return format!("Nothing was refused since {:.0}.\n", self.since);
        }
        let mut table = Table::new([
            left("SOURCE"),
            left("DATABASE"),
            right("PORT"),
            left("VERDICT"),
            left("REASON"),
            right("PACKETS"),
            left("FIRST SEEN"),
            left("LAST SEEN"),
        ]);
        for source in &self.sources {
            table.row([
                source.source.to_string().into(),
                (&source.database).into(),
                port_text(source.port).into(),
                (&source.verdict).into(),
                (&source.reason).into(),
                format!("~{}", count(source.estimated_packets)).into(),
                ago(Some(source.first_seen), now).into(),
                ago(Some(source.last_seen), now).into(),
            ]);
        }
        table.render()
    }

    fn plain(&self) -> String {
        let record = |source: &DropSource| {
            fields([
                &source.source.to_string(),
                &source.database,
                &source.port.to_string(),
                &source.verdict,
                &source.reason,
                &source.estimated_packets.to_string(),
                &moment(Some(source.first_seen)),
                &moment(Some(source.last_seen)),
            ])
        };
        self.sources.iter().map(record).collect()
    }
}

const EVENTS: Stream<8> = Stream::new(
    [
        left("TIME"),
        left("VERDICT"),
        left("REASON"),
        left("DATABASE"),
        left("PORT"),
        left("INTERFACE"),
        right("PACKETS"),
        left("SOURCE"),
    ],
    [20, 7, 11, 12, 9, 9, 7, 6],
);

impl Render for DropEvent {
    fn table(&self, _now: Timestamp) -> String {
        EVENTS.row(&[
            moment(Some(self.time)).into(),
            (&self.verdict).into(),
            (&self.reason).into(),
            (&self.database).into(),
            format!("{}/{}", self.protocol, port_text(self.port)).into(),
            (&self.interface).into(),
            format!("~{}", count(self.weight)).into(),
            self.source.to_string().into(),
        ])
    }

    fn plain(&self) -> String {
        fields([
            &self.time.to_string(),
            &self.source.to_string(),
            &self.database,
            &self.port.to_string(),
            &self.protocol,
            &self.interface,
            &self.reason,
            &self.verdict,
            &self.weight.to_string(),
        ])
    }
}

impl Item for DropEvent {
    fn header() -> String {
        EVENTS.header()
    }
}

const ENTRIES: Stream<4> =
    Stream::new([left("MAP"), right("RULES"), left("PREFIX"), left("DATABASES")], [6, 7, 24, 9]);

impl Render for MapEntry {
    fn table(&self, _now: Timestamp) -> String {
        ENTRIES.row(&[
            (&self.map).into(),
            self.rules.to_string().into(),
            (&self.prefix).into(),
            self.databases.join(", ").into(),
        ])
    }

    fn plain(&self) -> String {
        fields([&self.map, &self.prefix, &self.databases.join(","), &self.rules.to_string()])
    }
}

impl Item for MapEntry {
    fn header() -> String {
        ENTRIES.header()
    }
}

impl Render for TrustList {
    fn table(&self, now: Timestamp) -> String {
        if self.sources.is_empty() {
            return "No source is trusted by hand.\n".to_owned();
        }
        let mut table = Table::new([
            left("DATABASE"),
            left("SOURCE"),
            left("ADDED"),
            left("EXPIRES"),
            left("WHY"),
        ]);
        for source in &self.sources {
            let expires = match source.expires_at {
                None => Cell::styled("never", Style::new()),
                some => ending(some, now).into(),
            };
            table.row([
                (&source.database).into(),
                (&source.source).into(),
                ago(Some(source.added_at), now).into(),
                expires,
                or_dash(source.why.as_ref()),
            ]);
        }
        table.render()
    }

    fn plain(&self) -> String {
        let record = |source: &crate::control::wire::LocalSource| {
            fields([
                &source.database,
                &source.source,
                &moment(Some(source.added_at)),
                &moment(source.expires_at),
                &maybe(source.why.as_ref()),
            ])
        };
        self.sources.iter().map(record).collect()
    }
}
