//! Output of `dbfw check`, for people and as plain fields.

use dbfw_wire::control::{Checked, CheckedDatabase, CheckedList, ConfigProblems};
use jiff::Timestamp;

use super::{
    render::Render,
    table::{Column, Table, left, right},
    words::{DASH, clean, fields, maybe, number_of, ports_at},
};

const DATABASES: [Column<CheckedDatabase>; 5] = [
    left("DATABASE", |database, _| (&database.name).into()),
    left("PORTS", |database, _| ports_at(&database.ports, &database.addresses).into()),
    left("MODE", |database, _| database.mode.as_str().into()),
    right("SOURCES", |database, _| database.sources.len().to_string().into()),
    left("PROVIDER", |database, _| database.provider.as_deref().unwrap_or(DASH).into()),
];

impl Render for Checked {
    fn table(&self, now: Timestamp) -> String {
        let backstop = if self.backstop { "on" } else { "off" };
        let mut text = format!(
            "The configuration is valid. This would be enforced:\n  \
             files       {}\n  interfaces  {}\n  attach      {}\n  backstop    {backstop}\n\n",
            clean(&self.files.join(", ")),
            clean(&self.interfaces.join(", ")),
            clean(&self.attach),
        );
        text.push_str(&Table::of(&DATABASES, &self.databases, now).render());
        text
    }

    fn plain(&self) -> String {
        let mut text = String::new();
        self.files.iter().for_each(|file| text.push_str(&fields(["file", file])));
        text.push_str(&fields([
            "agent",
            &self.interfaces.join(","),
            &self.attach,
            if self.backstop { "on" } else { "off" },
        ]));
        let record = |database: &CheckedDatabase| {
            fields([
                "database",
                &database.name,
                &database.ports.join(","),
                database.mode.as_str(),
                &database.sources.join(","),
                &maybe(database.provider.as_ref()),
                &database.addresses.join(","),
            ])
        };
        text.extend(self.databases.iter().map(record));
        text.extend(self.warnings.iter().map(|warning| fields(["warning", warning])));
        text
    }
}

impl Render for CheckedList {
    fn table(&self, _now: Timestamp) -> String {
        let sources = number_of(self.sources as u64, "source", "sources");
        let prefixes = number_of(self.prefixes as u64, "prefix", "prefixes");
        format!("{} is a valid list: {sources}, {prefixes} in them.\n", clean(&self.file))
    }

    fn plain(&self) -> String {
        let (sources, prefixes) = (self.sources.to_string(), self.prefixes.to_string());
        let mut text = fields(["list", &self.file, &sources, &prefixes]);
        text.extend(self.warnings.iter().map(|warning| fields(["warning", warning])));
        text
    }
}

impl Render for ConfigProblems {
    /// Nothing: people read them on standard error.
    fn table(&self, _now: Timestamp) -> String {
        String::new()
    }

    fn plain(&self) -> String {
        let mut text = String::new();
        for problem in &self.problems {
            text.push_str(&fields([
                "problem",
                &problem.file,
                &maybe(problem.line.as_ref()),
                &maybe(problem.key.as_ref()),
                &problem.message,
                &maybe(problem.fix.as_ref()),
            ]));
        }
        text
    }
}
