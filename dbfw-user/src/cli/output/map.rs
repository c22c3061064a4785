//! Output of `dbfw map`, for people and as plain fields.

use dbfw_wire::control::{Lookup, MapEntry};
use jiff::Timestamp;

use super::{
    render::Render,
    table::{Column, left, right, stream_header, stream_row, wide},
    words::{clean, fields, maybe},
};

impl Render for Lookup {
    fn table(&self, _now: Timestamp) -> String {
        let address = self.address;
        let front = if self.front {
            "the lookup goes on to the sets"
        } else {
            "no prefix is near; the lookup ends here"
        };
        let found = match &self.entry {
            None => "  entry          none: no database trusts it\n".to_owned(),
            Some(entry) => format!(
                "  entry          {} in {}\n  databases      {}\n  rule slots     from {}\n",
                clean(&entry.prefix),
                clean(&entry.map),
                clean(&entry.databases.join(", ")),
                entry.rules,
            ),
        };
        format!("{address}\n  presence bits  {front}\n{found}")
    }

    fn plain(&self) -> String {
        let entry = self.entry.as_ref();
        fields([
            &self.address.to_string(),
            if self.front { "yes" } else { "no" },
            entry.map_or("", |entry| &entry.map),
            entry.map_or("", |entry| &entry.prefix),
            &entry.map(|entry| entry.databases.join(",")).unwrap_or_default(),
            &maybe(entry.map(|entry| &entry.rules)),
        ])
    }
}

const ENTRIES: [Column<MapEntry>; 4] = [
    wide(6, left("MAP", |entry, _| (&entry.map).into())),
    wide(7, right("RULES", |entry, _| entry.rules.to_string().into())),
    wide(24, left("PREFIX", |entry, _| (&entry.prefix).into())),
    left("DATABASES", |entry, _| entry.databases.join(", ").into()),
];

impl Render for MapEntry {
    fn header() -> String {
        stream_header(&ENTRIES)
    }

    fn table(&self, now: Timestamp) -> String {
        stream_row(&ENTRIES, self, now)
    }

    fn plain(&self) -> String {
        fields([&self.map, &self.prefix, &self.databases.join(","), &self.rules.to_string()])
    }
}
