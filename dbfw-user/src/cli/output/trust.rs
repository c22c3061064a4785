//! `dbfw trust`.

use anstyle::Style;
use dbfw_wire::control::{LocalSource, TrustList};
use jiff::Timestamp;

use super::{
    render::Render,
    table::{Cell, Table, left},
    words::{ago, dash, ending, fields, maybe, moment},
};

impl Render for TrustList {
    fn table(&self, now: Timestamp) -> String {
        if self.sources.is_empty() {
            return "No source was added by hand.\n".to_owned();
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
                source.why.clone().unwrap_or_else(dash).into(),
            ]);
        }
        table.render()
    }

    fn plain(&self) -> String {
        let record = |source: &LocalSource| {
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
