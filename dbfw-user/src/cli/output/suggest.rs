//! Output of `dbfw suggest`, for people and as plain fields.

use dbfw_wire::control::{Suggestion, Suggestions};
use jiff::Timestamp;

use super::{
    render::Render,
    table::{Column, Table, left, right},
    words::{clean, count, number_of},
};

/// Refused addresses that the table names.
const MAX_NAMED: usize = 2;

const COLUMNS: [Column<Suggestion>; 7] = [
    left("DATABASE", |one, _| (&one.database).into()),
    left("TRUST", |one, _| (&one.source).into()),
    right("REFUSED", |one, _| one.covers.len().to_string().into()),
    right("OTHERS", |one, _| count(one.others).into()),
    right("PACKETS", |one, _| format!("~{}", count(one.packets)).into()),
    left("ADDRESSES", |one, _| named(&one.covers).into()),
    left("WHAT IS KNOWN", |one, _| (&one.why).into()),
];

impl Render for Suggestions {
    fn table(&self, now: Timestamp) -> String {
        if self.suggestions.is_empty() {
            return nothing(self) + "\n";
        }
        format!(
            "{}\n{} refused and not trusted since. Look at each before you trust it:\n`dbfw suggest \
             --output plain` prints lines for the configuration.\n",
            Table::of(&COLUMNS, &self.suggestions, now).render(),
            number_of(self.observed as u64, "address was", "addresses were"),
        )
    }

    /// TOML for the configuration.
    fn plain(&self) -> String {
        if self.suggestions.is_empty() {
            return format!("# {}\n", nothing(self));
        }
        let mut text = String::new();
        for of in self.suggestions.chunk_by(|a, b| a.database == b.database) {
            if !text.is_empty() {
                text.push('\n');
            }
            let database = of.first().map_or("", |one| &one.database);
            text.push_str(&format!("# For the database {}:\n", quoted(database)));
            text.push_str("trusted_sources = [\n");
            text.extend(of.iter().map(line));
            text.push_str("]\n");
        }
        text
    }
}

fn nothing(suggestions: &Suggestions) -> String {
    match suggestions.since {
        Some(since) => format!("Every source refused since {since:.0} is trusted by now."),
        None => "No client was refused because it is not trusted.".to_owned(),
    }
}

fn named(addresses: &[String]) -> String {
    let first = addresses.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match addresses.len().saturating_sub(MAX_NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn line(one: &Suggestion) -> String {
    let others = match one.others {
        0 => String::new(),
        others => format!(", {}", number_of(others, "other address", "other addresses")),
    };
    let refused = number_of(one.covers.len() as u64, "refused address", "refused addresses");
    format!("  {},  # {refused}{others}: {}\n", quoted(&one.source), clean(&one.why))
}

/// A TOML string: JSON's escapes are among TOML's, and control characters are left to neither.
fn quoted(text: &str) -> String {
    serde_json::Value::from(clean(text)).to_string()
}
