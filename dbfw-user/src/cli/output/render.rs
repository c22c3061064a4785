//! Rendering of documents as a table, as plain lines, or as JSON.

use dbfw_wire::control::Text;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::args::Format;

/// A document that can be shown. Every text ends with a newline, or is empty.
pub(in crate::cli) trait Render: Serialize {
    /// For people.
    fn table(&self, now: Timestamp) -> String;

    /// For scripts: fields separated by tabs, one record a line.
    fn plain(&self) -> String;
}

/// A document that comes as one of many.
pub(in crate::cli) trait Item: Render {
    /// The line above the first.
    fn header() -> String;
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

/// The text above the first item of a stream.
pub(in crate::cli) fn render_header<T: Item>(format: Format) -> String {
    match format {
        Format::Table => T::header(),
        Format::Plain | Format::Json => String::new(),
    }
}

/// The text of an item of a stream, one line.
///
/// # Errors
///
/// The item has no form as JSON.
pub(in crate::cli) fn render_item(
    item: &impl Item,
    format: Format,
    now: Timestamp,
) -> serde_json::Result<String> {
    Ok(match format {
        Format::Table => item.table(now),
        Format::Plain => item.plain(),
        Format::Json => serde_json::to_string(item)? + "\n",
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
