//! [`Problem`]: the reason why PostgreSQL would not load a file.

use std::{fmt, path::Path, sync::Arc};

use crate::{misleads, toml::shortened};

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The number of its first line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = shown(self.file.as_os_str().as_encoded_bytes());
        write!(f, "{file}:{}", self.line)
    }
}

/// A line that PostgreSQL refuses. With one of them it loads nothing of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct Problem {
    /// The line.
    pub place: Place,
    /// The reason.
    pub fault: Fault,
}

/// The reason why a line is refused. Texts of the file are escaped and shortened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Fault {
    #[error("has a NUL character")]
    Nul,
    #[error("is longer than {limit} bytes")]
    LongLine { limit: usize },
    #[error("has a word longer than {limit} bytes")]
    LongToken { limit: usize },
    #[error("makes the files larger than what is read: {limit}")]
    TooMuch { limit: &'static str },
    #[error("names {file}, which cannot be read: {why}")]
    Unreadable { file: String, why: String },
    #[error("includes files more than {limit} deep")]
    TooDeep { limit: usize },
    #[error("ends before the {field}")]
    Missing { field: &'static str },
    #[error("has several values for the {field}")]
    Several { field: &'static str },
    #[error("begins with {text}, which is no type of connection")]
    Connection { text: String },
    #[error("has {text} with a length, which only an address can have")]
    NameWithLength { text: String },
    #[error("has the length {text}, which the address cannot have")]
    Length { text: String },
    #[error("has {text} in place of a netmask")]
    Netmask { text: String },
    #[error("has a netmask of another family than its address")]
    Families,
    #[error("has {text}, which is no method")]
    Method { text: String },
    #[error("has the method {method}, which a line of this type cannot have")]
    MethodOfType { method: &'static str },
    #[error("has the option {text}, which is not of the form name=value")]
    NoValue { text: String },
    #[error("has the option {text}, which its method or type does not take")]
    Option { text: String },
    #[error("lacks the option {option}, which its method needs")]
    NeedsOption { option: &'static str },
    #[error("the file has no line")]
    Empty,
}

/// A text of a file, escaped and shortened.
pub(super) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut escaped = String::new();
    for c in shortened(&text).chars() {
        match c {
            c if c.is_control() => escaped.extend(c.escape_default()),
            c if misleads(c) => escaped.extend(c.escape_unicode()),
            c => escaped.push(c),
        }
    }
    escaped
}
