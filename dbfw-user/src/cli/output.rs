//! Turns the documents of the control socket into text. Pure: the same document, form and
//! moment give the same text.
//!
//! Text for people may carry ANSI styles, which the stream it is written to removes where
//! they are not wanted.

mod answers;
mod history;
mod lists;
mod refused;
#[cfg(test)]
pub(super) mod samples;
mod setup;
mod sources;
mod status;
mod suggest;
mod table;
mod words;

use jiff::Timestamp;
use serde::Serialize;

use super::args::Format;

pub(super) use answers::Explanations;
pub(super) use words::clean;

/// A document that can be shown. Every text ends with a newline, or is empty.
pub(super) trait Render: Serialize {
    /// For people.
    fn table(&self, now: Timestamp) -> String;

    /// For scripts: fields separated by tabs, one record a line.
    fn plain(&self) -> String;
}

/// A document that comes as one of many.
pub(super) trait Item: Render {
    /// What stands above the first.
    fn header() -> String;
}

/// The text of a document.
pub(super) fn render(
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
pub(super) fn render_header<T: Item>(format: Format) -> String {
    match format {
        Format::Table => T::header(),
        Format::Plain | Format::Json => String::new(),
    }
}

/// The text of an item of a stream, one line.
pub(super) fn render_item(
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

#[cfg(test)]
mod tests;
