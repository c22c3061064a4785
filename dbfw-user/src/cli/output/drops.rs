//! Output of `dbfw drops`, for people and as plain fields.

use dbfw_wire::control::{DropEvent, DropSource, Drops};
use jiff::Timestamp;

use super::{
    render::Render,
    table::{Column, Table, left, right, stream_header, stream_row, wide},
    words::{ago, count, fields, moment},
};

fn port_text(port: u16) -> String {
    match port {
        0 => "unread".to_owned(),
        port => port.to_string(),
    }
}

const SOURCES: [Column<DropSource>; 8] = [
    left("SOURCE", |source, _| source.source.to_string().into()),
    left("DATABASE", |source, _| (&source.database).into()),
    right("PORT", |source, _| port_text(source.port).into()),
    left("VERDICT", |source, _| source.verdict.as_str().into()),
    left("REASON", |source, _| source.reason.as_str().into()),
    right("PACKETS", |source, _| format!("~{}", count(source.estimated_packets)).into()),
    left("FIRST SEEN", |source, now| ago(Some(source.first_seen), now).into()),
    left("LAST SEEN", |source, now| ago(Some(source.last_seen), now).into()),
];

impl Render for Drops {
    fn table(&self, now: Timestamp) -> String {
        if self.sources.is_empty() {
            return format!("Nothing was refused since {:.0}.\n", self.since);
        }
        Table::of(&SOURCES, &self.sources, now).render()
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
        ])
    }
}
