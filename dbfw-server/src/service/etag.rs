//! Entity tags of lists.

use std::fmt;

/// The tag of a version of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// The tag of a version whose stored form has this digest.
    pub(super) fn new(version: u64, digest: &str) -> Self {
        Self(format!("\"{version}-{}\"", digest.get(..8).unwrap_or(digest)))
    }

    /// The text of the header, with quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The condition of a request: the header If-Match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// Whatever is there.
    Any,
    /// One of these tags.
    Tags(Vec<String>),
}

impl IfMatch {
    /// The condition that a header is. One that makes no sense is never met.
    pub fn parse(header: &str) -> Self {
        if header.trim() == "*" {
            return Self::Any;
        }
        Self::Tags(header.split(',').map(|tag| tag.trim().to_owned()).collect())
    }

    /// Whether a list meets it. A weak tag never does.
    pub fn is_met_by(&self, tag: &ETag) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|one| one == tag.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_tag_matches() {
        let tag = ETag::new(7, "0123456789abcdef");
        assert_eq!(tag.as_str(), "\"7-01234567\"");
        for (header, is_met) in [
            ("*", true),
            ("\"7-01234567\"", true),
            ("\"1-00000000\" , \"7-01234567\"", true),
            ("W/\"7-01234567\"", false),
            ("7-01234567", false),
            ("\"7-01234568\"", false),
            ("", false),
        ] {
            assert_eq!(IfMatch::parse(header).is_met_by(&tag), is_met, "{header}");
        }
    }
}
