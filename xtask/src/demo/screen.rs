//! The output of the demo. Every line can fail: a reader that goes away ends the demo in
//! order.

use std::{
    io::{Write as _, stdout},
    time::Duration,
};

use anyhow::{Context, Result};

/// Prints a line, or several.
pub(super) fn line(text: &str) -> Result<()> {
    let mut stdout = stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).context("cannot print")
}

/// The head of step `number`.
pub(super) fn step(number: u32, title: &str) -> Result<()> {
    line(&format!("{number}. {title}\n"))
}

/// A paragraph of explanation.
pub(super) fn say(text: &str) -> Result<()> {
    indented(3, text)?;
    line("")
}

/// A command, as typed on `host`.
pub(super) fn command(host: &str, words: &[&str]) -> Result<()> {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    typed(host, &words.join(" "))
}

/// A command of the shell, as typed on `host`.
pub(super) fn typed(host: &str, text: &str) -> Result<()> {
    indented(3, &format!("{host}# {text}"))
}

/// The output of a command, or the content of a file.
pub(super) fn output(text: &str) -> Result<()> {
    indented(7, text)?;
    line("")
}

/// Milliseconds with a decimal.
pub(super) fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

fn indented(blanks: usize, text: &str) -> Result<()> {
    for text in text.trim_matches('\n').lines() {
        line(format!("{:blanks$}{text}", "").trim_end())?;
    }
    Ok(())
}

/// The word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("--config=/a/b.toml"), "--config=/a/b.toml");
        assert_eq!(quoted("select 1"), "'select 1'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(milliseconds(Duration::from_micros(7_250)), "7.2 ms");
    }
}
