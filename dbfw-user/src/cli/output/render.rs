//! Rendering of documents as a table, as plain lines, or as JSON.

use clap::ValueEnum;
use dbfw_wire::control::Text;
use jiff::Timestamp;
use serde::Serialize;

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// For people.
    Table,
    /// One indented document; one document a line for `map dump` and `drops --follow`.
    Json,
    /// Fields separated by tabs, without a header, for scripts; docs/operations.md has their order.
    Plain,
}

/// A document that can be shown. Every text ends with a newline, or is empty.
pub(in crate::cli) trait Render: Serialize {
    /// For people: the line above the first of a stream of these.
    fn header() -> String
    where
        Self: Sized,
    {
        String::new()
    }

    /// For people.
    fn table(&self, now: Timestamp) -> String;

    /// For scripts: fields separated by tabs, one record a line.
    fn plain(&self) -> String;
}

/// The text of a document.
///
/// # Errors
///
/// The document has no form as JSON.
pub(in crate::cli) fn render(
    document: &impl Render,
    format: Format,
    now: Timestamp,
) -> serde_json::Result<String> {
    Ok(match format {
        Format::Table => document.table(now),
        Format::Plain => document.plain(),
        Format::Json => serde_json::to_string_pretty(document)? + "\n",
    })
}

/// The text of a document of a stream, one line, and the header above the first.
///
/// # Errors
///
/// The document has no form as JSON.
pub(in crate::cli) fn render_item<T: Render>(
    item: &T,
    is_first: bool,
    format: Format,
    now: Timestamp,
) -> serde_json::Result<String> {
    Ok(match format {
        Format::Table if is_first => T::header() + &item.table(now),
        Format::Json => serde_json::to_string(item)? + "\n",
        Format::Table | Format::Plain => render(item, format, now)?,
    })
}

impl Render for Text {
    fn table(&self, _now: Timestamp) -> String {
        self.plain()
    }

    /// Its lines are its own, so they stay as they are.
    fn plain(&self) -> String {
        let end = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { "\n" };
        format!("{}{end}", self.text)
    }
}
