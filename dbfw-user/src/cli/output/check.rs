//! `dbfw check`.

use dbfw_wire::control::{Checked, CheckedDatabase, ConfigProblems};
use jiff::Timestamp;

use super::{
    render::Render,
    table::{Table, left, right},
    words::{clean, dash, fields, maybe},
};

impl Render for Checked {
    fn table(&self, _now: Timestamp) -> String {
        let backstop = if self.backstop { "on" } else { "off" };
        let mut text = format!(
            "The configuration is valid. This would be enforced:\n  \
             files       {}\n  interfaces  {}\n  attach      {}\n  backstop    {backstop}\n\n",
            clean(&self.files.join(", ")),
            clean(&self.interfaces.join(", ")),
            clean(&self.attach),
        );
        let mut table = Table::new([
            left("DATABASE"),
            left("PORTS"),
            left("MODE"),
            right("SOURCES"),
            left("PROVIDER"),
        ]);
        for database in &self.databases {
            table.row([
                (&database.name).into(),
                database.ports.join(", ").into(),
                database.mode.as_str().into(),
                database.sources.len().to_string().into(),
                database.provider.clone().unwrap_or_else(dash).into(),
            ]);
        }
        text.push_str(&table.render());
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
            ])
        };
        text.extend(self.databases.iter().map(record));
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
