//! `type:value`, and which values a type takes.

use std::{fmt, str::FromStr};

use super::{
    FeedError, HasFix, NameError, PrefixError, Slip, SourceType,
    prefix::{parse_prefixes, shown},
};

impl SourceType {
    /// Every type.
    pub const ALL: [Self; 8] = [
        Self::IpAddr,
        Self::Droplet,
        Self::K8s,
        Self::Tag,
        Self::App,
        Self::Vpc,
        Self::Feed,
        Self::Dns,
    ];

    /// The name used in the configuration and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IpAddr => "ip_addr",
            Self::Droplet => "droplet",
            Self::K8s => "k8s",
            Self::Tag => "tag",
            Self::App => "app",
            Self::Vpc => "vpc",
            Self::Feed => "feed",
            Self::Dns => "dns",
        }
    }
}

impl fmt::Display for SourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for SourceType {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| GrammarError::UnknownType { found: shown(text) })
    }
}

/// The error for a text without a known type before a colon.
pub(super) fn no_type(text: &str) -> GrammarError {
    let bare = |meant, slip| GrammarError::BareAddress { text: shown(text), meant, slip };
    match parse_prefixes(text) {
        Ok(_) => bare(text.to_owned(), None),
        Err(PrefixError::Slip { slip, meant, .. }) => bare(meant, Some(slip)),
        Err(PrefixError::Address { .. }) => match text.split_once(':') {
            Some((kind, _)) => GrammarError::UnknownType { found: shown(kind) },
            None => GrammarError::NoType { text: shown(text) },
        },
        Err(error) => match error.meant() {
            Some(meant) => bare(meant, None),
            None => GrammarError::Address(error),
        },
    }
}

/// The reason for which a text is not a trusted source. As text it says what is wrong, no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// An address where `type:value` belongs.
    #[error("{text} has no type{}", besides(*.slip))]
    BareAddress {
        /// The text as written.
        text: String,
        /// The address that was meant, in the form to write.
        meant: String,
        /// Something else that is out of place.
        slip: Option<Slip>,
    },
    /// No ':' in it.
    #[error("{text:?} has no type")]
    NoType {
        /// The text as written.
        text: String,
    },
    /// A type nobody knows.
    #[error("unknown type {found:?}")]
    UnknownType {
        /// The text as written.
        found: String,
    },
    /// Nothing after the type.
    #[error("{kind}: the value is empty")]
    Empty {
        /// Its type.
        kind: SourceType,
    },
    /// White space around the value, or control characters in it.
    #[error("{kind}: {value:?} has white space around it or control characters in it")]
    Untidy {
        /// Its type.
        kind: SourceType,
        /// The text as written.
        value: String,
    },
    /// A value that nothing of its type can have.
    #[error("{kind}: {value:?} is not {}", article(*.kind))]
    Value {
        /// Its type.
        kind: SourceType,
        /// The text as written.
        value: String,
    },
    /// An `ip_addr` that is no address, CIDR or range.
    #[error("ip_addr: {0}")]
    Address(PrefixError),
    /// A `feed` that is no URL and no path, or selects nothing.
    #[error("feed: {0}")]
    Feed(FeedError),
    /// A `dns` that is no host name.
    #[error("dns: {0}")]
    Name(NameError),
}

impl HasFix for GrammarError {
    fn fix(&self) -> String {
        match self {
            Self::BareAddress { meant, slip, .. } => {
                format!("write ip_addr:{meant}{}", slip.map_or("", Slip::because))
            }
            Self::NoType { .. } => {
                format!("write type:value, where type is one of {}", known())
            }
            Self::UnknownType { .. } => format!("the types are {}", known()),
            Self::Empty { kind } => empty_fix(*kind).to_owned(),
            Self::Untidy { .. } => "remove them".to_owned(),
            Self::Value { kind, .. } => value_fix(*kind).to_owned(),
            Self::Address(error) => error.fix(),
            Self::Feed(error) => error.fix(),
            Self::Name(error) => error.fix(),
        }
    }
}

/// The trouble besides the type that is missing.
fn besides(slip: Option<Slip>) -> String {
    slip.map_or_else(String::new, |slip| format!(", and {}", slip.as_str()))
}

/// An id may end up in the path of a request: nothing that has a meaning there.
pub(super) fn is_id(value: &str) -> bool {
    value.len() <= 64 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether DigitalOcean allows this as the name of a tag.
pub(super) fn is_tag(value: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-');
    value.len() <= 255 && value.bytes().all(allowed)
}

fn known() -> String {
    SourceType::ALL.map(SourceType::as_str).join(", ")
}

/// The kind of thing that a value of the type is.
fn article(kind: SourceType) -> &'static str {
    match kind {
        SourceType::IpAddr => "an address, a CIDR or a range",
        SourceType::Droplet => "a droplet's id",
        SourceType::Tag => "a tag",
        SourceType::K8s | SourceType::App | SourceType::Vpc => "an id",
        SourceType::Feed => "the address of a list",
        SourceType::Dns => "a host name",
    }
}

fn value_fix(kind: SourceType) -> &'static str {
    match kind {
        SourceType::IpAddr => "write an address, a CIDR or a range",
        SourceType::Droplet => "write the number, as in droplet:3164494",
        SourceType::Tag => "use at most 255 letters, digits, ':', '_' and '-'",
        SourceType::K8s | SourceType::App | SourceType::Vpc => {
            "use at most 64 letters, digits and '-'"
        }
        SourceType::Feed => "write an https URL or an absolute path",
        SourceType::Dns => "write a host name",
    }
}

fn empty_fix(kind: SourceType) -> &'static str {
    match kind {
        SourceType::IpAddr => "write an address, a CIDR or a range after ip_addr:",
        SourceType::Droplet => "write the droplet's id after droplet:",
        SourceType::K8s => "write the cluster's id after k8s:",
        SourceType::Tag => "write the tag's name after tag:",
        SourceType::App => "write the app's id after app:",
        SourceType::Vpc => "write the VPC network's id after vpc:",
        SourceType::Feed => "write an https URL or an absolute path after feed:",
        SourceType::Dns => "write a host name after dns:",
    }
}

#[cfg(test)]
mod tests;
