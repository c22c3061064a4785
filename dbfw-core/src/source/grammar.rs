//! The types of trusted sources, the values each takes, and errors of both.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::{
    error::{ParseError, excerpt},
    mistake::Mistake,
    parse::parse_prefixes,
    prefix::PrefixError,
};

/// The type of a trusted source. The names are DigitalOcean's where it has the kind.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
#[strum(parse_err_ty = ParseError, parse_err_fn = unknown_type)]
pub enum SourceType {
    /// An address, a CIDR or a range.
    IpAddr,
    /// A droplet, by id.
    Droplet,
    /// A Kubernetes cluster, by id.
    K8s,
    /// Every droplet with a tag.
    Tag,
    /// An App Platform app, by id.
    App,
    /// A DigitalOcean VPC network, by id: its whole range. DigitalOcean's own lists cannot
    /// name one.
    Vpc,
    /// A list at an https URL or in a local file; behind `#` what of it to take.
    Feed,
    /// A host name: its A and AAAA records.
    Dns,
}

impl SourceType {
    /// Every type.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name used in the configuration and on the command line.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// The error for a text without a known type before a colon.
pub(super) fn no_type(text: &str) -> GrammarError {
    let bare = |meant: &str, mistake: Option<Mistake>| {
        let (besides, because) = match mistake {
            Some(mistake) => (format!(", and {}", mistake.as_str()), mistake.because()),
            None => (String::new(), ""),
        };
        let message = format!("{} has no type{besides}", excerpt(text));
        ParseError::new(message, format!("write ip_addr:{meant}{because}")).into()
    };
    match parse_prefixes(text) {
        Ok(_) => bare(text, None),
        Err(PrefixError::Mistake { mistake, meant, .. }) => bare(&meant, Some(mistake)),
        Err(PrefixError::Address { .. }) => match text.split_once(':') {
            Some((kind, _)) => unknown_type(kind).into(),
            None => ParseError::new(
                format!("{:?} has no type", excerpt(text)),
                format!("write type:value, where type is one of {}", all_types()),
            )
            .into(),
        },
        Err(error) => match error.meant() {
            Some(meant) => bare(&meant, None),
            None => GrammarError::Address(error),
        },
    }
}

fn unknown_type(found: &str) -> ParseError {
    ParseError::new(
        format!("unknown type {:?}", excerpt(found)),
        format!("the types are {}", all_types()),
    )
}

fn all_types() -> String {
    Vec::from_iter(SourceType::ALL.iter().map(|kind| kind.as_str())).join(", ")
}

/// The reason why a text is not a trusted source. As text it says what is wrong, no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// An `ip_addr` that is no address, CIDR or range.
    #[error("ip_addr: {0}")]
    Address(PrefixError),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] ParseError),
}

impl GrammarError {
    /// The advice: what to write instead.
    pub fn fix(&self) -> String {
        match self {
            Self::Address(error) => error.fix(),
            Self::Other(error) => error.fix().to_owned(),
        }
    }

    /// The message and the fix in one text, for where nothing shows them apart.
    pub fn with_fix(&self) -> String {
        format!("{self}; {}", self.fix())
    }
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

/// The error for an empty value.
pub(super) fn empty(kind: SourceType) -> ParseError {
    let value = match kind {
        SourceType::IpAddr => "an address, a CIDR or a range",
        SourceType::Droplet => "the droplet's id",
        SourceType::K8s => "the cluster's id",
        SourceType::Tag => "the tag's name",
        SourceType::App => "the app's id",
        SourceType::Vpc => "the VPC network's id",
        SourceType::Feed => "an https URL or an absolute path",
        SourceType::Dns => "a host name",
    };
    let message = format!("{kind}: the value is empty");
    ParseError::new(message, format!("write {value} after {kind}:"))
}

#[cfg(test)]
mod tests;
