//! Trusted sources: their grammar, and where each came from. Pure.

mod address;
mod dns_name;
mod expiry;
mod feed;
mod grammar;
pub mod lines;
mod prefix;
mod prefix_map;
mod rule;
mod slip;
mod trusted;

use serde::{Deserialize, Serialize};

pub use address::unusable_source;
pub use dns_name::{NameError, check_name};
pub use expiry::{Expiry, ExpiryError};
pub use feed::{Column, FeedError, FeedValue, Location, Selector};
pub use grammar::GrammarError;
pub use prefix::{Prefix, PrefixError, parse_prefixes, range_prefixes};
pub use prefix_map::PrefixMap;
pub use rule::{Origin, Rule, RuleKind};
pub use slip::Slip;
pub use trusted::{SourceKey, TrustedSource, Written};

/// An error that knows its fix, apart from its text. The text may quote what somebody wrote, so
/// the fix cannot be told from it.
pub trait HasFix: std::error::Error {
    /// The advice: what to do about it.
    fn fix(&self) -> String;

    /// The error and its fix in one text, for where nothing shows them apart.
    fn with_fix(&self) -> String {
        format!("{self}; {}", self.fix())
    }
}

/// The type of a trusted source. The names are DigitalOcean's where it has
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
