//! The value of a `feed` source: location of the document, and selector of its part.
//!
//! `<https URL or absolute path>[#<selector>]`. The selector is the fragment of the URL, so it
//! is never sent; as in any fragment, `%20` stands for a space.

use std::{num::NonZeroUsize, path::PathBuf, str::FromStr};

use percent_encoding::percent_decode_str;
use serde_json_path::JsonPath;
use url::Url;

use super::error::{ParseError, excerpt};

/// Characters of a whole value.
const MAX_VALUE: usize = 2048;

/// Brackets and parentheses inside one another in a JSONPath: its parser takes twice as long
/// for every level.
const MAX_NESTING: usize = 8;

/// The value of a `feed` source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedValue {
    /// The location of the document.
    pub location: Location,
    /// The part of the document that is the list.
    pub selector: Selector,
}

/// The location of a feed's document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// http or https, without user and fragment. Whether http may be used there is for the
    /// fetch to decide.
    Url(Url),
    /// Absolute.
    Path(PathBuf),
}

/// The part of a document that is the list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// All of it: one address, CIDR or range a line.
    Plain,
    /// The selection of a JSONPath (RFC 9535), as written; it parses.
    Json(String),
    /// A column of a table.
    Csv(Column),
}

/// A column of a CSV table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// By its name in the first line.
    Name(String),
    /// By its number, from 1; every line is an entry.
    Number(NonZeroUsize),
}

impl FromStr for FeedValue {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = text.chars().count();
        if found > MAX_VALUE {
            return Err(ParseError::new(
                format!("the value has {found} characters, more than {MAX_VALUE}"),
                "use a shorter URL",
            ));
        }
        let (location, selector) = match text.split_once('#') {
            Some((location, selector)) => (location, Some(selector)),
            None => (text, None),
        };
        let location = location.parse()?;
        let selector = selector.map_or(Ok(Selector::Plain), str::parse)?;
        Ok(Self { location, selector })
    }
}

impl FromStr for Location {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let neither = || {
            let message = format!("{:?} is neither a URL nor an absolute path", excerpt(text));
            ParseError::new(message, "write https://… or /…")
        };
        // Every reader of the status would see them.
        let user_info = || {
            let message = "the URL holds a user or a password, which are shown to everybody";
            ParseError::new(message, "leave them out")
        };
        if text.starts_with('/') {
            let is_path = !text.contains(char::is_control);
            return is_path.then(|| Self::Path(text.into())).ok_or_else(neither);
        }
        let url = Url::parse(text).map_err(|reason| match reason {
            url::ParseError::RelativeUrlWithoutBase => neither(),
            // What stands before an @ may be a password.
            _ if text.contains('@') => user_info(),
            reason => ParseError::new(
                format!("{:?} is not a URL: {reason}", excerpt(text)),
                "write https://host/path",
            ),
        })?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(ParseError::new(
                format!("{}: is not a scheme that is fetched", excerpt(url.scheme())),
                "write https://…, or /… for a local file",
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(user_info());
        }
        Ok(Self::Url(url))
    }
}

impl FromStr for Selector {
    type Err = ParseError;

    /// The text behind the '#'.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = percent_decode_str(text)
            .decode_utf8()
            .ok()
            .filter(|decoded| !decoded.contains(char::is_control))
            .ok_or_else(|| {
                let message = format!(
                    "the selector {:?} is not text once its %-codes are decoded",
                    excerpt(text)
                );
                ParseError::new(message, "encode it as UTF-8")
            })?;
        if text.is_empty() {
            return Err(ParseError::new(
                "nothing after '#'",
                "write #$… or #csv:…, or leave '#' out for a plain list",
            ));
        }
        if text.starts_with('$') {
            return check_json_path(&text).map(|()| Self::Json(text.into_owned()));
        }
        match text.strip_prefix("csv:") {
            Some(column) => column.parse().map(Self::Csv),
            None => Err(ParseError::new(
                format!("the selector {:?} is of no known form", excerpt(&text)),
                "write #$… (a JSONPath) or #csv:… (a column)",
            )),
        }
    }
}

impl FromStr for Column {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ParseError::new(
                "csv: names no column",
                "write csv:network (its name) or csv:2 (its number)",
            ));
        }
        if text.bytes().any(|byte| !byte.is_ascii_digit()) {
            return Ok(Self::Name(text.to_owned()));
        }
        text.parse().map(Self::Number).map_err(|_| {
            let message = format!("csv:{} is no column", excerpt(text));
            ParseError::new(message, "write csv:1 for the first column")
        })
    }
}

/// Checks that a text is a JSONPath, and one that does not take long to parse.
fn check_json_path(text: &str) -> Result<(), ParseError> {
    let bad = |reason: String| {
        let message = format!("the JSONPath {:?} is not valid: {reason}", excerpt(text));
        ParseError::new(message, "write one as in RFC 9535")
    };
    if nesting(text) > MAX_NESTING {
        return Err(bad(format!("more than {MAX_NESTING} brackets inside one another")));
    }
    JsonPath::parse(text).map(|_| ()).map_err(|error| bad(error.to_string()))
}

/// Most brackets and parentheses that are open at once, outside quotes.
fn nesting(path: &str) -> usize {
    let (mut quote, mut open, mut deepest) = (None, 0_usize, 0);
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quote.is_some() => {
                chars.next();
            }
            '\'' | '"' if quote.is_none() => quote = Some(c),
            _ if quote == Some(c) => quote = None,
            '[' | '(' if quote.is_none() => open += 1,
            ']' | ')' if quote.is_none() => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

#[cfg(test)]
mod tests;
