//! Trusted sources: their grammar, and where each came from. Pure.

mod grammar;
mod prefix;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use grammar::GrammarError;
pub use prefix::{Prefix, PrefixError, range_prefixes};

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

/// Where a trusted source came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The configuration.
    Config,
    /// A provider's list; the text names it ("file:/etc/dbfw/orders.list").
    Provider(String),
    /// `dbfw trust add`.
    Local,
}

/// A trusted source with the prefixes it resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The source.
    pub source: TrustedSource,
    /// Where it came from.
    pub origin: Origin,
    /// What it resolved to: canonical, no duplicates.
    pub prefixes: Vec<Prefix>,
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
