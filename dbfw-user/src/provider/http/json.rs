//! Where in a document something is wrong.

use secrecy::SecretString;
use serde_json::error::Category;

use super::{clean, reason::without};

/// Characters of serde's words that go into an error.
const MAX_WORDS: usize = 200;

/// Parts of a path that are shown, counted from its end.
const MAX_PARTS: usize = 12;

/// What is wrong with a body, and in which field.
pub(super) fn describe(
    body: &[u8],
    error: &serde_json::Error,
    secret: Option<&SecretString>,
) -> String {
    let end = offset(body, error.line(), error.column());
    // Of a character that does not belong there, the place is the one behind it.
    let end = if error.is_syntax() { end.saturating_sub(1) } else { end };
    let at = match path(body, end, secret) {
        path if path.is_empty() => path,
        path => format!("{path}: "),
    };
    let words = clean(&without(&error.to_string(), secret), MAX_WORDS);
    match error.classify() {
        Category::Eof => format!("the JSON ends too early, {at}{words}: nothing of it is used"),
        Category::Syntax | Category::Io => {
            format!("not JSON, {at}{words}: nothing of it is used")
        }
        Category::Data => format!("not the JSON that is documented, {at}{words}"),
    }
}

/// Bytes before the place that serde names by line (from 1) and column (bytes of the line).
fn offset(body: &[u8], line: usize, column: usize) -> usize {
    let mut start = 0;
    for _ in 1..line {
        match body.get(start..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')) {
            Some(length) => start += length + 1,
            None => break,
        }
    }
    (start + column).min(body.len())
}

/// What the value that `end` lies in or just after is called: "droplets[3].networks.v4".
fn path(body: &[u8], end: usize, secret: Option<&SecretString>) -> String {
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    while at < end {
        match body[at] {
            b'{' => open.push(Open::Object(None)),
            b'[' => open.push(Open::Array(0)),
            b'}' | b']' => {
                open.pop();
            }
            b',' => match open.last_mut() {
                Some(Open::Object(key)) => *key = None,
                Some(Open::Array(index)) => *index += 1,
                None => {}
            },
            b'"' => {
                let close = string_end(body, at + 1);
                if let Some(Open::Object(key @ None)) = open.last_mut() {
                    *key = Some((at + 1, close.min(end)));
                }
                at = close;
            }
            _ => {}
        }
        at += 1;
    }
    let mut path = String::new();
    if open.len() > MAX_PARTS {
        path.push('…');
    }
    for part in &open[open.len().saturating_sub(MAX_PARTS)..] {
        match part {
            Open::Array(index) => path.push_str(&format!("[{index}]")),
            Open::Object(Some((from, to))) => {
                if !path.is_empty() {
                    path.push('.');
                }
                let key = String::from_utf8_lossy(&body[*from..*to]);
                path.push_str(&clean(&without(&key, secret), 40));
            }
            Open::Object(None) => {}
        }
    }
    path
}

/// A container that has begun and not ended.
enum Open {
    /// With the place of the key whose value comes.
    Object(Option<(usize, usize)>),
    /// With the index of the element that comes.
    Array(usize),
}

/// The place of the quote that ends the string whose text begins at `at`.
fn string_end(body: &[u8], mut at: usize) -> usize {
    while at < body.len() {
        match body[at] {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    body.len()
}
