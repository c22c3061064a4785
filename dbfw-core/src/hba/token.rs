//! [`Token`]: a word of a line.

use super::problem::shown;

/// A word of a line, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// In the encoding of the file, which nobody declares.
    pub(super) text: Vec<u8>,
    /// Whether it began with a quote: then it is a name, and no keyword.
    pub(super) quoted: bool,
}

impl Token {
    /// Whether it is a keyword.
    pub(super) fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword.as_bytes()
    }

    /// The text, for a message.
    pub(super) fn shown(&self) -> String {
        shown(&self.text)
    }
}

/// The words of one field, which commas part. Never empty.
pub(super) type Field = Vec<Token>;
