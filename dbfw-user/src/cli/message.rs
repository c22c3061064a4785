//! Messages on standard error: errors, warnings and notes.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};

use super::output::clean;

fn print(label: &str, style: Style, text: &str) {
    // Some of it may be somebody else's text.
    let text = text.split('\n').map(clean).collect::<Vec<_>>().join("\n");
    // Nowhere is left to report a failure to.
    let _ = writeln!(anstream::stderr(), "{style}{label}:{style:#} {text}");
}

/// Prints what the reader should know about the answer.
pub(super) fn note(text: &str) {
    print("note", AnsiColor::Cyan.on_default(), text);
}

/// Prints what may not be meant.
pub(super) fn warn(text: &str) {
    print("warning", AnsiColor::Yellow.on_default().bold(), text);
}

/// Prints the reason why it was not done.
pub(super) fn error(text: &str) {
    print("error", AnsiColor::Red.on_default().bold(), text);
}
