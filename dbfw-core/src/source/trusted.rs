//! [`TrustedSource`]: a checked source with its parsed value, description and expiry.

use std::{fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    dns_name::check_name,
    error::{ParseError, excerpt},
    feed::FeedValue,
    grammar::{self, GrammarError, SourceType, is_id, is_tag, no_type},
    parse::parse_prefixes,
    prefix::Prefix,
    prefix_set::PrefixSet,
};

/// A trusted source: the addresses that may connect, by type and value, and an expiry.
///
/// ```
/// use dbfw_core::source::TrustedSource;
///
/// let source: TrustedSource = "ip_addr:10.0.0.0/8".parse().unwrap();
/// assert_eq!(source.key().prefixes().unwrap()[0].to_string(), "10.0.0.0/8");
/// assert!("ip_addr:10.0.0.1/8".parse::<TrustedSource>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "UncheckedSource", into = "UncheckedSource")]
pub struct TrustedSource {
    key: SourceKey,
    /// For people.
    pub description: Option<String>,
    /// The time from which on it is trusted no more.
    pub expires_at: Option<Timestamp>,
    /// The database's users that are meant to come from it; none: nobody said. What is trusted does
    /// not depend on them.
    pub users: Vec<String>,
}

/// The type and the value of a trusted source, on which alone its prefixes depend: equal keys are
/// resolved once, whoever names them. The value is one that its type takes. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "UncheckedSource", into = "UncheckedSource")]
pub struct SourceKey {
    kind: SourceType,
    /// As written. Type and text decide how keys compare: the rest follows from them.
    value: Arc<str>,
    parsed: Parsed,
}

/// The parsed value of a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Parsed {
    /// Of `ip_addr`.
    Prefixes(PrefixSet),
    /// Of `feed`: the document, and what of it to take.
    Feed(Arc<FeedValue>),
    /// Of all others: no more than the text.
    Text,
}

/// A trusted source as files have it, unchecked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncheckedSource {
    /// The type of the source, which tells what `value` names.
    #[serde(rename = "type")]
    pub kind: SourceType,
    /// The value, as written.
    pub value: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The time from which on it is trusted no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The database's users that are meant to come from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
}

impl SourceKey {
    /// The key of a type and a value. Whether the thing exists is for the provider to say.
    ///
    /// # Errors
    /// The type does not take such a value.
    pub fn new(kind: SourceType, value: &str) -> Result<Self, GrammarError> {
        if value.is_empty() {
            return Err(grammar::empty(kind).into());
        }
        if value.trim() != value || value.chars().any(char::is_control) {
            let message = format!(
                "{kind}: {:?} has white space around it or control characters in it",
                excerpt(value)
            );
            return Err(ParseError::new(message, "remove them").into());
        }
        let impossible = |article: &str, fix: &str| {
            ParseError::new(format!("{kind}: {:?} is not {article}", excerpt(value)), fix)
        };
        let parsed = match kind {
            SourceType::IpAddr => {
                Parsed::Prefixes(parse_prefixes(value).map_err(GrammarError::Address)?.into())
            }
            SourceType::Droplet if is_droplet_id(value) => Parsed::Text,
            SourceType::Droplet => {
                let fix = "write the number, as in droplet:3164494";
                return Err(impossible("a droplet's id", fix).into());
            }
            SourceType::Feed => {
                let feed: FeedValue =
                    value.parse().map_err(|error: ParseError| error.within(kind))?;
                Parsed::Feed(feed.into())
            }
            SourceType::Dns => {
                check_name(value).map_err(|error| error.within(kind))?;
                Parsed::Text
            }
            SourceType::Tag if is_tag(value) => Parsed::Text,
            SourceType::Tag => {
                let fix = "use at most 255 letters, digits, ':', '_' and '-'";
                return Err(impossible("a tag", fix).into());
            }
            SourceType::K8s | SourceType::App | SourceType::Vpc if is_id(value) => Parsed::Text,
            SourceType::K8s | SourceType::App | SourceType::Vpc => {
                return Err(impossible("an id", "use at most 64 letters, digits and '-'").into());
            }
        };
        Ok(Self { kind, value: value.into(), parsed })
    }

    /// Its type.
    pub fn kind(&self) -> SourceType {
        self.kind
    }

    /// Its value, as written.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The prefixes that the value itself names; `None` if somebody has to be asked for them.
    pub fn prefixes(&self) -> Option<&PrefixSet> {
        match &self.parsed {
            Parsed::Prefixes(prefixes) => Some(prefixes),
            Parsed::Feed(_) | Parsed::Text => None,
        }
    }

    /// Whether both name the same, however each is written: 192.0.2.1 and 192.0.2.1/32 do.
    pub fn names_the_same(&self, other: &Self) -> bool {
        match (self.prefixes(), other.prefixes()) {
            (Some(own), Some(others)) => own == others,
            _ => self == other,
        }
    }

    /// The document of a `feed`, and what of it to take.
    pub fn feed(&self) -> Option<&FeedValue> {
        match &self.parsed {
            Parsed::Feed(feed) => Some(feed),
            Parsed::Prefixes(_) | Parsed::Text => None,
        }
    }
}

impl From<Prefix> for SourceKey {
    /// An `ip_addr`, a single address without its length.
    fn from(prefix: Prefix) -> Self {
        let value = if prefix.is_host() { prefix.addr().to_string() } else { prefix.to_string() };
        let parsed = Parsed::Prefixes([prefix].into());
        Self { kind: SourceType::IpAddr, value: value.into(), parsed }
    }
}

/// Whether a value is a droplet's number, which has one spelling alone.
fn is_droplet_id(value: &str) -> bool {
    let plain = value.bytes().all(|byte| byte.is_ascii_digit()) && !value.starts_with('0');
    plain && value.parse::<u64>().is_ok()
}

impl TrustedSource {
    /// A source of this type, without description and expiry.
    ///
    /// # Errors
    /// The type does not take such a value.
    pub fn new(kind: SourceType, value: &str) -> Result<Self, GrammarError> {
        SourceKey::new(kind, value).map(Self::from)
    }

    /// Its type and value.
    pub fn key(&self) -> &SourceKey {
        &self.key
    }

    /// Its type.
    pub fn kind(&self) -> SourceType {
        self.key.kind
    }
}

impl From<SourceKey> for TrustedSource {
    fn from(key: SourceKey) -> Self {
        Self { key, description: None, expires_at: None, users: Vec::new() }
    }
}

impl FromStr for TrustedSource {
    type Err = GrammarError;

    /// The short form, `type:value`, checked. An IPv6 address has colons of its own: the
    /// first one ends the type.
    fn from_str(text: &str) -> Result<Self, GrammarError> {
        let split = text.split_once(':');
        match split.and_then(|(kind, value)| Some((kind.parse().ok()?, value))) {
            Some((kind, value)) => Self::new(kind, value),
            None => Err(no_type(text)),
        }
    }
}

impl fmt::Display for SourceKey {
    /// The short form, `type:value`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

impl fmt::Display for TrustedSource {
    /// The short form, `type:value`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl TryFrom<UncheckedSource> for TrustedSource {
    type Error = GrammarError;

    fn try_from(written: UncheckedSource) -> Result<Self, GrammarError> {
        let UncheckedSource { kind, value, description, expires_at, users } = written;
        Ok(Self { key: SourceKey::new(kind, &value)?, description, expires_at, users })
    }
}

impl TryFrom<UncheckedSource> for SourceKey {
    type Error = GrammarError;

    fn try_from(written: UncheckedSource) -> Result<Self, GrammarError> {
        Self::new(written.kind, &written.value)
    }
}

impl From<TrustedSource> for UncheckedSource {
    fn from(source: TrustedSource) -> Self {
        let TrustedSource { key, description, expires_at, users } = source;
        Self { description, expires_at, users, ..Self::from(key) }
    }
}

impl From<SourceKey> for UncheckedSource {
    fn from(key: SourceKey) -> Self {
        let SourceKey { kind, value, .. } = key;
        Self {
            kind,
            value: value.as_ref().to_owned(),
            description: None,
            expires_at: None,
            users: Vec::new(),
        }
    }
}
