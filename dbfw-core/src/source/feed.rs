//! The value of a `feed` source: where the list is, and what of it to take. Pure.
//!
//! `<https URL or absolute path>[#<selector>]`. The selector is the fragment of the URL, so it
//! is never sent; as in any fragment, `%20` stands for a space.

use std::{num::NonZeroUsize, path::PathBuf, str::FromStr};

use percent_encoding::percent_decode_str;
use serde_json_path::JsonPath;
use url::Url;

use super::{HasFix, prefix::shown};

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

/// The reason why a text is not the value of a `feed` source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// Longer than any feed's address.
    #[error("the value has {found} characters, more than {MAX_VALUE}")]
    TooLong {
        /// Number of characters that it has.
        found: usize,
    },
    /// Neither a URL nor an absolute path.
    #[error("{text:?} is neither a URL nor an absolute path")]
    Location {
        /// The text as written.
        text: String,
    },
    /// A URL of another scheme.
    #[error("{scheme}: is not a scheme that is fetched")]
    Scheme {
        /// Its scheme.
        scheme: String,
    },
    /// Something that begins like a URL and is none.
    #[error("{text:?} is not a URL: {reason}")]
    Url {
        /// The text as written.
        text: String,
        /// The parser's message.
        reason: url::ParseError,
    },
    /// User or password in the URL: every reader of the status would see them.
    #[error("the URL holds a user or a password, which are shown to everybody")]
    UserInfo,
    /// A fragment that selects nothing.
    #[error("nothing after '#'")]
    NoSelector,
    /// A fragment of no known form.
    #[error("the selector {text:?} is of no known form")]
    Selector {
        /// The text as written.
        text: String,
    },
    /// The fragment's percent-encoding is not text.
    #[error("the selector {text:?} is not text once its %-codes are decoded")]
    Encoding {
        /// The text as written.
        text: String,
    },
    /// A JSONPath that does not parse.
    #[error("the JSONPath {path:?} is not valid: {reason}")]
    JsonPath {
        /// The text as written.
        path: String,
        /// The parser's message.
        reason: String,
    },
    /// `csv:` without a column.
    #[error("csv: names no column")]
    NoColumn,
    /// `csv:0`, or a number no table has.
    #[error("csv:{text} is no column")]
    ColumnNumber {
        /// The text as written.
        text: String,
    },
}

impl HasFix for FeedError {
    fn fix(&self) -> String {
        match self {
            Self::TooLong { .. } => "use a shorter URL",
            Self::Location { .. } => "write https://… or /…",
            Self::Scheme { .. } => "write https://…, or /… for a local file",
            Self::Url { .. } => "write https://host/path",
            Self::UserInfo => "leave them out",
            Self::NoSelector => "write #$… or #csv:…, or leave '#' out for a plain list",
            Self::Selector { .. } => "write #$… (a JSONPath) or #csv:… (a column)",
            Self::Encoding { .. } => "encode it as UTF-8",
            Self::JsonPath { .. } => "write one as in RFC 9535",
            Self::NoColumn => "write csv:network (its name) or csv:2 (its number)",
            Self::ColumnNumber { .. } => "write csv:1 for the first column",
        }
        .to_owned()
    }
}

impl FromStr for FeedValue {
    type Err = FeedError;

    fn from_str(text: &str) -> Result<Self, FeedError> {
        let found = text.chars().count();
        if found > MAX_VALUE {
            return Err(FeedError::TooLong { found });
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
    type Err = FeedError;

    fn from_str(text: &str) -> Result<Self, FeedError> {
        if text.starts_with('/') {
            return match text.contains(char::is_control) {
                true => Err(FeedError::Location { text: shown(text) }),
                false => Ok(Self::Path(text.into())),
            };
        }
        let url = Url::parse(text).map_err(|reason| match reason {
            url::ParseError::RelativeUrlWithoutBase => FeedError::Location { text: shown(text) },
            // What stands before an @ may be a password.
            _ if text.contains('@') => FeedError::UserInfo,
            reason => FeedError::Url { text: shown(text), reason },
        })?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(FeedError::Scheme { scheme: shown(url.scheme()) });
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FeedError::UserInfo);
        }
        Ok(Self::Url(url))
    }
}

impl FromStr for Selector {
    type Err = FeedError;

    /// The text behind the '#'.
    fn from_str(text: &str) -> Result<Self, FeedError> {
        let text = percent_decode_str(text)
            .decode_utf8()
            .ok()
            .filter(|decoded| !decoded.contains(char::is_control))
            .ok_or_else(|| FeedError::Encoding { text: shown(text) })?;
        if text.is_empty() {
            return Err(FeedError::NoSelector);
        }
        if text.starts_with('$') {
            return check_json_path(&text).map(|()| Self::Json(text.into_owned()));
        }
        match text.strip_prefix("csv:") {
            Some(column) => column.parse().map(Self::Csv),
            None => Err(FeedError::Selector { text: shown(&text) }),
        }
    }
}

impl FromStr for Column {
    type Err = FeedError;

    fn from_str(text: &str) -> Result<Self, FeedError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(FeedError::NoColumn);
        }
        if text.bytes().any(|byte| !byte.is_ascii_digit()) {
            return Ok(Self::Name(text.to_owned()));
        }
        let number = text.parse().map_err(|_| FeedError::ColumnNumber { text: shown(text) })?;
        Ok(Self::Number(number))
    }
}

/// Whether a text is a JSONPath, and one that does not take long to parse.
fn check_json_path(text: &str) -> Result<(), FeedError> {
    let bad = |reason: String| FeedError::JsonPath { path: shown(text), reason };
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
