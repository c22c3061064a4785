//! Printed output.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use dbfw_core::escaped;
use jiff::Timestamp;
use serde::Serialize;

use super::{args::Format, exit::OutputError};

fn say(label: &str, style: Style, text: &str) {
    // Some of it may be somebody else's text.
    let text = text.split('\n').map(escaped).collect::<Vec<_>>().join("\n");
    // Nowhere is left to report a failure to.
    let _ = writeln!(anstream::stderr(), "{style}{label}:{style:#} {text}");
}

/// Prints what the reader should know.
pub(super) fn note(text: &str) {
    say("note", AnsiColor::Cyan.on_default(), text);
}

/// Prints what may not be meant.
pub(super) fn warn(text: &str) {
    say("warning", AnsiColor::Yellow.on_default().bold(), text);
}

/// Prints the reason why it was not done.
pub(super) fn error(text: &str) {
    say("error", AnsiColor::Red.on_default().bold(), text);
}

/// Prints data as it is.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn print(data: &[u8]) -> Result<(), OutputError> {
    let mut out = std::io::stdout().lock();
    out.write_all(data)?;
    Ok(out.flush()?)
}

/// Prints a document: as it is, or its rows under titles.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn show<const N: usize>(
    format: Format,
    document: &impl Serialize,
    titles: [&str; N],
    rows: &[[String; N]],
) -> anyhow::Result<()> {
    let text = match format {
        Format::Json => serde_json::to_string_pretty(document)? + "\n",
        Format::Plain => rows
            .iter()
            .map(|row| row.each_ref().map(|cell| escaped(cell)).join("\t") + "\n")
            .collect(),
        Format::Table => table(titles, rows),
    };
    Ok(print(text.as_bytes())?)
}

fn table<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| row.each_ref().map(|cell| escaped(cell))).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([titles[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let body = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    [line(titles)].into_iter().chain(body).collect()
}

/// A time to the second, or a dash.
pub(super) fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_texts_of_others_escaped() {
        let row = |name: &str, number: &str| [name.to_owned(), number.to_owned()];
        assert_eq!(
            table(["NAME", "N"], &[row("a\u{1b}", "1"), row("long one", "22")]),
            "NAME      N\na\\u{1b}   1\nlong one  22\n"
        );
        assert_eq!(table(["NAME", "N"], &[]), "NAME  N\n");
    }
}
