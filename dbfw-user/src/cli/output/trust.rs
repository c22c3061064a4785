//! Output of `dbfw trust`, for people and as plain fields.

use dbfw_wire::control::{LocalSource, TrustList};
use jiff::Timestamp;

use super::{
    render::Render,
    table::{Column, Table, left},
    words::{DASH, ago, ending, fields, maybe, moment},
};

const COLUMNS: [Column<LocalSource>; 5] = [
    left("DATABASE", |source, _| (&source.database).into()),
    left("SOURCE", |source, _| (&source.source).into()),
    left("ADDED", |source, now| ago(Some(source.added_at), now).into()),
    left("EXPIRES", |source, now| match source.expires_at {
        None => "never".into(),
        some => ending(some, now).into(),
    }),
    left("WHY", |source, _| source.why.as_deref().unwrap_or(DASH).into()),
];

impl Render for TrustList {
    fn table(&self, now: Timestamp) -> String {
        if self.sources.is_empty() {
            return "No source was added by hand.\n".to_owned();
        }
        Table::of(&COLUMNS, &self.sources, now).render()
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
