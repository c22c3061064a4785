//! `dbfw drops`.

use dbfw_wire::control::{DropEvent, DropSource, Drops};
use jiff::Timestamp;

use super::{
    render::{Item, Render},
    table::{Stream, Table, left, right},
    words::{ago, count, fields, moment},
};

fn port_text(port: u16) -> String {
    match port {
        0 => "unread".to_owned(),
        port => port.to_string(),
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
                source.verdict.as_str().into(),
                source.reason.as_str().into(),
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
                source.verdict.as_str(),
                source.reason.as_str(),
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
            self.verdict.as_str().into(),
            self.reason.as_str().into(),
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
            self.reason.as_str(),
            self.verdict.as_str(),
            &self.weight.to_string(),
        ])
    }
}

impl Item for DropEvent {
    fn header() -> String {
        EVENTS.header()
    }
}
