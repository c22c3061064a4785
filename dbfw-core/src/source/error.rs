//! The error of a text that cannot be used, with its fix.

/// Longest piece of somebody's text that an error repeats, in characters.
const MAX_EXCERPT: usize = 80;

/// A text that is not what it should be. Its `Display` says what is wrong; the fix stands apart,
/// because the message may quote what somebody wrote.
///
/// ```
/// use dbfw_core::source::FeedValue;
///
/// let error = "list".parse::<FeedValue>().unwrap_err();
/// assert_eq!(error.to_string(), "\"list\" is neither a URL nor an absolute path");
/// assert_eq!(error.fix(), "write https://… or /…");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    message: String,
    fix: String,
}

impl ParseError {
    /// An error with this message and this fix.
    pub fn new(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { message: message.into(), fix: fix.into() }
    }

    /// The advice: what to write instead.
    pub fn fix(&self) -> &str {
        &self.fix
    }

    /// The message and the fix in one text, for where nothing shows them apart.
    pub fn with_fix(&self) -> String {
        format!("{self}; {}", self.fix)
    }

    /// The same error with `context` before its message.
    pub(super) fn within(self, context: impl std::fmt::Display) -> Self {
        Self { message: format!("{context}: {}", self.message), ..self }
    }
}

/// A text as an error repeats it: cut where it is long.
pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(MAX_EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
