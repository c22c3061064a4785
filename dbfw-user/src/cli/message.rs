//! Messages on standard error: errors, warnings and notes.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};

use super::output::clean;

/// The error and its causes, without those that the text before them has already.
pub(super) fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| {
        match (said.is_empty(), said.contains(&cause)) {
            (true, _) => cause,
            (false, true) => said,
            (false, false) => format!("{said}: {cause}"),
        }
    })
}

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

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = Err::<(), _>(std::io::Error::other("no such file"))
            .context("cannot open /x: no such file (is it there?)")
            .context("not started")
            .unwrap_err();
        assert_eq!(causes(&error), "not started: cannot open /x: no such file (is it there?)");
    }
}
