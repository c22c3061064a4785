//! `dbfw map`.

use dbfw_wire::control::{Lookup, MapEntry};
use jiff::Timestamp;

use super::{
    render::{Item, Render},
    table::{Stream, left, right},
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
