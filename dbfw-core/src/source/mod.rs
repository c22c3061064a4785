//! Trusted sources: their grammar, and where each came from. Pure.

mod address;
mod dns_name;
mod expiry;
mod feed;
mod grammar;
pub mod lines;
mod prefix;
mod prefix_map;
mod slip;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use address::unusable_source;
pub use dns_name::{NameError, check_name};
pub use expiry::{Expiry, ExpiryError};
pub use feed::{Column, FeedError, FeedValue, Location, Selector};
pub use grammar::GrammarError;
pub use prefix::{Prefix, PrefixError, range_prefixes};
pub use prefix_map::PrefixMap;
pub use slip::Slip;

/// An error whose text says what is wrong, and which knows, apart from that, how to mend it. Its
/// text may quote what somebody wrote, so the fix cannot be told from it.
pub trait Mendable: std::error::Error {
    /// The advice: what to do about it.
    fn fix(&self) -> String;

    /// The error and its fix in one text, for where nothing shows them apart.
    fn with_fix(&self) -> String {
        format!("{self}; {}", self.fix())
    }
}

/// What kind of thing a trusted source names. The names are DigitalOcean's where it has
/// the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// One rule: who may connect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrustedSource {
    /// What `value` names.
    #[serde(rename = "type")]
    pub kind: SourceType,
    /// As written.
    pub value: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// From this moment on it is trusted no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What of a trusted source decides its prefixes: equal keys are resolved once, whoever
/// names them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceKey {
    /// What `value` names.
    #[serde(rename = "type")]
    pub kind: SourceType,
    /// As written.
    pub value: String,
}

/// Where a trusted source came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The configuration.
    Config,
    /// A provider's list; the text names it ("file:/etc/dbfw/orders.list").
    Provider(Arc<str>),
    /// `dbfw trust add`.
    Local,
}

/// A trusted source with the prefixes it resolved to. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The kind of rule. Nothing else tells the kinds apart: the texts of `source` are other
    /// people's, or only shown.
    pub kind: RuleKind,
    /// The source; of the other kinds a text that stands for it where rules are shown.
    pub source: Arc<TrustedSource>,
    /// Where it came from.
    pub origin: Origin,
    /// What it resolved to: canonical, sorted, no duplicates.
    pub prefixes: Arc<[Prefix]>,
}

/// The kind of a [`Rule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// One trusted source, as somebody wrote it.
    Source,
    /// Every line of a long list that is no more than an address.
    PlainLines,
    /// Everybody: the provider's list is empty, and `on_empty` is `open`.
    Everybody,
    /// A prefix found in the maps at a start that had neither list nor snapshot.
    Adopted,
}

impl Rule {
    /// The rule of one trusted source.
    pub fn of_source(
        source: Arc<TrustedSource>,
        origin: Origin,
        prefixes: impl Into<Arc<[Prefix]>>,
    ) -> Self {
        Self { kind: RuleKind::Source, source, origin, prefixes: prefixes.into() }
    }

    /// The plain lines of a long list.
    pub fn plain_lines(origin: Origin, prefixes: Arc<[Prefix]>) -> Self {
        let source = shown("lines without a comment", None);
        Self { kind: RuleKind::PlainLines, source, origin, prefixes }
    }

    /// Everybody, as an empty list means with `on_empty = "open"`.
    pub fn everybody(provider: Arc<str>) -> Self {
        let why = "the provider's list is empty and on_empty is open";
        Self {
            kind: RuleKind::Everybody,
            source: shown("0.0.0.0/0, ::/0", Some(why)),
            origin: Origin::Provider(provider),
            prefixes: [Prefix::ANY4, Prefix::ANY6].into(),
        }
    }

    /// A prefix that an earlier agent left in the maps.
    pub fn adopted(origin: Origin, prefix: Prefix) -> Self {
        let why = "found in the maps at start, with no list to read";
        let source = shown(&prefix.to_string(), Some(why));
        Self { kind: RuleKind::Adopted, source, origin, prefixes: [prefix].into() }
    }
}

/// The source that a rule of another kind is shown as.
fn shown(value: &str, description: Option<&str>) -> Arc<TrustedSource> {
    Arc::new(TrustedSource {
        kind: SourceType::IpAddr,
        value: value.to_owned(),
        description: description.map(str::to_owned),
        expires_at: None,
    })
}

impl TrustedSource {
    /// What of it decides its prefixes.
    pub fn key(&self) -> SourceKey {
        SourceKey { kind: self.kind, value: self.value.clone() }
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
        write!(f, "{}:{}", self.kind, self.value)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("config"),
            Self::Provider(name) => f.write_str(name),
            Self::Local => f.write_str("local"),
        }
    }
}
